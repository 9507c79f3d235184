"""Plans for noise at the logits: equal ones, as at a network's start, or those of a network at hand."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from esgrad import menu
from esgrad.laws import Place
from esgrad.planning.box import MOST_EXAMPLES, Box, drawn
from esgrad.planning.price import Price, Terms, cheapest, price
from esgrad.planning.prospect import MOST, PREFERRED, Prospect, best_variance, scan, with_laws
from esgrad.training.method import LECTURE

COSINE, VARIANCE = 0.5, 1.0
NOISE, CREDIT, SHAPING = (LECTURE[key] for key in ("noise", "credit", "shaping"))
"""Defaults."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MOST_COSINE = 0.9999
"""The laws' integrals have an error below 1e-6: 6 % of what this lacks of 1."""
MOST_LOGITS = 10**6
"""So many logits in all stand for the rest: N takes seconds."""
SURE = 1e-9
"""A chance of a miss below which a gradient is lost because the logits lead, and not because it is 0."""
NOTHING = 1e-20
"""Of a squared gradient, in units of the largest: below is what rounding leaves of 0."""
DOUBT = 2.0
"""A price is also given for a B_data so many times smaller and larger than assumed."""


class Asked(NamedTuple):
    """What is asked of an estimator, as far as it is said: its words, t, and a cosine or N."""

    noise: str | None
    credit: str | None
    shaping: str | None
    variance: float | None
    cosine: float | None
    num_samples: int | None


class Option(NamedTuple):
    """One way to train, and the ends of the N that cost at most a tenth more (None where N was given)."""

    prospect: Prospect
    variance: float
    price: Price
    flat: tuple[int, int] | None


@dataclass(frozen=True)
class LogitsPlan:
    """A box at equal logits, or at logits [E, D] with targets [E] of some of B examples, and what is planned there."""

    box: Box
    logits: Tensor | None = None
    targets: Tensor | None = None
    num_examples: int = 0

    @classmethod
    def of(cls, box: Box, logits: Tensor, targets: Tensor) -> "LogitsPlan":
        """The plan of logits [B, D] with targets [B]; of many examples some, drawn at random, stand for all."""
        some = drawn(len(logits), max(8, min(MOST_EXAMPLES, MOST_LOGITS // box.dimension)))
        return cls(box, logits[some], targets[some], len(logits))

    def answer(self, asked: Asked) -> dict[str, Any]:
        """N for the cosine, or the cosine of N; for real logits each example's, and what another t would take."""
        words = _or(asked.noise, NOISE), _or(asked.credit, CREDIT), _or(asked.shaping, SHAPING)
        of = Prospect.of(*words, self.box)
        t = _or(asked.variance, VARIANCE)
        if asked.num_samples is not None:
            return self._bought(of, t, asked.num_samples)
        goal = _goal(asked.cosine)
        count = of.num_samples(self._place(of, t), goal)
        if count is None:
            raise ValueError(self._out_of_reach(of, t, goal))
        return self._bought(of, t, count) | self._examples(of, t, goal)

    def priced(self, terms: Terms, asked: Asked) -> dict[str, Any]:
        """The cheapest training: its N, B and shaping where they are not given, its price and how sure that is."""
        if asked.cosine is not None:
            _goal(asked.cosine)
        tried = self._comparable(asked)
        given = {"noise": asked.noise, "shaping": asked.shaping, "noise_variance": asked.variance}
        given |= {"batch_size": terms.batch_size, "num_samples": _or(asked.cosine, asked.num_samples)}
        t = _or(asked.variance, VARIANCE)
        options = self._options(terms, tried, t, asked)
        if not options:
            raise ValueError(self._no_price(tried, t, asked))
        best = min(options, key=_price_of)
        answer = self._bought(best.prospect, best.variance, best.price.num_samples)
        rho = answer["relative_variance"]
        doubts = [terms.data_noise_scale / DOUBT, terms.data_noise_scale * DOUBT]
        fixed = terms._replace(batch_size=best.price.batch_size)
        low, high = (
            price(fixed._replace(data_noise_scale=scale), best.price.num_samples, rho).price for scale in doubts
        )
        return (
            answer
            | best.price._asdict()
            | {"objective": best.prospect.objective, "objective_share": self._share(best)}
            | {"price_low": low, "price_high": high, "num_samples_within_tenth": best.flat}
            | {name: value for name, value in terms._asdict().items() if name != "batch_size"}
            | {"chosen": [name for name, value in given.items() if value is None]}
            | {"alternatives": [_alternative(option) for option in options]}
            | {"cheaper_credit": self._cheaper_credit(terms, best, t, asked)}
        )

    def _comparable(self, asked: Asked) -> list[Prospect]:
        """Those that fit what is asked and have a law, all of one objective: S_min is its own, so prices compare only
        there."""
        credit = _or(asked.credit, CREDIT)
        tried = self._fitting(asked, credit)
        tried = tried or [Prospect.of(_or(asked.noise, NOISE), credit, _or(asked.shaping, SHAPING), self.box)]
        objective = min((of.objective for of in tried), key=_preference)
        return [of for of in tried if of.objective == objective]

    def _fitting(self, asked: Asked, credit: str) -> list[Prospect]:
        """Those that have a law here, of this credit and of the noise and the shaping that are asked for."""
        wanted = {"noise": asked.noise, "credit": credit, "shaping": asked.shaping}
        known = (of for of in with_laws(self.box) if self.logits is None or of.reaches())
        return [of for of in known if all(word in (None, of.words[key]) for key, word in wanted.items())]

    def _cheaper_credit(self, terms: Terms, best: Option, t: float, asked: Asked) -> dict[str, Any] | None:
        """Where no credit was named: the least price of another credit than the lecture's, if it is below the best."""
        others = [credit for credit in menu.names("credits") if asked.credit is None and credit != CREDIT]
        tried = [of for credit in others for of in self._fitting(asked, credit)]
        options = self._options(terms, [of for of in tried if of.objective == best.prospect.objective], t, asked)
        cheaper = [option for option in options if option.price.price < best.price.price]
        return _alternative(min(cheaper, key=_price_of)) if cheaper else None

    def _place(self, of: Prospect, variance: float) -> Place:
        key = (of.noise, of.credit, variance)
        if key not in self._places:
            if self.logits is None or self.targets is None:
                self._places[key] = of.level_place(variance)
            else:
                self._places[key] = of.place(self.logits, self.targets, variance)
        return self._places[key]

    @cached_property
    def _places(self) -> dict[tuple[Any, Any, float], Place]:
        return {}

    def _bought(self, of: Prospect, variance: float, num_samples: int) -> dict[str, Any]:
        """What N samples give."""
        if reason := of.refuses(num_samples):
            raise ValueError(reason)
        place = self._place(of, variance)
        relative = of.relative_variance(place, num_samples)
        found = {
            "num_samples": num_samples,
            "cosine": of.cosine(place, num_samples),
            "rms_cosine": of.rms_cosine(place, num_samples),
            "gradient_variance": float(of.variance(place, num_samples).mean()),
            "gradient_variance_unit": "1/logits²",
            "relative_variance": relative if isfinite(relative) else None,
            "space": "logits",
            **of.words,
            "noise_variance": variance,
            "blackbox": menu.name(self.box.judge),
            "readings": self.box.readings,
            "logit_dim": self.box.logit_dim,
        }
        if self.logits is None:
            return found | ({"share_without_gradient": _silent(place)} if self.box.readings > 1 else {})
        each = of.cosine_each(place, num_samples)
        return found | {
            "num_examples": self.num_examples,
            "num_examples_used": len(each),
            "cosine_quantiles": _quantiles(each),
        }

    def _examples(self, of: Prospect, variance: float, cosine: float) -> dict[str, Any]:
        """Of real logits: N of each example, and of a scan the t that takes fewest samples, with its N and the ends."""
        if self.logits is None or self.targets is None:
            return {}
        each = [
            of.allowed(ceil(count * (1 - 1e-8))) if count <= MOST else torch.inf
            for count in of.num_samples_each(self._place(of, variance), cosine).tolist()
        ]
        shares = _quantiles(torch.tensor(each, dtype=torch.float64)).items()
        quantiles = {share: None if count is None else int(count) for share, count in shares}
        scanned = scan(of, self.logits, self.targets, variance)
        best = best_variance(of, scanned, cosine) if scanned else None
        return {
            "num_samples_quantiles": quantiles,
            "best_noise_variance": best,
            "best_num_samples": None if best is None else of.num_samples(self._place(of, best), cosine),
            "noise_variance_scanned": [scanned[1][0], scanned[-1][0]] if scanned else None,
        }

    def _share(self, option: Option) -> float | None:
        """The mean over the examples of what the mean estimate is of ∇log p; None where another gradient is meant."""
        if option.prospect.objective != "log p":
            return None
        return float(
            option.prospect.mean_share(self._place(option.prospect, option.variance), option.price.num_samples).mean()
        )

    def _out_of_reach(self, of: Prospect, variance: float, cosine: float) -> str:
        most = of.cosine(self._place(of, variance), of.allowed(MOST))
        sure = self._place(of, variance).miss.max() < SURE
        others = "less confident logits" if sure else "logits at which the gradient is not 0"
        would_do = f"less than {most:.2g}" if most > 0.01 else others
        return (
            f"no N up to {MOST:.0e} gives {of} a mean cosine of {cosine!r} here at noise_variance"
            f" {variance:g}: {would_do} would do"
        )

    def _no_price(self, tried: list[Prospect], t: float, asked: Asked) -> str:
        words, n = ", ".join(map(str, tried)), asked.num_samples
        reasons = [of.refuses(n) for of in tried] if n is not None else [None]
        if reasons[0] and all(reasons):
            return f"num_samples {n} has no price with {words}: {reasons[0]}"
        if asked.cosine is not None:
            return self._out_of_reach(tried[0], t, asked.cosine)
        return f"no example moves at noise_variance {t:g}, so {words} has no price: less confident logits would do"

    def _options(self, terms: Terms, tried: list[Prospect], variance: float, asked: Asked) -> list[Option]:
        """The trainings with these estimators, without those that cannot be."""
        made = (self._option(terms, of, variance, asked) for of in tried)
        return [option for option in made if option is not None]

    def _option(self, terms: Terms, of: Prospect, variance: float, asked: Asked) -> Option | None:
        """The training with this estimator: N as given, for the cosine or of least price; None where it cannot be."""
        place = self._place(of, variance)
        if asked.cosine is None and asked.num_samples is None:
            found, flat = cheapest(
                terms,
                lambda count: of.relative_variance(place, count),
                of.allowed,
            )
            return Option(of, variance, found, flat) if isfinite(found.price) else None
        count = asked.num_samples if asked.cosine is None else of.num_samples(place, asked.cosine)
        if count is None or of.refuses(count):
            return None
        found = price(terms, count, of.relative_variance(place, count))
        return Option(of, variance, found, None) if isfinite(found.price) else None


def _silent(place: Place) -> float:
    """The share of examples whose exact gradient is 0, so that every cosine counts as 0 there."""
    return float((place.slope < NOTHING * place.slope.max()).double().mean())


def _price_of(option: Option) -> float:
    return option.price.price


def _preference(objective: str) -> tuple[int, str]:
    return PREFERRED.index(objective) if objective in PREFERRED else len(PREFERRED), objective


def _goal(cosine: float | None) -> float:
    """The cosine asked for; ValueError where the laws cannot tell it from 1."""
    if cosine is not None and cosine > MOST_COSINE:
        raise ValueError(f"cosine {cosine!r} is nearer to 1 than the laws have digits for: {MOST_COSINE} would do")
    return _or(cosine, COSINE)


def _alternative(option: Option) -> dict[str, Any]:
    of, found = option.prospect, option.price
    named = of.words | {"noise_variance": option.variance}
    return named | {"num_samples": found.num_samples, "batch_size": found.batch_size, "price": found.price}


def _quantiles(values: Tensor) -> dict[str, float | None]:
    """Of numbers [E], by share; None where a number is beyond the law."""
    found = torch.quantile(values, torch.tensor(QUANTILES, dtype=values.dtype), interpolation="higher").tolist()
    return {str(share): value if value < float("inf") else None for share, value in zip(QUANTILES, found, strict=True)}


def _or(value: Any, default: Any) -> Any:
    """The value, or the default where nothing is said."""
    return default if value is None else value
