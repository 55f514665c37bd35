"""What a template becomes: rows of kernel calls over slots and buffers, independent of any instance's bindings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from irgrad.ir.aval import Aval

Terms = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """Memory of an instance: `home` is ("slot", k) for its k-th input or ("buffer", k); `offset` in bytes; each term
    (k, byte strides) adds the instance's k-th start times strides."""

    home: tuple[str, int]
    offset: int = 0
    terms: Terms = ()


@dataclass(slots=True)
class Chunks:
    """How a row is split (`irgrad.codegen.split`): bytes from chunk to chunk for each pointer, and the sizes of the last chunk."""

    count: int
    steps: list[int]
    last: list[int]


@dataclass(slots=True)
class Part:
    """A row that runs once for each panel (`irgrad.codegen.panels`), in the first panel of a chunk only, or in the others only.

    `steps` and `own` are bytes by which its pointers move from panel to panel, and from chunk to chunk; `row` has the sizes of a panel,
    `last` are those of the last one.
    """

    row: Row
    when: int
    steps: list[int]
    own: list[int]
    last: list[int]


@dataclass(slots=True)
class Panels:
    """Rows that go through their arrays together: how many panels there are, how many of them a chunk has, and how many chunks."""

    count: int
    length: int
    chunks: int
    parts: list[Part]


@dataclass(slots=True)
class Streamed:
    """The text of a row for when what it writes to `homes` are results of the program: past the caches (`irgrad.codegen.streams`)."""

    source: str
    homes: set[tuple[str, int]]


@dataclass(slots=True)
class Row:
    """One kernel call: source text, pointer table entries (references, or names of library routines) and the size table."""

    source: str
    pointers: list[Ref | str]
    sizes: list[int]
    what: str
    flops: int = 0
    chunks: Chunks | None = None  # `sizes` are then those of a chunk
    streamed: Streamed | None = None
    cost: float = 0.0  # nanoseconds that it is expected to take in one thread, where that is known
    parts: list[Row] | None = None  # rows that have nothing to do with each other (`irgrad.codegen.beside`); this one has their pointers
    panels: Panels | None = None  # rows that take turns; this one has their pointers

    @property
    def is_plain(self) -> bool:
        """Is it a call of its kernel, and nothing else?"""
        return self.chunks is self.parts is self.panels is None

    def refs(self) -> list[Ref | str]:
        """What the row refers to, in the order in which a program has it."""
        return self.pointers


@dataclass(slots=True)
class HostRow:
    """One call into Python: ``store(result, op.evaluate(*operands, **params))``."""

    op: Any
    params: dict[str, Any]
    operands: list[tuple[Ref, Aval, tuple[int, ...]] | Any]  # memory with aval and strides in bytes, or a number
    result: tuple[Ref, Aval]
    what: str

    def refs(self) -> list[Ref | str]:
        """The memory of the operands and of the result, in the order in which a program has it."""
        return [operand[0] for operand in self.operands if isinstance(operand, tuple)] + [self.result[0]]


@dataclass(slots=True)
class Export:
    """Where an exported value lives, with strides in elements; or the number it is."""

    ref: Ref | None
    aval: Aval
    strides: tuple[int, ...] = ()
    number: Any = None


@dataclass(slots=True)
class Lowered:
    """A template's rows, the sizes of its buffers in bytes, its exports, and which input slots it changes in place.

    Its graph is gone: what is lowered is kept for long.
    """

    num_inputs: int
    rows: list[Row | HostRow]
    buffers: list[int]
    exports: list[Export]
    changed: frozenset[int]
    counts: dict[str, int] = field(default_factory=dict)
    replaceable: tuple[tuple[int, int], ...] = ()  # slots whose memory an export could take over, if it is free: (slot, export)
    uses: int = 0  # how often it was bound
    bind: Any = None  # what is made of it once that is often (`runtime.binding`)
    linked: Any = None  # and of its uses in loops (`runtime.repeated`); False if there is nothing
