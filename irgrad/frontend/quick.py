"""The operators that loops are made of, in one function each: what `GraphTrace.apply` does for two values of the loop's own dtype.

Whatever else an operation can meet (written memory, deferred values, conversions, other traces, errors) goes to `apply`, before anything
is recorded.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.promote import LOOPS
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY, Primitive

_USER = 2  # frames from `GraphTrace.locate` to the user's
_NO_PARAMS: dict[str, Any] = {}
_ndarray = np.ndarray
_getframe = sys._getframe


def _operator(op: Primitive, fn: Callable[..., Any], plain: Callable[[Any, Any], Any], is_right: bool) -> Callable[[Any, Any], Any]:
    """The method for ``x op y``, or ``y op x``; `plain` is the general one."""

    def record(x: Tracer, y: Any) -> Any:
        trace = x._trace
        if type(x.form) is bool:
            return plain(x, y)
        if type(trace) is not GraphTrace or trace.inside or trace.defers:
            return trace.apply(op, fn, y, x) if is_right else trace.apply(op, fn, x, y)
        a: Any = x.value
        kind: Any = type(a)
        if type(y) is Tracer:
            if y._trace is not trace:
                return plain(x, y)
            b: Any = y.value
            other: Any = type(b)
        elif type(y) is float:
            b, other = y, float
        else:
            return plain(x, y)
        if kind is _ndarray or other is _ndarray:
            if trace.storages:
                return plain(x, y)
            kind, other = a.dtype if kind is _ndarray else kind, b.dtype if other is _ndarray else other
        loop = LOOPS.get((op, other, kind) if is_right else (op, kind, other))
        if loop is None or loop[1] is not None:
            return plain(x, y)
        try:
            out = fn(b, a) if is_right else fn(a, b)
        except (ValueError, IndexError, TypeError):
            return plain(x, y)
        frame, sites = _getframe(1), trace.sites
        top = sites.top
        if top is not None and top.frame is frame and (at := frame.f_lasti) > top.lasti and top.info.zone[at] == top.zone:
            known = top.sites  # `GraphTrace.locate` for the commonest move
            site = (top, at) if known is None else known.get(at) or known.setdefault(at, (top, at))
            top.lasti = site[1]
            trace.site = sites.site = site
        else:
            trace.locate(_USER)
            top = sites.top
        if type(y) is float and top is not None and top.searched:
            y = trace.literal(y)
        return trace.record(op, (y, x) if is_right else (x, y), _NO_PARAMS, out)

    return record


for _name, _fn, _dunder in (
    ("add", operator.add, "add"), ("sub", operator.sub, "sub"), ("mul", operator.mul, "mul"), ("div", operator.truediv, "truediv"),
):  # fmt: skip
    for _method, _is_right in ((f"__{_dunder}__", False), (f"__r{_dunder}__", True)):
        setattr(Tracer, _method, _operator(REGISTRY[_name], _fn, getattr(Tracer, _method), _is_right))
