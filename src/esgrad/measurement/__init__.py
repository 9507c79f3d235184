"""What is measured at networks on their way through a training: gradient quality, the N needed, the noise's scale."""
