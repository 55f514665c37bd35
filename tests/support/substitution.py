"""Runs of user functions under stand-ins for traced names, and what they report."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from irgrad.frontend.captured import Origin, compile_checks
from irgrad.frontend.names import Names, default_names
from irgrad.frontend.substitute import Substitution


class Box:
    """A stand-in for a tracer: shows what was wrapped."""

    def __init__(self, value: Any, origin: Origin) -> None:
        self.value = value
        self.origin = origin

    def __repr__(self) -> str:
        return f"Box({self.value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and bool(np.all(self.value == other.value))

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Any:
        return self.value + (other.value if isinstance(other, Box) else other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return self.value * (other.value if isinstance(other, Box) else other)

    __rmul__ = __mul__


def traced_sin(x: Any) -> Any:
    return ("traced sin", x)


class TracedMath:
    sin = staticmethod(traced_sin)
    pi = math.pi


class TracedNumpy:
    array = staticmethod(lambda x: ("traced array", x))
    sum = staticmethod(lambda x: ("traced sum", x))
    pi = np.pi


def fake_names() -> Names:
    names = Names()
    for original, replacement in default_names().items():
        if original in {id(float), id(complex), id(type), id(super), id(eval), id(exec)}:
            names[original] = replacement
    names.add(math, TracedMath)
    names.add(math.sin, traced_sin)
    names.add(np, TracedNumpy)
    names.add(np.sum, TracedNumpy.sum)
    return names


NAMES = fake_names()


def eager() -> Substitution:
    return Substitution(None, NAMES)


def graph() -> Substitution:
    return Substitution(Box, NAMES)


def module(source: str, name: str = "__main__") -> dict[str, Any]:
    """The globals of a user's module."""
    space: dict[str, Any] = {"__name__": name, "__builtins__": __builtins__}
    exec(compile(textwrap.dedent(source), "<model>", "exec"), space)
    return space


def texts(substitution: Substitution) -> list[str]:
    return [origin.text() for origin, _ in substitution.inputs]


def checks(substitution: Substitution) -> tuple[Callable[[], bool], Callable[[], tuple[Any, ...]]]:
    return compile_checks(substitution.guards, [origin for origin, _ in substitution.inputs])


BOTH = pytest.mark.parametrize("make", [eager, graph])
HEADER = """
from numpy import ones, float32 as f32, int64 as i64, dtype
from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from functools import partial
from dataclasses import dataclass
Point = namedtuple("Point", "x y")
class A: pass
@dataclass
class Data:
    a: float
    n: int
"""


def plain(value: Any) -> Any:
    """Without boxes."""
    if isinstance(value, Box):
        return plain(value.value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
