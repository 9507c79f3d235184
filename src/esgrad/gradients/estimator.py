"""An estimator of the gradient of any fitness: a noise, a credit, a shaping and N.

    gradient  =  (1/σ) Σ_n w_n(f) s_n          f_n = fitness(x + σz_n)

Noise and credit say which samples are asked and what each is credited with, s; the shaping makes weights w of what was
said. In these words the lecture's estimate is independent × noise × raw, OpenAI's (arXiv 1703.03864) mirrored × noise ×
centered_ranks, and REINFORCE gumbel × class × raw.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from esgrad import menu
from esgrad.gradients.credits import Asked, Credit, Tally
from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.gradients.shapings import CountsLaw, Shaping, has_counts_law
from esgrad.types import Tensor


class Estimate(NamedTuple):
    """What is known of a gradient after asking."""

    gradient: Tensor
    """[R, M, D], to be ascended."""
    mean_fitness: Tensor
    """The mean over the samples and positions, [R]; NaN where none were drawn."""
    queries: int
    """Examples judged for each run."""
    log_sigma: Tensor | None = None
    """The same for ln σ, [R, M, D], where it was asked for."""


def of_tally(law: CountsLaw, tally: Tally, num_samples: int) -> Tensor:
    """The gradient [R, M, D] that a law of counts makes of N samples."""
    return tally.total(*law.of_counts(tally.hits, num_samples - tally.hits))


def of_asked(shaping: Shaping, asked: Asked) -> Tensor:
    """The gradient [R, M, D] that a shaping makes of what was said of each sample."""
    return asked.total(weights_of(shaping, asked))


def weights_of(shaping: Shaping, asked: Asked, break_ties: bool = False) -> Tensor:
    """The weights [R, N, M] of what was said of each sample; `break_ties` as in `Estimator`."""
    # A position's samples lie side by side: torch then orders a sum over them without regard to other positions.
    fitness = asked.fitness.movedim(1, -1).contiguous()
    if break_ties:
        fitness = fitness.argsort(stable=True, dim=-1).argsort(-1).to(fitness.dtype) + 0 * fitness  # a NaN stays one
    return shaping.weights(fitness.movedim(-1, 1), asked.norms)


@dataclass(frozen=True)
class Estimator:
    """Noise × credit × shaping with N samples."""

    noise: Noise
    credit: Credit
    shaping: Shaping
    num_samples: int
    break_ties: bool = False
    """Whether equal fitness is put into an order, that of the samples, as in the code of arXiv 1703.03864.

    Weights by rank then differ where nothing was said, and the point drifts.
    """
    sigma_power: int = -1
    """The power of σ before the sum Σ w s: −1 makes it a gradient, 0 is that code's, 1 the natural gradient's."""

    @staticmethod
    def of(noise: str, credit: str, shaping: str, num_samples: int) -> "Estimator":
        """The estimator of these words; ValueError, with the nearest known one, for a word nobody knows."""
        words = menu.load("noises", noise), menu.load("credits", credit), menu.load("shapings", shaping)
        return Estimator(*words, num_samples)

    def gradient(self, fitness: Any, point: Tensor, variance: Tensor, key: Key, log_sigma: bool = False) -> Estimate:
        """Estimate how to change the point so that the fitness under noise grows.

        Args:
            fitness: an `esgrad.gradients.fitness.Fitness`; it takes Points and gives [R, n, M].
            point: [R, M, D], R = S·G runs, seed by seed; M positions with noise and weights of their own.
            variance: t, [R] or per position [R, M], in units of the point squared.
            key: runs of one seed share their noise.
            log_sigma: whether to estimate that of ln σ as well; for noise at the parameters.

        Returns:
            The estimate [R, M, D] with its price. Chunks, the rest of the stack and the device change no bit of it.
        """
        queries = self.num_samples * fitness.examples
        if fitness.facts.binary and has_counts_law(self.shaping) and not self.break_ties:
            law: CountsLaw = self.shaping  # type: ignore[assignment]
            tally = self.credit.tally(self.noise, fitness, point, variance, key, law.WEIGHS_MISSES)
            tally.grow(self.num_samples, last=True)
            share = tally.hits.mean(1) / self.num_samples
            gradient = self._scaled(of_tally(law, tally, self.num_samples), variance)
            return Estimate(gradient, share.to(point.dtype), queries)
        asked: Any = self.credit.ask(self.noise, self.num_samples, fitness, point, variance, key)
        weights = weights_of(self.shaping, asked, self.break_ties)
        gradient = self._scaled(asked.total(weights), variance)
        learnt = asked.log_sigma(weights) if log_sigma else None
        return Estimate(gradient, asked.fitness.mean((1, 2)), queries, learnt)

    def _scaled(self, gradient: Tensor, variance: Tensor) -> Tensor:
        """A gradient [R, M, D] times as much σ as the power asks for."""
        if self.sigma_power == -1:
            return gradient
        scale = variance.sqrt() ** (self.sigma_power + 1)
        return gradient * scale.view(*variance.shape, *[1] * (3 - variance.dim()))

    def expects(self, logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor | None:
        """The exact mean [R, B, K] for isequal(argmax, y) at logits [R, B, K], or None: a shaped objective."""
        if self.break_ties or self.sigma_power != -1:
            return None
        value = self.noise.EXACT.p.value(logits, targets, variance)
        promised = [self.shaping.expects(self.noise, p, self.num_samples) for p in value.flatten().tolist()]
        if promised[0] is None:
            return None
        factor = value.new_tensor([pair[1] for pair in promised if pair is not None]).view(*value.shape, 1)
        return factor * promised[0][0].gradient(logits, targets, variance)

    def refuses(self, facts: Facts, dimension: int) -> str | None:
        """Why this estimates nothing useful of a fitness with these facts at D coordinates, or None."""
        if self.break_ties and not self.shaping.BY_RANK:
            name = menu.name(self.shaping)
            return f"break_ties orders samples of equal rank, which {name} does not look at: centered_ranks would do"
        if self.shaping.NEEDS_NONNEGATIVE and not facts.nonnegative:
            return f"{menu.name(self.shaping)} descends on fitness that can be negative, as {facts.name}'s can"
        return (
            self.noise.refuses(self.num_samples, dimension)
            or self.shaping.refuses(self.noise, self.num_samples)
            or self.credit.refuses(self.noise, facts)
        )
