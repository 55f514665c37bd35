"""Locks over a fork: a child has no thread that would give back what another one held, so such a lock is a new one there."""

from __future__ import annotations

import os
import threading
import weakref


class Lock:
    """A lock that the thread which holds it may take again. In a forked child it is free, unless the thread that forked holds it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """In a child: be free, if it was another thread that held it."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = threading.RLock()


def _renew() -> None:
    for lock in list(_LOCKS):
        lock.renew()


_LOCKS: weakref.WeakSet[Lock] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
