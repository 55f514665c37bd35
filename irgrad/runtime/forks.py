"""Locks of jitted functions over a fork: a child has no thread that would give back what another one held.

Before a fork these locks are taken, so that what other threads trace and link is whole in the child. What takes longer than `PATIENCE` is
not waited for: the child's function begins anew, with nothing traced.
"""

from __future__ import annotations

import os
import threading
import weakref
from time import monotonic
from typing import Any

from irgrad.runtime import turns as _turns  # noqa: F401  (its work comes to rest after these locks are taken)

PATIENCE = 1.0  # seconds that a fork waits for all other threads
_locks: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_taken = threading.local()  # `locks`: of a thread that forks


def lock_of(owner: Any) -> Any:
    """A lock for a jitted function. In the child of a fork nobody holds it."""
    lock = _locks[owner] = threading.RLock()
    return lock


def _take() -> None:
    end = monotonic() + PATIENCE
    _taken.locks = []
    for ref in _locks.keyrefs():
        owner = ref()
        lock = None if owner is None else _locks.get(owner)
        if lock is not None and lock.acquire(timeout=max(0.0, end - monotonic())):
            _taken.locks.append(lock)


def _give() -> list[Any]:
    locks: list[Any] = _taken.locks
    _taken.locks = []
    for lock in locks:
        lock.release()
    return locks


def _give_in_child() -> None:
    free = {id(lock) for lock in _give()}
    for owner, lock in list(_locks.items()):
        if id(lock) not in free:
            kind, options = owner.__reduce__()
            kind.__init__(owner, *options)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give, after_in_child=_give_in_child)
