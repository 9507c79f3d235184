"""Fitness shaping, how fitness becomes weights: `weights(fitness)`, [R, N, M] to [R, N, M]."""
