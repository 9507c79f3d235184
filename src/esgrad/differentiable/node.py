"""The nodes of torch's graph: forward asks the function once, backward estimates."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Asking(Protocol):
    """One call of a black box: what it needs to answer and to be asked again."""

    noisy: tuple[int, ...]

    def answer(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What the function says of its inputs as they are."""

    def estimate(self, upstream: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        """The gradient of Σ upstream · answer at each of the noisy inputs."""


SECOND = "second derivative", "only first derivatives are estimated: call detach() on the gradient"
MANY = "vmap over gradients (jacrev, hessian, is_grads_batched, vectorize)", "ask for one gradient at a time"
FORWARD = "forward-mode differentiation (jvp)", "use torch.autograd.grad or torch.func.grad"


def refused(what: str, instead: str) -> NotImplementedError:
    """The error for a derivative that no estimate has."""
    return NotImplementedError(f"esgrad.blackbox knows no {what}: {instead}")


class Node(torch.autograd.Function):
    """The answer to inputs, with estimates for gradients at the noisy ones; `said` is the answer where it is known.

    Where `said` has a graph of its own, behind it lie parameters and other inputs: their gradients stay exact.
    """

    @staticmethod
    def forward(asking: Asking, said: Tensor | None, *inputs: Tensor) -> Tensor:
        return asking.answer(inputs) if said is None else said.detach().clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.asking, ctx.has_graph = inputs[0], inputs[1] is not None
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        try:
            upstream.detach()
        except RuntimeError as error:  # the tensors of is_grads_batched cannot even do that
            raise refused(*MANY) from error
        inputs, noisy = ctx.saved_tensors, ctx.asking.noisy
        gradients: list[Tensor | None] = [None] * len(inputs)
        if any(ctx.needs_input_grad[2 + place] for place in noisy):
            for place, gradient in zip(noisy, Estimated.apply(ctx.asking, upstream, *inputs), strict=True):
                gradients[place] = gradient
        return None, Once.apply(upstream) if ctx.has_graph else None, *gradients

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        raise refused("torch.func.vmap", "hand it the whole batch, whose first axis it takes for examples")

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise refused(*FORWARD)


class Last(torch.autograd.Function):
    """What has no derivative of its own; each further one is refused by name."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise refused(*SECOND)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        raise refused(*MANY)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise refused(*FORWARD)


class Once(Last):
    """What goes on to the exact part: its second derivative would lack what the estimate adds."""

    @staticmethod
    def forward(upstream: Tensor) -> Tensor:
        return upstream.clone()


class Estimated(Last):
    """The estimate."""

    @staticmethod
    def forward(asking: Asking, upstream: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(asking.estimate(upstream, inputs))
