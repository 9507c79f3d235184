"""Gradients at the logits without sampling: `gradient(logits, targets, variance)`, per example, to be ascended.

`value` is what the gradient climbs.
"""
