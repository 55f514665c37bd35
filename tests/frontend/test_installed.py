"""What versions of numpy and SciPy differ in: values, errors and warnings are those of the installed ones, whichever they are."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import irgrad
import irgrad.numpy as inp
import irgrad.scipy.linalg as isl
from irgrad.frontend import installed
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.test_util import check_grads
from tests.support.tracing import same, traced_call

RNG = np.random.default_rng(25)
A, V = RNG.normal(size=(3, 3)), np.array([1.5, -0.5, 1.5, -2.25])
SMALL = np.arange(4, dtype=np.uint8)
HOLES = np.array([[1.0, np.nan, -0.0, 2.0], [0.0, -1.0, np.inf, 1.0]])
STACK = np.stack([A, np.full((3, 3), np.nan), np.diag([1.0, np.inf, 2.0]), np.zeros((3, 3))])
TALL = RNG.normal(size=(4, 2))
FLAT = np.ones((4, 2))
TURNED = np.array([[0.0, 1.0], [-1.0, 0.0]])

CASES: dict[str, tuple[Callable[[Any, Any, Any], Any], Any]] = {
    "fix": (lambda np, sl, x: np.fix(x), V),
    "cross of two": (lambda np, sl, x: np.cross(x[:2], x[2:]), V),
    "cross of two and three": (lambda np, sl, x: np.cross(x[:2], x[1:]), V),
    "eig of real ones": (lambda np, sl, x: np.linalg.eig(x)[0], np.diag([1.0, 2.0])),
    "eig": (lambda np, sl, x: np.linalg.eig(x)[0], TURNED),
    "eigvals": (lambda np, sl, x: np.linalg.eigvals(x), np.diag([1.0, 2.0]).astype("float32")),
    "roots": (lambda np, sl, x: np.roots(x), np.array([1.0, -3.0, 2.0, 0.0])),
    "complex roots": (lambda np, sl, x: np.roots(x), np.array([1.0, 0.0, 2.0])),
    "poly": (lambda np, sl, x: np.poly(x), np.diag([1.0, 2.0])),
    "poly of a turn": (lambda np, sl, x: np.poly(x), TURNED),
    "where low": (lambda np, sl, x: np.where(x > 1, x, -3), SMALL),
    "where high": (lambda np, sl, x: np.where(x > 1, 300, x), SMALL),
    "select": (lambda np, sl, x: np.select([x > 1], [x], -3), SMALL),
    "bincount of floats": (lambda np, sl, x: np.bincount(x), np.array([1.0, 2.0])),
    "meshgrid": (lambda np, sl, x: type(np.meshgrid(x, x, copy=False)).__name__, V),
    "sort descending": (lambda np, sl, x: np.sort(x, descending=True), HOLES),
    "sort flat descending": (lambda np, sl, x: np.sort(x, axis=None, descending=True), HOLES),
    "argsort descending": (lambda np, sl, x: np.argsort(x, stable=True, descending=True), HOLES),
    "sort ascending": (lambda np, sl, x: np.sort(x, descending=False), HOLES),
    "method descending": (lambda np, sl, x: x.argsort(stable=True, descending=True), V),
    "ints descending": (lambda np, sl, x: np.sort(x, descending=True), np.array([3, -(2**63), 2**63 - 1, 0])),
    "bools descending": (lambda np, sl, x: np.sort(x, descending=True), np.array([False, True, False])),
    "unsigned descending": (lambda np, sl, x: (np.sort(x, descending=True), np.argsort(x, stable=True, descending=True)), SMALL % 3),
    "complex descending": (lambda np, sl, x: np.sort(x, descending=True), np.array([1 + 1j, 1 - 1j, 2.0, -3j])),
    "imaginary part": (lambda np, sl, x: setattr(x * 1.0, "imag", 1.0), V),
    "lstsq": (lambda np, sl, x: sl.lstsq(x, V), TALL),
    "lstsq of columns": (lambda np, sl, x: sl.lstsq(x, TALL), TALL + 1j),
    "lstsq of low rank": (lambda np, sl, x: sl.lstsq(x, V)[:3], FLAT),
    "lstsq of low rank, columns": (lambda np, sl, x: sl.lstsq(x, TALL)[:3], FLAT.astype("complex64")),
    "lstsq of a square": (lambda np, sl, x: sl.lstsq(x, V[:2]), TALL[:2]),
    "cho_factor": (lambda np, sl, x: sl.cho_factor(x @ x.T + np.eye(3))[0], A),
    "cho_factor of ints": (lambda np, sl, x: sl.cho_factor(x, lower=True)[0], np.array([[2, 1], [1, 2]])),
    "cho_factor of stacks of ints": (lambda np, sl, x: sl.cho_factor(x)[0], np.array([[[2, 1], [1, 2]]])),
}
for _p in (None, 2, -2, 1, "fro", "nuc"):
    CASES[f"cond {_p}"] = (lambda np, sl, x, p=_p: np.linalg.cond(x, p), STACK)
    CASES[f"cond {_p} of one"] = (lambda np, sl, x, p=_p: np.linalg.cond(x, p), STACK[1])


def outcome(function: Callable[[], Any]) -> tuple[Any, list[tuple[type[Warning], str]]]:
    """A result or an exception, and the deprecations that were told."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            made = function()
        except (ValueError, TypeError, OverflowError, np.linalg.LinAlgError) as error:
            made = error
    deprecations = [each for each in said if issubclass(each.category, DeprecationWarning)]
    assert all(each.filename == __file__ for each in deprecations), said
    return made, [(each.category, str(each.message)) for each in deprecations]


def agree(got: Any, want: Any) -> None:
    if isinstance(want, Exception):
        assert isinstance(got, type(want)), repr(got)
    else:
        same(got, want)


@pytest.mark.parametrize("kind", [EagerTrace, GraphTrace])
@pytest.mark.parametrize("name", CASES)
def test_as_installed(name: str, kind: type[Trace]) -> None:
    function, x = CASES[name]
    want, deprecations = outcome(lambda: function(np, scipy.linalg, x))
    got, given = outcome(lambda: traced_call(kind, lambda x: function(inp, isl, x), x))
    assert given == deprecations
    agree(got, want)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_compiled_as_installed(name: str) -> None:
    function, x = CASES[name]
    want, _ = outcome(lambda: function(np, scipy.linalg, x))
    jitted = irgrad.jit(lambda x: function(inp, isl, x), compile_after=1)
    for _ in range(3):
        got, _ = outcome(lambda: jitted(x))
        agree(got, want)


def test_a_compiled_cond_meets_nan() -> None:
    """The path is recorded for finite matrices; numpy's answer for others, value or error, comes from a call that runs eagerly."""
    jitted = irgrad.jit(lambda x: np.linalg.cond(x), compile_after=1)
    for x in (STACK[:1], STACK[1:2], STACK[:1]):
        want, _ = outcome(lambda x=x: np.linalg.cond(x))
        got, _ = outcome(lambda x=x: jitted(x))
        agree(got, want)


@pytest.mark.skipif(not installed.sorts_descending(), reason="numpy's sort has no option `descending`")
def test_derivatives_of_descending_sorts() -> None:
    def write(x: Any) -> Any:
        y = x * 1.0
        y.sort(descending=True)
        return y * np.arange(3.0)

    check_grads(lambda x: inp.sort(x, axis=0, descending=True) ** 2, order=2)(A)
    check_grads(write, order=2)(A)
    check_grads(lambda x: inp.sort(x, descending=True) * inp.arange(3.0), order=2)(A + 1j * A.T)


@pytest.mark.parametrize(
    "question", [f for _, f in inspect.getmembers(installed) if hasattr(f, "cache_info") and not f.__name__.startswith("_")]
)
def test_questions_give_no_warnings(question: Callable[[], bool]) -> None:
    question.cache_clear()  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(question(), bool)
