"""Which trace records in this thread or task. A `contextvars` variable, so threads and coroutines do not mix."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from irgrad.frontend.trace import Trace

CURRENT: ContextVar[Trace | None] = ContextVar("irgrad_trace", default=None)
current = CURRENT.get
