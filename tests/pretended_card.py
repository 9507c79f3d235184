"""A card that is none: tensors that say they lie on a device `card`, while the CPU holds and computes them.

What it finds without a GPU: an operation between a tensor of the card and one of the CPU, which a real one refuses, and
numbers taken off the card in ways that it does not allow. How fast or how exact a card is, it does not know.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "card"
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
"""Operations that may see tensors of both devices."""
INDEXES = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
"""As on a card, whose tensors can be indexed by the CPU's."""


class OnCard(Tensor):
    """A tensor of the card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnCard":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return Tensor._make_wrapper_subclass(cls, held.size(), **layout, device=f"{NAME}:0")

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self) -> str:
        return f"{NAME}: {self.held}"

    def new_tensor(self, data: Any, **words: Any) -> Tensor:
        """See `_moved`."""
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device} | words)

    def tolist(self) -> Any:
        """torch has none for tensors like this."""
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """Sees what makes tensors, which takes none of the card."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


def _moved(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch makes tensors of Python's numbers past all operations that can be seen: made on the CPU, then moved."""

    def made(data: Any, **words: Any) -> Tensor:
        device = words.pop("device", None) or torch.empty(0).device
        return make(data, **words, device="cpu").to(device)

    return made


def _computed(function: Callable[..., Any], args: Any, words: dict[str, Any]) -> Any:
    """By the CPU, on what the tensors hold."""
    tensors = [leaf for leaf in tree_leaves((args, words)) if isinstance(leaf, Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, OnCard)]
    others = [tensor for tensor in tensors if not isinstance(tensor, OnCard) and tensor.dim() > 0]
    if ours and others and function not in MOVES | INDEXES:
        shapes = [list(tensor.shape) for tensor in others]
        raise RuntimeError(f"{function} takes tensors of the card, and of the CPU those of shapes {shapes}")
    on_card = isinstance(args[0], OnCard) if function is aten.copy_.default else bool(ours)
    if words.get("device") is not None:
        on_card = torch.device(words["device"]).type == NAME
        words = words | {"device": torch.device("cpu")}
    args, words = tree_map(lambda leaf: leaf.held if isinstance(leaf, OnCard) else leaf, (args, words))

    def labelled(found: Any) -> Any:
        if not isinstance(found, Tensor) or not on_card:
            return found
        same = [tensor for tensor in ours if tensor.held is found]
        return same[0] if same else OnCard(found)

    return tree_map(labelled, function(*args, **words))


class Module(_DummyBackendModule):
    """What else torch asks a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@cache
def _registered() -> None:
    """For the rest of this process: torch knows no way back."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=Module())


@contextmanager
def pretended() -> Iterator[None]:
    """A device of the name `card`."""
    _registered()
    with ExitStack() as stack:
        for name in ("tensor", "as_tensor"):
            stack.enter_context(mock.patch.object(torch, name, _moved(getattr(torch, name))))
        stack.enter_context(_Operations())
        yield
