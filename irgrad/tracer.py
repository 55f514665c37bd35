"""Names of autograd's module `tracer` that other code imports: is a value traced, and what is it?"""

from __future__ import annotations

from typing import Any

from irgrad.extend import notrace_primitive, primitive, register_notrace
from irgrad.spaces import Box, getval, isbox

__all__ = ["Box", "getval", "isbox", "notrace_primitive", "primitive", "register_notrace"]

_INTERNAL = {
    "Node": "irgrad.trace(f)(*args) gives the graph of a function, .nx its networkx form",
    "new_box": "irgrad makes its traced values itself",
    "toposort": "irgrad.trace(f)(*args) gives a graph in program order",
    "trace": "irgrad.trace(f)(*args) gives the graph of a function",
    "trace_stack": "traces of irgrad need no levels",
}


def __getattr__(name: str) -> Any:
    if name in _INTERNAL:
        raise AttributeError(f"irgrad.tracer has no {name}: {_INTERNAL[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
