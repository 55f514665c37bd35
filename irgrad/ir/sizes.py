"""Loops over shapes that shrink or grow: the same operations on many sizes share kernels that take any size.

A template that others equal but for sizes is lowered in `any_size`: small arrays then have no variables of their own, short rows have
loops, small products take their extents as data. One or a few sizes are worth kernels of their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from irgrad.ir.recording import INTERNED, Data, Record
from irgrad.ir.template import Instance, Template

MANY = 5  # sizes from which a template takes any
_SIZED = frozenset({"start", "count", "shape", "low", "high", "dynamic"})  # params that hold extents or places
_any: ContextVar[bool] = ContextVar("any_size", default=False)


def is_any() -> bool:
    """Is the template at hand lowered for any size?"""
    return _any.get()


@contextmanager
def any_size(wanted: bool) -> Iterator[None]:
    token = _any.set(wanted)
    try:
        yield
    finally:
        _any.reset(token)


class Structures:
    """The sizes in which templates of one structure have been seen."""

    def __init__(self) -> None:
        self.known: dict[Template, Hashable] = {}
        self.sizes: dict[Hashable, set[Hashable]] = {}

    def note(self, nodes: Iterable[Any]) -> None:
        """Take the instances of a path tree's nodes."""
        for node in nodes:
            for instance in node.instances:
                if instance.template not in self.known:
                    self.add(instance, node.path)

    def add(self, instance: Instance, records: Sequence[Record]) -> None:
        if instance.template not in self.known:
            structure, sizes = _described(instance, records)
            self.known[instance.template] = structure
            self.sizes.setdefault(structure, set()).add(sizes)

    def has_many(self, template: Template) -> bool:
        """Are there many sizes of the template's structure?"""
        structure = self.known.get(template)
        return structure is not None and len(self.sizes[structure]) >= MANY


def _described(instance: Instance, records: Sequence[Record]) -> tuple[Hashable, Hashable]:
    """The structure of an instance, and its sizes."""
    names: dict[int, int] = {}
    structure: list[Hashable] = []
    shapes: list[Hashable] = []

    def value(index: int) -> None:
        aval = INTERNED.avals[records[index].aval]
        structure.append((aval.ndim, aval.dtype))
        shapes.append(aval.shape)
        names[index] = len(names)

    for index in instance.values:
        record = records[index]
        for operand in record.operands:
            if type(operand) is int and operand not in names:
                value(operand)
        value(index)
        structure.append((record.op, tuple([names[o] if type(o) is int else type(o) is Data for o in record.operands])))
        structure.append(tuple(sorted((key, param) for key, param in record.params.items() if key not in _SIZED)))
    return tuple(structure), tuple(shapes)
