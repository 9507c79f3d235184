"""One estimator at some places, asked what N buys and what it takes: whole N, which the noise and the shaping allow.

The laws (`esgrad.laws`) know one example and any real N. Here the examples of a batch count
alike: the cosine is the mean over them of the expected one, and N the smallest at which that is what was asked for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients.credits import Credit
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.gradients.noises import Noise
from esgrad.gradients.shapings import Shaping
from esgrad.laws import Place
from esgrad.laws.gaussian import EXACT_UP_TO
from esgrad.planning.box import Box, drawn

MOST = 10**18
"""More samples than this are not asked for: the laws' sums over hits have no digits left."""
FEW = 1000  # samples, up to which the limit for large N is not relied on
SCANNED = 8_000  # logits looked at for each t
PREFERRED = ("log p", "p")
"""What a price prefers to ascend, where several shapings would do; then come the others by name."""


@dataclass(frozen=True)
class Prospect:
    """A noise, a credit and a shaping at a box's 0/1 fitness; `of` refuses those without laws."""

    noise: Noise
    credit: Credit
    shaping: Shaping
    box: Box

    @staticmethod
    def of(noise: str, credit: str, shaping: str, box: Box) -> "Prospect":
        """Of these words; ValueError, naming those that have laws, where one is missing."""
        parts = menu.load("noises", noise), menu.load("credits", credit), menu.load("shapings", shaping)
        made = Prospect(*parts, box)
        if not made.has_laws():
            raise ValueError(f"no law is known for {made} at the logits; known: {known_laws(box)}")
        return made

    def __str__(self) -> str:
        credit = "" if menu.name(self.credit) == "noise" else f"{menu.name(self.credit)} × "
        return f"{menu.name(self.noise)} × {credit}{menu.name(self.shaping)}"

    @property
    def words(self) -> dict[str, str]:
        """Its names, by menu word."""
        return {key: menu.name(getattr(self, key)) for key in ("noise", "credit", "shaping")}

    def has_laws(self) -> bool:
        """Whether variance and cosine are both known."""
        parts = (self.noise, self.credit, self.shaping)
        known = theory.has_law(*parts) and theory.has_direction(*parts)
        return known and self.box.has_place(self.noise, self.credit)

    def reaches(self) -> bool:
        """Whether its place is known at any logits, not equal ones alone: of Gaussian noise's class up to some K."""
        few = self.box.logit_dim <= EXACT_UP_TO
        return few or not self.credit.OF_CLASSES or self.noise.FAMILY != "gaussian"

    @property
    def objective(self) -> str:
        """What it ascends with many samples; the steps to a target differ between objectives."""
        return self.shaping.ASCENDS or menu.name(self.shaping)

    def place(self, logits: Tensor, targets: Tensor, variance: float) -> Place:
        """The place of logits [B, D] with targets [B]."""
        return self.box.place(self.noise, self.credit, logits, targets, variance)

    def level_place(self, variance: float) -> Place:
        """The place of equal logits."""
        return self.box.level_place(self.noise, self.credit, variance)

    def allowed(self, num_samples: int) -> int:
        """The smallest N from `num_samples` on that noise and shaping do not refuse."""
        for count in range(num_samples, num_samples + 3):
            if (reason := self.refuses(count)) is None:
                return count
        raise ValueError(reason)

    def refuses(self, num_samples: int) -> str | None:
        """Why N samples are no estimate, or None."""
        estimator = Estimator(self.noise, self.credit, self.shaping, num_samples)
        return estimator.refuses(Facts.of(self.box.judge), self.box.dimension)

    def cosine(self, place: Place, num_samples: int) -> float:
        """E cos to the exact gradient, the mean over the examples of a place [...]."""
        return float(self.cosine_each(place, num_samples).mean())

    def cosine_each(self, place: Place, num_samples: int) -> Tensor:
        """E cos of each example [...]."""
        return theory.mean_cosine(self.shaping, place, num_samples)

    def rms_cosine(self, place: Place, num_samples: int) -> float:
        """√E cos², the mean over the examples under the root."""
        return math.sqrt(theory.squared_cosine(self.shaping, place, num_samples).mean())

    def variance(self, place: Place, num_samples: int) -> Tensor:
        """tr Var g of each example [...], in units of 1/logits²."""
        return theory.gradient_variance(self.shaping, place, num_samples)

    def relative_variance(self, place: Place, num_samples: int) -> float:
        """Σ tr Var g / Σ |E g|² over the examples: the noise of an estimate in units of what it estimates.

        Infinite where all |E g|² are too small for a float64.
        """
        mean = float((self.mean_share(place, num_samples).square() * place.slope).sum())
        return float(self.variance(place, num_samples).sum()) / mean if mean > 0 else math.inf

    def num_samples(self, place: Place, cosine: float, *, of_mean: bool = True) -> int | None:
        """The smallest allowed N with that mean cosine over the examples, or with that root mean square of it; None
        where MOST would not do."""
        bought = self.cosine if of_mean else self.rms_cosine
        fewest = self.allowed(1)
        apart = self.allowed(fewest + 1) - fewest
        guess = _mean_needed(self.long_run_ratio(place), cosine)
        found = first(
            lambda index: bought(place, fewest + apart * index) >= cosine,
            int(min(guess, MOST) / apart),
            MOST // apart,
        )
        return None if found is None else fewest + apart * found

    def num_samples_each(self, place: Place, cosine: float) -> Tensor:
        """N of each example [E] alone, a real number; infinite beyond what the law can tell."""
        return theory.samples_needed(self.shaping, place, cosine, of_mean=True)

    def long_run_ratio(self, place: Place) -> Tensor:
        """N tr Var g/|E g|² [...] at large N, where N ≈ c²/(1−c²) times this; may be inf."""
        p, known = place.probability, place.hit_variance
        if getattr(self.shaping, "WEIGHS_MISSES", False) and place.trials == 1:  # a centre is then p
            return (theory.baseline_variance(place, p, 1) / (p * p * place.slope)).nan_to_num(torch.inf, torch.inf)
        ratio = (known + place.miss * place.slope) / (p * place.slope) / place.trials
        return ratio.nan_to_num(torch.inf, torch.inf)

    def mean_share(self, place: Place, num_samples: int) -> Tensor:
        """What the gradient of a place is multiplied by in the mean of the estimate, [...]."""
        return theory.mean_share(self.shaping, place, num_samples)


def with_laws(box: Box) -> list[Prospect]:
    """All that have laws there for both the variance and the cosine, the lecture's noise and credit first."""
    menus = (menu.names("noises"), menu.names("credits"), menu.names("shapings"))
    loaded = [
        [menu.load(folder, name) for name in names]
        for folder, names in zip(("noises", "credits", "shapings"), menus, strict=True)
    ]
    made = (Prospect(noise, credit, shaping, box) for noise, credit, shaping in product(*loaded))
    found = [each for each in made if each.has_laws()]
    return sorted(found, key=lambda made: (made.words["credit"] != "noise", made.words["noise"] != "independent"))


def known_laws(box: Box) -> str:
    """All that have laws there in words: the samples, then the shapings that serve them."""
    shapings: dict[str, list[str]] = {}
    for made in with_laws(box):
        samples, _, shaping = str(made).rpartition(" × ")
        shapings.setdefault(samples, []).append(shaping)
    alike: dict[str, list[str]] = {}
    for samples, each in shapings.items():
        alike.setdefault(", ".join(each), []).append(samples)
    return "; ".join(f"{each} with {' or '.join(samples)}" for each, samples in alike.items())


def first(enough: Callable[[int], bool], guess: int, last: int) -> int | None:
    """The smallest whole number from 0 on that is enough, near a guess; None where `last` is not."""
    low, high, stride = -1, min(guess, last), max(1, guess // 8)  # `low` is not enough
    while not enough(high):
        if high == last:
            return None
        low, high, stride = high, min(high + stride, last), 2 * stride
    stride = max(1, high // 8)
    while (below := high - stride) > low and enough(below):
        high, stride = below, 2 * stride
    low = max(low, below)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def scan(of: Prospect, logits: Tensor, targets: Tensor, own: float) -> list[tuple[float, Place]]:
    """Logits [B, D] under noise of t from 1/100 to 1,000 times their spread squared, a quarter of a decade apart.

    The first is `own`, the t at hand.

    The spread is the root mean square of the standard deviation of an example's logits; where it is 0, every t is the
    same and there is nothing to scan. Of many examples some stand for all.
    """
    spread = float(logits.double().var(-1, correction=0).mean())
    if not spread > 0:
        return []
    some = drawn(len(logits), max(8, SCANNED // logits.shape[1]))
    tried = [float(f"{spread * 10 ** (quarter / 4):.2g}") for quarter in range(-8, 13)]
    return [(variance, of.place(logits[some], targets[some], variance)) for variance in (own, *tried)]


def best_variance(of: Prospect, scanned: list[tuple[float, Place]], cosine: float) -> float:
    """The t of a scan at which fewest samples give that mean cosine to the t's own exact gradient.

    The law's limit for large N tells, and where it says few samples the law itself.
    """

    def needed(place: Place) -> float:
        many = _mean_needed(of.long_run_ratio(place), cosine)
        exact = of.num_samples(place, cosine) if many < FEW else None
        return many if exact is None else exact

    return min(scanned, key=lambda each: needed(each[1]))[0]


def _mean_needed(ratio: Tensor, cosine: float) -> float:
    """N, a real number, at which the mean of (1 + ratio/N)^(−½) is the cosine: the law's limit for large N."""
    low, high = 0.0, math.log(2 * MOST)
    for _ in range(60):
        middle = 0.5 * (low + high)
        enough = float((1 + ratio / math.exp(middle)).rsqrt().mean()) >= cosine
        low, high = (low, middle) if enough else (middle, high)
    return math.exp(high)
