"""Plans for noise at the logits: equal ones, as at a network's start, or those of a network at hand."""

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from esgrad import theory
from esgrad.planning.estimator import MOST, Estimator, best_variance, scan, with_laws
from esgrad.planning.price import Price, Terms, cheapest, price
from esgrad.theory.example import Place

COSINE, NOISE, SHAPING, VARIANCE = 0.5, "independent", "raw", 1.0
"""Defaults; noise and shaping are the lecture's."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
DOUBT = 2.0
"""A price is also given for a B_data so many times smaller and larger than assumed."""


class Option(NamedTuple):
    """One way to train, and the ends of the N that cost at most a tenth more (None where N was given)."""

    estimator: Estimator
    variance: float
    price: Price
    flat: tuple[int, int] | None


@dataclass(frozen=True)
class LogitsPlan:
    """K equal logits, or logits [B, K] with targets [B], and what is planned there."""

    num_logits: int
    logits: Tensor | None = None
    targets: Tensor | None = None

    def answer(
        self,
        noise: str | None,
        shaping: str | None,
        variance: float | None,
        cosine: float | None,
        num_samples: int | None,
    ) -> dict[str, Any]:
        """N for the cosine, or the cosine of N; for real logits each example's, and the t that takes fewest samples."""
        of, t = Estimator(_or(noise, NOISE), _or(shaping, SHAPING)), _or(variance, VARIANCE)
        if num_samples is not None:
            return self._bought(of, t, num_samples)
        goal = _or(cosine, COSINE)
        better = self._better(of, t, goal)
        count = of.num_samples(self._place(t), goal)
        if count is None:
            best = better.get("best_num_samples")
            would_do = f"noise_variance {better['best_noise_variance']:g}" if best else "a smaller cosine"
            raise ValueError(
                f"no N up to {MOST:.0e} gives {of.noise} × {of.shaping} a mean cosine of {goal:g} here at "
                f"noise_variance {t:g}: {would_do} would do"
            )
        return self._bought(of, t, count) | better

    def priced(
        self,
        terms: Terms,
        noise: str | None,
        shaping: str | None,
        variance: float | None,
        cosine: float | None,
        num_samples: int | None,
    ) -> dict[str, Any]:
        """The cheapest training: its N, B, shaping and t where they are not given, its price and how sure that is."""
        pairs = [pair for pair in with_laws() if noise in (None, pair[0]) and shaping in (None, pair[1])]
        tried = [Estimator(*pair) for pair in pairs or [(_or(noise, NOISE), _or(shaping, SHAPING))]]
        given = {"noise": noise, "shaping": shaping, "noise_variance": variance, "batch_size": terms.batch_size}
        given["num_samples"] = num_samples if cosine is None else cosine
        made = (self._option(terms, of, variance, cosine, num_samples) for of in tried)
        options = [option for option in made if option is not None]
        if not options:
            asked = "noise that moves no example" if num_samples is None else f"num_samples {num_samples}"
            asked = asked if cosine is None else f"a cosine of {cosine}"
            words = ", ".join(f"{of.noise} × {of.shaping}" for of in tried)
            raise ValueError(
                f"{asked} has no price with {words}: a larger t, another N (even if mirrored) or a smaller cosine would"
            )
        best = min(options, key=lambda option: option.price.price)
        answer = self._bought(best.estimator, best.variance, best.price.num_samples)
        rho = answer["relative_variance"]
        doubts = [terms.data_noise_scale / DOUBT, terms.data_noise_scale * DOUBT]
        fixed = terms._replace(batch_size=best.price.batch_size)
        low, high = (
            price(fixed._replace(data_noise_scale=scale), best.price.num_samples, rho).price for scale in doubts
        )
        return (
            answer
            | best.price._asdict()
            | {"price_low": low, "price_high": high, "num_samples_within_tenth": best.flat}
            | {name: value for name, value in terms._asdict().items() if name != "batch_size"}
            | {"chosen": [name for name, value in given.items() if value is None]}
            | {"alternatives": [_alternative(option) for option in options]}
        )

    def _place(self, variance: float) -> Place:
        if variance not in self._places:
            if self.logits is None or self.targets is None:
                self._places[variance] = theory.level_place(self.num_logits, variance)
            else:
                self._places[variance] = theory.place(self.logits, self.targets, variance)
        return self._places[variance]

    @cached_property
    def _places(self) -> dict[float, Place]:
        return {}

    def _bought(self, of: Estimator, variance: float, num_samples: int) -> dict[str, Any]:
        """What N samples give."""
        if reason := of.refuses(num_samples, self.num_logits):
            raise ValueError(reason)
        place = self._place(variance)
        relative = of.relative_variance(place, num_samples)
        found = {
            "num_samples": num_samples,
            "cosine": of.cosine(place, num_samples),
            "rms_cosine": of.rms_cosine(place, num_samples),
            "gradient_variance": float(of.variance(place, num_samples).mean()),
            "gradient_variance_unit": "1/logits²",
            "relative_variance": relative if isfinite(relative) else None,
            "space": "logits",
            "noise": of.noise,
            "shaping": of.shaping,
            "noise_variance": variance,
            "logit_dim": self.num_logits,
        }
        if self.logits is None:
            return found
        each = of.cosine_each(place, num_samples)
        return found | {"num_examples": len(self.logits), "cosine_quantiles": _quantiles(each)}

    def _better(self, of: Estimator, variance: float, cosine: float) -> dict[str, Any]:
        """Of real logits: N of each example, and the t that takes fewest samples, with its N."""
        if self.logits is None:
            return {}
        each = of.num_samples_each(self._place(variance), cosine)
        best = self._best_variance(of, cosine)
        return {
            "num_samples_quantiles": _quantiles(each),
            "best_noise_variance": best,
            "best_num_samples": of.num_samples(self._place(best), cosine),
        }

    def _best_variance(self, of: Estimator, cosine: float) -> float:
        return best_variance(of, self._scanned, cosine) if self._scanned else VARIANCE

    @cached_property
    def _scanned(self) -> list[tuple[float, Place]]:
        return [] if self.logits is None or self.targets is None else scan(self.logits, self.targets)

    def _option(
        self, terms: Terms, of: Estimator, variance: float | None, cosine: float | None, num_samples: int | None
    ) -> Option | None:
        """The training with this estimator: N as given, for the cosine or of least price; None where it cannot be."""
        variance = self._best_variance(of, _or(cosine, COSINE)) if variance is None else variance
        place = self._place(variance)
        if cosine is None and num_samples is None:
            found, flat = cheapest(
                terms,
                lambda count: of.relative_variance(place, count),
                lambda count: of.allowed(count, self.num_logits),
            )
            return Option(of, variance, found, flat) if isfinite(found.price) else None
        count = num_samples if cosine is None else of.num_samples(place, cosine)
        if count is None or of.refuses(count, self.num_logits):
            return None
        found = price(terms, count, of.relative_variance(place, count))
        return Option(of, variance, found, None) if isfinite(found.price) else None


def _alternative(option: Option) -> dict[str, Any]:
    of, found = option.estimator, option.price
    named = {"noise": of.noise, "shaping": of.shaping, "noise_variance": option.variance}
    return named | {"num_samples": found.num_samples, "batch_size": found.batch_size, "price": found.price}


def _quantiles(values: Tensor) -> dict[str, float | None]:
    """Of numbers [E], by share; None where a number is beyond the law."""
    found = torch.quantile(values, torch.tensor(QUANTILES, dtype=values.dtype), interpolation="higher").tolist()
    return {str(share): value if value < float("inf") else None for share, value in zip(QUANTILES, found, strict=True)}


def _or(value: Any, default: Any) -> Any:
    """The value, or the default where nothing is said."""
    return default if value is None else value
