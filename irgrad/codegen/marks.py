"""Marks in the store of functions whose kernels it has: a process that meets another function loads LLVM while that is traced.

A mark is a guess. A function that is marked may still need LLVM, for other shapes say, and then waits for it; one that is not may find
all of its kernels, and LLVM was loaded for nothing, by a thread that nobody waited for.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from irgrad.codegen.compile import LIBRARY
from irgrad.codegen.jobs import QUEUE
from irgrad.config import CONFIG

_marked: set[str] = set()  # marks that this process has seen or made


def expect(function: Callable[..., Any]) -> None:
    """Load LLVM in another thread, where there may be one, if this function seems to be new to the store."""
    if CONFIG.threads > 1 and not is_loaded() and not _has(mark_of(function)):
        QUEUE.add(_load, at_once=True)


def note(function: Callable[..., Any]) -> None:
    """The store has the kernels of this function."""
    mark = mark_of(function)
    if mark not in _marked and not _has(mark):
        LIBRARY.store.put(mark, "mark", b"")
        _marked.add(mark)


def is_loaded() -> bool:
    """Is LLVM in this process, or on the way?"""
    return "irgrad.codegen.llvm.binding" in sys.modules


def mark_of(function: Any) -> str:
    """The name of a function's mark: of its code, and of what it is wrapped in."""
    digest = hashlib.sha256(CONFIG.backend.encode())
    for _ in range(100):  # wrappers
        digest.update(f"{type(function).__qualname__} {getattr(function, '__qualname__', '')}\0".encode())
        _add(digest, getattr(function, "__code__", None))
        inner = getattr(function, "__wrapped__", None) or getattr(function, "func", None)
        if inner is None:
            break
        function = inner
    return f"mark_{digest.hexdigest()[:24]}"


def _add(digest: Any, code: Any) -> None:
    if isinstance(code, CodeType):
        digest.update(f"{code.co_filename} {code.co_names} {code.co_varnames} {code.co_freevars}\0".encode() + code.co_code)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                _add(digest, constant)
            else:  # the order of a set changes from process to process
                digest.update(f"{sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant!r}\0".encode())


def _has(mark: str) -> bool:
    if mark not in _marked and LIBRARY.store.get(mark) is not None:
        _marked.add(mark)
    return mark in _marked


def _load() -> None:
    from irgrad.codegen.llvm.binding import compiler

    compiler()
    import irgrad.codegen.llvm.machine  # noqa: F401
