"""How a kernel around Fortran routines is written: its pointers, sizes and work space, and its calls.

Routines come by addresses in the pointer table (`irgrad.ops.blas`), and take every argument by address: characters and integers from a
small table on the stack. A kernel loops over a stack of matrices. Work space is a buffer that the rows of a template share.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.scalar import literal
from irgrad.codegen.split import divide, parts
from irgrad.ir.aval import real_dtype
from irgrad.ir.graph import Literal, Node
from irgrad.ops.blas import PREFIX, lapack

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

FAILED = 3  # status of a kernel whose routine reported failure
CALL = 500  # nanoseconds of a routine besides its arithmetic
SMALL = 1_000_000  # operations on a matrix up to which a stack is split: BLAS has threads of its own for larger ones
FAST = 8.0  # operations a nanosecond on a matrix of middle size
ALONE = 128  # extent of a matrix up to which BLAS has one thread
TILE = 32  # rows of a transposed copy that are written together


class Kernel:
    """Text and tables of one kernel while it is written.

    Names: `memory` and `scratch` give pointers names, `extent` sizes. `char`, `whole` and `failure` are addresses of arguments.
    """

    def __init__(self, lowering: _Lowering, node: Node) -> None:
        self.lowering, self.node = lowering, node
        routines = lapack()
        self.owner, self.integer = routines.owner, routines.integer
        self.dtype = node.operands[0].aval.dtype
        self.pointers: list[Ref | str] = []
        self.places: dict[str, tuple[int, np.dtype[Any]]] = {}
        self.work: list[tuple[int, int]] = []  # pointer number, bytes
        self.read: set[int] = set()  # numbers of pointers to operands
        self.stacks: dict[int, int] = {}  # bytes of what a pointer has of every matrix
        self.extents: dict[str, int] = {}
        self.slots: dict[str, int] = {}
        self.lines: list[str] = []
        a = node.operands[0].aval
        self.matrix, self.batch = a.shape[-2:], math.prod(a.shape[:-2])
        self.extent("batch", self.batch)

    # -- tables --

    def extent(self, name: str, value: int) -> str:
        self.extents[name] = value
        return name

    def memory(self, name: str, ref: Ref, dtype: np.dtype[Any] | None = None) -> None:
        self.places[name] = (len(self.pointers), dtype or self.dtype)
        self.pointers.append(ref)

    def operand(self, name: str, position: int) -> None:
        operand = self.node.operands[position]
        assert not isinstance(operand, Literal)
        self.stacks[len(self.pointers)] = operand.aval.nbytes
        self.read.add(len(self.pointers))
        self.memory(name, self.lowering.ref(self.lowering.view(operand)), operand.aval.dtype)

    def result(self, name: str = "o") -> None:
        self.stacks[len(self.pointers)] = self.node.aval.nbytes
        self.memory(name, self.lowering.ref(self.lowering.view(self.node)), self.node.aval.dtype)

    def one_and_zero(self, name: str) -> None:
        """The scale factors of a call, side by side."""
        self.places[name] = (len(self.pointers), self.dtype)
        self.pointers.append(f"one_zero_{self.dtype.name}")

    def scratch(self, name: str, count: int, dtype: np.dtype[Any] | None = None) -> None:
        """Work space of `count` elements."""
        dtype = dtype or self.dtype
        self.work.append((len(self.pointers), max(count, 1) * dtype.itemsize))
        self.memory(name, Ref(("buffer", -1)), dtype)

    # -- arguments --

    def _slot(self, line: str) -> str:
        place = self.slots.setdefault(line, len(self.slots))
        return f"t + {8 * place}"

    def char(self, letter: str) -> str:
        return self._slot(f"put(t, {{}}, {ord(letter)})")

    def whole(self, text: str | int) -> str:
        return self._slot(f"put(t, {{}}, {text})")

    def variable(self, name: str) -> str:
        """A whole number that the text assigns."""
        return self._slot(f"put(t, {{}}, 0)  # {name}")

    def assign(self, name: str, text: str) -> str:
        number = int(self.variable(name).removeprefix("t + ")) // 8
        return f"put(t, {number}, {text})"

    def at(self, name: str, offset: str = "0") -> str:
        number, dtype = self.places[name]
        return f"size(p, {number})" if offset == "0" else f"size(p, {number}) + ({offset}) * {dtype.itemsize}"

    def call(self, routine: str, *arguments: str) -> list[str]:
        """A call of a routine without failure."""
        name = f"{PREFIX[self.dtype.name]}{routine}"
        name = name if routine in ("trsm", "gemm") else f"lapack:{self.owner}:{name}"
        if name not in self.pointers:
            self.pointers.append(name)
        return [f"call_blas(size(p, {self.pointers.index(name)}), ({', '.join(arguments)}))"]

    def check(self, routine: str, *arguments: str, fails: str = "!= 0") -> list[str]:
        """A call whose last argument tells of failure (in a slot that is cleared first)."""
        slot = self._slot("put(t, {}, 0)")
        number = int(slot.removeprefix("t + ")) // 8
        made = [f"put(t, {number}, 0)", *self.call(routine, *arguments, slot)]
        return [*made, f"if size(t, {number}) {fails}:", f"    return {FAILED}"] if fails else made

    def finite(self, name: str, start: str, count: str) -> list[str]:
        """Fail unless all of `count` elements are: numpy's own routines say where nan and infinities go."""
        nothing = "entry - entry" if self.dtype.kind == "f" else "(real(entry) - real(entry)) + (imag(entry) - imag(entry))"  # or nan
        return [
            f"check = {literal(0, real_dtype(self.dtype))}",
            f"for i in range({count}):",
            f"    entry = load({name}, {start} + i)",
            f"    check = add_any_order(check, {nothing})",
            "if check != check:",
            f"    return {FAILED}",
        ]

    # -- text --

    def add(self, *lines: str | list[str], depth: int = 2) -> None:
        for each in lines:
            for line in [each] if isinstance(each, str) else each:
                self.lines.append("    " * depth + line)

    def zero(self) -> str:
        return literal(0, self.dtype)

    def transposed(self, source: str, start: str, target: str, rows: str, columns: str) -> list[str]:
        """Copy a matrix in row order at `start` of `source` to column order in `target`, a tile of rows at a time."""
        return [
            f"for i0 in range(0, {rows}, {TILE}):",
            f"    for j in range({columns}):",
            f"        for i in range(i0, min(i0 + {TILE}, {rows})):",
            f"            store({target}, j * {rows} + i, load({source}, {start} + i * {columns} + j))",
        ]

    def by_rows(self, source: str, stride: str, target: str, start: str, rows: str, columns: str) -> list[str]:
        """Copy a matrix in column order of `source` to row order at `start` of `target`, a tile of columns at a time."""
        return [
            f"for j0 in range(0, {columns}, {TILE}):",
            f"    for i in range({rows}):",
            f"        for j in range(j0, min(j0 + {TILE}, {columns})):",
            f"            store({target}, {start} + i * {columns} + j, load({source}, j * {stride} + i))",
        ]

    def _pointer(self, name: str) -> str:
        """A pointer: operands may overlap each other, but not what the kernel writes to (results are new memory)."""
        apart = [other for other, (number, _) in self.places.items() if number not in self.read]
        scope = 1 + apart.index(name) if name in apart else 0
        number, dtype = self.places[name]
        return f"scoped_{dtype.name}(p, {number}, {scope}, {1 + len(apart)})"

    def row(self, flops: int) -> Row:
        """The finished row; work space becomes one buffer that rows of the template share, or one for each chunk of matrices."""
        at = 0
        batch = self.extents["batch"]
        cost = batch * (CALL + flops / 2) if flops <= SMALL else 0.0
        count, _ = parts(cost, batch)
        sizes: list[int] = []
        for _, nbytes in self.work:
            sizes.append(at)
            at += -(-nbytes // 64) * 64
        if self.work:
            home = self.lowering.scratch(at * count)
            for (number, _), offset in zip(self.work, sizes, strict=True):
                self.pointers[number] = Ref(home, offset)
        head = ["def kernel(p, n):"]
        head += [f"    {name} = {self._pointer(name)}" for name in self.places]
        head += [f"    {name} = size(n, {k})" for k, name in enumerate(self.extents)]
        head += [f"    t = stack({max(len(self.slots), 1)})"]
        head += ["    " + line.format(place) for line, place in self.slots.items()]
        text = "\n".join([*head, "    for b in range(batch):", *self.lines, "    return 0", ""])
        op = self.node.op
        row = Row(text, self.pointers, list(self.extents.values()), op.name if op is not None else "", self.batch * flops)
        divide(row, cost, 0, [self.stacks.get(j, 0) // max(batch, 1) for j in range(len(self.pointers))])
        if row.chunks is not None:
            for number, _ in self.work:
                row.chunks.steps[number] = at
        row.cost = self.batch * (CALL + flops / FAST) if max(self.matrix) <= ALONE else 0.0
        return row
