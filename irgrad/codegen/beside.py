"""Independent rows side by side: large ones that no axis splits, as factorisations, running sums or loops of two matrices or signals.

Of the rows of a template, those that cost enough and have nothing to do with each other, nor with the rows between them, become one row
whose parts the team (`irgrad.codegen.team`) shares as it does chunks; without a team they run one after the other, with the same bits.
Which rows these are depends on kernels and sizes alone. Work space that rows use one after the other is one piece for each of them then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from irgrad.codegen import split
from irgrad.codegen.lowered import HostRow, Ref, Row
from irgrad.ir.plan import Cluster, Plan

ENOUGH = split.LEAST / 2  # nanoseconds of a row that is worth another thread
NEAR = 16  # rows further on that are looked at
MOST = 8  # rows side by side
HEAD, WORDS = 5, 3  # words of the size table before those of the parts, and of each part: its kernel, first pointer, first size
Home = tuple[str, int]

PART_OF = f"""def kernel(p, n):
    sizes = size(p, 3)
    at = sizes + {8 * HEAD} + {8 * WORDS} * n
    return call_kernel(size(at, 0), size(p, 2) + 8 * size(at, 1), sizes + 8 * size(at, 2))
"""


def written(clusters: Sequence[Cluster], plan: Plan, homes: Mapping[int, Home]) -> set[Home]:
    """The homes of what the rows of clusters write, but for memory that is theirs alone."""
    nodes = [node for cluster in clusters for node in cluster.nodes]
    roots = [plan.views[node.index].root if node.index in plan.parts else node for node in nodes]
    return {homes[root.index] for root in roots if root.index in homes}


def grouped(rows: Sequence[Row | HostRow], written: Sequence[set[Home]], work: int | None, buffers: list[int]) -> list[Row | HostRow]:
    """The rows, with such that may run side by side as one; `written` are homes that each writes to, `work` the buffer of work space."""
    if sum(isinstance(row, Row) and row.cost >= ENOUGH for row in rows) < 2:
        return list(rows)
    shared: Home = ("buffer", -1 if work is None else work)
    named = [_homes(row) - {shared} for row in rows]

    def apart(i: int, j: int) -> bool:
        return not (written[i] & named[j] or written[j] & named[i])

    made: list[Row | HostRow] = []
    left = list(range(len(rows)))
    while left:
        group = [left.pop(0)]
        before: list[int] = []
        after: list[int] = []
        for place, other in enumerate(left[:NEAR] if _fits(rows[group[0]]) else []):
            if len(group) < MOST and _fits(rows[other]):
                found = _around([*group, other], [k for k in left[:place] if k not in group], apart)
                if found is not None:
                    group.append(other)
                    before, after = found
        made += [rows[k] for k in before]
        made.append(_together([rows[k] for k in group], shared, buffers) if len(group) > 1 else rows[group[0]])
        left = after + [k for k in left if k not in group and k not in before and k not in after]
    return made


def _around(group: list[int], between: list[int], apart: Callable[[int, int], bool]) -> tuple[list[int], list[int]] | None:
    """The rows between those of a group that come before it, and those behind it; None where the group cannot be side by side."""
    if not all(apart(i, group[-1]) for i in group[:-1]):
        return None
    before: list[int] = []
    after: list[int] = []
    for k in between:
        if all(apart(k, i) for i in group if i < k) and all(apart(k, j) for j in after):
            before.append(k)
        elif all(apart(k, i) for i in group if i > k):
            after.append(k)
        else:
            return None
    return before, after


def _fits(row: Row | HostRow) -> bool:
    return isinstance(row, Row) and row.cost >= ENOUGH and row.is_plain and row.streamed is None


def _homes(row: Row | HostRow) -> set[Home]:
    return {ref.home for ref in row.refs() if isinstance(ref, Ref)}


def _together(rows: Sequence[Row | HostRow], work: Home, buffers: list[int]) -> Row:
    """One row of several; all but the first get work space of their own."""
    parts: list[Row] = []
    pointers: list[Ref | str] = []
    for row in rows:
        assert isinstance(row, Row)
        own: Home = work
        if parts and work in _homes(row):
            own = ("buffer", len(buffers))
            buffers.append(buffers[work[1]])
        refs = [replace(ref, home=own) if isinstance(ref, Ref) and ref.home == work else ref for ref in row.pointers]
        parts.append(replace(row, pointers=refs))
        pointers += refs
    return Row(split.SPLIT, pointers, [], " and ".join(part.what for part in parts), sum(part.flops for part in parts), parts=parts)


def table(team: int, counts: int, parts: Sequence[Row]) -> tuple[list[int], list[int]]:
    """The size table of SPLIT for a row of parts, and the places in it of the parts' kernels; CALLED_CHUNK is for PART_OF."""
    head = [team, counts, 0, 0, len(parts)]
    sizes: list[int] = []
    first, begin = 0, HEAD + WORDS * len(parts)
    for part in parts:
        head += [0, first, begin + len(sizes)]
        first += len(part.pointers)
        sizes += part.sizes or [0]
    return [*head, *sizes], [HEAD + WORDS * k for k in range(len(parts))]
