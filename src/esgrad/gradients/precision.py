"""Whether numbers have room for the noise that is added to them."""

import torch
from torch import Tensor


def check(what: str, values: Tensor, variance: float, kind: torch.dtype) -> None:
    """ValueError for numbers that are not finite, and for a t that is lost where x + q is kept as `kind`.

    Lost is a σ below 8 times the distance of neighbouring numbers at the largest of the values. There rounding x + q
    adds less than a hundredth of the noise's variance.
    """
    if values.numel() == 0:
        return
    largest = values.detach().abs().max().item()
    if not largest < float("inf"):  # NaN compares with nothing
        wrong = (~torch.isfinite(values)).nonzero()[0].tolist()
        raise ValueError(f"{what} holds finite numbers, but at {wrong} it is {values[tuple(wrong)].item()}")
    wide = torch.promote_types(kind, torch.float32)
    sigma = torch.tensor(variance, dtype=wide, device="cpu").sqrt().item()
    limits = torch.finfo(wide)
    if not limits.tiny < sigma < float("inf"):
        raise ValueError(f"noise_variance t = {variance!r} is out of the range of {wide}")
    if sigma < 8 * torch.finfo(kind).eps * largest:
        raise ValueError(
            f"noise_variance t = {variance!r} is lost beside {what}: its σ = {variance**0.5:.2g} is less than 8 "
            f"times the gap between neighbouring {kind} near {largest:.3g}; a larger t or a wider type would do"
        )


def narrowed(what: str, values: Tensor, kind: torch.dtype) -> Tensor:
    """The values as `kind`; ValueError where it has no number so large."""
    largest = values.abs().max().item()
    if torch.finfo(kind).max < largest < float("inf"):
        raise ValueError(f"{what} reaches {largest:.2g}, too large for {kind}; logits.float() would do")
    return values.to(kind)
