"""Training by any gradient: jobs, methods, the loop, how rates are chosen."""
