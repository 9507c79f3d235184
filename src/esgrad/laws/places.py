"""The place of an example under a noise and a credit: which moments are whose."""

import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.credits import Credit
from esgrad.gradients.noises import Noise
from esgrad.laws import gaussian, gumbel
from esgrad.laws.example import Moments, Place, seen


def has_place(noise: Noise, credit: Credit) -> bool:
    """Whether the moments of this noise under this credit are known."""
    return noise.FAMILY is not None and (noise.INDEPENDENT or (noise.PAIRS and not credit.OF_CLASSES))


def moments(
    noise: Noise, credit: Credit, logits: Tensor, targets: Tensor, variance: Tensor | float, *, whole: bool = False
) -> Moments:
    """The moments at logits [..., K], targets [...], under noise of variance t, [...] or broadcastable to it.

    `whole`: with all that quadrature can tell. ValueError for a combination without a law, fewer than two logits, and
    as `esgrad.gradients.quadrature.log_probability_and_gradient`.
    """
    _check(noise, credit)
    if logits.ndim and logits.shape[-1] < 2:
        raise ValueError(f"logits have shape {list(logits.shape)}: expected two classes or more, nobody competes.")
    t = torch.as_tensor(variance, dtype=torch.float64, device=logits.device)
    arguments = (logits, targets, t)
    if noise.FAMILY == "gumbel":
        return gumbel.class_moments(*arguments) if credit.OF_CLASSES else gumbel.noise_moments(*arguments)
    if credit.OF_CLASSES:
        return gaussian.class_moments(*arguments)
    return gaussian.pair_moments(*arguments) if noise.PAIRS else gaussian.noise_moments(*arguments, whole=whole)


def place(noise: Noise, credit: Credit, logits: Tensor, targets: Tensor, variance: Tensor | float) -> Place:
    """The place [...] of logits [..., K]; arguments and errors as `moments`."""
    return seen(moments(noise, credit, logits, targets, variance))


def level_place(noise: Noise, credit: Credit, num_logits: int, variance: Tensor | float) -> Place:
    """The place of K equal logits (a network's start), in closed form for any K ≥ 2 at the same price."""
    _check(noise, credit)
    if num_logits < 2:
        raise ValueError(f"num_logits is {num_logits}: expected two classes or more, nobody competes.")
    t = torch.as_tensor(variance, dtype=torch.float64)
    if not (t > 0).all():
        raise ValueError(f"variance t is {t.min().item()}: expected a positive number.")
    if noise.PAIRS:
        return gaussian.level_pair_place(num_logits, t)
    family = gumbel if noise.FAMILY == "gumbel" else gaussian
    return family.level_place(num_logits, t, credit.OF_CLASSES)


def _check(noise: Noise, credit: Credit) -> None:
    if not has_place(noise, credit):
        raise ValueError(
            f"no law is known for noise {menu.name(noise)} credited with the {menu.name(credit)}: independent samples "
            "have one, and mirrored ones credited with the noise"
        )
