"""Every primitive against numpy, against its own other rule and against differences."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import irgrad.ops  # noqa: F401  (fills the registry)
from irgrad.errors import RuntimeGuardError
from irgrad.ir.aval import Aval, aval_of
from irgrad.ir.builder import EVAL
from irgrad.ir.primitive import COMMUTATIVE, ELEMENTWISE, IDENTITY, LINEAR, REGISTRY, VIEW, Masked, NonDiff, Primitive
from tests.ops.samples import BAD, SAMPLES, Bad, Sample, samples_special
from tests.support.rules import active_operands, check_against_differences, check_rules_agree, vjp

pytestmark = pytest.mark.filterwarnings("error")
CORE = sorted(name for name, op in REGISTRY.items() if op.aval.__module__.startswith("irgrad.ops"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def evaluate(op: Primitive, sample: Sample) -> Any:
    with np.errstate(all="ignore"):
        return op.evaluate(*sample.operands, **sample.params)


def test_every_primitive_has_samples_and_rules() -> None:
    assert sorted(SAMPLES) == CORE
    for name in CORE:
        op = REGISTRY[name]
        assert isinstance(op.vjp, NonDiff) == isinstance(op.jvp, NonDiff), name
        if isinstance(op.vjp, NonDiff):
            assert op.vjp.reason
        if isinstance(op.vjp, tuple):
            assert len(op.vjp) == len(SAMPLES[name][0].operands), name


def test_captures_and_operators_are_unambiguous() -> None:
    for attribute in ("captures", "operator"):
        seen: dict[Any, str] = {}
        for name in CORE:
            given = getattr(REGISTRY[name], attribute)
            for f in given if isinstance(given, tuple) else (given,) if given else ():
                assert f not in seen, f"{f} is {attribute} of {seen[f]} and {name}"
                seen[f] = name


@pytest.mark.parametrize("name", CORE)
def test_aval_is_what_evaluate_returns(name: str) -> None:
    op = REGISTRY[name]
    for sample in SAMPLES[name]:
        before = [np.array(x, copy=True) for x in sample.operands]
        out = evaluate(op, sample)
        expected = op.aval(*map(aval_of, sample.operands), **sample.params)
        got = Aval(np.shape(out), np.result_type(out))
        assert got.same_array(expected), f"{sample}: evaluate gives {got}, aval {expected}"
        for x, y in zip(sample.operands, before, strict=True):
            np.testing.assert_array_equal(x, y, err_msg=f"{name} changed an operand")
        if not op.has(VIEW | IDENTITY) and name != "stop_gradient":
            assert not any(np.may_share_memory(out, x) for x in sample.operands if isinstance(x, np.ndarray)), f"{sample}: shares memory"


@pytest.mark.parametrize("name", CORE)
def test_jvp_and_vjp_agree(name: str, rng: np.random.Generator) -> None:
    for sample in SAMPLES[name]:
        finite = all(np.all(np.isfinite(x)) for x in sample.operands if isinstance(x, np.ndarray))
        if finite and not isinstance(REGISTRY[name].vjp, NonDiff):
            check_rules_agree(REGISTRY[name], sample.operands, sample.params, rng)


@pytest.mark.parametrize("name", CORE)
def test_rules_match_differences(name: str, rng: np.random.Generator) -> None:
    for sample in SAMPLES[name]:
        if sample.order:
            check_against_differences(REGISTRY[name], sample.operands, sample.params, rng, sample.order)


@pytest.mark.parametrize(("name", "bad"), BAD, ids=[f"{name}-{i}" for i, (name, _) in enumerate(BAD)])
def test_bad_operands_are_refused(name: str, bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.message):
        REGISTRY[name].aval(*map(aval_of, bad.operands), **bad.params)


# ---- traits ----


@pytest.mark.parametrize("name", [name for name in CORE if REGISTRY[name].has(COMMUTATIVE)])
def test_commutative_ops_commute_bit_for_bit(name: str) -> None:
    for sample in SAMPLES[name]:
        x, y = sample.operands
        if np.iscomplexobj(x) or np.iscomplexobj(y):
            continue  # numpy's vectorised complex product is not symmetric in the last bit
        np.testing.assert_array_equal(evaluate(REGISTRY[name], sample), evaluate(REGISTRY[name], Sample((y, x))))


@pytest.mark.parametrize("name", [name for name in CORE if REGISTRY[name].has(LINEAR)])
def test_linear_ops_are_linear(name: str) -> None:
    op = REGISTRY[name]
    for sample in SAMPLES[name]:
        active = active_operands(sample.operands)
        if len(active) != len(sample.operands) or sample.params.get("dtype") in ("int64", "bool"):
            continue
        doubled = op.evaluate(*(2 * x + x for x in sample.operands), **sample.params)
        np.testing.assert_allclose(doubled, 3 * np.asarray(op.evaluate(*sample.operands, **sample.params)), rtol=1e-5, atol=1e-12)


# ---- kernel text ----

NAMES: dict[str, Any] = {
    **{
        n: getattr(np, n)
        for n in [
            "exp",
            "exp2",
            "expm1",
            "log",
            "log2",
            "log10",
            "log1p",
            "sqrt",
            "cbrt",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "floor",
            "ceil",
            "trunc",
        ]
    },
    **{
        n: getattr(np, n)
        for n in ["rint", "fabs", "fmod", "hypot", "copysign", "nextafter", "isnan", "isinf", "isfinite", "signbit", "real", "imag", "conj"]
    },
    **{n: getattr(np, n) for n in ["maximum", "minimum", "fmax", "fmin", "sign", "floor_divide", "remainder"]},
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    **{n: getattr(np, "arc" + n[1:]) for n in ["asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2"]},
    "pow": np.power,
    "select": lambda c, x, y: x if c else y,
    "complex_of": complex,
    **samples_special.NAMES,
}


@pytest.mark.parametrize("name", [name for name in CORE if REGISTRY[name].has(ELEMENTWISE) and REGISTRY[name].emit])
def test_kernel_text_computes_what_numpy_does(name: str) -> None:
    op = REGISTRY[name]
    for sample in SAMPLES[name]:
        arrays = np.broadcast_arrays(*sample.operands)
        if not all(x.dtype == arrays[-1].dtype for x in arrays[1:]) or isinstance(sample.operands[0], (int, float)):
            continue
        text = op.emit if isinstance(op.emit, str) else (op.emit or {}).get(arrays[0].dtype.name, (op.emit or {}).get(arrays[0].dtype.kind))
        if text is None:
            continue
        expected = np.ravel(evaluate(op, sample))
        code = text.format(*(f"a{i}" for i in range(len(arrays))))
        with np.errstate(all="ignore"):
            for row in range(expected.size):
                scalars = {f"a{i}": x.ravel()[row] for i, x in enumerate(arrays)}
                got = expected.dtype.type(eval(code, NAMES, scalars))
                rtol = 4 * np.finfo(expected.dtype).eps if expected.dtype.kind in "fc" else 0
                np.testing.assert_allclose(got, expected[row], rtol=rtol, err_msg=f"{code} at {scalars}")


# ---- declared slopes at kinks and singular points ----

KINKS: list[tuple[str, tuple[Any, ...], dict[str, Any], int, Any]] = [
    ("abs", (0.0,), {}, 0, 0.0),
    ("abs", (0j,), {}, 0, 0j),
    ("sign", (0j,), {}, 0, 0j),
    ("angle", (0j,), {}, 0, 0j),
    ("maximum", (1.0, 1.0), {}, 0, 0.5),
    ("maximum", (1.0, 1.0), {}, 1, 0.5),
    ("minimum", (1.0, 1.0), {}, 1, 0.5),
    ("fmax", (1.0, math.nan), {}, 0, 1.0),
    ("fmin", (math.nan, 1.0), {}, 0, 0.0),
    ("clip", ([-1.0, 0.0, 1.0, 3.0], -1.0, 1.0), {}, 0, [0.0, 1.0, 0.0, 0.0]),
    ("clip", ([-1.0, 0.0, 1.0, 3.0], -1.0, 1.0), {}, 1, 1.0),
    ("clip", ([-1.0, 0.0, 1.0, 3.0], -1.0, 1.0), {}, 2, 2.0),
    ("pow", (0.0, 0.0), {}, 0, 0.0),
    ("pow", (0.0, 2.0), {}, 1, 0.0),
    ("pow", (0.0, 0.0), {}, 1, 0.0),
    ("pow", (math.inf, 0.0), {}, 0, 0.0),
    ("integer_pow", (0.0,), {"n": 0}, 0, None),
    ("hypot", (0.0, 0.0), {}, 0, 0.0),
    ("arctan2", (0.0, 0.0), {}, 1, 0.0),
    ("arctan2", (1e-200, 1e-200), {}, 0, 5e199),
    ("reduce_max", ([1.0, 3.0, 3.0],), {"axes": (0,)}, 0, [0.0, 0.5, 0.5]),
    ("reduce_min", ([2.0, 2.0],), {"axes": (0,)}, 0, [0.5, 0.5]),
    ("reduce_prod", ([0.0, 2.0, 3.0],), {"axes": (0,)}, 0, [6.0, 0.0, 0.0]),
    ("reduce_prod", ([0.0, 0.0],), {"axes": (0,)}, 0, [0.0, 0.0]),
    ("cumprod", ([0.0, 2.0, 0.0],), {"axis": 0}, 0, [3.0, 0.0, 0.0]),
    ("scatter_update", ([0.0, 0.0], [1.0, 2.0, 3.0], [1, 0, -1]), {}, 1, [0.0, 1.0, 1.0]),
    *samples_special.SLOPES,
]


@pytest.mark.parametrize(("name", "operands", "params", "index", "expected"), KINKS)
def test_declared_slopes(name: str, operands: tuple[Any, ...], params: dict[str, Any], index: int, expected: Any) -> None:
    op = REGISTRY[name]
    arrays = tuple(map(np.array, operands))
    with np.errstate(all="ignore"):
        out = op.evaluate(*arrays, **params)
        got = vjp(EVAL, op, index, np.ones_like(out), out, arrays, params)
    if expected is None:
        assert got is None
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["where", "maximum", "minimum", "fmax", "fmin", "clip"])
def test_choices_carry_their_mask(name: str) -> None:
    op = REGISTRY[name]
    operands = SAMPLES[name][0].operands
    out = evaluate(op, SAMPLES[name][0])
    assert isinstance(op.vjp, tuple)
    masks = [rule(EVAL, np.ones_like(out), out, *operands) for rule in op.vjp if rule is not None]
    assert all(isinstance(m, Masked) for m in masks)
    assert np.array_equal(sum(np.asarray(m.mask, int) for m in masks), np.ones(out.shape))


def test_mask_indices_refuses_another_count() -> None:
    with pytest.raises(RuntimeGuardError, match="selects 1 elements; expected 2"):
        EVAL.mask_indices(np.array([True, False]), count=2)


def test_opaque_refuses_another_shape() -> None:
    with pytest.raises(RuntimeGuardError, match=r"bincount answers int64\(3,\); expected int64\(2,\)"):
        EVAL.opaque(np.array([0, 2]), function="bincount", options=(), part=None, shape=(2,), dtype="int64")


def test_rules_keep_float32(rng: np.random.Generator) -> None:
    """No Python number in a rule widens a float32 cotangent."""
    for name in CORE:
        op = REGISTRY[name]
        sample = next((s for s in SAMPLES[name] if [np.result_type(x) for x in s.operands] == [np.dtype("f4")]), None)
        if sample is None or not isinstance(op.vjp, tuple) or op.vjp[0] is None or "dtype" in sample.params:
            continue
        out = evaluate(op, sample)
        given = op.vjp[0](EVAL, np.ones_like(out), out, *sample.operands, **sample.params)
        if given is not None and not hasattr(given, "primitive"):
            assert np.result_type(given).name in ("float32", "complex64"), name


# ---- the checks themselves ----

TANH, MUL = REGISTRY["tanh"], REGISTRY["mul"]
RIGHT_ONCE = (lambda b, ct, out, x: b.mul(ct, b.stop_gradient(b.sub(1.0, b.mul(out, out)))),)
PLANTED = {
    "sign": dataclasses.replace(TANH, vjp=(lambda b, ct, out, x: b.mul(ct, b.add(1.0, b.mul(out, out))),)),
    "swapped operands": dataclasses.replace(MUL, vjp=MUL.vjp[::-1]),  # pyright: ignore[reportIndexIssue]
    "second order": dataclasses.replace(TANH, vjp=RIGHT_ONCE, jvp=RIGHT_ONCE),
    "lost cotangent": dataclasses.replace(MUL, vjp=(MUL.vjp[0], None)),  # pyright: ignore[reportIndexIssue]
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_wrong_rule_is_caught(fault: str, rng: np.random.Generator) -> None:
    broken = PLANTED[fault]
    with pytest.raises(AssertionError, match="differences give"):
        check_against_differences(broken, SAMPLES[broken.name][0].operands, {}, rng)


def test_a_wrong_jvp_is_caught(rng: np.random.Generator) -> None:
    broken = dataclasses.replace(TANH, jvp=(lambda b, t, out, x: b.mul(t, out),))
    with pytest.raises(AssertionError, match="by jvp and"):
        check_rules_agree(broken, SAMPLES["tanh"][0].operands, {}, rng)
