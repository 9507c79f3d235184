"""Other libraries' estimators of the gradient at a classifier's logits, as `esgrad check` asks for them.

Each is the library's own, with the least that brings it to fn(logits, targets, *, num_samples, noise_variance, seed).
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

Gradient = Callable[..., Tensor]


def hit(logits: Tensor, target: Tensor) -> Tensor:
    """1 where the largest of the logits [K] is the target's, else 0."""
    return (logits.argmax() == target).to(logits.dtype)


def over_examples(mapped: Callable[..., Any], logits: Tensor, targets: Tensor, seed: int) -> Tensor:
    """What a compiled JAX function of (keys, points [B, K], targets [B]) answers, a key for each example: [B, K]."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    keys = jax.random.split(jax.random.PRNGKey(seed), len(logits))
    return torch.from_numpy(np.array(mapped(keys, jnp.asarray(logits.numpy()), jnp.asarray(targets.numpy()))))


def optax_perturbations(
    logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int, baseline: bool = True
) -> Tensor:
    """optax.perturbations.make_perturbed_fun with Normal noise, mapped over the examples, a key each."""
    return over_examples(_optax(num_samples, noise_variance, baseline), logits, targets, seed)


@cache
def _optax(num_samples: int, noise_variance: float, baseline: bool) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp
    from optax import perturbations

    def judged(point: Any, target: Any) -> Any:
        return (jnp.argmax(point) == target).astype(point.dtype)

    def one(key: Any, point: Any, target: Any) -> Any:
        smooth = perturbations.make_perturbed_fun(
            partial(judged, target=target),
            num_samples,
            noise_variance**0.5,
            noise=perturbations.Normal(),
            use_baseline=baseline,
        )
        return jax.grad(lambda x: smooth(key, x))(point)

    return jax.jit(jax.vmap(one))


def torchopt_zero_order(
    logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int, method: str
) -> Tensor:
    """torchopt.diff.zero_order, example by example; its noise comes from torch's global state, which is seeded here."""
    import torchopt

    torch.manual_seed(seed)
    normal = torch.distributions.Normal(0.0, 1.0)
    wrap = torchopt.diff.zero_order.zero_order(
        normal, method=method, num_samples=num_samples, sigma=noise_variance**0.5
    )
    judged = wrap(hit)
    rows = []
    for point, target in zip(logits, targets, strict=True):
        leaf = point.clone().requires_grad_()
        judged(leaf, target).backward()
        rows.append(leaf.grad)
    return torch.stack(rows)


def evotorch_gaussian(
    logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int, symmetric: bool
) -> Tensor:
    """evotorch's gradient of the centre with raw fitness, example by example, divided as its PGPE divides it."""
    from evotorch.distributions import SeparableGaussian, SymmetricSeparableGaussian

    kind = SymmetricSeparableGaussian if symmetric else SeparableGaussian
    divided = "num_directions" if symmetric else "num_solutions"
    generator = torch.Generator().manual_seed(seed)
    sigma = torch.full(logits.shape[1:], noise_variance**0.5)
    rows = []
    for point, target in zip(logits, targets, strict=True):
        centred = kind({"mu": point, "sigma": sigma, "divide_mu_grad_by": divided})
        samples = centred.sample(num_samples, generator=generator)
        fitness = (samples.argmax(-1) == target).to(point.dtype)
        asked = {"objective_sense": "max", "ranking_method": "raw"}
        rows.append(centred.compute_gradients(samples, fitness, **asked)["mu"])
    return torch.stack(rows)


def evosax_open_es(
    logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int, shaped: bool
) -> Tensor:
    """One step of evosax's Open_ES with SGD at rate 1, which is minus its gradient; it minimises minus the hits."""
    return over_examples(_open_es(num_samples, noise_variance, shaped, logits.shape[1]), logits, targets, seed)


@cache
def _open_es(num_samples: int, noise_variance: float, shaped: bool, num_logits: int) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp
    import optax
    from evosax.algorithms import Open_ES
    from evosax.core.fitness_shaping import centered_rank_fitness_shaping_fn, identity_fitness_shaping_fn

    strategy = Open_ES(
        num_samples,
        jnp.zeros(num_logits),
        optimizer=optax.sgd(1.0),
        std_schedule=optax.constant_schedule(noise_variance**0.5),
        fitness_shaping_fn=centered_rank_fitness_shaping_fn if shaped else identity_fitness_shaping_fn,
    )
    params = strategy.default_params

    def one(key: Any, point: Any, target: Any) -> Any:
        state = strategy.init(key, point, params)
        samples, state = strategy.ask(key, state, params)
        fitness = -(jnp.argmax(samples, -1) == target).astype(point.dtype)
        moved, _ = strategy.tell(key, samples, fitness, state, params)
        return strategy.get_mean(moved) - point

    return jax.jit(jax.vmap(one))


def pyepo_perturbed(
    logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int, reduced: bool
) -> Tensor:
    """pyepo's perturbedOpt of the program "take the class of the largest logit", and the target's share of it."""
    import numpy as np
    from pyepo import EPO
    from pyepo.func import perturbedOpt
    from pyepo.model.opt import optModel

    class Largest(optModel):
        modelSense = EPO.MAXIMIZE

        def _getModel(self) -> tuple[None, list[int]]:
            return None, list(range(logits.shape[1]))

        def setObj(self, c: Any) -> None:
            self.costs = np.asarray(c)

        def solve(self) -> tuple[np.ndarray, float]:
            chosen = np.zeros(len(self.costs))
            chosen[self.costs.argmax()] = 1
            return chosen, float(self.costs.max())

    smooth = perturbedOpt(
        Largest(), n_samples=num_samples, sigma=noise_variance**0.5, seed=seed, variance_reduction=reduced
    )
    leaf = logits.clone().requires_grad_()
    smooth(leaf).gather(1, targets[:, None]).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


ADAPTERS: dict[str, tuple[Gradient, int]] = {
    "optax: make_perturbed_fun": (partial(optax_perturbations, baseline=False), 20_000),
    "optax: make_perturbed_fun, use_baseline": (partial(optax_perturbations, baseline=True), 20_000),
    "torchopt: zero_order, naive": (partial(torchopt_zero_order, method="naive"), 1000),
    "torchopt: zero_order, forward": (partial(torchopt_zero_order, method="forward"), 1000),
    "torchopt: zero_order, antithetic": (partial(torchopt_zero_order, method="antithetic"), 1000),
    "evotorch: SeparableGaussian": (partial(evotorch_gaussian, symmetric=False), 1000),
    "evotorch: SymmetricSeparableGaussian": (partial(evotorch_gaussian, symmetric=True), 1000),
    "evosax: Open_ES, no shaping": (partial(evosax_open_es, shaped=False), 20_000),
    "evosax: Open_ES, centered ranks": (partial(evosax_open_es, shaped=True), 20_000),
    "pyepo: perturbedOpt": (partial(pyepo_perturbed, reduced=False), 1000),
    "pyepo: perturbedOpt, variance_reduction": (partial(pyepo_perturbed, reduced=True), 1000),
}
"""Each with how many estimates of it a card is made from: those that go example by example are slow."""
