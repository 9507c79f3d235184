"""Fitness shaping, how fitness becomes weights: `weights(fitness)`, [R, N, M] to [R, N, M].

A shaping knows no noise by name: `expects` and `refuses` decide from the facts that the noise states (`noises/`).
"""
