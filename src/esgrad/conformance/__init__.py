"""What anybody's gradient estimator estimates, found by the laws that ours are held to."""
