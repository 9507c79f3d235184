"""`esgrad.blackbox`: a function without a derivative becomes a module whose gradient is an estimate.

forward     y = fn(x)                                as it is: one query an example
backward    v = ∂L/∂y  →  (1/σ) Σ_n w_n(f) s_n       f_n = v·fn(x + σz_n): N queries an example
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from esgrad.differentiable.call import Call
from esgrad.differentiable.settings import Settings

OWN = {"step", "offset", "mask"}
"""What a call takes by name for itself, and does not hand on."""


class ESModule(nn.Module):
    """A function whose gradient is estimated; made by `blackbox`.

    `state_dict` holds the next step and the queries so far, so that a training that is taken up again goes on with
    fresh noise.
    """

    def __init__(self, fn: Callable[..., Any], settings: Settings) -> None:
        super().__init__()
        if not callable(fn):
            raise ValueError(f"fn is a function or a module, not {fn!r}")
        self.fn, self.settings = fn, settings
        self.step, self.queries = 0, 0
        self._taken = OWN & _parameters(fn)

    @torch.compiler.disable
    def forward(
        self,
        *inputs: Tensor,
        step: int | None = None,
        offset: int | None = None,
        mask: Tensor | None = None,
        **constants: Any,
    ) -> Tensor:
        """fn(*inputs, **constants), with an estimate for a gradient.

        Args:
            inputs: tensors that begin with the batch's axes; those that require a gradient get noise.
            step: which noise; the same step and place give the same noise. Without it each call that needs a gradient
                is a step of its own.
            offset: the place of the first example in the global batch, where micro-batches or ranks share a step.
            mask: bool, of the batch's shape; where it is False the answer counts for nothing, and the gradient is 0.
                `fn` is handed those examples all the same, without noise, and they are no queries.
            constants: handed to `fn` by name as they are, whatever they are.

        Returns:
            What `fn` answers, as floating-point numbers.

        Raises:
            ValueError: for inputs, steps and answers that do not fit, in a sentence that names them.
        """
        for word, value in (("step", step), ("offset", offset), ("mask", mask)):
            if word in self._taken and value is not None:
                raise ValueError(
                    f"{word}= is the module's own, and fn has a parameter of that name: call fn's another, as in "
                    f"lambda x, my_{word}: fn(x, {word}=my_{word})"
                )
        needs = torch.is_grad_enabled() and any(isinstance(each, Tensor) and each.requires_grad for each in inputs)
        place = self._step(step, offset), offset or 0
        said = Call(self, self.settings, inputs, *place, mask, constants, needs).result()
        self.step += needs and step is None  # only here: a call that was refused is no step
        return said

    def _step(self, step: int | None, offset: int | None) -> int:
        if step is not None:
            return step
        if offset is not None:
            raise ValueError(
                f"offset={offset} without a step: micro-batches and ranks that count their own calls would not share a "
                "step; count the optimizer's steps and hand step= as well"
            )
        return self.step

    def get_extra_state(self) -> Tensor:
        """What `state_dict` keeps beside parameters: the next step and the queries so far."""
        return torch.tensor([self.step, self.queries], device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Take up what `state_dict` kept."""
        self.step, self.queries = state.tolist()

    def _replicate_for_data_parallel(self) -> Any:
        raise ValueError(
            "DataParallel's replicas would share their noise: use DistributedDataParallel, with step and offset"
        )

    def extra_repr(self) -> str:
        return self.settings.words()


def _parameters(fn: Callable[..., Any]) -> set[str]:
    """The names of a function's parameters, where it tells them."""
    try:
        return set(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return set()


def blackbox(
    fn: Callable[..., Any],
    *,
    num_samples: int,
    noise_variance: float | Sequence[float],
    seed: int,
    noise: str = "independent",
    credit: str = "noise",
    shaping: str | None = None,
    batch_dims: int = 1,
    inputs: Sequence[int] | None = None,
    binary: bool | None = None,
    max_examples: int | None = None,
) -> ESModule:
    """Make any function of tensors differentiable by evolution strategies.

        f = esgrad.blackbox(fn, num_samples=16, noise_variance=0.1, seed=0)
        y = f(x)                # fn(x), in the middle of any network; y.sum().backward() fills x.grad

    What is estimated. With `shaping` raw or leave_one_out the mean of the estimate is the gradient of the smoothed
    function E fn(x + q), q of mean 0 and variance t, times what comes from above (arXiv 1703.03864, section 2); under
    quasi noise of raw alone. For 0/1 answers and independent samples maxrl and success estimate the gradient of
    log P(fn = 1) instead, times a factor below 1, 1 − (1−p)^(N−1) or 1 − (1−p)^N (arXiv 2602.02710); for other answers
    that of log E fn, biased unless N is large. Their `y` is still fn(x): ascend it.

    What it costs. A call asks about each example once, its backward pass N times more; `f.queries` counts. A second
    backward pass through the same graph asks again, with the same noise. `fn` is handed some 64 MB of inputs at a time,
    and answers with as much, or one sample of the batch if that is more; `max_examples` asks for less.

    Args:
        fn: takes the inputs, [B, ...] each, and answers with one number an example, [B]; with more, [B, ...]: then
            the fitness of a sample is Σ v·fn(x + q) with v from above; or with one number for the whole batch: then the
            batch is perturbed as a whole. It must not mix examples, and is handed many samples at once, n·B examples:
            what has an entry an example is handed over by place, so that it is repeated too. Answers must be finite:
            where a solver fails, answer with a penalty. bool answers are 0 or 1. A list, an array or a number will do.
            Parameters inside it get their exact gradient, so that a head and the loss may be put into `fn`: the loss
            is then the fitness.
        num_samples: N ≥ 1, samples an example.
        noise_variance: t > 0, in units of the input squared; or one for each input that gets noise.
        seed: a whole number; the noise is a function of seed, step and place alone. Boxes one behind the other need
            seeds of their own, and one box used twice in a chain two steps: with the same noise they are refused.
        noise, credit, shaping: words of those menus (`esgrad list`). With `credit="class"` the one noisy input are
            logits [..., K], and `fn` gets the class of each, whole numbers without that axis. Without a shaping it is
            leave_one_out, because raw pays for the level of the fitness; raw at N = 1 and where leave_one_out would be
            biased; and success for 0/1 answers credited with the class, which asks for answers that are 1 where all is
            well: descending them is slow, and warned of.
        batch_dims: how many leading axes tell examples apart: 2 for [B, T, K] judged token by token; 0 for none.
        inputs: places of the inputs that get noise; without it all that require a gradient. One that is left out keeps
            the exact gradient that torch finds through `fn`, which is 0 where `fn` rounds.
        binary: whether the answers are 0 or 1; without it bool answers are, and 0.0 and 1.0 are any numbers.
        max_examples: the most examples that `fn` is handed at once under noise (entries of the first axis are not
            divided); the batch itself is handed over whole.

    Returns:
        A module, `f(*inputs, step=None, offset=None, mask=None, **constants)` (`ESModule.forward`). torch.compile
        leaves it outside of what it compiles, and with fullgraph=True refuses it.

    Raises:
        ValueError: for a word nobody knows (the nearest is named), a number out of range, or a combination that
            estimates nothing. Calls raise it for inputs and answers that do not fit. What `fn` raises passes through
            in the forward pass; in the backward pass it is the cause of a RuntimeError that names the samples.

    Example:
        >>> import torch, esgrad
        >>> f = esgrad.blackbox(lambda x: (x > 0).float().mean(-1), num_samples=1000, noise_variance=1.0, seed=0)
        >>> x = torch.zeros(1, 4, requires_grad=True)
        >>> f(x).sum().backward()
        >>> x.grad.round(decimals=1)      # each of the four: a density of the normal, .399, over 4
        tensor([[0.1000, 0.1000, 0.1000, 0.1000]])
    """
    if not (inputs is None or isinstance(inputs, Sequence)):
        raise ValueError(f"inputs is a list of places among the inputs, such as [0], not {inputs!r}")
    given = None if inputs is None else tuple(inputs)
    words = noise, credit, shaping
    return ESModule(fn, Settings(num_samples, noise_variance, seed, *words, batch_dims, given, binary, max_examples))
