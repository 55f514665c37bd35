"""LLVM by the C functions of llvmlite's library, and by its Python interface; what a process loads and compiles."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import irgrad
from irgrad.codegen import linker, loops, objects, repeat
from irgrad.codegen.compile import SIGNATURE
from irgrad.codegen.llvm import binding, machine
from irgrad.codegen.llvm.kinds import Unsupported

KERNEL = """def kernel(p, n):
    x = scoped_float64(p, 0, 0, 2)
    o = scoped_float64(p, 1, 1, 2)
    total = 0.0
    for i in range(size(n, 0)):
        v = load(x, i)
        store(o, i, exp(v) * v + 1.0)
        total += v
    store(o, 0, total)
    return 0
"""
is_known = isinstance(binding.compiler(), binding.Direct)


@pytest.mark.skipif(not is_known, reason="another version of llvmlite")
@pytest.mark.parametrize("effort", [binding.FULL, binding.LIGHT, binding.LIGHT_LOOPS, binding.STRAIGHT, binding.Effort(1)])
@pytest.mark.parametrize("source", [KERNEL, loops.SCAN], ids=["loop", "scan"])
def test_both_ways_to_llvm_make_the_same_code(source: str, effort: binding.Effort) -> None:
    text = machine.ir("kernel", source)
    direct, public = binding.compiler(), binding.Public()
    assert direct.head() == public.head()
    assert direct.object_code(text, effort) == public.object_code(text, effort)
    assert direct.optimised(text, effort) == public.optimised(text, effort)
    assert re.search(r"define .*i64 @kernel\(", direct.optimised(text, effort))


@pytest.mark.parametrize("way", [binding.compiler, binding.Public])
@pytest.mark.parametrize(
    "text",
    [
        "define i64 @f() {",
        "define i64 @f() { ret i32 0 }",
        "define i64 @f(i1 %x) { a: br i1 %x, label %a, label %b\nb: %p = phi i64 [0, %b]\n ret i64 %p }",
    ],
)
def test_text_that_llvm_refuses_is_unsupported(way: type[binding.Public], text: str) -> None:
    for _ in range(2):
        with pytest.raises(Unsupported, match="LLVM: "):
            way().object_code(text, binding.FULL)
    assert way().object_code("define i64 @f() { ret i64 0 }", binding.FULL)


def test_steps_that_wait_for_one_another_take_few_passes() -> None:
    update = "def kernel(p, n):\n    p0 = pointer_float64(p, 0)\n    p1 = pointer_float64(p, 1)\n    v0 = load(p0, 0)\n    v1 = v0 * 0.5\n"
    update += "    store(p1, 0, v1)\n    return 0\n"
    patterns = (repeat.Pattern(("affine", "affine"), (0, 0), (), carried) for carried in (((0, 1),), ()))
    carried, apart = (repeat.text(update, pattern) for pattern in patterns)
    assert [machine.effort(source) for source in (carried, apart)] == [binding.LIGHT, binding.FULL]


def test_kernels_around_calls_take_few_passes() -> None:
    assert machine.effort(KERNEL) == binding.FULL
    assert machine.effort(loops.SCAN) == binding.LIGHT_LOOPS
    assert "LoopUnroll" in binding.LIGHT_LOOPS.passes()
    assert "LoopUnroll" not in binding.LIGHT.passes()


STRAIGHT = """def kernel(p, n):
    x = pointer_float64(p, 0)
    v = load(x, 0)
    store(x, 0, {})
    return 0
"""


@pytest.mark.parametrize(
    ("value", "effort"),
    [
        ("v * v + 2.0 * v", binding.STRAIGHT),
        ("v" + " * v" * machine.SHORT, binding.LIGHT),  # long
        ("v if v > 0.0 else -v", binding.STRAIGHT),  # chosen without a jump
    ],
)
def test_few_operations_without_jumps_take_no_passes(value: str, effort: binding.Effort) -> None:
    text, found = machine.translated("kernel", STRAIGHT.format(value))
    assert found == effort
    assert (binding.STRAIGHT.passes(), binding.STRAIGHT.code) == ((), 0)
    x = np.array([0.75])
    table = np.array([x.ctypes.data])
    assert SIGNATURE(objects.load("kernel", machine.object_code(text, found)))(table.ctypes.data, 0) == 0
    assert x[0] == eval(value, {"v": 0.75})
    jump = STRAIGHT.format("0.0").replace("    store", "    if v > 0.0:\n        return 1\n    store")
    assert machine.translated("kernel", jump)[1] == binding.LIGHT


PROGRAM = """
import sys, threading
started = []
start = threading.Thread.start
threading.Thread.start = lambda thread: (started.append(thread.name), start(thread))[1]
import numpy as np
import irgrad
from irgrad.codegen.compile import LIBRARY

def rosenbrock(x):
    if "small" in {"other", "names"}:
        return x[0]
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

def bowl(x):
    return 3.25 * x[0] ** 2 + x[1] ** 2

def another(x):
    return 4.75 * x[0] ** 2 + x[1] ** 2

rosenbrock = globals()[sys.argv[1]]
gradient = irgrad.jit(irgrad.grad(rosenbrock))
x = np.array([0.5, 0.25])
for _ in range(3):
    result = gradient(x)
assert gradient.stats().eager_calls == 1
assert np.allclose(result, irgrad.grad(rosenbrock)(x), rtol=1e-13)
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
loaded = "libllvmlite" in maps or "llvmlite" in sys.modules
print(LIBRARY.num_objects, len(started), loaded, "llvmlite" in sys.modules, gradient.stats().kernels_compiled)
"""


def counts(store: Path, function: str = "rosenbrock", **settings: str) -> list[str]:
    environment = {**os.environ, "IRGRAD_STORE": str(store), "PYTHONPATH": str(Path(irgrad.__file__).parents[1]), **settings}
    done = subprocess.run([sys.executable, "-c", PROGRAM, function], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not is_known or not linker.machine(), reason="another version of llvmlite, or object files that irgrad does not link")
def test_a_function_of_one_kernel_costs_one_object_then_none(tmp_path: Path) -> None:
    """The driver comes with the package. LLVM is loaded in a thread where there may be two; llvmlite's Python parts are not imported."""
    assert counts(tmp_path / "a", IRGRAD_THREADS="1") == ["1", "0", "True", "False", "1"]
    assert counts(tmp_path / "b", IRGRAD_THREADS="2") == ["1", "1", "True", "False", "1"]
    for store in (tmp_path / "a", tmp_path / "b"):
        assert counts(store, IRGRAD_THREADS="2") == ["0", "0", "False", "False", "0"]
    kernels = [{file.name: file.read_bytes() for file in (tmp_path / store).rglob("*") if file.is_file()} for store in "ab"]
    assert kernels[0] == kernels[1]  # whoever compiled them


@pytest.mark.skipif(not is_known or not linker.machine(), reason="another version of llvmlite, or object files that irgrad does not link")
def test_llvm_is_loaded_in_a_thread_where_a_function_seems_to_be_new(tmp_path: Path) -> None:
    assert counts(tmp_path, IRGRAD_THREADS="1") == ["1", "0", "True", "False", "1"]
    assert counts(tmp_path, "bowl", IRGRAD_THREADS="2") == ["1", "1", "True", "False", "1"]
    assert counts(tmp_path, "another", IRGRAD_THREADS="2")[:2] == ["0", "1"]  # another function with that kernel; nobody waits for LLVM
    for function in ("rosenbrock", "bowl", "another"):
        assert counts(tmp_path, function, IRGRAD_THREADS="2") == ["0", "0", "False", "False", "0"]
    assert counts(tmp_path / "other", "bowl", IRGRAD_THREADS="1") == ["1", "0", "True", "False", "1"]
    assert counts(tmp_path / "other", "another", IRGRAD_THREADS="1") == ["0", "0", "False", "False", "0"]
