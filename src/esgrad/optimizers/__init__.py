"""Update rules over stacks of runs, a learning rate a run; each is held to its torch.optim namesake by a test."""
