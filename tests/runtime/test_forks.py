"""A child of a process with many threads: no lock of a jitted function is held for ever."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.compile import LIBRARY
from irgrad.codegen.llvm import binding
from irgrad.runtime import forks

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),  # JAX's, where another test has loaded it
]


def child_answers(check: Callable[[], bool]) -> bool:
    """Does a check hold in a forked child, within a minute?"""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_waits_for_a_trace_or_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in (0.0, 20.0):
        monkeypatch.setattr(forks, "PATIENCE", patience)
        begun, gate = threading.Event(), threading.Event()

        def traced(x: Any, begun: Any = begun, gate: Any = gate) -> Any:
            y = np.sin(x) * 2.0
            begun.set()
            gate.wait(20.0)
            return y * x

        fast = irgrad.jit(traced)
        other = irgrad.jit(lambda x: x * 3.0).compile(2.0)
        thread = threading.Thread(target=fast, args=(0.5,))
        thread.start()
        assert begun.wait(20.0)
        if patience:
            threading.Timer(0.2, gate.set).start()

        def check(fast: Any = fast, other: Any = other, gate: Any = gate) -> bool:
            gate.set()
            right = all(abs(fast(v) - np.sin(v) * 2.0 * v) < 1e-12 for v in (0.5, 0.7, 0.9, 1.5))
            return right and other(2.0) == 6.0 and other.settle().stats().paths == 1

        assert child_answers(check)
        gate.set()
        thread.join()
        assert all(abs(fast(v) - np.sin(v) * 2.0 * v) < 1e-12 for v in (0.5, 0.7, 0.9, 1.5))
        assert not forks._taken.locks


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_compiles_whatever_another_thread_held() -> None:
    """The library of kernels is another thread's at the fork."""
    held, gate = threading.Event(), threading.Event()

    def hold() -> None:
        with LIBRARY.lock, binding._starting:
            held.set()
            gate.wait(60.0)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20.0)
    try:
        assert child_answers(lambda: irgrad.jit(lambda x: np.sum(x * 41.5 - 2.0)).compile(np.ones(3))(np.ones(3)) == 118.5)
    finally:
        gate.set()
        thread.join()
    with LIBRARY.lock:
        assert child_answers(lambda: irgrad.jit(lambda x: np.prod(x * 2.0 - 0.5)).compile(np.ones(3))(np.ones(3)) == 3.375)
