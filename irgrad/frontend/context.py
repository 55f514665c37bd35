"""Which trace records in this thread or task. A `contextvars` variable, so threads and coroutines do not mix."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from irgrad.frontend.trace import Trace

CURRENT: ContextVar[Trace | None] = ContextVar("irgrad_trace", default=None)
current = CURRENT.get


class _Course(threading.local):
    """What eager runs of this thread have decided by traced values, as a hash: equal courses are, in all likelihood, equal paths."""

    value = 0


COURSE = _Course()
