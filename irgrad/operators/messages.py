"""What operators say: warnings at the user's line, and names and places of functions."""

from __future__ import annotations

import inspect
import sys
import warnings
from typing import Any

from irgrad.errors import MissingRuleError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.sites import code_info, source_of
from irgrad.frontend.trace import Trace, here
from irgrad.ir.source import Source


def warn_independent() -> None:
    warn("Output seems independent of input.")


def warn(text: str) -> None:
    """A UserWarning at the user's line."""
    level = 1
    frame = sys._getframe(0)
    while frame.f_back is not None and code_info(frame.f_code).internal:
        frame = frame.f_back
        level += 1
    warnings.warn(text, UserWarning, stacklevel=level)


def name_of(fun: Any) -> str:
    return getattr(fun, "__name__", "[unknown name]")


def source_of_function(fun: Any) -> str:
    """Where a function was written, for a message."""
    code = getattr(inspect.unwrap(fun), "__code__", None)
    return f"{name_of(fun)}, {Source(code.co_filename, code.co_firstlineno, code.co_qualname)}" if code is not None else name_of(fun)


def located(error: MissingRuleError, trace: Trace) -> MissingRuleError:
    source = source_of(trace.site) if isinstance(trace, GraphTrace) else None
    return MissingRuleError(f"{error} ({source or here()})")
