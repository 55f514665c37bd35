"""What irgrad does with one sample call, found by making it: values, derivatives against differences, and what runs in Python.

Kernels run as plain Python here: which operations have one does not depend on that, and nothing is compiled.
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import irgrad
import irgrad.numpy as inp
from irgrad.config import CONFIG
from irgrad.errors import IrgradError
from irgrad.pytree import flatten


@dataclass(frozen=True)
class Limits:
    """Of comparisons: values relative and absolute, the step of differences, first and second derivatives."""

    rtol: float = 1e-9
    atol: float = 1e-10
    step: float = 1e-6
    first: float = 2e-5
    second: float = 2e-4


EXACT = Limits()
ITERATED = Limits(1e-6, 1e-6, 1e-3, 2e-3, 2e-2)  # results that an iteration stops at


@dataclass(frozen=True)
class Outcome:
    """A row of the table."""

    vjp: str
    jvp: str
    runs: str
    note: str = ""
    by: tuple[int, ...] = ()  # the inputs, in their order, of which a derivative is not zero


def write(space: Any, x: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of `x` after `change`."""
    made = space.copy(x)
    change(made)
    return made


_HELPERS = {"write": write, "operator": operator, "copy": copy.copy, "deepcopy": copy.deepcopy}


def call_of(expression: str, inputs: dict[str, Any]) -> tuple[Callable[..., Any], list[Any]]:
    """The expression as a function of the name spaces `np` and `sp` and of the inputs that it mentions."""
    names = [name for name in inputs if name in _names(compile(expression, "<sample>", "eval"))]
    function = eval(f"lambda np, sp, {', '.join(names)}: {expression}", dict(_HELPERS))
    return function, [inputs[name] for name in names]


def _names(code: Any) -> set[str]:
    return set(code.co_names).union(*[_names(c) for c in code.co_consts if hasattr(c, "co_names")])


def probe(expression: str, inputs: dict[str, Any], spaces: tuple[Any, Any] = (None, None), limits: Limits = EXACT) -> Outcome:
    """What becomes of a sample; `spaces` are scipy and its traced form. Raises AssertionError for a wrong value or derivative."""
    return probe_call(*call_of(expression, inputs), spaces, limits)


def probe_call(function: Callable[..., Any], values: list[Any], spaces: tuple[Any, Any] = (None, None), limits: Limits = EXACT) -> Outcome:
    """`probe` of a function of the name spaces `np` and `sp` and of these inputs."""
    plain, space = ((np, spaces[0]), (inp, spaces[1]))
    with quiet():
        want = function(*plain, *map(_copied, values))
        try:
            runs = _compiled(lambda *xs: function(*space, *xs), values, want, limits)
        except IrgradError as error:
            return Outcome("no", "no", "refused", _short(error))
        outputs = [np.asarray(leaf) for leaf in flatten(want)[0]]
        if not any(leaf.dtype.kind in "biufc" for leaf in outputs) or runs == "Python":
            return Outcome("-", "-", runs)
        vjp, jvp, hosts, by = _derivatives(function, values, outputs, (space, plain), limits)
    return Outcome(vjp, jvp, _merged(runs, hosts), by=by)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, kernels as plain Python."""
    before, CONFIG.evaluate = CONFIG.evaluate, True
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        CONFIG.evaluate = before


def _copied(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def _short(error: Exception) -> str:
    return str(error).split(" (<sample>")[0].split(" (sample")[0].split(";")[0]


def _compiled(call: Callable[..., Any], values: list[Any], want: Any, limits: Limits) -> str:
    """Run eagerly, traced and as a program, compare with numpy, and say what ran: compiled, the host calls, or Python only."""
    jitted = irgrad.jit(call, compile_after=1)
    traced = jitted(*map(_copied, values))
    _same(traced, want, limits)
    before = jitted.stats()
    assert not jitted.impure, jitted.impure
    _same(jitted(*map(_copied, values)), want, limits)
    assert jitted.stats().eager_calls == before.eager_calls, "the program did not run"
    if before.recorded_ops == len(values):
        numbers = [leaf for leaf in flatten(want)[0] if isinstance(leaf, (np.ndarray, np.inexact, float, complex))]
        return "nothing to compute" if any(np.result_type(n).kind in "fc" for n in numbers) else "Python"
    return _merged("compiled", _hosts(jitted))


def _hosts(jitted: Any) -> set[str]:
    return {_shown(row) for variant in jitted.variants if variant.program is not None for row in variant.program.hosts.values()}


def _shown(row: Any) -> str:
    return row.params["function"] if row.op.name == "opaque" else row.op.name


def _merged(runs: str, hosts: set[str]) -> str:
    known = set(runs.removeprefix("host: ").split(", ")) if runs.startswith("host: ") else set()
    every = sorted(known | hosts)
    return f"host: {', '.join(every)}" if every else runs


def _same(got: Any, want: Any, limits: Limits) -> None:
    """Equal in structure, dtype, shape and value."""
    left, right = flatten(got)[0], flatten(want)[0]
    assert len(left) == len(right), f"{len(left)} results instead of {len(right)}"
    for g, w in zip(left, right, strict=True):
        if not isinstance(w, (np.ndarray, np.generic, int, float, complex)):
            assert g == w, f"{g!r} instead of {w!r}"
            continue
        assert np.shape(g) == np.shape(w), f"shape {np.shape(g)} instead of {np.shape(w)}"
        assert np.result_type(g) == np.result_type(w), f"{np.result_type(g)} instead of {np.result_type(w)}"
        assert isinstance(g, np.ndarray) == isinstance(w, np.ndarray), f"{type(g).__name__} instead of {type(w).__name__}"
        single = np.result_type(w).name in ("float32", "complex64", "float16")
        np.testing.assert_allclose(g, w, rtol=2e-5 if single else limits.rtol, atol=1e-6 if single else limits.atol)


# ---- derivatives ----


def _derivatives(
    function: Callable[..., Any], values: list[Any], outputs: list[Any], spaces: tuple[Any, Any], limits: Limits
) -> tuple[str, str, set[str], tuple[int, ...]]:
    """Of a random combination of all results: by reverse and by forward mode, to order 2, against central differences."""
    rng = np.random.default_rng(5)
    weights = [(rng.normal(size=o.shape), rng.normal(size=o.shape)) for o in outputs]
    active = [i for i, x in enumerate(values) if np.asarray(x).dtype.kind in "fc"]
    if not active:
        return "zero", "zero", set(), ()
    tangents = [_direction(rng, values[i]) for i in active]

    def at(xs: Any) -> list[Any]:
        full = list(values)
        for i, x in zip(active, xs, strict=True):
            full[i] = x
        return full

    def combined(np_: Any, call_space: Any, xs: Any) -> Any:
        made: Any = 0.0
        for leaf, (a, b) in zip(flatten(function(*call_space, *at(xs)))[0], weights, strict=True):
            if not isinstance(leaf, (np.ndarray, np.generic, int, float, complex)) or np.result_type(leaf).kind not in "fcbiu":
                continue
            leaf = leaf if np.result_type(leaf).kind in "fc" else np_.multiply(leaf, 1.0)
            made = made + np_.sum(np_.multiply(a, np_.real(leaf)))
            if np.iscomplexobj(leaf):
                made = made + np_.sum(np_.multiply(b, np_.imag(leaf)))
        return made

    def loss(xs: Any) -> Any:
        return combined(inp, spaces[0], xs)

    point = tuple(values[i] for i in active)

    def moved(h: float) -> tuple[Any, ...]:
        return tuple(x + h * t for x, t in zip(point, tangents, strict=True))

    h = limits.step
    slope = (float(combined(np, spaces[1], moved(h))) - float(combined(np, spaces[1], moved(-h)))) / (2 * h)
    gradient = irgrad.grad(loss)
    vjp, hosts, moving = _status(lambda: _reverse(gradient, point, tangents, slope, moved, limits))
    jvp, _, _ = _status(lambda: _forward(loss, point, tangents, slope, limits))
    return vjp, jvp, hosts, tuple(i for i, moves in zip(active, moving, strict=False) if moves)


def _direction(rng: np.random.Generator, x: Any) -> Any:
    made = rng.normal(size=np.shape(x))
    return (made + 1j * rng.normal(size=np.shape(x)) if np.iscomplexobj(x) else made).astype(np.asarray(x).dtype)[()]


def _status(check: Callable[[], tuple[list[bool], set[str]]]) -> tuple[str, set[str], list[bool]]:
    try:
        moving, hosts = check()
    except IrgradError as error:
        return f"no ({_short(error)})", set(), []
    return "yes" if any(moving) else "zero", hosts, moving


def _along(gradient: Any, tangents: list[Any]) -> float:
    return float(sum(np.sum(np.real(g * t)) for g, t in zip(gradient, tangents, strict=True)))


def _reverse(
    gradient: Callable[..., Any],
    point: tuple[Any, ...],
    tangents: list[Any],
    slope: float,
    moved: Callable[[float], tuple[Any, ...]],
    limits: Limits,
) -> tuple[list[bool], set[str]]:
    eager = gradient(point)
    jitted = irgrad.jit(gradient, compile_after=1)
    jitted(point)
    assert not jitted.impure, jitted.impure
    for found in (eager, jitted(point)):
        np.testing.assert_allclose(
            _along(found, tangents), slope, rtol=limits.first, atol=limits.first / 10, err_msg="gradient and differences"
        )
    again = float(irgrad.make_jvp(lambda xs: _along_traced(gradient(xs), tangents))(point)(tuple(tangents))[1])
    change = (_along(gradient(moved(limits.step)), tangents) - _along(gradient(moved(-limits.step)), tangents)) / (2 * limits.step)
    np.testing.assert_allclose(again, change, rtol=limits.second, atol=limits.second, err_msg="second derivative and differences")
    return [bool(np.any(g)) for g in eager], _hosts(jitted)


def _along_traced(gradient: Any, tangents: list[Any]) -> Any:
    made: Any = 0.0
    for g, t in zip(gradient, tangents, strict=True):
        made = made + inp.sum(inp.real(inp.multiply(g, t)))
    return made


def _forward(
    loss: Callable[..., Any], point: tuple[Any, ...], tangents: list[Any], slope: float, limits: Limits
) -> tuple[list[bool], set[str]]:
    _, tangent = irgrad.make_jvp(loss)(point)(tuple(tangents))
    np.testing.assert_allclose(float(tangent), slope, rtol=limits.first, atol=limits.first / 10, err_msg="tangent and differences")
    return [float(tangent) != 0.0], set()
