"""The package: what it exports, ships, requires and imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import irgrad
from irgrad import config

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OPTIONAL = ("autograd", "jax", "matplotlib", "fast_sugiyama")


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a fresh interpreter."""
    environment = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_public_names_exist_and_are_documented() -> None:
    assert sorted(irgrad.__all__) == list(irgrad.__all__)
    for name in irgrad.__all__:
        item = getattr(irgrad, name)
        assert name == "__version__" or (item.__doc__ or "").strip(), f"irgrad.{name} has no docstring"


@pytest.mark.parametrize("file", ["py.typed", "data/iris.csv", "data/README.md", "data/models.py", "data/native_x86_64.txt"])
def test_files_are_shipped(file: str) -> None:
    assert resources.files("irgrad").joinpath(file).is_file()
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["irgrad"]
    assert file.endswith(".py") or any(Path(file).match(pattern) for pattern in patterns)


def test_the_project_names_licence_extras_and_python() -> None:
    project = PROJECT["project"]
    assert project["license"] == "MIT"
    assert all((ROOT / name).is_file() for name in (*project["license-files"], project["readme"], "CHANGELOG.md"))
    assert set(project["optional-dependencies"]) == {"test", "bench", "draw", "dev"}
    assert project["requires-python"] == ">=3.11"


def test_imports_are_declared(tmp_path: Path) -> None:
    """What irgrad imports is a dependency, and every dependency is imported."""
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in PROJECT["project"]["dependencies"]}
    program = "import sys, irgrad, irgrad.demo; irgrad.trace(abs)(1.0).nx; irgrad.jit(abs, compile_after=1)(1.0); print(*sys.modules)"
    done = run(program, IRGRAD_STORE=str(tmp_path), IRGRAD_BACKEND="numba")
    assert done.returncode == 0, done.stderr
    loaded = {module.split(".")[0] for module in done.stdout.split()}
    assert names <= loaded
    assert not loaded & set(OPTIONAL)


def test_importing_it_leaves_out_what_few_programs_need() -> None:
    """Each of these is memory and milliseconds of every process."""
    done = run("import sys, irgrad; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    heavy = {"scipy", "numba", "llvmlite", "networkx", "tempfile", "shutil", "fractions", "decimal", "numpy.ma"}
    assert not set(done.stdout.split()) & heavy


def test_names_bring_their_modules_when_they_are_used() -> None:
    program = """
import pickle, sys, threading
import numpy, irgrad
def late():
    parts = ("irgrad.loops", "irgrad.extend", "irgrad.spaces", "irgrad.operators.jacobian", "irgrad.passes.batch", "irgrad.runtime.explain")
    return {part for part in parts for module in sys.modules if module.startswith(part)}
f = irgrad.jit(irgrad.grad(lambda x: numpy.sum(numpy.tanh(x) ** 2)), compile_after=1)
f(numpy.ones(3)); f(numpy.ones(3))
assert not late(), late()
found = []
threads = [threading.Thread(target=lambda: found.append((irgrad.scan, irgrad.jacobian, irgrad.extend.primitive))) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(set(found)) == 1 and found[0][2] is irgrad.primitive
from irgrad.differential_operators import hessian
from irgrad.operators import jacobian
assert hessian is irgrad.hessian and jacobian is irgrad.jacobian
assert set(irgrad.__all__) <= set(dir(irgrad)) and not hasattr(irgrad, "nothing") and not hasattr(irgrad.operators, "nothing")
curvature = pickle.loads(pickle.dumps(irgrad.hessian(numpy.sin)))
assert curvature(1.0) == -numpy.sin(1.0)
print(len(late()))
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["5"]


def test_a_late_name_in_a_traced_function() -> None:
    """Its module is imported while the function is traced."""
    program = """
import numpy as np, irgrad
def total(x):
    carry, _ = irgrad.scan(lambda c, row: (c * np.sin(row), c), 1.0, x)
    return carry + np.sum(irgrad.jacobian(lambda y: y ** 2)(x)) + irgrad.cond(x[0] > 0, lambda v: v, lambda v: -v, x[1])
x = np.array([0.3, 1.2, 0.7])
slopes = [irgrad.grad(total)(x), *[fast(x) for fast in [irgrad.jit(irgrad.grad(total))] for _ in range(3)]]
for slope in slopes:
    np.testing.assert_allclose(slope, np.prod(np.sin(x)) / np.tan(x) + 2.0 + np.array([0.0, 1.0, 0.0]), rtol=1e-12)
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_documentation_is_made_when_a_name_is_used() -> None:
    program = """
import inspect, pydoc
import numpy, irgrad, irgrad.numpy as np
from irgrad.frontend.documented import _LATER
before = len(_LATER)
irgrad.grad(lambda x: np.sum(x * x))(numpy.ones(3))
print(before > 300, before - len(_LATER))
for function in (np.sum, np.linalg.norm, np.busday_count, np.shape):
    assert "Traced by irgrad" in function.__doc__ and "Traced by irgrad" in pydoc.render_doc(function), function
assert np.random.normal.__doc__ == numpy.random.normal.__doc__
assert inspect.getdoc(np.random.RandomState.normal) == inspect.getdoc(numpy.random.RandomState.normal)
space = {}
exec("from irgrad.numpy import *", space)
assert space["tanh"] is np.tanh and space["linalg"] is np.linalg and space["fft"] is np.fft and "add" in dir(np)
assert {name for name in dir(numpy) if name[0] != "_"} <= set(dir(np))
for module, own in ((numpy.linalg, np.linalg), (numpy.fft, np.fft), (numpy.random, np.random)):
    assert set(module.__all__) <= set(dir(own)) and not hasattr(own, "nothing")
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "1"]  # np.sum's


def test_the_version_is_the_changelogs() -> None:
    assert irgrad.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def settings(text: str) -> set[str]:
    return set(re.findall(r"\bIRGRAD_[A-Z_]+", text))


def test_settings_are_documented() -> None:
    read = settings((ROOT / "irgrad" / "config.py").read_text(encoding="utf-8").split('"""', 2)[2])
    assert settings(config.__doc__ or "") == read
    assert settings((ROOT / "docs" / "debugging.md").read_text(encoding="utf-8")) == read


WRONG_SETTINGS = {
    ("IRGRAD_CHECK", "yes"): "ValueError: IRGRAD_CHECK is 0 or 1, not 'yes'",
    ("IRGRAD_BLAS", "atlas"): "ValueError: IRGRAD_BLAS is numpy or scipy, not 'atlas'",
    ("IRGRAD_BACKEND", "gcc"): "ValueError: IRGRAD_BACKEND is llvm or numba, not 'gcc'",
    ("IRGRAD_FUEL", "-3"): "ValueError: IRGRAD_FUEL is a whole number, not '-3'",
}


@pytest.mark.parametrize(("setting", "message"), WRONG_SETTINGS.items())
def test_wrong_settings_are_refused(setting: tuple[str, str], message: str) -> None:
    done = run("import irgrad", **dict([setting]))
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == message
