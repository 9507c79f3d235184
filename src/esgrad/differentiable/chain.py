"""Black boxes one behind the other must not share their noise: the gradient that comes from the later one would know
what the earlier one drew, and their product would not have the mean that it should."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

from torch import Tensor


class Noise(NamedTuple):
    """Which noise a call sees; two calls with equal ones, at places that overlap, see the same."""

    seed: int
    of_classes: bool
    step: int


_waiting: dict[Noise, WeakSet] = defaultdict(WeakSet)
"""The calls whose gradient may yet be asked for. A graph is searched only where two of them see the same noise."""


def join(call: Any, noise: Noise, places: range, inputs: Sequence[Tensor]) -> None:
    """Note a call that sees some noise at some places; ValueError if its inputs come from one that sees the same."""
    same = [other for other, theirs in _of(noise) if theirs.start < places.stop and places.start < theirs.stop]
    if same and any(each is other for each in _behind(inputs) for other in same):
        raise ValueError(
            f"the input comes from a black box with the same noise, seed {noise.seed} at step {noise.step}: the "
            "gradient through both would be biased; each box of a network needs a seed of its own, and of one box each "
            "call in a chain a step of its own"
        )
    call.places = places
    _waiting[noise].add(call)


def _of(noise: Noise) -> list[tuple[Any, range]]:
    for empty in [each for each, calls in _waiting.items() if not calls]:
        del _waiting[empty]
    return [(call, call.places) for call in _waiting.get(noise, ())]


def _behind(inputs: Sequence[Tensor]) -> list[Any]:
    """The calls of black boxes in the graph that some tensors come from."""
    found, left = set(), [each.grad_fn for each in inputs if each.grad_fn is not None]
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += [before for before, _ in node.next_functions if before is not None]
    return [node.asking for node in found if hasattr(node, "asking")]
