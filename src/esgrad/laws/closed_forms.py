"""Closed forms of V/|∇p|², V = N tr Var g, at special logits: with many samples, N = c²/(1−c²) V/|∇p|² for cosine c.

One example's logits, under independent noise; e_m is the mean of the largest of m standard normals. A class that
cannot win adds p/(t|∇p|²), whatever its logit.
"""

import math

import torch
from torch import Tensor

from esgrad.laws.example import maximum_moments


def expected_maximum(count: int) -> float:
    """e_K, the mean of the largest of K standard normals."""
    return maximum_moments(count)[0]


def level_ratio(num_logits: int) -> float:
    """V/|∇p|² of raw weights at equal logits and any t: K(K−1)/e_K² − 1."""
    return tied_ratio(num_logits, num_logits, centred=False)


def tied_ratio(num_tied: int, num_logits: int, centred: bool) -> float:
    """V/|∇p|² where m of K classes, the target among them, are tied and the others cannot win, at any t.

    K(m−1)/e_m² − 1 of raw weights and K(m−1)²/(m e_m²) − 1 with the baseline b = p. Raises ValueError unless 2 ≤ m ≤ K.
    """
    if not 2 <= num_tied <= num_logits:
        raise ValueError(f"num_tied is {num_tied}: expected 2 to num_logits = {num_logits} classes that can win.")
    raw = num_logits * (num_tied - 1) / expected_maximum(num_tied) ** 2
    return raw * ((num_tied - 1) / num_tied if centred else 1) - 1


def two_class_ratio(gap: Tensor | float, sigma: Tensor | float, num_logits: int, centred: bool) -> Tensor:
    """V/|∇p|² [...] where only the target and one other class can win; gap = l_y − l_k, z = gap/(√2 σ), Φ at z.

    (ΦK − zφ)/φ² − 1 of raw weights and (Φ(1−Φ)K − (1−2Φ)zφ)/φ² − 1 with the baseline b = p.
    """
    z = torch.as_tensor(gap, dtype=torch.float64) / (math.sqrt(2) * torch.as_tensor(sigma, dtype=torch.float64))
    log_density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    log_ndtr = torch.special.log_ndtr
    if centred:
        bend = torch.erf(z / math.sqrt(2)) * z * (-log_density).exp()
        return num_logits * (log_ndtr(z) + log_ndtr(-z) - 2 * log_density).exp() + bend - 1
    return num_logits * (log_ndtr(z) - 2 * log_density).exp() - z * (-log_density).exp() - 1
