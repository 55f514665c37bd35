"""Machine code without Numba: object files, builtin functions, and processes that find everything in the store."""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import pytest

from irgrad.codegen import callables, entry, linker, objects, processor

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
there = {"numba", "llvmlite"} & set(sys.modules)
print(len(there), gradient.stats().kernels_compiled, result.tobytes().hex())
"""


def test_a_process_that_finds_its_kernels_needs_neither_numba_nor_llvm(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        environment = {
            **os.environ,
            "IRGRAD_STORE": str(tmp_path / "store"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "IRGRAD_BACKEND": "numba",
        }
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    (there, compiled, bits), (there_again, compiled_again, bits_again) = found
    assert int(there) > 0
    assert int(compiled) > 0
    assert compiled_again == "0"
    assert int(there_again) == 0 or not linker.machine()
    assert bits == bits_again


Three = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@Three
def weighted(a: int, b: int, c: int) -> int:
    return a + 10 * b + 100 * c


def made(key: str, make: Callable[[], tuple[str, bytes]]) -> tuple[str, bytes]:
    return make()


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

        monkeypatch.setattr(callables, "_builtin", refuse)
    numbers = callables.callable_of(address_of(weighted), False, release, made)
    assert numbers(1, -2, 2**40) == 1 - 20 + 100 * 2**40
    thing = (1, 2)
    assert callables.callable_of(address_of(weighted), True, release, made)(0, 0, thing) == 100 * id(thing)
    if builtin and not release and sys.implementation.name == "cpython":
        assert type(numbers) is type(len)


def test_the_lock_is_released_where_asked() -> None:
    """A native function that waits for another thread comes back only where that thread may run."""
    arrived = threading.Event()

    @Three
    def wait(a: int, b: int, c: int) -> int:
        return int(arrived.wait(10))

    thread = threading.Timer(0.05, arrived.set)
    thread.start()
    assert callables.callable_of(address_of(wait), False, True, made)(0, 0, 0) == 1
    thread.join()


def test_what_is_no_object_file_is_not_loaded() -> None:
    assert objects.load("symbol", b"\x7fELF and the rest") == 0
    assert objects.load("symbol", b"numba_no_such_helper") == 0


@pytest.mark.parametrize("package", ["numba", "llvmlite", "numpy"])
def test_versions_are_read_without_importing(package: str) -> None:
    """In a process of its own: nothing may be imported yet."""
    program = (
        "import sys; from irgrad.codegen.processor import version_of; "
        f"version = version_of({package!r}); print(version, {{'numba', 'llvmlite'}} & set(sys.modules) or '')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == [importlib.import_module(package).__version__]


def test_the_entry_reads_objects_where_they_are() -> None:
    assert entry.probe() == (sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)())


# -- the processor --

ARM = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

processor\t: 1
BogoMIPS\t: 60.00
Features\t: fp asimd evtstrm aes sve
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1

Hardware\t: a board
"""
X86 = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 106
model name\t: a name
stepping\t: 6
cpu MHz\t\t: 2900.000
flags\t\t: fpu sse avx2 fma avx512_vbmi2
"""


@pytest.fixture
def as_if(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    """Sets what the system says about the processor; answers with its identity."""
    cached = (processor.identity, processor.has, processor._features, processor._facts)

    def set_(machine: str, text: str) -> str:
        (tmp_path / "cpuinfo").write_text(text)
        for function in cached:
            function.cache_clear()
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(processor.platform, "machine", lambda: machine)
        monkeypatch.setattr(processor.sys, "platform", "linux")
        return processor.identity()

    yield set_
    for function in cached:
        function.cache_clear()


@pytest.mark.parametrize(("machine", "text", "has", "has_not"), [("x86_64", X86, "avx512vbmi2", "neon"), ("aarch64", ARM, "neon", "sve")])
def test_the_processor_is_known_by_all_that_code_depends_on(
    as_if: Callable[[str, str], str], machine: str, text: str, has: str, has_not: str
) -> None:
    identity = as_if(machine, text)
    assert processor.has(has)
    assert not processor.has(has, has_not)
    assert as_if(machine, text.replace("2900", "3100").replace("50.00", "70.00").replace("a name", "another")) == identity
    for old, new in (
        ((" aes", ""), ("0xd40", "0xd41"), ("0x41", "0x42")) if machine == "aarch64" else ((" fma", ""), ("106", "107"), (": 6\n", ": 7\n"))
    ):
        assert as_if(machine, text.replace(old, new)) != identity


def test_llvm_tells_the_processor_where_the_system_does_not(as_if: Callable[[str, str], str]) -> None:
    for machine, text in (("x86_64", "processor\t: 0\nno such fields\t: 1\n"), ("riscv64", X86), ("x86_64", "")):
        assert as_if(machine, text).startswith(llvm.get_host_cpu_name())
        assert processor.has("avx2") == bool(llvm.get_host_cpu_features().get("avx2"))


def test_the_system_and_llvm_agree_on_what_is_asked_for() -> None:
    known = llvm.get_host_cpu_features()
    for name in ("avx2", "fma", "neon", "avx512f", "avx512dq", "avx512vl", "avx512vbmi2"):
        assert processor.has(name) == bool(known.get(name))


SCIPY = """
import sys
from irgrad.ops.blas import scipy_address
from irgrad.ops.scipy_modules import extension
alone = scipy_address("cython_blas", "dgemm"), scipy_address("cython_lapack", "dpotrf")
assert "scipy.linalg" not in sys.modules
import scipy.linalg.cython_blas
assert (scipy_address("cython_blas", "dgemm"), scipy_address("cython_lapack", "dpotrf")) == alone
extension.cache_clear()
assert (scipy_address("cython_blas", "dgemm"), scipy_address("cython_lapack", "dpotrf")) == alone
assert scipy.linalg.cython_blas is sys.modules["scipy.linalg.cython_blas"]
assert scipy.linalg.cholesky([[4.0]]) == 2
"""


def test_routines_of_scipy_are_found_without_its_packages() -> None:
    done = subprocess.run([sys.executable, "-c", SCIPY], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
