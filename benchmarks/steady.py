"""Steady calls: all peers of a case round-robin in one process, so that what disturbs the machine disturbs them alike.

A sample is the mean of a batch of calls; a ratio is taken within a round, and its interval is that of the median by order statistics.
"""

from __future__ import annotations

import math
import time
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.peers import Call

ROUNDS = 25
FEW_ROUNDS = 7  # the fewest whose extremes hold the median with more than 95 %, and one to spare
BATCH_SECONDS = 0.002
PEER_SECONDS = 2.0  # a peer slower than this in all its rounds takes fewer of them
WARM_CALLS = 3


@dataclass(frozen=True, slots=True)
class Steady:
    """Seconds a call by round, and the ratio to the reference by round, with the interval that holds its median with 95 %."""

    seconds: list[float]
    ratios: list[float]

    @property
    def call(self) -> float:
        return median(self.seconds)

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float] | None:
        return interval(self.ratios) if len(set(self.ratios)) > 1 else None


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The narrowest pair of order statistics, equally far from the ends, that holds the median; None where there are too few."""
    count = len(values)
    outside, cut = 0.0, 0
    while True:
        outside += 2 * math.comb(count, cut) / 2**count
        if outside > 1 - confidence or 2 * (cut + 1) > count:
            break
        cut += 1
    if cut == 0:
        return None
    ranked = sorted(values)
    return ranked[cut - 1], ranked[count - cut]


def measure(calls: Mapping[str, Call], reference: str, rounds: int = ROUNDS) -> dict[str, Steady]:
    """Steady calls of each peer. Slow peers take part in the first rounds only."""
    timers = {name: _Timer(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = sorted(calls, key=lambda name: name != reference)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if turn < max(timers[name].rounds, 1 if rounds < FEW_ROUNDS else FEW_ROUNDS if timers[name].call_seconds < 5.0 else 3):
                seconds[name].append(timers[name].sample())
    base = seconds[reference]
    return {name: Steady(found, [a / b for a, b in zip(found, base, strict=False)]) for name, found in seconds.items()}


class _Timer:
    """Times batches of one call, written out with its arguments as names: unpacking a tuple would cost what a kernel does."""

    def __init__(self, call: Call) -> None:
        names = [f"a{k}" for k in range(len(call.arguments))]
        space = {"function": call.function, **dict(zip(names, call.arguments, strict=True))}
        self.timer = timeit.Timer(f"function({', '.join(names)})", "import gc; gc.enable()", globals=space)
        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        if first < 1.0:
            first = min(self.timer.timeit(1) for _ in range(WARM_CALLS))
        self.number = max(1, round(BATCH_SECONDS / max(first, 1e-7)))
        if self.number > 1:
            self.number = max(1, round(BATCH_SECONDS / self.sample()))
        self.call_seconds = first
        self.rounds = int(PEER_SECONDS / max(first * self.number, BATCH_SECONDS))

    def sample(self) -> float:
        return self.timer.timeit(self.number) / self.number
