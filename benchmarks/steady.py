"""Steady calls: all peers of a case round-robin in one process, so that what disturbs the machine disturbs them alike.

A sample is the mean of a batch of calls after one that is not timed. A ratio is taken within a round, and its interval is that of the
median by order statistics. Batches are shorter than the slices of time that the system gives a process, so that most are whole.
"""

from __future__ import annotations

import gc
import math
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import clock
from benchmarks.peers import Call

ROUNDS = 101
FEW_ROUNDS = 7  # the fewest whose extremes hold the median with more than 95 %, and one to spare
BATCH_SECONDS = 0.0004
PEER_SECONDS = 2.0  # a peer that needs longer for all rounds takes part in the first ones only
SLOW_CALL = 5.0


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
    """Steady calls of each peer, all of which have been called before."""
    gc.collect()
    gc.freeze()  # what one peer has imported is not for another's collections to walk
    try:
        seconds = _samples(calls, reference, rounds)
    finally:
        gc.unfreeze()
    base = seconds[reference]
    return {name: Steady(found, [a / b for a, b in zip(found, base, strict=False)]) for name, found in seconds.items()}


def _samples(calls: Mapping[str, Call], reference: str, rounds: int) -> dict[str, list[float]]:
    timers = {name: _Timer(call, rounds) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if turn < timers[name].rounds or name == reference:
                seconds[name].append(timers[name].sample())
    return seconds


class _Timer:
    """Times batches of one call, written out with its arguments as names: unpacking a tuple would cost what a kernel does."""

    def __init__(self, call: Call, rounds: int) -> None:
        names = [f"a{k}" for k in range(len(call.arguments))]
        space = {"function": call.function, **dict(zip(names, call.arguments, strict=True))}
        self.timer = timeit.Timer(f"function({', '.join(names)})", "import gc; gc.enable()", clock(), globals=space)
        self.call = call
        self.number, self.warm = 1, False
        seconds = self.sample()
        if seconds < BATCH_SECONDS:
            self.number, self.warm = 10, True
            seconds = min(self.sample() for _ in range(5))
            self.number = max(1, round(BATCH_SECONDS / seconds))
        self.warm = seconds < 0.1
        batch = (self.number + self.warm) * seconds
        enough = FEW_ROUNDS if seconds < SLOW_CALL else 3
        self.rounds = min(rounds, max(enough, int(PEER_SECONDS / batch)))

    def sample(self) -> float:
        """Seconds a call, of one batch."""
        if self.warm:
            self.call()
        return self.timer.timeit(self.number) / self.number
