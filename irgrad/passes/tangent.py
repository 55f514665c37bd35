"""Forward accumulation over a linear IR: tangents in program order, by the jvp rules.

As `irgrad.passes.adjoint`, it writes through a builder, and neither knows an operation by name. On numpy values the tangent of an array
that is written becomes, changed in place, that of its next version, where nothing reads it later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.errors import MissingRuleError
from irgrad.ir.builder import Builder, EvalBuilder
from irgrad.ir.primitive import NonDiff, Primitive
from irgrad.ir.value import Static, Value
from irgrad.passes.adjoint import CONCRETE, Concrete, fit_dtype, missing


class _InPlace(Concrete):
    """`Concrete` where the buffer of an update belongs to the walk."""

    def bind(self, op: Primitive) -> Callable[..., Any]:
        return op.in_place or super().bind(op)


_IN_PLACE = _InPlace()


def forward(
    tape: Sequence[Any], start: int, stop: int, seeds: Mapping[int, Any], outs: Sequence[Any], b: Builder, detached: bool = False
) -> list[Any]:
    """Tangents of `outs`, None for zero, from the tangents `seeds` by index of values in tape[start:stop].

    `detached` says that the tape is finished and the rules see its concrete values whatever the builder. Raises
    MissingRuleError where a rule is needed and missing.
    """
    tangents: dict[int, Any] = dict(seeds)
    buffers: _Buffers | None = None
    writer: Any = CONCRETE if isinstance(b, EvalBuilder) else b
    concrete = writer is CONCRETE
    kind: Any = type(tape[start]) if stop > start else Value
    unknown: dict[int, MissingRuleError] = {}  # raised where such a tangent is asked for
    with np.errstate(all="ignore"):
        for i in range(start, stop):
            node = tape[i]
            op: Primitive | None = node.op
            if op is None or i in seeds:
                continue
            operands = node.operands
            ts = [tangents.get(o.index) if type(o) is kind else None for o in operands]
            rules = op.jvp
            if type(rules) is NonDiff:
                continue
            if unknown:
                lost = next((unknown[o.index] for o in operands if type(o) is kind and o.index in unknown), None)
                if lost is not None:
                    unknown[i] = lost
                    continue
            if all(t is None for t in ts):
                continue
            if concrete or detached:
                values: Sequence[Any] = [o.value if type(o) is kind or type(o) is Static else o for o in operands]
                out = node.value
            else:
                values, out = writer.at(node), node
            if writer.dtype(out).kind not in "fc":
                continue
            if concrete and op.in_place is not None and buffers is None:
                buffers = _Buffers(tape, start, stop, outs)
            mine = buffers is not None and op.in_place is not None and buffers.may_change(i, operands[0])
            try:
                t = _tangent(_IN_PLACE if mine else writer, op, rules, ts, out, values, node.params)
            except MissingRuleError as error:
                unknown[i] = error
                continue
            if t is not None:
                tangents[i] = t if type(t) is dict else _spread(writer, t, out, concrete)
                if buffers is not None:
                    tangents[i] = buffers.settle(i, op, tangents[i], operands, ts, mine)
    for value in outs:
        if value.index in unknown:
            raise unknown[value.index]
    return [tangents.get(value.index) for value in outs]


class _Buffers:
    """Which tangents are in buffers of the walk, and who reads each value last."""

    def __init__(self, tape: Sequence[Any], start: int, stop: int, outs: Sequence[Any]) -> None:
        self.owned: set[int] = set()
        self.last: dict[int, int] = {}
        kind = type(tape[start])
        for i in range(start, stop):
            for o in tape[i].operands:
                if type(o) is kind:
                    self.last[o.index] = i
        for value in outs:
            self.last[value.index] = stop

    def may_change(self, index: int, buffer: Any) -> bool:
        """Is node `index` the last to read the tangent of `buffer`, and is that in a buffer of the walk?"""
        return isinstance(buffer, Value) and buffer.index in self.owned and self.last[buffer.index] == index

    def settle(self, index: int, op: Primitive, t: Any, operands: Sequence[Any], ts: Sequence[Any], mine: bool) -> Any:
        """The tangent of node `index` as it is kept: a buffer of the walk (changed in place: `mine`), or a copy of what it shows of one."""
        if type(t) is not np.ndarray:
            return t
        shared = [o for o, s in zip(operands, ts, strict=True) if type(s) is np.ndarray and np.may_share_memory(s, t)]
        if op.in_place is not None and (mine or not shared) and t.flags.writeable:
            self.owned.add(index)
            return t
        if any(isinstance(o, Value) and o.index in self.owned for o in shared):
            return t.copy(order="K")
        return t


def _tangent(b: Builder, op: Primitive, rules: Any, ts: list[Any], out: Any, values: Sequence[Any], params: Mapping[str, Any]) -> Any:
    if rules is None:
        raise missing(op, "JVP", next(k for k, t in enumerate(ts) if t is not None))
    if type(rules) is not tuple:
        return rules(b, ts, out, *values, **params)
    total = None
    for k, t in enumerate(ts):
        if t is None:
            continue
        if k >= len(rules):
            raise missing(op, "JVP", k)
        if rules[k] is None:
            continue
        c = rules[k](b, t, out, *values, **params)
        if c is not None:
            total = c if total is None else b.add(total, c)
    return total


def _spread(b: Builder, t: Any, out: Any, concrete: bool) -> Any:
    """A tangent with the full shape and dtype of its value."""
    shape = b.shape(out)
    if b.shape(t) != shape:
        t = np.broadcast_to(t, shape) if concrete else b.broadcast_to(t, shape=shape)
    dtype = b.dtype(out)
    if not concrete:
        return fit_dtype(b, t, dtype)
    if type(t) is Static:
        t = t.value
    if b.dtype(t) == dtype and isinstance(t, (np.ndarray, np.generic)):
        return t
    t = np.asarray(t)
    return (t.real if t.dtype.kind == "c" and dtype.kind != "c" else t).astype(dtype)[()]
