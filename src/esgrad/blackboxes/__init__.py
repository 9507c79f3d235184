"""What cannot be differentiated: `fitness(logits, targets)`, one number an example, larger is better."""
