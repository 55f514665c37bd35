"""Where an instance's kernels find their memory: a template's references, as a function of what an instance binds.

A reference is an int64 with the base in its low 16 bits and a byte offset above, so that offsets add to references. What a loop of the
user's program binds thousands of times is a function of straight-line code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from irgrad.codegen.lowered import Lowered, Ref
from irgrad.codegen.program import REF_BITS

OFTEN = 4  # uses from which a template has a function
Bound: TypeAlias = "tuple[Sequence[list[int]], Sequence[int | None]]"


class Symbols(dict[str, int]):
    """References of routines by name, `find` for those that are new."""

    def __init__(self, find: Callable[[str], int]) -> None:
        super().__init__()
        self.find = find

    def __missing__(self, name: str) -> int:
        found = self[name] = self.find(name)
        return found


def bind(
    lowered: Lowered, slots: Sequence[int], buffers: Sequence[int], starts: Sequence[tuple[int, ...]], symbols: Mapping[str, int]
) -> Bound:
    """The references of each row (of a host row its operands' and its result's), and of each export (None for a number)."""
    lowered.uses += 1
    if lowered.bind is None:
        if lowered.uses < OFTEN:
            return _interpreted(lowered, slots, buffers, starts, symbols)
        lowered.bind = _compiled(lowered)
    bound: Bound = lowered.bind(slots, buffers, starts, symbols)
    return bound


def _interpreted(
    lowered: Lowered, slots: Sequence[int], buffers: Sequence[int], starts: Sequence[tuple[int, ...]], symbols: Mapping[str, int]
) -> Bound:
    def reference(ref: Ref | str) -> int:
        if isinstance(ref, str):
            return symbols[ref]
        kind, index = ref.home
        offset = ref.offset
        for k, strides in ref.terms:
            offset += sum([start * stride for start, stride in zip(starts[k], strides, strict=True)])
        return (slots if kind == "slot" else buffers)[index] + (offset << REF_BITS)

    rows = [[reference(ref) for ref in row.refs()] for row in lowered.rows]
    return rows, [None if export.ref is None else reference(export.ref) for export in lowered.exports]


def _compiled(lowered: Lowered) -> Any:
    rows = "".join(f"[{', '.join(map(text_of, row.refs()))}], " for row in lowered.rows)
    exports = "".join(f"{'None' if export.ref is None else text_of(export.ref)}, " for export in lowered.exports)
    space: dict[str, Any] = {}
    exec(compile(f"def bound(S, B, T, Y):\n    return ({rows}), ({exports})\n", "<irgrad binding>", "exec"), space)
    return space["bound"]


def text_of(ref: Ref | str) -> str:
    """A reference in terms of slots S, buffers B, starts T and symbols Y."""
    if isinstance(ref, str):
        return f"Y[{ref!r}]"
    kind, index = ref.home
    text = f"{'S' if kind == 'slot' else 'B'}[{index}]"
    if ref.offset:
        text += f" + {ref.offset << REF_BITS}"
    for k, strides in ref.terms:
        text += "".join(f" + T[{k}][{axis}] * {stride << REF_BITS}" for axis, stride in enumerate(strides) if stride)
    return text
