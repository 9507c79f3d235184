"""What a training to a target costs, by the noise of its gradient (arXiv 1812.06162): S = S_min (1 + B_noise/B) steps.

An estimate at the logits adds its own noise to that of the data, as `theory.batch_variance` says:

    B_noise(N)  =  B_data + B_ES(N)          B_data = tr Var_b ∇_b / |G|²,   G the gradient of all the data
    B_ES(N)     =  E tr Var g / |G|²  =  ρ(N) (1 + B_data)
    price       =  S B (c_forward + N c_query)

with ρ(N) = E tr Var g / E|E g|² the relative variance that the laws give at some logits, as E|∇_b|²/|G|² = 1 + B_data;
the chain rule is taken to leave it as it is. S_min is one objective's own (exact ∇p takes more steps than exact
∇log p), so prices compare within an objective only.

B trades price for speed: both grow with it, and at B = B_noise steps and price are twice the least there are. That B is
planned unless one is given. For raw weights N ρ is one number, and the price is then least at
N* = √(c_forward N ρ (1 + B_data)/(c_query B_data)), at a given B with B + B_data for the last.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

MIN_STEPS = 1000.0
DATA_NOISE_SCALE = 100.0
"""Assumed where nothing is said; the answer prints both, and what half and twice the second would cost."""
NEAR = 1.1  # a price that much above the least counts as flat
DENSE = 1.05  # from an N looked at to the next
FAR = 4.0  # a price so many times the least ends the search
FARTHEST = 1e15  # the largest N looked at


class Terms(NamedTuple):
    """What is asked: prices of a query and of an example's forward pass (its backward pass included), S_min, B_data."""

    query_cost: float
    forward_cost: float
    min_steps: float
    data_noise_scale: float
    batch_size: int | None


class Price(NamedTuple):
    """A training: N, B, the noise scale B_noise, and what it takes until the target."""

    num_samples: int
    batch_size: int
    noise_scale: float
    steps: float
    queries: float
    forwards: float
    price: float


def price(terms: Terms, num_samples: int, relative_variance: float) -> Price:
    """The training with N samples, whose relative variance is ρ(N); B as given, or B_noise. Infinite if ρ is."""
    noise_scale = terms.data_noise_scale + relative_variance * (1 + terms.data_noise_scale)
    batch_size = terms.batch_size or (max(1, round(noise_scale)) if noise_scale < math.inf else 1)
    steps = terms.min_steps * (1 + noise_scale / batch_size)
    forwards = steps * batch_size
    queries = forwards * num_samples
    total = queries * terms.query_cost + forwards * terms.forward_cost
    return Price(num_samples, batch_size, noise_scale, steps, queries, forwards, total)


def cheapest(
    terms: Terms, relative_variance: Callable[[int], float], allowed: Callable[[int], int]
) -> tuple[Price, tuple[int, int]]:
    """The training of least price over the N that are allowed, and the ends of the N within a tenth of it.

    ValueError where N up to FARTHEST do not show the least.
    """
    looked: dict[int, Price] = {}

    def at(num_samples: int) -> float:
        count = allowed(max(1, num_samples))
        if count not in looked:
            looked[count] = price(terms, count, relative_variance(count))
        return looked[count].price

    place, least = 1.0, math.inf
    while place < FARTHEST:
        here = at(int(place))
        least = min(least, here)
        if here > FAR * least:
            break
        place = max(place + 1, place * DENSE)
    else:
        if least < math.inf:
            raise ValueError(
                f"the least price lies beyond N = {FARTHEST:.0e}, where the search ends: a query_cost larger than"
                f" {terms.query_cost:g} beside a forward_cost of {terms.forward_cost:g}, fewer logits or num_samples"
                " would do"
            )
    best = min(looked, key=lambda count: looked[count].price)
    low, high = int(best / DENSE) - 1, int(best * DENSE) + 1
    while high - low > 2:  # thirds: the price falls, then rises
        third = max(1, (high - low) // 3)
        low, high = (low + third, high) if at(low + third) > at(high - third) else (low, high - third)
    best = min(looked, key=lambda count: looked[count].price)
    near = [count for count in looked if looked[count].price <= NEAR * looked[best].price]
    return looked[best], (min(near), max(near))
