"""Segments: one iteration each, whatever way an iteration takes through its body."""

from __future__ import annotations

import contextlib
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


def continued(x: Any) -> Any:
    for i in range(4):
        try:
            x = np.sin(x)
            if i % 2:
                raise KeyError
        except KeyError:
            x = np.exp(x)
            continue
        x = np.cos(x)
    return np.tanh(x)


def retried(x: Any) -> Any:
    n = 0
    while True:
        try:
            x = np.sin(x)
            n += 1
            if n < 3:
                raise KeyError
            break
        except KeyError:
            x = np.exp(x)
    return np.tanh(x)


def handled_once(x: Any) -> Any:
    try:
        x = np.sin(x)
        raise KeyError
    except KeyError:
        x = np.exp(x)
    x = np.cos(x)
    return np.tanh(x)


def raised_through(x: Any) -> Any:
    for i in range(3):
        try:
            try:
                x = np.sin(x)
                if i == 1:
                    raise KeyError
            finally:
                x = np.exp(x)
            x = np.tanh(x)
        except KeyError:
            x = np.arctan(x)
        x = np.cos(x)
    return x


def suppressed(x: Any) -> Any:
    for i in range(3):
        with contextlib.suppress(KeyError):
            x = np.sin(x)
            if i == 1:
                raise KeyError
            x = np.exp(x)
        x = np.cos(x)
    return x


def broken_off(x: Any) -> Any:
    for i in range(4):
        try:
            x = np.sin(x)
            if i == 2:
                raise KeyError
        except KeyError:
            x = np.exp(x)
            break
        x = np.cos(x)
    return np.tanh(x)


def handled_twice(x: Any) -> Any:
    for i in range(4):
        try:
            x = np.sin(x)
            if i == 1:
                raise KeyError
            if i == 2:
                raise ValueError
        except KeyError:
            x = np.exp(x)
        except ValueError:
            x = np.arctan(x)
        else:
            x = np.tanh(x)
        x = np.cos(x)
    return x


def handled_inside(x: Any) -> Any:
    for i in range(2):
        for j in range(2):
            try:
                x = np.sin(x)
                if j:
                    raise KeyError
            except KeyError:
                x = np.exp(x)
            x = np.cos(x)
        x = np.tanh(x)
    return x


def loop_in_handler(x: Any) -> Any:
    for i in range(2):
        try:
            x = np.sin(x)
            raise KeyError
        except KeyError:
            for j in range(2):
                x = np.exp(x)
        x = np.cos(x)
    return x


def raising_after(x: Any) -> Any:
    for i in range(4):
        try:
            if i % 2:
                raise KeyError
        except KeyError:
            x = np.exp(x)
        x = np.cos(x)
    return x


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (branches, "sin exp|cos exp|tanh exp|sin exp|cos exp"),
        (expression, "sin|cos|sin|cos"),
        (skipped, "sin|cos exp|cos exp"),
        (around_an_empty_loop, "sin cos|sin cos|sin cos"),
        (handled, "sin cos|sin exp cos|sin cos"),
        (continued, "sin cos|sin exp|sin cos|sin exp|tanh"),
        (retried, "sin exp|sin exp|sin|tanh"),
        (handled_once, "sin exp cos tanh"),
        (raised_through, "sin exp tanh cos|sin exp arctan cos|sin exp tanh cos"),
        (suppressed, "sin exp cos|sin cos|sin exp cos"),
        (broken_off, "sin cos|sin cos|sin exp|tanh"),
        (handled_twice, "sin tanh cos|sin exp cos|sin arctan cos|sin tanh cos"),
        (handled_inside, "sin cos|sin exp cos|tanh|sin cos|sin exp cos|tanh"),
        (loop_in_handler, "sin|exp|exp|cos|sin|exp|exp|cos"),
        (raising_after, "cos|exp cos|cos|exp cos"),
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
