"""Random programs: numpy, recorded, compiled and differentiated must agree. A failure shows the smallest program that still fails.

``IRGRAD_FUZZ=first:last pytest -m slow tests/runtime/test_fuzz.py`` runs other seeds, as machine code too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.passes import legalize
from irgrad.passes.cluster import _Clustering
from irgrad.runtime import lowering
from irgrad.runtime.link import Linker
from tests.support.program import Program
from tests.support.programs import generate
from tests.support.shrink import shrink

pytestmark = [pytest.mark.filterwarnings("ignore")]
FIRST, LAST = map(int, os.environ.get("IRGRAD_FUZZ", "100000:100400").split(":"))
STEP = 1e-5


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


# ---- what is compared ----


def mismatch(got: Any, want: Any, exact: bool, tolerance: float) -> str:
    g, w = np.asarray(got), np.asarray(want)
    if type(got) is not type(want) or g.shape != w.shape or g.dtype != w.dtype:
        return f"{type(got).__name__} {g.dtype}{g.shape} instead of {type(want).__name__} {w.dtype}{w.shape}"
    if exact or w.dtype.kind in "biu":
        return "" if np.array_equal(g, w, equal_nan=w.dtype.kind in "fc") else f"{g} instead of exactly {w}"
    return "" if np.allclose(g, w, rtol=tolerance, atol=tolerance, equal_nan=True) else f"{g} instead of {w}"


def run(f: Callable[..., Any], *arguments: Any) -> tuple[Any, Any, Any]:
    """The jitted function, its answer while tracing, and its compiled answer."""
    jitted = irgrad.jit(f, compile_after=1)
    traced = jitted(*arguments)
    compiled = jitted(*arguments)
    assert jitted.stats().eager_calls == 1, jitted.impure or "the second call did not run the program"
    return jitted, traced, compiled


def values_differ(program: Program) -> str:
    """How the program's compiled values differ from numpy's, for several arguments, through every path they take."""
    f, arguments = program.function(), program.values()
    before = [np.array(value) for value in arguments]
    jitted, traced, compiled = run(f, *arguments)
    answers = [("traced", traced, f(*arguments)), ("compiled", compiled, f(*arguments))]
    rng = np.random.default_rng(program.seed)
    others = [other for other in (program.redrawn(rng) for _ in range(3)) if is_defined(f, other)]
    for other in others:
        jitted(*other)
    answers += [("compiled for other arguments", jitted(*other), f(*other)) for other in others]
    answers.append(("compiled again", jitted(*arguments), f(*arguments)))
    for value, copy in zip(arguments, before, strict=True):
        if not np.array_equal(value, copy):
            return "an argument was changed"
    tolerance = 2e-2 if program.is_single else 1e-9  # iterations amplify the rounding of single precision
    for what, got, want in answers:
        for name, g, w in zip(program.outputs, got, want, strict=True):
            if np.all(np.isfinite(np.asarray(w, complex))):
                wrong = mismatch(g, w, name in program.exact, tolerance)
                if wrong:
                    return f"{name} {what}: {wrong}"
    return ""


def is_defined(f: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Does numpy compute the program? The branch that other arguments take was never tried."""
    try:
        f(*arguments)
    except Exception:
        return False
    return True


def derivative_differs(f: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """How the compiled gradient differs from the eager one, and that from differences where these are stable."""
    gradient = irgrad.grad(f, tuple(range(len(arguments))))
    eager = gradient(*arguments)
    for what, got in zip(("traced", "compiled"), run(gradient, *arguments)[1:], strict=True):
        for k, (g, w) in enumerate(zip(got, eager, strict=True)):
            wrong = mismatch(g, w, False, 1e-8)
            if wrong:
                return f"gradient {k} {what}: {wrong}"
    rng = np.random.default_rng(3)
    directions = [rng.normal(size=np.shape(x)) for x in arguments]
    slope = sum(float(np.sum(g * d)) for g, d in zip(eager, directions, strict=True))

    def difference(h: float) -> float:
        ahead, behind = ([x + s * d for x, d in zip(arguments, directions, strict=True)] for s in (h, -h))
        return float((f(*ahead) - f(*behind)) / (2 * h))

    rough, fine = difference(STEP), difference(STEP / 8)
    if abs(rough - fine) < 1e-6 * (1 + abs(fine)) and abs(slope - fine) > 1e-5 * (1 + abs(fine)):
        return f"the eager gradient has slope {slope}, differences {fine}"
    return ""


def gradients_differ(program: Program) -> str:
    return derivative_differs(scalar(program), program.values())


def second_gradients_differ(program: Program) -> str:
    f, places = scalar(program), tuple(range(len(program.arguments)))

    def of_gradient(*arguments: Any) -> Any:
        return sum(np.sum(np.sin(g) * 1.25) for g in irgrad.grad(f, places)(*arguments))

    return derivative_differs(of_gradient, program.values())


def scalar(program: Program) -> Callable[..., Any]:
    f = program.function()
    return lambda *arguments: f(*arguments)[0]


# ---- reporting ----


def check(differ: Callable[[Program], str], seeds: range, **options: Any) -> None:
    for seed in seeds:
        program = generate(seed, **options)
        if failure(differ, program):
            small = shrink(program, lambda candidate: bool(failure(differ, candidate)))
            forms = {
                name: f"{getattr(v, 'dtype', type(v).__name__)}{np.shape(v)}, strides {getattr(v, 'strides', ())}"
                for name, v in small.arguments.items()
            }
            raise AssertionError(f"seed {seed}, {options}: {failure(differ, small)}\n{small.source()}\n{forms}")


def failure(differ: Callable[[Program], str], program: Program) -> str:
    if not is_defined(program.function(), program.values()):
        return ""  # a shrunk program may be wrong
    try:
        return differ(program)
    except Exception as error:
        return f"raised {error!r}"


# ---- bounded runs ----


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("start", range(0, 160, 40))
def test_values(start: int) -> None:
    check(values_differ, range(start, start + 40))


@pytest.mark.usefixtures("plain")
def test_values_of_programs_with_many_writes() -> None:
    check(values_differ, range(1000, 1060), writes=True)


@pytest.mark.usefixtures("plain")
def test_values_of_long_programs() -> None:
    check(values_differ, range(2000, 2003), length=(150, 250))


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("writes", [False, True])
def test_gradients(writes: bool) -> None:
    check(gradients_differ, range(3000, 3030), smooth=True, writes=writes)


@pytest.mark.usefixtures("plain")
def test_second_gradients() -> None:
    check(second_gradients_differ, range(4000, 4025), smooth=True, length=(2, 8))


def test_machine_code() -> None:
    check(values_differ, range(5000, 5010), length=(5, 15))
    check(gradients_differ, range(5100, 5105), smooth=True, length=(5, 12))


# ---- long runs ----


@pytest.mark.slow
@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("options", [{}, {"writes": True}, {"length": (100, 250)}], ids=str)
def test_many_values(options: dict[str, Any]) -> None:
    seeds = range(FIRST, LAST if "length" not in options else FIRST + (LAST - FIRST) // 10)
    check(values_differ, seeds, **options)


@pytest.mark.slow
@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("options", [{}, {"writes": True}], ids=str)
def test_many_gradients(options: dict[str, Any]) -> None:
    check(gradients_differ, range(FIRST, FIRST + (LAST - FIRST) // 2), smooth=True, **options)
    check(second_gradients_differ, range(FIRST, FIRST + (LAST - FIRST) // 2), smooth=True, length=(2, 8), **options)


@pytest.mark.slow
def test_much_machine_code() -> None:
    seeds = range(FIRST, FIRST + (LAST - FIRST) // 8)
    check(values_differ, seeds)
    check(values_differ, seeds, large=True)
    check(gradients_differ, seeds, smooth=True)


# ---- the checks themselves ----

FAULTS = {
    "buffers are taken over while they are still read": (_Clustering, "read_later", lambda *_: False),
    "updates do not wait for readers": (_Clustering, "after_readers", lambda *_: 0),
    "updates read what they change": (legalize, "_separate", lambda *_: None),
    "shared memory is changed": (Linker, "own", lambda *_: None),
    "memory is free too early": (Linker, "drop", lambda self, value, place, arena: place.buffer and arena.release(place.buffer)),
}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, wrong = FAULTS[fault]
    monkeypatch.setattr(owner, name, wrong)
    monkeypatch.setattr(lowering, "_lowered", {})
    assert any(failure(values_differ, generate(seed, writes=True)) for seed in range(6000, 6120))
