"""Programs: an optimised path tree as plain data, run by the native driver.

A program is a table of rows over bases: base 0 is the arena, base 1 the block of numbers, then one base per input, per result and
per library routine. A reference is an int64, base in the low 16 bits and a byte offset above. Programs are read-only and
reentrant: what a call changes is in its `Context` (bases and arena), taken from a free list and given back.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irgrad.codegen.layout import ARG_WORDS, ROW_WORDS
from irgrad.codegen.loops import find_linked
from irgrad.ir.effects import Effects
from irgrad.ir.primitive import EFFECT
from irgrad.ops import blas
from irgrad.ops.fft_loops import loop_address
from irgrad.ops.routines import special_address

ARENA, NUMBERS, FIRST_INPUT = 0, 1, 2
REF_BITS = 16
FACTORS = {"one_zero": (1, 0), "one_one": (1, 1), "minus_one": (-1, 1), "minus_zero": (-1, 0)}  # of a product and of the memory it goes to


def reference(base: int, offset: int) -> int:
    return base | (offset << REF_BITS)


class Numbers:
    """The block of literal numbers of a program, equal bits stored once."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.known: dict[bytes, int] = {}

    def block(self) -> np.ndarray[Any, Any]:
        """The bytes, at an address that is a multiple of 16."""
        block = np.frombuffer(bytes(self.bytes) or b"\0" * 8, np.uint8).copy()
        if block.ctypes.data % 16:
            aligned = np.empty(len(block) + 16, np.uint8)
            skip = -aligned.ctypes.data % 16
            aligned[skip : skip + len(block)] = block
            block = aligned[skip : skip + len(block)]
        return block

    def offset(self, value: Any, dtype: np.dtype[Any]) -> int:
        raw = dtype.type(value).tobytes()
        raw += b"\0" * (-len(raw) % 8)
        found = self.known.get(raw)
        if found is None:
            found = self.known[raw] = len(self.bytes)
            self.bytes += raw
        return found

    def pair(self, dtype: np.dtype[Any], numbers: tuple[int, int] = (1, 0)) -> int:
        """Two numbers side by side: the scale factors of a BLAS call."""
        raw = np.array(numbers, dtype).tobytes()
        found = self.known.get(b"pair" + raw)
        if found is None:
            self.bytes += b"\0" * (-len(self.bytes) % 16)
            found = self.known[b"pair" + raw] = len(self.bytes)
            self.bytes += raw + b"\0" * (-len(raw) % 8)
        return found


@dataclass(slots=True)
class HostCall:
    """A row that Python runs: operands are numbers or (reference, shape, byte strides, dtype)."""

    op: Any
    params: dict[str, Any]
    operands: list[Any]
    result: tuple[int, tuple[int, ...], np.dtype[Any]]


@dataclass(slots=True)
class Argument:
    """What the entry checks of one input."""

    kind: int
    type: type
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in bytes

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Context:
    """Bases and arena of one call in flight."""

    __slots__ = ("address", "arena", "bases", "effects", "number", "scratch", "views")

    def __init__(self, program: Program) -> None:
        self.number: np.ndarray[Any, Any] | None = None  # a result that is handed out as a number
        self.scratch: dict[int, Any] = {}
        self.views: dict[Any, np.ndarray[Any, Any]] = {}  # of the arena, for host calls
        self.effects: Effects | None = None
        self.arena = np.empty(program.arena_bytes + 64, np.uint8)
        self.bases = program.initial_bases.copy()
        start = self.arena.ctypes.data
        self.bases[ARENA] = start + (-start % 64)
        self.address = int(self.bases.ctypes.data)


@dataclass
class Program:
    """Tables of one path tree for one signature."""

    rows: np.ndarray[Any, Any]
    refs: np.ndarray[Any, Any]
    sizes: np.ndarray[Any, Any]
    tables: np.ndarray[Any, Any]
    numbers: np.ndarray[Any, Any]
    arguments: list[Argument]
    arena_bytes: int
    initial_bases: np.ndarray[Any, Any]
    leaves: dict[int, Any]
    guards: dict[int, Any]
    hosts: dict[int, HostCall]
    kernels: list[Any]
    keep: list[Any] = field(default_factory=list)
    header: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(8, np.int64))
    address: int = 0
    flops: int = 0  # of all rows: decides whether a call gives up the interpreter lock
    leaf_rows: dict[int, int] = field(default_factory=dict)  # rows run on the way to each return
    contexts: list[Context] = field(default_factory=list)
    parallel_rows: int = 0  # that may be split between threads, those of loops' bodies included
    parallel_entries: list[np.ndarray[Any, Any]] = field(default_factory=list)  # how often the team ran one; native code counts there

    @property
    def nbytes(self) -> int:
        return sum(int(a.nbytes) for a in (self.rows, self.refs, self.sizes, self.tables, self.numbers, self.initial_bases, self.header))

    @functools.cached_property
    def has_effects(self) -> bool:
        return any(call.op.has(EFFECT) for call in self.hosts.values())

    @property
    def num_rows(self) -> int:
        return len(self.rows) // ROW_WORDS

    def seal(self, num_outs: int) -> None:
        """Fill the header that the driver reads."""
        table = np.zeros(max(len(self.arguments), 1) * ARG_WORDS, np.int64)
        for k, argument in enumerate(self.arguments):
            dims = np.array([*argument.shape, *argument.strides, 0], np.int64)
            self.keep.append(dims)
            table[k * ARG_WORDS : k * ARG_WORDS + 5] = (
                argument.kind,
                id(argument.type),
                id(argument.dtype),
                len(argument.shape),
                dims.ctypes.data,
            )
            self.keep += [argument.type, argument.dtype]
        self.keep.append(table)
        self.header[:6] = (len(self.arguments), table.ctypes.data, self.rows.ctypes.data, self.refs.ctypes.data, num_outs, FIRST_INPUT)
        self.address = int(self.header.ctypes.data)

    def context(self) -> Context:
        try:
            return self.contexts.pop()
        except IndexError:
            return Context(self)

    def release(self, context: Context) -> None:
        if len(self.contexts) < 8:
            self.contexts.append(context)


def symbol_address(name: str, numbers: Numbers) -> int | tuple[int, int]:
    """What a named pointer stands for: a library routine's address, or a reference into the numbers."""
    factors, _, dtype = name.rpartition("_")
    if factors in FACTORS:
        return (NUMBERS, numbers.pair(np.dtype(dtype), FACTORS[factors]))
    linked = find_linked(name)
    if linked is not None:
        return linked.address
    if name.startswith("special:"):
        return special_address(name.removeprefix("special:"))
    if name.startswith("fft:"):
        return loop_address(name.removeprefix("fft:"))
    if name.startswith("lapack:"):
        _, owner, routine = name.split(":")
        return blas.lapack(owner).address(routine)
    return blas.blas().address(name)


__all__ = ["ROW_WORDS", "Argument", "Context", "HostCall", "Numbers", "Program", "reference", "symbol_address"]
