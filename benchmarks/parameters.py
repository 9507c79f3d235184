"""Noise at the parameters: one generation of a population of 256 at a batch of 128, by esgrad and by its peers.

The network is 784-128-10 and the fitness the accuracy. The images have as many pixels that are never on as MNIST's. One
core against one core stands beside a forward pass of as many examples; all cores against all cores beside libraries.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from rounds import ratios
from torch import Tensor, nn

from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.key import Key
from esgrad.kernels import parallel
from esgrad.tasks.stack import Stack, initialised

BATCH, SIGMA, SHOWN = 128, 0.05, 527
"""Examples, the standard deviation of the noise, and pixels that some image of the batch has: MNIST's mean number."""
POPULATION = {"mlp": 256, "cnn": 16}
PLAIN = "a forward pass of all examples"
MIRRORED = "esgrad: mirrored, centered_ranks"


def task(model: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network, images and targets."""
    network = initialised(lambda: menu.load("models", model).build((1, 28, 28), 10, 128), 0)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, BATCH, 784, generator=generator)
    images[..., torch.randperm(784, generator=generator)[SHOWN:]] = 0
    return network, images.unflatten(-1, (1, 28, 28)), torch.arange(BATCH)[None] % 10


def ours(stack: Stack, images: Tensor, targets: Tensor, population: int, noise: str, shaping: str) -> Tensor:
    """A generation: all members asked, ranks, and what to ascend."""
    at = menu.load("spaces", "parameters").place(stack, images, targets, menu.load("blackboxes", "zero_one"))
    estimator = Estimator.of(noise, "noise", shaping, population)
    return estimator.gradient(at.fitness, at.point, at.point.new_tensor([SIGMA**2]), Key([0], 2, 1)).gradient


def forward(network: nn.Module, images: Tensor, pieces: int) -> None:
    """Predictions for as many examples as a generation judges, in some pieces."""
    with torch.inference_mode():
        for piece in images.chunk(pieces):
            network(piece).argmax(-1)


def on(threads: int, work: Callable[[], Any], by_members: bool = False) -> Callable[[], Any]:
    """The work on so many threads: torch's own, or ours that share members out."""

    def run() -> Any:
        torch.set_num_threads(1 if by_members else threads)
        if by_members:  # a pool once made is kept, as in a run
            parallel.use(threads)
        return work()

    return run


def evosax(stack: Stack, images: Tensor, targets: Tensor, population: int) -> Callable[[], Any]:
    """Open_ES of evosax, ask, fitness and tell compiled together."""
    import jax
    import jax.numpy as jnp
    import optax
    from evosax.algorithms import Open_ES

    names = ("w1", "b1", "w2", "b2")
    solution = {name: jnp.asarray(p[0].detach().numpy()) for name, p in zip(names, stack.parameters, strict=True)}
    x, y = jnp.asarray(images[0].flatten(1).numpy()), jnp.asarray(targets[0].numpy())
    strategy = Open_ES(
        population_size=population, solution=solution, optimizer=optax.adam(0.01), std_schedule=lambda _: SIGMA
    )

    def accuracy(p: Any) -> Any:
        hidden = jax.nn.relu(x @ p["w1"].T + p["b1"])
        return ((hidden @ p["w2"].T + p["b2"]).argmax(-1) == y).mean()

    @jax.jit
    def generation(key: Any, state: Any) -> Any:
        asked, state = strategy.ask(key, state, strategy.default_params)
        state, _ = strategy.tell(key, asked, -jax.vmap(accuracy)(asked), state, strategy.default_params)
        return state

    key = jax.random.PRNGKey(0)
    state = strategy.init(key, solution, strategy.default_params)
    return lambda: jax.block_until_ready(generation(key, state))


def evotorch(stack: Stack, images: Tensor, targets: Tensor, population: int) -> Callable[[], Any]:
    """PGPE of EvoTorch, the networks as one batched product."""
    from evotorch import Problem
    from evotorch.algorithms import PGPE
    from evotorch.decorators import vectorized

    size, flat, labels = stack.flat().shape[1], images[0].flatten(1), targets[0]

    @vectorized
    def accuracy(solutions: Tensor) -> Tensor:
        weight, bias, last, end = solutions.split([784 * 128, 128, 1280, 10], 1)
        hidden = torch.baddbmm(
            bias[:, None], flat.expand(len(solutions), -1, -1), weight.unflatten(1, (784, 128))
        ).relu()
        logits = torch.baddbmm(end[:, None], hidden, last.unflatten(1, (128, 10)))
        return (logits.argmax(-1) == labels).float().mean(-1)

    problem = Problem("max", accuracy, solution_length=size, initial_bounds=(-0.05, 0.05), dtype=torch.float32)
    searcher = PGPE(
        problem,
        popsize=population,
        center_learning_rate=0.01,
        stdev_learning_rate=0.1,
        stdev_init=SIGMA,
        symmetric=True,
    )
    return searcher.step


def rows(num_rounds: int) -> Iterator[dict]:
    """One core and all of them."""
    cores = os.cpu_count() or 1
    for model, population in POPULATION.items():
        network, images, targets = task(model)
        at = Stack([network]), images, targets, population
        facts = {"bench": "parameters", "model": model, "N": population, "B": BATCH}
        examples = images[0].repeat(population, 1, 1, 1)
        if model == "cnn":  # the faster way for it
            network, examples = (each.to(memory_format=torch.channels_last) for each in (network, examples))
        plain = {
            PLAIN: partial(forward, network, examples, 1),
            "the same in slices of 2,048": partial(forward, network, examples, -(-len(examples) // 2048)),
        }
        own = {
            MIRRORED: partial(ours, *at, "mirrored", "centered_ranks"),
            "esgrad: independent, z_score": partial(ours, *at, "independent", "z_score"),
            "esgrad: low_rank, centered_ranks": partial(ours, *at, "low_rank", "centered_ranks"),
        }
        for threads in sorted({1, cores}):
            contestants = {name: on(threads, work) for name, work in plain.items()}
            contestants |= {name: on(threads, work, by_members=True) for name, work in own.items()}
            if model == "mlp" and threads == cores:  # they take all
                contestants |= {"evosax: Open_ES, jit": evosax(*at), "EvoTorch: PGPE": on(cores, evotorch(*at))}
            for row in ratios(contestants, PLAIN, num_rounds):
                yield facts | {"threads": threads} | row
