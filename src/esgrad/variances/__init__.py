"""How t follows the training: `variance(level, previous, hit_rate, point, progress)`, [R] or, per position, [R, M]."""
