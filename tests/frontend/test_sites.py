"""Segments: one iteration each, whatever way an iteration takes through its body."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import pytest

from irgrad.frontend.graph_trace import GraphTrace
from tests.support.tracing import traced, tracing


def branches(x: Any) -> Any:
    for i in range(5):
        if i % 3 == 0:
            x = np.sin(x)
        elif i % 3 == 1:
            x = np.cos(x)
        else:
            x = np.tanh(x)
        x = np.exp(x)
    return x


def expression(x: Any) -> Any:
    for i in range(4):
        x = np.sin(x) if i % 2 == 0 else np.cos(x)
    return x


def skipped(x: Any) -> Any:
    for i in range(4):
        if i == 1:
            x = np.sin(x)
            continue
        if i > 1:
            x = np.exp(np.cos(x))
    return x


def around_an_empty_loop(x: Any) -> Any:
    for i in range(3):
        x = np.sin(x)
        for _ in range(i - i):
            x = np.tanh(x)
        x = np.cos(x)
    return x


def handled(x: Any) -> Any:
    for i in range(3):
        try:
            x = np.sin(x)
            if i == 1:
                raise KeyError
        except KeyError:
            x = np.exp(x)
        x = np.cos(x)
    return x


def called(x: Any) -> Any:
    def one(x: Any) -> Any:
        return np.exp(np.sin(x))

    def other(x: Any) -> Any:
        return np.cos(x)

    for i in range(4):
        x = one(x) if i % 2 == 0 else other(x)
    return x


def searching(x: Any) -> Any:
    i = 0
    while True:
        i += 1
        if i == 2:
            x = np.sin(x)
        elif i == 3:
            x = np.cos(x)
        elif i == 4:
            x = np.tanh(x)
            break
    return x


def straight(x: Any, many: bool = True) -> Any:
    x = np.sin(x) if many else np.cos(x)
    if many:
        x = np.exp(x)
    else:
        x = np.cos(x)
    return np.tanh(x)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (branches, "sin exp|cos exp|tanh exp|sin exp|cos exp"),
        (expression, "sin|cos|sin|cos"),
        (skipped, "sin|cos exp|cos exp"),
        (around_an_empty_loop, "sin cos|sin cos|sin cos"),
        (handled, "sin cos|sin exp cos|sin cos"),
        (called, "sin exp|cos|sin exp|cos"),
        (searching, "sin|cos|tanh"),
        (straight, "sin exp tanh"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_a_segment_is_an_iteration(f: Callable[[Any], Any], expected: str) -> None:
    with tracing(GraphTrace) as trace:
        f(traced(trace, np.float64(0.3)))
        assert isinstance(trace, GraphTrace)
        found = [list(group) for _, group in groupby((t for t in trace.tape if t.op is not None), lambda t: t.segment)]
    assert "|".join(" ".join(t.op.name for t in group) for group in found) == expected
