"""Loops and branches over bodies: fixed native runners, each compiled once per user.

A runner is a kernel like any other (`int64 kernel(int64 pointers, int64 sizes)`). Its first pointers lead to *descriptors*
of linked bodies (rows, references, first bases), then come work memory, the packed result, and the operands. It builds the
bases of the body in the work memory and runs the body's rows as often as needed, so that loops nest and calls stay reentrant.
Trip counts, strides and offsets are data. A status other than zero of a row ends the loop with that status.

A packed result is a vector of float64 words: each part starts at a word, final carries first, so that its place does not depend
on the trip count.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.codegen.lowered import Row
from irgrad.ir.aval import Aval
from irgrad.ir.body import Body
from irgrad.ir.graph import Literal, Node

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Lowering

FAILED_ROW, TOO_MANY = 2, 3
# words of a body's descriptor: rows, references, rows to run, number of bases, first bases, offset of the arena in the work memory

_BASES = """    for k in range(size({d}, 3)):
        put({work}, k, size(size({d}, 4), k))
    put({work}, 0, {work} + size({d}, 5))
"""

_RUN = """{i}at = size({d}, 0)
{i}for r in range(size({d}, 2)):
{i}    first = size({d}, 1) + 8 * size(at, 1)
{i}    for j in range(size(at, 2)):
{i}        ref = size(first, j)
{i}        put(slots, j, size({work}, ref & 65535) + (ref >> 16))
{i}    if call_kernel(size(at, 0), slots, size(at, 3)) != 0:
{i}        return 2
{i}    at += 32
"""

_COPY = """{i}put(slots, 0, {source})
{i}put(slots, 1, {target})
{i}source_bytes = pointer_uint8(slots, 0)
{i}target_bytes = pointer_uint8(slots, 1)
{i}for b in range({count}):
{i}    store(target_bytes, b, load(source_bytes, b))
"""


def _text(template: str, depth: int, **names: str) -> str:
    return template.format(i="    " * depth, **names)


SCAN = (
    """def kernel(p, n):
    d = size(p, 0)
    work = size(p, 1)
    out = size(p, 2)
    consts = size(n, 0)
    carries = size(n, 1)
    xs = size(n, 2)
    ys = size(n, 3)
    length = size(n, 4)
    backward = size(n, 5)
    saved = size(n, 6)
    if size(n, 7) != 0:
        count = size(size(p, 3 + consts + carries + xs), 0)
        if count > length:
            return 3
        length = count
    slots = stack(512)
"""
    + _text(_BASES, 1, d="d", work="work")
    + """    for k in range(consts):
        put(work, 2 + k, size(p, 3 + k))
    carry_in = 2 + consts
    x_in = carry_in + carries
    carry_out = x_in + xs
    y_out = carry_out + carries
    t_x = 8 + 4 * carries
    t_y = t_x + xs
    if length <= 0:
        for k in range(carries):
"""
    + _text(_COPY, 3, source="size(p, 3 + consts + k)", target="out + size(n, 9 + 4 * k)", count="size(n, 8 + 4 * k)")
    + """    elif saved != 0:
        for k in range(carries):
            row = 0 if backward == 0 else length - 1
            bytes = size(n, 8 + 4 * k)
"""
    + _text(_COPY, 3, source="size(p, 3 + consts + k)", target="out + size(n, 10 + 4 * k) + row * bytes", count="bytes")
    + """    else:
        for k in range(carries):
            if size(n, 10 + 4 * k) < 0:
"""
    + _text(_COPY, 4, source="size(p, 3 + consts + k)", target="out + size(n, 9 + 4 * k)", count="size(n, 8 + 4 * k)")
    + """    for t in range(length):
        i = t if backward == 0 else length - 1 - t
        for k in range(carries):
            c = 8 + 4 * k
            bytes = size(n, c)
            if saved != 0:
                put(work, carry_in + k, out + size(n, c + 2) + i * bytes)
                following = i + 1 if backward == 0 else i - 1
                put(work, carry_out + k, out + size(n, c + 2) + following * bytes)
            elif size(n, c + 2) < 0:
                put(work, carry_in + k, out + size(n, c + 1))
            else:
                put(work, carry_in + k, work + size(n, c + 2 + (t & 1)) if t != 0 else size(p, 3 + consts + k))
                put(work, carry_out + k, work + size(n, c + 3 - (t & 1)))
            if t == length - 1:
                put(work, carry_out + k, out + size(n, c + 1))
        for k in range(xs):
            put(work, x_in + k, size(p, 3 + consts + carries + k) + i * size(n, t_x + k))
        for k in range(ys):
            put(work, y_out + k, out + size(n, t_y + 2 * k) + i * size(n, t_y + 2 * k + 1))
"""
    + _text(_RUN, 2, d="d", work="work")
    + "    return 0\n"
)

WHILE = (
    """def kernel(p, n):
    test = size(p, 0)
    d = size(p, 1)
    asked = size(p, 2)
    out = size(p, 3)
    consts = size(n, 0)
    carries = size(n, 1)
    work = asked + size(n, 2)
    limit = size(n, 5)
    slots = stack(512)
"""
    + _text(_BASES, 1, d="test", work="asked")
    + _text(_BASES, 1, d="d", work="work")
    + """    for k in range(consts):
        put(asked, 2 + k, size(p, 4 + k))
        put(work, 2 + k, size(p, 4 + k))
    carry_in = 2 + consts
    answer = asked + size(n, 3)
    put(asked, carry_in + carries, answer)
    for k in range(carries):
        if size(n, 8 + 4 * k) < 0:
"""
    + _text(_COPY, 3, source="size(p, 4 + consts + k)", target="out + size(n, 7 + 4 * k)", count="size(n, 6 + 4 * k)")
    + """    t = 0
    while True:
        for k in range(carries):
            c = 6 + 4 * k
            at_k = asked + size(n, c + 2 + (t & 1)) if t != 0 else size(p, 4 + consts + k)
            if size(n, c + 2) < 0:
                at_k = out + size(n, c + 1)
            put(asked, carry_in + k, at_k)
            put(work, carry_in + k, at_k)
            put(work, carry_in + carries + k, asked + size(n, c + 3 - (t & 1)))
"""
    + _text(_RUN, 2, d="test", work="asked")
    + """        put(slots, 0, answer)
        flag = load(pointer_uint8(slots, 0), 0)
        if flag == 0:
            break
        if t == limit:
            return 3
"""
    + _text(_RUN, 2, d="d", work="work")
    + """        t += 1
    for k in range(carries):
        if size(n, 8 + 4 * k) >= 0:
"""
    + _text(_COPY, 3, source="size(work, carry_in + k)", target="out + size(n, 7 + 4 * k)", count="size(n, 6 + 4 * k)")
    + """    put(out + size(n, 4), 0, t)
    return 0
"""
)

BRANCH = (
    """def kernel(p, n):
    work = size(p, 0)
    out = size(p, 1)
    branches = size(n, 0)
    inputs = size(n, 1)
    chosen = size(size(p, 2), 0)
    if chosen < 0:
        chosen = 0
    if chosen >= branches:
        chosen = branches - 1
    d = size(p, 3 + chosen)
    slots = stack(512)
"""
    + _text(_BASES, 1, d="d", work="work")
    + """    for k in range(inputs):
        put(work, 2 + k, size(p, 3 + branches + k))
    for k in range(size(n, 2)):
        put(work, 2 + inputs + k, out + size(n, 3 + k))
"""
    + _text(_RUN, 1, d="d", work="work")
    + "    return 0\n"
)


# ---- packed results ----


def words(aval: Aval) -> int:
    return -(-aval.nbytes // 8)


def stacked(avals: Sequence[Aval], length: int) -> list[Aval]:
    return [Aval((length, *aval.shape), aval.dtype) for aval in avals]


def parts(avals: Sequence[Aval]) -> tuple[list[int], int]:
    """Where each part of a packed result starts, in words, and how many words there are."""
    offsets: list[int] = []
    total = 0
    for aval in avals:
        offsets.append(total)
        total += words(aval)
    return offsets, total


def scan_parts(body: Body, length: int, carries: int, saved: bool) -> list[Aval]:
    """Final carries, stacked ys, and the carries that each iteration began with."""
    results = body.results
    return [*results[:carries], *stacked(results[carries:], length), *(stacked(results[:carries], length) if saved else ())]


def while_parts(body: Body) -> list[Aval]:
    """Final carries, and the number of iterations."""
    return [*body.results, Aval((), np.dtype(np.int64), "scalar")]


# ---- calls: pointers as the runners expect them ----


class Linked:
    """A body as a program: its descriptor's address under a name, the kernels it calls, and the work memory a run needs."""

    def __init__(self, name: str, program: Any, kept: frozenset[int] = frozenset()) -> None:
        self.name = name
        self.program = program
        self.kept = kept  # carries that it changes in place
        bases = program.initial_bases
        first = _aligned(8 * len(bases))
        table = [program.rows.ctypes.data, program.refs.ctypes.data, program.num_rows - 1, len(bases), bases.ctypes.data, first]
        self.table = np.array(table, np.int64)
        self.address = int(self.table.ctypes.data)
        self.work = first + _aligned(program.arena_bytes)
        self.flops = program.flops + 20 * program.num_rows
        _linked[name] = self


_linked: weakref.WeakValueDictionary[str, Linked] = weakref.WeakValueDictionary()


def find_linked(name: str) -> Linked | None:
    """The linked body whose descriptor a row's pointer names."""
    return _linked.get(name)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


class Plan:
    """One call of a runner: its text, bodies, size table, bytes of work memory, result words, and an estimate of its work.

    `before` and `behind` say how many bodies' descriptors stand before the work memory, and the pattern of the other pointers.
    """

    __slots__ = ("flops", "linked", "pattern", "sizes", "source", "work")

    def __init__(self, source: str, linked: list[Linked], pattern: str, sizes: list[int], work: int, flops: int) -> None:
        self.source = source
        self.linked = linked
        self.pattern = pattern
        self.sizes = sizes
        self.work = work
        self.flops = flops

    def pointers(self, work: Any, out: Any, operands: Sequence[Any]) -> list[Any]:
        """The pointer table from the places of work memory, result and operands; bodies by name."""
        made: list[Any] = []
        names = [linked.name for linked in self.linked]
        for letter in self.pattern:  # b: bodies, w: work, o: result, f: first operand, r: the other operands, a: all operands
            made += {"b": names, "w": [work], "o": [out], "f": operands[:1], "r": operands[1:], "a": operands}[letter]
        return made


def scan_plan(params: dict[str, Any]) -> Plan:
    body: Body = params["body"]
    carries, xs, length, saved = params["carries"], params["xs"], params["length"], params["saved"]
    linked: Linked = body.linked if saved else body.derived["in place", carries]
    consts = len(body.inputs) - carries - xs
    results = body.results
    ys = results[carries:]
    offsets, _ = parts(scan_parts(body, length, carries, saved))
    sizes = [consts, carries, xs, len(ys), length, int(params["reverse"]), int(saved), int(params["counted"])]
    work = linked.work
    for k, aval in enumerate(results[:carries]):
        if saved:
            places = [8 * offsets[carries + len(ys) + k], 0]
        elif k in linked.kept:
            places = [-1, -1]
        else:
            places = [work, work + _aligned(aval.nbytes)]
            work += 2 * _aligned(aval.nbytes)
        sizes += [aval.nbytes, 8 * offsets[k], *places]
    sizes += [aval.nbytes for aval in body.inputs[consts + carries :]]
    for k, aval in enumerate(ys):
        sizes += [8 * offsets[carries + k], aval.nbytes]
    return Plan(SCAN, [linked], "bwoa", sizes, work, max(length, 1) * linked.flops)


def while_plan(params: dict[str, Any]) -> Plan:
    test, body = params["test"], params["body"]
    carries = len(body.results)
    consts = len(body.inputs) - carries
    linked: Linked = body.derived["in place", carries]
    offsets, _ = parts(while_parts(body))
    work = test.linked.work + linked.work
    limit = params["max_steps"]
    sizes = [consts, carries, test.linked.work, work, 8 * offsets[-1], -1 if limit is None else limit]
    work += 64
    for k, aval in enumerate(body.results):
        if k in linked.kept:
            sizes += [aval.nbytes, 8 * offsets[k], -1, -1]
            continue
        sizes += [aval.nbytes, 8 * offsets[k], work, work + _aligned(aval.nbytes)]
        work += 2 * _aligned(aval.nbytes)
    return Plan(WHILE, [test.linked, linked], "bwoa", sizes, work, 100_000 + linked.flops)


def branch_plan(params: dict[str, Any]) -> Plan:
    branches: tuple[Body, ...] = params["branches"]
    linked = [body.linked for body in branches]
    offsets, _ = parts(branches[0].results)
    sizes = [len(branches), len(branches[0].inputs), len(offsets), *[8 * offset for offset in offsets]]
    return Plan(BRANCH, linked, "wofbr", sizes, max(each.work for each in linked), max(each.flops for each in linked))


PLANS = {"scan": scan_plan, "while_loop": while_plan, "cond": branch_plan, "checkpoint": branch_plan}


def row(lowering: _Lowering, node: Node, kind: str) -> Row:
    """The row of a loop or branch."""
    from irgrad.codegen.lowered import Ref

    if kind == "pick":
        return _pick(lowering, node)
    plan = PLANS[kind](node.params)
    operands: list[Any] = []
    for operand in node.operands:
        assert not isinstance(operand, Literal)
        operands.append(lowering.ref(lowering.view(operand)))
    out = lowering.ref(lowering.view(node))
    pointers = plan.pointers(Ref(lowering.scratch(max(plan.work, 64))), out, operands)
    return Row(plan.source, pointers, plan.sizes, kind, plan.flops, cost=plan.flops / 2)


def _pick(lowering: _Lowering, node: Node) -> Row:
    """A part of another dtype than float64, copied out of a packed result."""
    packed = node.operands[0]
    assert not isinstance(packed, Literal)
    view = lowering.view(packed)
    source = lowering.ref(type(view)(view.root, view.strides, view.offset + node.params["offset"], view.terms))
    text = "def kernel(p, n):\n    x = pointer_uint8(p, 0)\n    o = pointer_uint8(p, 1)\n"
    text += "    for k in range(size(n, 0)):\n        store(o, k, load(x, k))\n    return 0\n"
    return Row(text, [source, lowering.ref(lowering.view(node))], [node.aval.nbytes], "pick")
