"""One update each of other libraries' evolution strategies, from a start and noise that esgrad has as well.

python benchmarks/updates.py tests/updates.json     in the environment of `make rivals`; a test holds esgrad to them
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch
from evosax.algorithms import SNES, Open_ES
from evotorch.distributions import ExpSeparableGaussian, SymmetricSeparableGaussian
from evotorch.optimizers import ClipUp

from esgrad.kernels.streams import Role, normals

SIZE, SAMPLES, SEED, STEP = 7, 12, 5, 3
RATE = 0.05
CENTRE = torch.linspace(-1, 1, SIZE)
SIGMA = torch.linspace(0.2, 0.8, SIZE)
SLOPE = torch.linspace(1, -2, SIZE)


def noise(pairs: bool) -> torch.Tensor:
    """The directions [N, d] of esgrad's seed and step, pairs one after the other."""
    drawn = normals([SEED], Role.NOISE, STEP, 0, SAMPLES // 2 if pairs else SAMPLES, 1, SIZE)[0, :, 0]
    return torch.stack([drawn, -drawn], 1).flatten(0, 1) if pairs else drawn


def fitness(points: torch.Tensor) -> torch.Tensor:
    """Any function of the points [N, d]: larger is better."""
    return points @ SLOPE - points.square().sum(-1)


def case(name: str, library: str, z: torch.Tensor, sigma: torch.Tensor, centre: Any, new_sigma: Any) -> dict[str, Any]:
    """What is kept of an update."""
    told = fitness(CENTRE + sigma * z)
    lists = {"fitness": told, "sigma": sigma, "new_centre": centre, "new_sigma": new_sigma}
    return {"name": name, "library": f"{library} {version(library)}"} | {
        key: [float(each) for each in value] for key, value in lists.items()
    }


def open_es(optimizer: str) -> dict[str, Any]:
    """evosax's Open_ES."""
    sigma, z = 0.3, noise(pairs=True)
    made = {"sgd": optax.sgd, "adam": optax.adam}[optimizer](RATE)
    strategy = Open_ES(SAMPLES, jnp.zeros(SIZE), optimizer=made, std_schedule=lambda _: sigma)
    key, params = jax.random.PRNGKey(0), strategy.default_params
    state = strategy.init(key, jnp.asarray(CENTRE.numpy()), params)
    points = CENTRE + sigma * z
    state, _ = strategy.tell(key, jnp.asarray(points.numpy()), -jnp.asarray(fitness(points).numpy()), state, params)
    whole = torch.full((SIZE,), sigma)
    return case(f"open_es {optimizer}", "evosax", z, whole, state.mean, whole)


def evosax_snes() -> dict[str, Any]:
    """evosax's SNES."""
    z = noise(pairs=False)
    strategy = SNES(SAMPLES, jnp.zeros(SIZE))
    key, params = jax.random.PRNGKey(0), strategy.default_params
    state = strategy.init(key, jnp.asarray(CENTRE.numpy()), params).replace(std=jnp.asarray(SIGMA.numpy()))
    points = CENTRE + SIGMA * z
    state, _ = strategy.tell(key, jnp.asarray(points.numpy()), -jnp.asarray(fitness(points).numpy()), state, params)
    return case("snes", "evosax", z, SIGMA, state.mean, state.std)


def evotorch_snes() -> dict[str, Any]:
    """EvoTorch's SNES: its distribution, with its default rates."""
    z = noise(pairs=False)
    at = ExpSeparableGaussian({"mu": CENTRE.clone(), "sigma": SIGMA.clone()})
    points = CENTRE + SIGMA * z
    gradients = at.compute_gradients(points, fitness(points), objective_sense="max", ranking_method="nes")
    rate = 0.2 * (3 + torch.log(torch.tensor(float(SIZE)))) / SIZE**0.5
    moved = at.update_parameters(gradients, learning_rates={"mu": 1.0, "sigma": float(rate)})
    return case("snes", "evotorch", z, SIGMA, moved.mu, moved.sigma)


def evotorch_pgpe() -> dict[str, Any]:
    """EvoTorch's PGPE: its distribution and ClipUp, and no σ moved by more than a fifth."""
    z = noise(pairs=True)
    words = {"divide_mu_grad_by": "num_directions", "divide_sigma_grad_by": "num_directions"}
    at = SymmetricSeparableGaussian({"mu": CENTRE.clone(), "sigma": SIGMA.clone(), **words})
    points = CENTRE + SIGMA * z
    gradients = at.compute_gradients(points, fitness(points), objective_sense="max", ranking_method="centered")
    climbs = ClipUp(solution_length=SIZE, dtype=torch.float32, stepsize=RATE)
    moved = at.update_parameters(gradients, learning_rates={"sigma": 0.1}, optimizers={"mu": climbs})
    return case("pgpe", "evotorch", z, SIGMA, moved.mu, moved.sigma.clamp(0.8 * SIGMA, 1.2 * SIGMA))


def main() -> None:
    """Write all of them."""
    cases = [open_es("sgd"), open_es("adam"), evosax_snes(), evotorch_snes(), evotorch_pgpe()]
    facts = {"size": SIZE, "samples": SAMPLES, "seed": SEED, "step": STEP, "rate": RATE, "centre": CENTRE.tolist()}
    Path(sys.argv[1]).write_text(json.dumps(facts | {"cases": cases}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
