"""Values of a trace that nobody will read again are given up while it goes on: results of linear operations that linear ones took.

Derivative rules read neither. Whoever asks for one all the same gets it computed again (`deferral.compute`): its operands keep their bits,
as rules rely on it for all operands of elementwise operations. What has views, what written memory consists of, and what anybody but the
trace holds, stays; so do values of rules, which change buffers in place.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.frontend.deferral import stand_in
from irgrad.frontend.tracer import Tracer, is_deferred

if TYPE_CHECKING:
    from irgrad.frontend.graph_trace import GraphTrace

LEAST = 1 << 10  # bytes of a value that is worth it
_SUMS = frozenset({"add", "sub", "neg"})
_TAKES = frozenset({"add", "sub", "neg", "reduce_sum"})
_getrefcount = sys.getrefcount
_HELD = 4  # references to a value that only its trace has: the tape, its part here, a variable, the argument of getrefcount
_ndarray = np.ndarray


def forget(trace: GraphTrace, most: int) -> bool:
    """Look through what was recorded since the last time, its last `most` operations; is there anything of the kind?"""
    start, trace.swept = max(trace.swept, len(trace.tape) - most), len(trace.tape)
    tape = trace.tape[start:]
    if not any(type(t) is Tracer and type(t.form) is _ndarray and t.form.nbytes >= LEAST and _is_linear(t) for t in tape):
        return False
    uses: dict[int, int] = {}
    needed: set[int] = set()
    for t in tape:
        for k, o in enumerate(t.operands):
            if type(o) is Tracer and o.index >= start:
                uses[o.index] = uses.get(o.index, 0) + 1
                if not _takes(t, k):
                    needed.add(o.index)
    rules = trace.written.flags(start, trace.swept)
    for t in tape:
        if type(t) is not Tracer or t.index in needed or rules[t.index - start] or not _is_linear(t):
            continue
        form = t.form
        if type(form) is not _ndarray or form.nbytes < LEAST or t.index in trace.storages or is_deferred(t):
            continue
        if _getrefcount(t) == _HELD + uses.get(t.index, 0):
            del form
            t.form = stand_in(t.form.shape, t.form.dtype)
            del t.value
    return True


def _is_linear(t: Tracer) -> bool:
    """Is it a sum, or the product of an array and a number of the program's text? No rule reads what these give."""
    return t.op is not None and (t.op.name in _SUMS or _is_scaled(t))


def _is_scaled(t: Tracer) -> bool:
    if t.op is None or t.op.name != "mul":
        return False
    return sum(type(o) is Tracer for o in t.operands) == 1


def _takes(t: Any, k: int) -> bool:
    """Does an operation take its k-th operand without that a rule looks at it?"""
    op = t.op
    if op is None:
        return False
    return op.name in _TAKES or _is_scaled(t) or (op.name == "slice_update" and k == 1)
