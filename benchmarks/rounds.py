"""Speeds side by side: contestants take turns in one process, round after round, and only ratios are told.

Machines slow down for seconds at a time. A ratio within a round meets that on both sides, so that the median of the
ratios and the range between their quartiles say more than any time.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

Work = Callable[[], Any]


def ratios(contestants: dict[str, Work], reference: str, rounds: int = 15, least: float = 0.05) -> Iterator[dict]:
    """For each contestant how many times as long as the reference it takes.

    Args:
        contestants: by name; each is called once beforehand, so that it is compiled and its memory is warm.
        reference: one of the names.
        rounds: turns of all.
        least: seconds that a turn lasts at least; a faster one is called more often.

    Yields:
        A row for each: its name, the median ratio, the quartiles, and the median seconds of a call, which mean nothing
        by themselves.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    calls = {name: _calls(work, least) for name, work in contestants.items()}
    for _ in range(rounds):
        for name, work in contestants.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                work()
            times[name].append((time.perf_counter() - start) / calls[name])
    for name, each in times.items():
        found = [mine / theirs for mine, theirs in zip(each, times[reference], strict=True)]
        low, middle, high = statistics.quantiles(found, n=4) if rounds > 1 else found * 3
        yield {
            "contestant": name,
            "reference": reference,
            "ratio": middle,
            "low": low,
            "high": high,
            "seconds": statistics.median(each),
            "rounds": rounds,
        }


def _calls(work: Work, least: float) -> int:
    work()
    start = time.perf_counter()
    work()
    return max(1, round(least / max(1e-9, time.perf_counter() - start)))
