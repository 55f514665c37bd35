"""Programs of numpy as data: arguments, statements as source text, outputs.

They write `region`, `scatter` for the primitives that numpy code reaches through derivative rules only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irgrad.frontend.context import current
from irgrad.ir.primitive import REGISTRY

# ---- primitives that numpy code has no name for ----


def _call(name: str, *operands: Any, **params: Any) -> Any:
    if any(hasattr(o, "operands") for o in operands):  # type() and isinstance() show a traced value's type
        return current().call(REGISTRY[name], operands, params)
    return REGISTRY[name].evaluate(*operands, **params)


def region(name: str, buffer: Any, x: Any, start: tuple[int, ...], count: tuple[int, ...], step: tuple[int, ...]) -> Any:
    """slice_add or slice_update."""
    if len(start) != buffer.ndim:
        raise ValueError("a branch gave another rank")
    return _call(name, buffer, x, start=start, count=count, step=step, drop=())


def scatter(name: str, buffer: Any, x: Any, *indices: Any) -> Any:
    """scatter_add or scatter_update."""
    return _call(name, buffer, x, *indices)


SPACE: dict[str, Any] = {"np": np, "region": region, "scatter": scatter}


# ---- programs ----


@dataclass
class Statement:
    """Lines that define `target`; `reads` are the variables they need."""

    target: str
    lines: list[str]
    reads: set[str]


@dataclass
class Program:
    """Arguments by name, statements, and the expressions that are returned."""

    arguments: dict[str, Any]
    statements: list[Statement]
    outputs: list[str]
    exact: set[str] = field(default_factory=set)
    seed: int = -1

    @property
    def is_single(self) -> bool:
        """Does it compute in single precision somewhere?"""
        return "float32" in self.source() or any(getattr(v, "dtype", None) in ("float32", "complex64") for v in self.arguments.values())

    def source(self) -> str:
        lines = [f"def program({', '.join(self.arguments)}):"]
        lines += [f"    {line}" for statement in self.statements for line in statement.lines]
        return "\n".join([*lines, f"    return ({', '.join(self.outputs)},)", ""])

    def function(self) -> Callable[..., Any]:
        space = dict(SPACE)
        exec(compile(self.source(), f"<program {self.seed}>", "exec"), space)
        return space["program"]

    def values(self) -> tuple[Any, ...]:
        return tuple(self.arguments.values())

    def redrawn(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Other arguments of the same shapes and dtypes."""
        return tuple(_redraw(rng, value) for value in self.arguments.values())


def _redraw(rng: np.random.Generator, value: Any) -> Any:
    if isinstance(value, (int, float)):
        return type(value)(value)
    kind = value.dtype.kind
    if kind in "fc":
        return np.multiply(value, rng.uniform(0.7, 0.99, value.shape).astype(value.dtype.char.lower())).astype(value.dtype)[...]
    return value.copy(order="K")
