"""Large results are written past the caches: which nests of a template do, and how they are written.

A store to memory that is in no cache reads the line first and later evicts another: two passes over memory instead of one. A nest that
writes a result of the program of STREAM bytes or more therefore fills a line buffer on the stack in its innermost loop, and
moves it out by whole lines of the cache, which the processor does not read (`stream`: non-temporal stores, ordered by the `fence`
at the end). Such stores take the room in which the processor fetches what is read next, so that loops of little arithmetic say so in
time (`ahead`: 0.82 to 1.0 of the time). Memory in the cache is written as fast as before. Values that the program reads again stay in
the cache.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from irgrad.codegen.lowered import HostRow, Ref, Row
from irgrad.codegen.nest import Nest, NestText
from irgrad.ir.graph import Node

if TYPE_CHECKING:
    from irgrad.codegen.lower import _Writer

STREAM = 4 << 20  # bytes of a result: more than the caches of a core
LEAST = 128  # elements of a row that are written together
WORDS = frozenset({"float32", "float64", "complex64", "complex128", "int32", "int64"})
_STORE = re.compile(r"store\((p\d+), @(\d+)@, v\d+\)")


def streamed(writer: _Writer, nest: Nest, text: NestText) -> tuple[list[str], set[tuple[str, int]]] | None:
    """The nest written again with its large results past the caches, and their homes; None where it has none along its innermost loop."""
    chosen = {number: pointer for pointer, number in _large(writer, nest, text).items()}
    if not chosen:
        return None
    again = NestText(nest, text.first, chosen)
    lines, _ = again.write()
    refs = [writer.table[int(pointer[1:])] for pointer in chosen.values()]
    return [line.removeprefix("    ") for line in lines], {ref.home for ref in refs if isinstance(ref, Ref)}


def _large(writer: _Writer, nest: Nest, text: NestText) -> dict[str, int]:
    """Pointers of large results that the nest writes and does not read, each with its access."""
    if not text.can_stream or text.axes[-1][0] < LEAST:
        return {}
    lowering = writer.lowering
    results = {lowering.home(lowering.view(output).root) for output in lowering.graph.outputs if isinstance(output, Node)}
    dtypes = {name: known[1] for known, name in writer.pointers.items() if isinstance(known, tuple)}
    found: dict[str, int] = {}
    for line in (line for stage in nest.stages for line in stage.body):
        store = _STORE.fullmatch(line)
        if store is None:
            continue
        pointer, number = store[1], int(store[2])
        ref = writer.table[int(pointer[1:])]
        assert isinstance(ref, Ref)
        alone = sum(access.pointer == pointer for access in nest.accesses) == 1 and pointer not in writer.scalars
        homes = 1 if ref in writer.regions else sum(isinstance(other, Ref) and other.home == ref.home for other in writer.table)
        large = ref.home in results and ref.home[0] == "buffer" and lowering.buffers[ref.home[1]] >= STREAM
        if large and alone and homes == 1 and dtypes[pointer] in WORDS and text.axes[-1][2][number] == 1:
            found[pointer] = number
    return found


def keep_what_is_read(rows: list[Row | HostRow]) -> list[Row | HostRow]:
    """The rows, which leave in the cache what another row of the template reads."""
    uses: dict[tuple[str, int], int] = {}
    for row in rows:
        for home in {ref.home for ref in row.refs() if isinstance(ref, Ref)}:
            uses[home] = uses.get(home, 0) + 1
    for row in rows:
        if isinstance(row, Row) and row.streamed is not None and any(uses[home] > 1 for home in row.streamed.homes):
            row.streamed = None
    return rows
