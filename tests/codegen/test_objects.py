"""Machine code without Numba: object files, builtin functions, and processes that find everything in the store."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numba
import pytest

from irgrad.codegen import entry, objects

PROGRAM = """
import sys
import numpy as np
import irgrad

def loss(w, x):
    return np.sum(np.tanh(x @ w) ** 2)

rng = np.random.default_rng(0)
gradient = irgrad.jit(irgrad.grad(loss))
w, x = rng.normal(size=5), rng.normal(size=(9, 5))
for _ in range(3):
    result = gradient(w, x)
assert gradient.stats().eager_calls == 1
assert np.allclose(result, irgrad.grad(loss)(w, x), rtol=1e-13)
print("numba" in sys.modules, gradient.stats().kernels_compiled, result.tobytes().hex())
"""


def test_a_process_that_finds_its_kernels_needs_no_numba(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        environment = {**os.environ, "IRGRAD_STORE": str(tmp_path / "store"), "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    (first, compiled, bits), (second, compiled_again, bits_again) = found
    assert first == "True"
    assert int(compiled) > 0
    assert (second, compiled_again) == ("False", "0")
    assert bits == bits_again


Three = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@Three
def weighted(a: int, b: int, c: int) -> int:
    return a + 10 * b + 100 * c


def address_of(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("builtin", [False, True])
def test_a_callable_passes_integers_and_addresses(release: bool, builtin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not builtin:

        def refuse(*_: Any) -> Any:
            raise AttributeError("no such function in this interpreter")

        monkeypatch.setattr(objects, "_builtin", refuse)
    numbers = objects.callable_of(address_of(weighted), False, release)
    assert numbers(1, -2, 2**40) == 1 - 20 + 100 * 2**40
    thing = (1, 2)
    assert objects.callable_of(address_of(weighted), True, release)(0, 0, thing) == 100 * id(thing)
    if builtin and sys.implementation.name == "cpython":
        assert type(numbers) is type(len)


def test_the_lock_is_released_where_asked() -> None:
    """A native function that waits for another thread comes back only where that thread may run."""
    arrived = threading.Event()

    @Three
    def wait(a: int, b: int, c: int) -> int:
        return int(arrived.wait(10))

    thread = threading.Timer(0.05, arrived.set)
    thread.start()
    assert objects.callable_of(address_of(wait), False, True)(0, 0, 0) == 1
    thread.join()


def test_code_that_needs_an_unknown_helper_is_not_loaded() -> None:
    assert objects.load("symbol", b"\x7fELF numba_no_such_helper and the rest") == 0


def test_the_version_of_numba_is_read_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "numba")
    assert objects.numba_version() == numba.__version__
    assert "numba" not in sys.modules


def test_the_entry_reads_objects_where_they_are() -> None:
    assert entry.probe() == (sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)())
