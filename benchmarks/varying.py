"""``python -m benchmarks.varying [--json F]``: functions whose number of steps depends on their input, and one very long recording.

A thousand random inputs each: how many traces, paths and kernels, and the time of a call, averaged over all calls and over the last
hundred, beside eager irgrad and autograd on the same inputs. Then each call beside an eager one on the same input, in turn: what calls on
new paths cost, by how often their path has been taken. Then a loop of 100,000 operations on one number: what recording, differentiating
and linking cost an operation.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy

from benchmarks.machine import clock, pin
from benchmarks.report import publish, ratio_text, seconds_text

INPUTS = 1000
LAST = 100
EAGER = 100  # inputs that the eager peers are timed on
LONG = 100_000


def newton(np: Any) -> Callable[[Any], Any]:
    """The root of x**3 + x = a, to the last digits."""

    def root(a: Any) -> Any:
        x = a
        while np.abs(x**3 + x - a) > 1e-12 * np.abs(a):
            x = x - (x**3 + x - a) / (3.0 * x**2 + 1.0)
        return x

    return root


def line_search(np: Any) -> Callable[[Any], Any]:
    """The value that ten steps of steepest descent with halved steps reach from a point."""

    def value(x: Any) -> Any:
        return (x[0] - 1.0) ** 2 + 10.0 * (x[1] - x[0] ** 2) ** 2

    def reached(x: Any) -> Any:
        for _ in range(10):
            slope = np.stack([2.0 * (x[0] - 1.0) - 40.0 * x[0] * (x[1] - x[0] ** 2), 20.0 * (x[1] - x[0] ** 2)])
            step, square, here = 1.0, np.sum(slope**2), value(x)
            while value(x - step * slope) > here - 0.1 * step * square:
                step = 0.5 * step
            x = x - step * slope
        return value(x)

    return reached


def recursion(np: Any) -> Callable[[Any], Any]:
    """A function that calls itself until its argument is small: some sixty depths."""

    def down(x: Any) -> Any:
        return x if x < 1.0 else down(x * 0.9) * x + np.sin(x)

    return down


def inputs(name: str) -> list[Any]:
    rng = numpy.random.default_rng(3)
    if name == "recursion":
        return list(numpy.exp(rng.uniform(0.1, 6.0, INPUTS)))
    return list(rng.uniform(0.1, 100.0, INPUTS)) if name == "newton" else list(rng.uniform(-1.0, 1.0, (INPUTS, 2)))


FUNCTIONS = {"newton": newton, "line_search": line_search, "recursion": recursion}
SIGHTINGS = ("first", "second", "later, not compiled", "compiled")


def _seconds(function: Callable[[Any], Any], points: Sequence[Any]) -> list[float]:
    now, found = clock(), []
    for point in points:
        start = now()
        function(point)
        found.append(now() - start)
    return found


def varying(name: str) -> dict[str, Any]:
    """Counts and mean seconds of a call."""
    import irgrad

    make, points = FUNCTIONS[name], inputs(name)
    eager = irgrad.grad(make(numpy))
    fast = irgrad.jit(irgrad.grad(make(numpy)))
    seconds = _seconds(fast, points)
    stats = fast.stats()
    again = _seconds(fast, points)
    by_autograd = import_module("autograd").grad(make(import_module("autograd.numpy")))
    for point in points[:20]:
        numpy.testing.assert_allclose(fast(point), eager(point), rtol=1e-9)
        numpy.testing.assert_allclose(by_autograd(point), eager(point), rtol=1e-9)
    return {
        "name": name,
        "traces": stats.traces,
        "paths": stats.paths,
        "kernels": stats.kernels,
        "eager_calls": stats.eager_calls,
        "first": sum(seconds) / len(seconds),
        "last": sum(seconds[-LAST:]) / LAST,
        "again": sum(again) / len(again),
        "eager": sum(_seconds(eager, points[:EAGER])) / EAGER,
        "autograd": sum(_seconds(by_autograd, points[:EAGER])) / EAGER,
    }


def sightings(name: str) -> dict[str, dict[str, float]]:
    """Calls as ratios to eager ones on the same inputs, by how often their path was taken so far: median, mean, largest and 99 in 100.

    The first two calls, which compile the function, are left out.
    """
    import irgrad
    from irgrad.frontend.context import COURSE

    make, points, now = FUNCTIONS[name], inputs(name), clock()
    eager, fast = irgrad.grad(make(numpy)), irgrad.jit(irgrad.grad(make(numpy)))
    taken: dict[int, int] = {}  # by what was decided on the way
    times = 0
    ratios: dict[str, list[float]] = {kind: [] for kind in SIGHTINGS}
    for number, point in enumerate(points):
        before, seconds = fast.stats().eager_calls, {}
        for function in (fast, eager) if number % 2 else (eager, fast):
            COURSE.value = 0
            start = now()
            function(point)
            seconds[function] = now() - start
            if function is eager:
                times = taken[COURSE.value] = taken.get(COURSE.value, 0) + 1
        if number < 2:
            continue
        kind = "compiled" if fast.stats().eager_calls == before else SIGHTINGS[min(times, 3) - 1]
        ratios[kind].append(seconds[fast] / seconds[eager])
    return {kind: _summary(found) for kind, found in ratios.items() if found}


def _summary(found: list[float]) -> dict[str, float]:
    found = sorted(found)
    return {
        "calls": len(found),
        "median": statistics.median(found),
        "mean": statistics.mean(found),
        "99": found[int(0.99 * len(found))],
        "largest": found[-1],
    }


def long_loop(count: int = LONG) -> dict[str, Any]:
    """Seconds and bytes an operation of recording and linking the gradient of a loop over one number."""
    import irgrad

    def chain(x: Any) -> Any:
        for _ in range(count // 4):
            x = 0.9 * x + 0.1 * x * x
        return x

    warm = irgrad.jit(irgrad.grad(lambda x: 0.9 * x + 0.1 * x * x))
    for _ in range(3):
        warm(0.5)
    fast = irgrad.jit(irgrad.grad(chain))
    fast(0.5), fast(0.5)
    stats = fast.stats()
    recorded = stats.recorded_ops // stats.traces
    call = min(_seconds(fast, [0.5] * 20))
    tracemalloc.start()
    irgrad.jit(irgrad.grad(chain)).compile(0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rest = stats.pass_seconds + stats.link_seconds
    return {
        "operations": recorded,
        "kernels": stats.kernels,
        "trace": stats.trace_seconds / stats.traces / recorded,
        "rest": rest / recorded,
        "bytes": peak / recorded,
        "call": call,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The results as Markdown."""
    text = ["| function | traces | paths | kernels | call, all 1,000 | last 100 | second pass | / eager | / autograd |", "|---" * 9 + "|"]
    for one in found["varying"]:
        times = [seconds_text(one[name]) for name in ("first", "last", "again")]
        ratios = [ratio_text(one[name] / one["first"]) for name in ("eager", "autograd")]
        text.append(f"| {one['name']} | {one['traces']} | {one['paths']} | {one['kernels']} | {' | '.join([*times, *ratios])} |")
    text += ["", "| function | calls on a path | calls | median / eager | mean | 99 in 100 | largest |", "|---" * 7 + "|"]
    for name, kinds in found["sightings"].items():
        for kind, one in kinds.items():
            values = " | ".join(f"{one[key]:.2f}" for key in ("median", "mean", "99", "largest"))
            text.append(f"| {name} | {kind} | {one['calls']} | {values} |")
    loop = found["long"]
    costs = f"{seconds_text(loop['trace'])} an operation to record, {seconds_text(loop['rest'])} for passes and linking"
    size = f"{loop['bytes']:.0f} bytes an operation at the peak, {seconds_text(loop['call'])} a call"
    text += ["", f"A gradient of {loop['operations']:,} recorded operations: {loop['kernels']} kernels, {costs}, {size}."]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.varying", description="Steps that depend on data, and a long recording.")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pin(1)
    warnings.simplefilter("ignore", RuntimeWarning)  # of many paths: what is measured here
    found = {
        "varying": [varying(name) for name in FUNCTIONS],
        "sightings": {name: sightings(name) for name in FUNCTIONS},
        "long": long_loop(),
    }
    publish(lines(found), found, options.json)


if __name__ == "__main__":
    main()
