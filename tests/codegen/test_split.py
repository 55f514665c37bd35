"""Large rows in chunks: the same bits by one thread and by several, numpy's values, and no chunks where they do not pay."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import split
from irgrad.codegen.team import ENTRY, PATIENT, PENALTY, REFUSALS, REFUSED, SKIP, TEAM
from irgrad.config import CONFIG
from irgrad.pytree import flatten
from irgrad.runtime import lowering
from irgrad.runtime.explain import explanation
from tests.support.threads import together

HAS_THREADS = hasattr(os, "register_at_fork")  # of POSIX


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(CONFIG, "threads", 2)
    monkeypatch.setattr(lowering, "_lowered", {})
    TEAM.start()
    TEAM.table[[SKIP, PENALTY, PATIENT]] = 0, 0, 1  # others on the machine must not change counts
    yield
    TEAM.table[PATIENT] = 0
    monkeypatch.undo()
    TEAM.start()


@pytest.fixture
def small_chunks(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split everything: programs are lowered anew, every nest into as many chunks as it has room for."""
    for name, value in (("LEAST", 0), ("CHUNK", 1), ("UNIT", 4)):
        monkeypatch.setattr(split, name, value)


def leaves(value: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(leaf) for leaf in flatten(value)[0]]


def both(jitted: Any, *args: Any) -> list[np.ndarray[Any, Any]]:
    """The results of a jitted function, by the team and alone: bit for bit the same."""
    with TEAM.paused():
        alone = leaves(jitted(*args))
    together = leaves(jitted(*args))
    for a, b in zip(alone, together, strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
    return together


def check(f: Callable[..., Any], *args: Any, rows: int = 1, tolerance: float = 1e-12, once: bool = True) -> Any:
    """Compile `f`, compare with tracing and between threads; at least `rows` rows are in chunks, each run by the team once a call."""
    jitted = irgrad.jit(f).compile(*args)
    for have, want in zip(both(jitted, *args), leaves(f(*args)), strict=True):
        assert (have.dtype, have.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(have, want, rtol=tolerance, atol=tolerance)
    stats = jitted.stats()
    assert stats.parallel_rows >= rows
    if HAS_THREADS:
        assert stats.parallel_entries == stats.parallel_rows if once else stats.parallel_entries > stats.parallel_rows
    return jitted


def written(v: Any) -> Any:
    a = np.zeros(len(v))
    a[1:] = v[:-1] * 2
    a[::2] += v[::2]
    return np.sum(a**2 * v[0])


def normalised(x: Any, w: Any) -> Any:
    centred = x - np.mean(x, axis=1, keepdims=True)
    return np.sum((centred / np.sqrt(np.var(x, axis=1, keepdims=True) + 1e-5) * w) ** 3)


MATRIX = np.random.default_rng(1).normal(size=(37, 53))
VECTOR = np.random.default_rng(2).normal(size=1003)
STACK = np.random.default_rng(3).normal(size=(33, 5, 5))
POSITIVE = STACK @ STACK.transpose(0, 2, 1) + 5 * np.eye(5)

FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elementwise": (lambda x: np.tanh(x) * 2, (MATRIX,)),
    "transposed operand": (lambda x, y: np.exp(x) + y.T, (MATRIX, MATRIX.T.copy())),
    "strided operand": (lambda x: np.exp(x[::-2, 1::3]), (MATRIX,)),
    "short outer axis": (lambda x: np.exp(x) + x[:, :1], (MATRIX[:2],)),
    "total": (lambda x: np.sum(np.exp(x)), (MATRIX,)),
    "total and scalar code behind it": (lambda x: np.sqrt(np.sum(x * x)) * 2 + x[0, 0], (MATRIX,)),
    "scalar code before and behind": (lambda x, a: (np.sum(x * np.exp(a)) + np.exp(a), np.exp(a)), (MATRIX, 0.3)),
    "columns": (lambda x: np.sum(np.exp(x), axis=0), (MATRIX,)),
    "few columns": (lambda x: np.sum(np.exp(x), axis=0), (VECTOR[:1002].reshape(-1, 2),)),
    "rows": (lambda x: np.sum(np.exp(x), axis=1), (MATRIX,)),
    "middle axis": (lambda x: np.sum(np.exp(x), axis=1), (VECTOR[:1000].reshape(10, 10, 10),)),
    "outer and inner axis": (lambda x: np.prod(1 + x * 0.1, axis=(0, 2)), (VECTOR[:1000].reshape(10, 10, 10),)),
    "extremes": (lambda x: (np.max(x), np.min(x, axis=0), np.any(x > 3), np.all(x > -9, axis=0), np.prod(x[0])), (MATRIX,)),
    "softmax": (lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True), (MATRIX,)),
    "log of sums": (irgrad.value_and_grad(lambda x: np.sum(np.log(np.sum(np.exp(x), axis=1)))), (MATRIX,)),
    "layer norm": (irgrad.value_and_grad(normalised, (0, 1)), (MATRIX, VECTOR[:53])),
    "short rows": (irgrad.value_and_grad(lambda x: np.sum(x / np.sum(x**2, axis=1, keepdims=True))), (VECTOR[:999].reshape(-1, 3),)),
    "pairs": (irgrad.value_and_grad(lambda v: np.sum(np.exp(-((v[:, None] - v[None, :]) ** 2)))), (VECTOR[:80],)),
    "an array in two ways": (lambda v: np.exp(v[:, None] - v[None, :]), (VECTOR[:70],)),
    "an array and its transpose": (lambda x: x @ x.T * 0 + x[:37, :37] * x.T[:37] + x[:37, 1:2], (MATRIX[:, :37].copy(),)),
    "an array and its element": (lambda v: np.tanh(v) * v[5], (VECTOR,)),
    "distances": (
        irgrad.value_and_grad(lambda p: np.sum(1 / (1 + np.sum((p[:, None] - p[None]) ** 2, axis=2)))),
        (VECTOR[:240].reshape(80, 3),),
    ),
    "writes": (irgrad.value_and_grad(written), (VECTOR,)),
    "deviation": (irgrad.value_and_grad(lambda v: np.std(v) * v[3]), (VECTOR,)),
    "float32": (lambda v: (np.sin(v) * v, np.max(v)), (VECTOR.astype(np.float32),)),
    "complex": (lambda v: (np.exp(1j * v), np.sum(1j * v * v)), (VECTOR,)),
    "integers": (lambda v: np.sum((v * 10).astype(np.int64) // 3), (VECTOR,)),
    "small integers": (lambda v: np.sum((v * 10).astype(np.int8) * 3), (VECTOR,)),
    "nan and inf": (
        lambda v: (np.max(np.where(v > 2, np.nan, v)), np.sum(np.where(v > 2.5, np.inf, v)), np.where(v > 0, np.nan, v)),
        (VECTOR,),
    ),
    "cholesky": (np.linalg.cholesky, (POSITIVE,)),
    "eigenvalues": (lambda s: tuple(np.linalg.eigh(s)), (POSITIVE,)),
    "solve": (irgrad.value_and_grad(lambda s, b: np.sum(np.linalg.solve(s, b) ** 2), (0, 1)), (POSITIVE, STACK[:, :, :2])),
    "gather": (lambda x, i: x[i], (MATRIX, np.arange(-37, 37))),
    "gather by two": (lambda x, i, j: np.exp(x)[i, j], (MATRIX, np.arange(36)[:, None], np.arange(-20, 20))),
    "gather of elements": (lambda v, i: v[i] * 2, (VECTOR, np.arange(1000).reshape(10, 100)[::-1])),
    "sums of rows": (lambda x, i: np.sum(x[i], axis=1), (MATRIX, np.arange(-36, 36).reshape(18, 4))),
    "running sums": (lambda x: (np.cumsum(x, axis=0), np.cumsum(x, axis=1), np.cumprod(1 + 0.01 * x, axis=1)), (MATRIX,)),
    "places of extremes": (lambda x: (np.argmax(x, axis=0), np.argmin(x, axis=1)), (MATRIX,)),
    "convolution": (irgrad.value_and_grad(lambda v, w: np.sum(np.convolve(v, w) ** 2), (0, 1)), (np.resize(VECTOR, 9000), VECTOR[:5])),
    "determinants": (irgrad.value_and_grad(lambda s: np.sum(np.linalg.slogdet(s)[1])), (POSITIVE,)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_chunks_give_the_same(small_chunks: None, name: str) -> None:
    f, args = FUNCTIONS[name]
    check(f, *args, tolerance=1e-5 if name == "float32" else 1e-11)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 127, 128, 129, 255, 256, 257, 1000])
def test_lengths_around_chunks(small_chunks: None, length: int) -> None:
    x = np.random.default_rng(length).normal(size=length)
    check(irgrad.value_and_grad(lambda x: np.sum(np.tanh(x) * x)), x, rows=int(length > 8))


def test_sums_of_many_blocks(small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "UNIT", 128)
    x = np.random.default_rng(0).normal(size=128 * 42 + 17)
    jitted = check(lambda x: (np.sum(x), np.sum(np.abs(x).reshape(-1, 3) ** 2, axis=0)), x[: 128 * 42])
    exact = irgrad.jit(lambda x: np.sum(x)).compile(x)
    assert abs(exact(x) - float(np.sum(x.astype(np.longdouble)))) < 1e-12
    assert jitted.stats().parallel_rows >= 2


@pytest.mark.parametrize("place", [0, 50, 99])
def test_an_index_out_of_range_in_a_chunk(small_chunks: None, place: int) -> None:
    jitted = irgrad.jit(lambda v, i: v[i]).compile(VECTOR, np.arange(100))
    bad = np.arange(100)
    bad[place] = 5000
    with pytest.raises(IndexError):
        jitted(VECTOR, bad)
    np.testing.assert_array_equal(jitted(VECTOR, np.arange(100)[::-1]), VECTOR[99::-1])


def threshold(f: Callable[..., Any], make: Callable[[int], Any]) -> int:
    """The smallest power of two that is split."""
    for power in range(8, 24):
        if irgrad.jit(f).compile(make(1 << power)).stats().parallel_rows:
            return 1 << power
    raise AssertionError("nothing is split")


def test_below_the_threshold_the_team_is_not_entered(two_threads: None) -> None:
    f = irgrad.grad(lambda x: np.sum(np.tanh(x) * np.exp(-x * x)))
    least = threshold(f, lambda n: np.linspace(-1, 1, n))
    assert 1 << 11 <= least <= 1 << 16
    small, large = (np.linspace(-1, 1, n) for n in (least // 2, least))
    for x, rows in ((small, 0), (large, 1)):
        before = TEAM.entered
        jitted = irgrad.jit(f).compile(x)
        for _ in range(5):
            np.testing.assert_allclose(jitted(x), f(x), rtol=1e-12, atol=1e-14)
        stats = jitted.stats()
        assert stats.parallel_rows == rows
        if HAS_THREADS:
            assert stats.parallel_entries == TEAM.entered - before == 5 * rows


def test_one_thread_never_enters(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-1, 1, 200_000)
    f = irgrad.value_and_grad(lambda x: np.sum(np.tanh(x)))
    several = irgrad.jit(f).compile(x)
    together = leaves(several(x))
    monkeypatch.setattr(CONFIG, "threads", 1)
    alone = irgrad.jit(f).compile(x)
    before = TEAM.entered
    for a, b in zip(leaves(alone(x)), together, strict=True):
        assert a.tobytes() == b.tobytes()
    assert (alone.stats().parallel_entries, TEAM.entered) == (0, before)
    assert alone.stats().parallel_rows == several.stats().parallel_rows > 0
    assert "one thread here" in explanation(alone)


@pytest.mark.skipif(not HAS_THREADS, reason="no POSIX threads")
def test_explained_and_counted(two_threads: None) -> None:
    x = np.linspace(-1, 1, 200_000)
    jitted = irgrad.jit(lambda x: np.tanh(x)).compile(x)
    jitted(x)
    text = explanation(jitted)
    assert "1 rows may be split between threads" in text
    assert "2 threads here" in text


def test_large_rows_in_loops(small_chunks: None) -> None:
    def f(x: Any) -> Any:
        return irgrad.fori_loop(0, 5, lambda i, s: np.tanh(s) * 1.1 + x, x)

    check(lambda x: np.sum(f(x) ** 2), VECTOR, rows=2, once=False)
    check(irgrad.grad(lambda x: np.sum(f(x) ** 2)), VECTOR, rows=2, once=False)


@pytest.mark.parametrize("place", [0, 16, 32])
def test_a_chunk_that_fails(small_chunks: None, place: int) -> None:
    """The call runs again with numpy, which raises; later calls are served as before."""
    jitted = irgrad.jit(np.linalg.cholesky).compile(POSITIVE)
    bad = POSITIVE.copy()
    bad[place] = -np.eye(5)
    for _ in range(3):
        with pytest.raises(np.linalg.LinAlgError):
            jitted(bad)
        np.testing.assert_allclose(jitted(POSITIVE), np.linalg.cholesky(POSITIVE), rtol=1e-12)


def test_many_python_threads(small_chunks: None) -> None:
    """One of them has the team at a time; all get the right answer."""
    f = irgrad.value_and_grad(lambda x: np.sum(np.log(np.sum(np.exp(x), axis=1)) ** 2))
    arrays = [np.random.default_rng(k).normal(size=(301, 40)) for k in range(8)]
    jitted = irgrad.jit(f).compile(arrays[0])
    with TEAM.paused():
        wanted = [[a.tobytes() for a in leaves(jitted(x))] for x in arrays]
    wrong: list[int] = []
    start = threading.Barrier(len(arrays))

    def work(k: int) -> None:
        start.wait()
        for _ in range(200):
            if [a.tobytes() for a in leaves(jitted(arrays[k]))] != wanted[k]:
                wrong.append(k)

    together(work, len(arrays))
    assert wrong == []
    assert jitted.stats().parallel_entries > 0 or not HAS_THREADS


@pytest.mark.skipif(not HAS_THREADS, reason="no POSIX threads")
def test_the_team_is_left_alone_where_its_threads_are_held_up(two_threads: None) -> None:
    """A job whose other thread takes far longer than this one keeps the next jobs to their own threads, for a while."""
    assert TEAM.table[ENTRY] != 0
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(int(TEAM.table[ENTRY]))
    here, delay = threading.get_ident(), [0.3]
    taken: list[int] = []

    def chunk(record: int, number: int) -> int:
        taken.append(number)
        time.sleep(0.03 if threading.get_ident() == here else delay[0])
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(chunk)
    record = np.array([ctypes.cast(callback, ctypes.c_void_p).value, TEAM.address], np.int64)
    TEAM.table[PATIENT] = 0
    for penalty in (1, 3):
        taken.clear()
        assert run(record.ctypes.data, 2) == 0
        assert sorted(taken) == [0, 1]
        assert TEAM.table[SKIP] == TEAM.table[PENALTY] == penalty
        refusals = int(TEAM.table[REFUSALS])
        assert [run(record.ctypes.data, 2) for _ in range(penalty)] == [REFUSED] * penalty
        assert TEAM.table[REFUSALS] == refusals + penalty
    delay[0] = 0.03
    assert run(record.ctypes.data, 2) == 0
    assert (TEAM.table[SKIP], TEAM.table[PENALTY]) == (0, 1)


SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
import irgrad
from irgrad.codegen.team import PATIENT, TEAM

TEAM.table[PATIENT] = 1
x = np.linspace(-1, 1, 300_000)
jitted = irgrad.jit(lambda x: np.sum(np.tanh(x) * x)).compile(x)
first = jitted(x)
assert jitted.stats().parallel_entries == 1
{body}
"""


def process(body: str, threads: int = 3) -> subprocess.CompletedProcess[str]:
    root = str(Path(irgrad.__file__).parents[1])
    environment = {**os.environ, "IRGRAD_THREADS": str(threads), "PYTHONPATH": root}
    script = SCRIPT.replace("{body}", body)
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not HAS_THREADS, reason="no POSIX threads")
class TestProcesses:
    def test_exit(self) -> None:
        done = process("print('end', flush=True)")
        assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")

    def test_exit_while_a_daemon_thread_is_at_work(self) -> None:
        done = process(
            """
def work():
    while True:
        jitted(x)
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
"""
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_fork(self) -> None:
        """The child has no team and works all the same; the parent's goes on."""
        done = process(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
def work():
    while not over:
        jitted(x)
over = []
busy = threading.Thread(target=work)
busy.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        before = TEAM.entered
        good = jitted(x) == first and irgrad.jit(lambda x: np.sum(np.tanh(x) * x)).compile(x)(x) == first
        os._exit(0 if good and TEAM.entered == before else 1)
    assert os.waitpid(child, 0)[1] == 0
over.append(1)
busy.join()
before = TEAM.entered
assert jitted(x) == first and TEAM.entered == before + 1
"""
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_signals_are_for_python(self) -> None:
        done = process(
            """
caught = []
signal.signal(signal.SIGALRM, lambda number, frame: caught.append(number))
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
start = time.time()
while len(caught) < 3 and time.time() - start < 60:
    jitted(x)
signal.setitimer(signal.ITIMER_REAL, 0)
assert len(caught) >= 3
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process that was started in the background ignores it
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    while True:
        jitted(x)
except KeyboardInterrupt:
    print("stopped")
"""
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")

    @pytest.mark.parametrize("threads", [1, 2, 5])
    def test_the_environment_says_how_many(self, threads: int) -> None:
        body = "print(len(TEAM.threads), int(jitted.stats().parallel_entries))"
        if threads == 1:
            done = process("", 1)
            assert "AssertionError" in done.stderr  # nothing was entered
            return
        done = process(body, threads)
        assert done.stdout.split() == [str(threads - 1), "1"]
