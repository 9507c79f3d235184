"""What is learnt: data sets, networks and the black boxes that judge."""
