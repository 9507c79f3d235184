"""Compiled twins of kernels in plain torch, each held by a test to its oracle's bits: no record depends on them."""
