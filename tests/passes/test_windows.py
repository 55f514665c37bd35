"""Sums of windows: which additions to regions are gathered, the counts of kernels and rows, and the answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.ir.evaluate import evaluate
from irgrad.ir.parser import parse
from irgrad.ir.verify import verify
from irgrad.passes import windows as module
from irgrad.passes.windows import windows
from irgrad.runtime import lowering

HEAD = "graph g(e0: f64[22,20], e1: f64[20,18], e2: f64[20,18]) -> (f64[22,20])\nprimal\n"


def add(result: int, buffer: str, value: str, start: tuple[int, int], count: tuple[int, int] = (20, 18)) -> str:
    region = f"count={count}, drop=(), start={start}, step=(1, 1)"
    return f"  %{result}: f64[22,20] = slice_add[{region}] {buffer} {value}\n"


def operations(body: str, filled: int = 0) -> list[str]:
    """The operations of a graph behind the pass, which leaves its values and its nan."""
    graph = parse(HEAD + body)
    inputs = [np.random.default_rng(k).standard_normal(node.aval.shape) for k, node in enumerate(graph.inputs)]
    inputs[1][2, 3], inputs[1][0, 0], inputs[2][6, 5] = np.inf, np.nan, -np.inf
    with np.errstate(all="ignore"):
        (wanted,) = evaluate(graph, *inputs)
    kept, module.FILLED = module.FILLED, filled
    try:
        windows(graph)
    finally:
        module.FILLED = kept
    verify(graph, after="windows")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(evaluate(graph, *inputs)[0], wanted)
    return [node.op.name for node in graph.nodes() if node.op is not None]


SHIFTED = add(0, "%e0", "%e1", (0, 1)) + add(1, "%0", "%e1", (2, 1)) + add(2, "%1", "%e1", (1, 0)) + add(3, "%2", "%e1", (1, 2))
SCALED = (
    "  %0: f64[20,18] = neg %e1\n  %1: f64[20,18] = mul 0.5!f64 %e1\n  %2: f64[20,18] = mul %1 -4.0!f64\n"
    + add(3, "%e0", "%0", (0, 0))
    + add(4, "%3", "%1", (2, 2))
    + add(5, "%4", "%2", (1, 1))
    + add(6, "%5", "%e1", (0, 2))
)


@pytest.mark.parametrize("filled", [0, 1 << 20])
def test_windows_of_one_value_are_gathered(filled: int) -> None:
    made = ["zeros", "slice_update"] if filled else ["empty", *["slice_update"] * 4]
    assert operations(SHIFTED + "return %3\n", filled) == [*made, *["window", "add"] * 4, "slice_update"]


def test_what_is_read_elsewhere_is_left_as_it_is() -> None:
    body = SHIFTED + "  %4: f64[22,20] = add %3 %e0\nreturn %4\n"
    assert operations(body)[-2:] == ["add", "add"]  # the sum is a new value, not an update of what it starts from


def test_multiples_are_multiples_of_the_window() -> None:
    found = operations(SCALED + "return %6\n")
    assert found.count("window") == 4 and found.count("slice_add") == 0
    assert found.count("neg") == 1 and found.count("mul") == 3


@pytest.mark.parametrize(
    "body",
    [
        add(0, "%e0", "%e1", (0, 1)) + "return %0\n",
        add(0, "%e0", "%e1", (0, 1)) + add(1, "%0", "%e2", (0, 1)) + add(2, "%1", "%e1", (1, 1)) + "return %2\n",  # two values
        SHIFTED.replace("%2 %e1", "%2 %e2") + "  %4: f64[22,20] = mul %0 %3\nreturn %4\n",  # a part of the sum is read
        SCALED.replace("-4.0!f64", "inf!f64").replace("%4 %2", "%4 %1").replace("%3 %1", "%3 %2") + "return %6\n",
        "  %0: f64[2,2] = slice[count=(2, 2), drop=(), start=(1, 1), step=(1, 1)] %e1\n"
        + add(1, "%e0", "%0", (0, 0), (2, 2))
        + add(2, "%1", "%0", (5, 5), (2, 2))
        + add(3, "%2", "%0", (20, 18), (2, 2))
        + "return %3\n",  # small windows far apart
    ],
)
def test_sums_that_are_left_alone(body: str) -> None:
    assert "window" not in operations(body)


def test_a_factor_that_is_not_finite_stays_with_its_value() -> None:
    found = operations(SCALED.replace("-4.0!f64", "inf!f64") + "return %6\n")
    assert "window" not in found or found.count("mul") > 1


# ---- programs ----


def jacobi(f: Any, u: Any, sweeps: int = 8) -> Any:
    a = np.array(u)
    for _ in range(sweeps):
        a[1:-1, 1:-1] = 0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + f)
    return np.sum(a**2)


def curvature(x: Any) -> Any:
    """Each element less its neighbours along the axes."""
    if x.ndim == 1:
        total = x[1:-1] - x[:-2] - x[2:]
    elif x.ndim == 2:
        total = x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]
    else:
        c = slice(1, -1)
        total = x[c, c, c] - x[:-2, c, c] - x[2:, c, c] - x[c, :-2, c] - x[c, 2:, c] - x[c, c, :-2] - x[c, c, 2:]
    return np.sum(np.real(np.exp(0.3 * total)))


def moving(x: Any) -> Any:
    """Windows at other places in each step of a loop."""
    total = 0.0
    for k in range(5):
        total = total + np.sum((x[k : k + 60] + x[k + 1 : k + 61] + x[5 - k : 65 - k]) ** 3)
    return total


def variation(x: Any) -> Any:
    return np.sum(np.sqrt(1.0 + (x[1:, :-1] - x[:-1, :-1]) ** 2 + (x[:-1, 1:] - x[:-1, :-1]) ** 2))


STENCILS = [
    (curvature, (60,)),
    (curvature, (22, 23)),
    (curvature, (12, 13, 14)),
    (moving, (66,)),
    (variation, (40, 50)),
    (variation, (80, 90)),
]
CASES = [(f, shape, dtype) for f, shape in STENCILS for dtype in ("float64", "float32", "complex128")[: 3 if f is curvature else 2]]


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sums each template has that are gathered, of templates that are lowered while the test runs."""
    found: list[int] = []

    def counted(graph: Any) -> Any:
        result = windows(graph)
        found.append(result.counts.get("windows", 0))
        return result

    monkeypatch.setattr(lowering, "windows", counted)
    monkeypatch.setattr(lowering, "_lowered", {})
    return found


@pytest.mark.parametrize(("f", "shape", "dtype"), CASES)
def test_gradients(f: Any, shape: tuple[int, ...], dtype: str, gathered: list[int]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype) + (0.5j if dtype == "complex128" else 0)
    rtol = 1e-4 if dtype == "float32" else 1e-12
    fast, slow = irgrad.jit(irgrad.grad(f)).compile(x), irgrad.grad(f)
    wanted = slow(x)
    np.testing.assert_allclose(fast(x), wanted, rtol=rtol, atol=rtol * float(np.max(np.abs(wanted))))
    assert fast(x).dtype == x.dtype
    assert sum(gathered) >= 1
    x[tuple(n // 2 for n in shape)], x[tuple(n - 1 for n in shape)] = np.inf, np.nan
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.isnan(fast(x)), np.isnan(slow(x)))


def test_sweeps_of_a_stencil(gathered: list[int]) -> None:
    """Three rows a sweep back: zeros, what is written where it is made, the sum in the memory of the cotangent."""
    rng = np.random.default_rng(0)
    f, u = rng.standard_normal((26, 26)), rng.standard_normal((28, 28))
    gradients = {n: irgrad.jit(irgrad.grad(jacobi, (0, 1)), static_argnums=2).compile(f, u, n) for n in (8, 18)}
    rows = {n: sum(v.program.num_rows for v in g.variants) for n, g in gradients.items()}
    assert rows[18] - rows[8] == 10 * 5
    assert gradients[18].stats().kernels == gradients[8].stats().kernels
    assert max(gathered) == 1
    for found, wanted in zip(gradients[18](f, u, 18), irgrad.grad(jacobi, (0, 1))(f, u, 18), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_arrays_past_the_cache_have_margins_alone(gathered: list[int]) -> None:
    """Zeros in front, behind and beside the value, its own row, and the sum; of smaller arrays zeros, the value and the sum."""
    small, large = (np.random.default_rng(0).standard_normal(shape) for shape in ((22, 23), (90, 70)))
    programs = [irgrad.jit(irgrad.grad(curvature)).compile(x) for x in (small, large)]
    np.testing.assert_allclose(programs[1](large), irgrad.grad(curvature)(large), rtol=1e-12, atol=1e-12)
    rows = [sum(v.program.num_rows for v in g.variants) for g in programs]
    assert rows[1] - rows[0] == 2
    assert sum(gathered) == 2
