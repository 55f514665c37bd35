"""Machine code without Numba: every kernel of the samples is understood, and processes of their own do without the package."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import driver, layout, written
from irgrad.codegen.compile import LIBRARY, Counts
from irgrad.codegen.llvm import machine
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.codegen.loops import BRANCH, SCAN, WHILE
from irgrad.config import CONFIG
from irgrad.errors import IrgradError
from irgrad.ir.primitive import GUARD, REGISTRY
from tests.ops.samples import SAMPLES
from tests.support.kernels import program

PROGRAM = """
import sys
import numpy as np
import irgrad

def loss(w, x):
    return np.sum(np.tanh(x @ w) ** 2) + np.linalg.det(x.T @ x)

rng = np.random.default_rng(0)
gradient = irgrad.jit(irgrad.grad(loss))
w, x = rng.normal(size=5), rng.normal(size=(9, 5))
for _ in range(3):
    result = gradient(w, x)
stats = gradient.stats()
assert np.allclose(result, irgrad.grad(loss)(w, x), rtol=1e-12)
print("numba" in sys.modules, stats.kernels_compiled > 0, stats.kernels_refused)
"""


def answers(folder: Path, **settings: str) -> list[str]:
    environment = {**os.environ, "IRGRAD_STORE": str(folder), "PYTHONPATH": str(Path(irgrad.__file__).parents[1]), **settings}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_process_with_an_empty_store_needs_no_numba(tmp_path: Path) -> None:
    assert answers(tmp_path) == ["False", "True", "0"]
    assert answers(tmp_path, IRGRAD_BACKEND="numba") == ["True", "True", "0"]  # what one made, the other does not load
    assert answers(tmp_path) == ["False", "False", "0"]
    assert answers(tmp_path, IRGRAD_BACKEND="numba") == ["False", "False", "0"]


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of kernels that are asked for while a test runs; they run as plain Python."""
    found: list[str] = []
    ask = LIBRARY.ask

    def noted(source: str, counts: Counts) -> Any:
        found.append(source)
        return ask(source, counts)

    monkeypatch.setattr(LIBRARY, "ask", noted)
    monkeypatch.setattr(CONFIG, "evaluate", True)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("letter", sorted({name[0] for name in SAMPLES}))
def test_every_kernel_of_the_samples_is_understood(letter: str, sources: list[str]) -> None:
    for name in SAMPLES:
        for sample in SAMPLES[name] if name[0] == letter and not REGISTRY[name].has(GUARD) else ():
            with contextlib.suppress(IrgradError):  # what cannot be traced by itself
                if sample.operands:
                    irgrad.jit(program(REGISTRY[name], sample.params), compile_after=1).compile(*sample.operands)
    for source in dict.fromkeys(sources):
        assert machine.ir("kernel", source)


@pytest.mark.parametrize("source", [SCAN, WHILE, BRANCH], ids=["scan", "while", "branch"])
def test_loop_runners_are_understood(source: str) -> None:
    assert machine.ir("kernel", source)


def test_the_driver_is_understood() -> None:
    text = Path(driver.__file__).read_text(encoding="utf-8")
    assert "call i64" in machine.ir("enter", text, vars(layout))


def test_every_routine_is_understood() -> None:
    """Those of `written` that the tables of operators do not have."""
    whole = machine._functions(Path(written.__file__).read_text(encoding="utf-8"))
    assert set(written.ROUTINES) == set(whole) - {"passes_complex_in_registers", "bernoulli_divisors"}
    for name in written.ROUTINES:  # parsed one by one
        assert ast.unparse(machine._routines().function(name)[0]) == ast.unparse(whole[name])
    with pytest.raises(Unsupported, match="the name bernoulli_divisors"):
        machine._routines().function("bernoulli_divisors")


def test_a_refused_kernel_goes_to_numba_and_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any) -> str:
        raise Unsupported("a test")

    monkeypatch.setattr(CONFIG, "store", tmp_path / "store")
    monkeypatch.setattr(machine, "translated", refuse)
    x = np.linspace(0.1, 1, 7)
    f = irgrad.jit(lambda x: np.sin(x) * 0.4375, compile_after=1)
    f(x)
    np.testing.assert_allclose(f(x), np.sin(x) * 0.4375, rtol=1e-15)
    assert f.stats().kernels_refused == f.stats().kernels_compiled == 1
    assert "compiled by Numba: 1 kernels" in irgrad.runtime.explain.explanation(f)
    assert [k.refused for k in LIBRARY.kernels.values() if k.refused] == ["a test"]


def test_both_ways_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator) -> None:
    """On a program of several kernels, with sums, functions and choices."""
    monkeypatch.setattr(CONFIG, "store", tmp_path / "store")
    x, w = rng.normal(size=(300, 5)), rng.normal(size=5)

    def loss(w: Any) -> Any:
        z = x @ w
        return np.sum(np.where(z > 0, np.log1p(np.exp(-z)), np.exp(z) / (1 + z * z))) + np.max(np.cumsum(w)) + np.mean(np.abs(w) ** 1.5)

    found = []
    for backend in ("llvm", "numba"):
        monkeypatch.setattr(CONFIG, "backend", backend)
        gradient = irgrad.jit(irgrad.value_and_grad(loss), compile_after=1)
        gradient(w)
        found.append(gradient(w))
        assert gradient.stats().kernels_compiled > 1
    for got, want in zip(*found, strict=True):
        np.testing.assert_array_equal(got, want)


def test_llvms_text_can_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(CONFIG, "store", tmp_path / "store")
    monkeypatch.setattr(CONFIG, "dump", "llvm")
    f = irgrad.jit(lambda x: x * 3.03125 + 1.0, compile_after=1)
    f(np.ones(3))
    f(np.ones(3))
    assert re.search(r"define .*i64 @kernel_", capsys.readouterr().out)
