"""What may be handed to a black box; each refusal names the value, what was expected and what would do."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from esgrad.differentiable.layout import Layout
from esgrad.differentiable.node import FORWARD, refused
from esgrad.differentiable.settings import Settings
from esgrad.gradients import precision


def check(inputs: Sequence[Any], batch_dims: int) -> None:
    """ValueError for inputs that are no tensors with numbers, or that do not share the batch's axes.

    NotImplementedError where a tangent comes with them: the function would be differentiated instead of estimated.
    """
    if not inputs:
        raise ValueError("a black box is handed at least one tensor by place; what is handed by name gets no noise")
    for place, each in enumerate(inputs):
        if not isinstance(each, Tensor):
            raise ValueError(
                f"input {place} is a {type(each).__name__}: inputs are tensors, an entry an example; hand over what "
                "belongs to no example by name"
            )
        if each.layout != torch.strided or each.is_quantized or each.is_nested:
            raise ValueError(f"input {place} is of layout {each.layout}: to_dense() would do")
        if each.device.type == "meta":
            raise ValueError(f"input {place} lies on the device meta, which holds no numbers to judge")
        if each.dim() < batch_dims:
            raise ValueError(
                f"input {place} has shape {list(each.shape)}, without the {batch_dims} axes that tell examples apart "
                f"(batch_dims={batch_dims}); hand over what belongs to no example by name, or take batch_dims=0"
            )
        if each.shape[:batch_dims] != inputs[0].shape[:batch_dims]:
            raise ValueError(
                f"input {place} has shape {list(each.shape)}, input 0 {list(inputs[0].shape)}: all begin with the same "
                f"axes, batch_dims={batch_dims} of them; hand over what belongs to no example by name"
            )
        if unpack_dual(each).tangent is not None:
            raise refused(*FORWARD)
        if each.device != inputs[0].device:
            raise ValueError(f"input {place} lies on {each.device}, input 0 on {inputs[0].device}: one device would do")


def noisy(inputs: Sequence[Tensor], settings: Settings) -> tuple[int, ...]:
    """The places of the inputs that get noise; ValueError where they cannot."""
    places = settings.inputs
    if places is None:
        kinds = [place for place, each in enumerate(inputs) if each.is_floating_point() or each.is_complex()]
        wanting = [place for place in kinds if inputs[place].requires_grad]
        places = tuple(wanting or (kinds[:1] if settings.of_classes else ()))
    for place in places:
        if place >= len(inputs):
            raise ValueError(f"inputs names place {place}, but {len(inputs)} were handed over, counted from 0")
        if not inputs[place].is_floating_point():
            raise ValueError(
                f"input {place} gets noise: it must hold floating-point numbers, not {inputs[place].dtype}"
            )
    if len(settings.variances) not in (1, max(1, len(places))):
        raise ValueError(f"noise_variance has {len(settings.variances)} values for {len(places)} inputs that get noise")
    if settings.of_classes:
        if len(places) != 1:
            raise ValueError(
                f"credit 'class' sees the classes of one input's logits, not of {len(places)}: name it with inputs=(0,)"
            )
        shape = list(inputs[places[0]].shape)
        if not shape[settings.batch_dims :] or shape[-1] == 0:
            raise ValueError(f"input {places[0]} has shape {shape}: logits have an axis of classes after the batch's")
    return places


def check_mask(mask: Any, batch: torch.Size) -> None:
    """ValueError for what is no bool tensor of the batch's shape."""
    if not isinstance(mask, Tensor):
        raise ValueError(f"mask is a bool tensor, not a {type(mask).__name__}: torch.as_tensor(mask) would do")
    if mask.dtype != torch.bool or mask.shape != batch:
        given = f"{mask.dtype} {list(mask.shape)}"
        raise ValueError(f"mask is bool, of the batch's shape {list(batch)}, not {given}")


def check_values(layout: Layout, variances: tuple[float, ...], mask: Tensor | None) -> None:
    """ValueError for NaN and infinity, and for noise so small beside an input that its numbers swallow it."""
    each_variance = variances if len(variances) > 1 else variances * len(layout.noisy)
    for place, values, variance in zip(layout.noisy, layout.chosen, each_variance, strict=True):
        judged = values.detach() if mask is None else values.detach()[mask]
        precision.check(f"input {place}", judged, variance, values.dtype)
