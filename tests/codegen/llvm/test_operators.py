"""Operators, conversions and routines by table: the translator against Numba, and against numpy where both promote alike."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from irgrad.codegen.llvm import kinds
from tests.support.machine import run

REALS = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 7.0, 1e300, -1e-310, np.inf, -np.inf, np.nan]
WHOLE = [0, 1, 2, 3, 7, 100, -1, -2, -7, -128]
OPERATORS = ["+", "-", "*", "/", "//", "%", "&", "|", "^", "==", "!=", "<", "<=", ">", ">="]
PAIRS = [
    ("int64", "int64"), ("int8", "int8"), ("int8", "uint8"), ("uint8", "uint8"), ("uint64", "int32"), ("uint64", "uint64"),
    ("bool", "bool"), ("bool", "int16"), ("float64", "float64"), ("float32", "float32"), ("float32", "int8"),
    ("float32", "uint16"), ("float32", "int64"), ("float64", "uint64"), ("bool", "float32"), ("complex64", "complex64"),
    ("complex128", "int64"), ("complex64", "int16"),
    ("complex64", "float64"), ("float32", "complex64"), ("complex128", "complex128"),
]  # fmt: skip


def values(dtype: str) -> np.ndarray[Any, Any]:
    """Values where operators are peculiar."""
    kind = np.dtype(dtype).kind
    with np.errstate(all="ignore"):
        if kind == "b":
            return np.array([False, True])
        if kind in "iu":
            info = np.iinfo(dtype)
            return np.array([w for w in WHOLE if info.min <= w <= info.max] + [info.min, info.max, info.max - 1], dtype)
        if kind == "f":
            return np.array(REALS, dtype)
        return np.array([complex(a, b) for a, b in itertools.product(REALS[::2], REALS[1::3])], dtype)


def takes(operator: str, a: str, b: str) -> bool:
    made = {np.dtype(a).kind, np.dtype(b).kind}
    if operator in ("&", "|", "^"):
        return not made & set("fc")
    if operator in ("//", "%"):
        return not made & set("fc")
    return "c" not in made or operator in ("+", "-", "*", "==", "!=")


def kernel(a: str, b: str, operators: list[str]) -> tuple[str, list[str]]:
    """A kernel that applies operators to pairs; what it stores tells the kind of a result from its neighbours'."""
    made: list[str] = []
    lines = [f"x = pointer_{a}(p, 0)", f"y = pointer_{b}(p, 1)"]
    body = ["u = load(x, i)", "v = load(y, i)"]
    for k, operator in enumerate(operators):
        compares = operator in ("==", "!=", "<", "<=", ">", ">=")
        whole = not compares and operator != "/" and not {np.dtype(a).kind, np.dtype(b).kind} & set("fc")
        body.append(f"w{k} = u {operator} v")
        wanted = ["bool"] if compares else ["int64", "float64"] if whole else ["complex128"]
        for dtype in wanted:
            lines.append(f"o{k}{dtype} = pointer_{dtype}(p, {2 + len(made)})")
            body.append(f"store(o{k}{dtype}, i, w{k})")
            made.append(dtype)
    text = "".join(f"    {line}\n" for line in [*lines, "for i in range(size(n, 0)):", *["    " + line for line in body], "return 0"])
    return f"def kernel(p, n):\n{text}", made


def answers(a: str, b: str, backend: str, operators: list[str]) -> list[np.ndarray[Any, Any]]:
    x, y = (np.array(part) for part in zip(*itertools.product(values(a), values(b)), strict=True))
    if {np.dtype(a).kind, np.dtype(b).kind} <= set("iu"):  # the least integer by -1 is itself, as in numpy; Numba says 0
        x = np.where((x.astype(a) == np.iinfo(a).min) & (y.astype(b).astype("int64") == -1), x.dtype.type(5), x)
    text, dtypes = kernel(a, b, operators)
    made = [np.zeros(len(x), dtype) for dtype in dtypes]
    assert run(text, [x.astype(a), y.astype(b), *made], [len(x)], backend) == 0
    return made


def check_operators(a: str, b: str) -> None:
    operators = [operator for operator in OPERATORS if takes(operator, a, b)]
    for got, want in zip(answers(a, b, "llvm", operators), answers(a, b, "numba", operators), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=f"{a} {b}")
        for part in ("real", "imag") if got.dtype.kind == "c" else ():
            g, w = getattr(got, part), getattr(want, part)
            np.testing.assert_array_equal(np.signbit(g[~np.isnan(w)]), np.signbit(w[~np.isnan(w)]))


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_operators_are_numbas(a: str, b: str) -> None:
    check_operators(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("a", list(kinds.LLVM))
def test_operators_of_every_pair_are_numbas(a: str) -> None:
    for b in kinds.LLVM:
        check_operators(a, b)


def test_the_kinds_of_results_are_numbas() -> None:
    """Every pair, without compiling anything."""
    import operator

    from numba.core import types
    from numba.core.registry import cpu_target

    typing = cpu_target.typing_context
    typing.refresh()
    named = {kind: getattr(types, "boolean" if kind == "bool" else kind) for kind in kinds.LLVM}
    add = typing.resolve_value_type(operator.add)
    for a, b in itertools.product(kinds.LLVM, repeat=2):
        signature = typing.resolve_function_type(add, (named[a], named[b]), {})
        assert tuple(map(str, (*signature.args, signature.return_type))) == kinds.arithmetic(a, b), (a, b)
        assert str(typing.unify_types(named[a], named[b])) == kinds.unified(a, b), (a, b)


@pytest.mark.parametrize("have", list(kinds.LLVM))
def test_conversions_are_numpys(have: str) -> None:
    x = values(have)
    if x.dtype.kind in "fc":
        x = x[np.abs(x) < 100]
    wanted = [kind for kind in kinds.LLVM if x.dtype.kind != "c" or kind in (*kinds.COMPLEX, "bool")]
    lines = [f"o{kind} = pointer_{kind}(p, {1 + k})" for k, kind in enumerate(wanted)]
    body = [f"store(o{kind}, i, as_{kind}(load(x, i)))" for kind in wanted]
    text = "".join(f"    {line}\n" for line in [f"x = pointer_{have}(p, 0)", *lines, "for i in range(size(n, 0)):"])
    made = [np.zeros(len(x), kind) for kind in wanted]
    run(f"def kernel(p, n):\n{text}{''.join(f'        {line}{chr(10)}' for line in body)}    return 0\n", [x, *made], [len(x)])
    for kind, got in zip(wanted, made, strict=True):
        inside = x >= 0 if kind in kinds.UNSIGNED and x.dtype.kind == "f" else np.full(len(x), True)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got[inside], x.astype(kind)[inside], err_msg=f"{have} as {kind}")


@pytest.mark.parametrize("number", [0, 1, -1, 127, 128, 255, -128, -129, 2**31, 2**63 - 1, -(2**63)])
def test_conversions_of_numbers_in_the_text_wrap(number: int) -> None:
    wanted = [kind for kind in kinds.LLVM if kind in kinds.SIGNED | kinds.UNSIGNED]
    lines = [f"    store(pointer_{kind}(p, {k}), 0, as_{kind}({number}))\n" for k, kind in enumerate(wanted)]
    made = [np.zeros(1, kind) for kind in wanted]
    run(f"def kernel(p, n):\n{''.join(lines)}    return 0\n", made)
    for kind, got in zip(wanted, made, strict=True):
        assert got[0] == np.array(number).astype(kind), kind


UNARY = ["-x", "+x", "~x", "not x", "abs(x)", "x << 3", "x >> 2", "square(x)", "sign(x)", "isnan(x)", "isinf(x)", "isfinite(x)"]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64", "float32", "float64", "complex128"])
def test_operators_of_one_number_are_numbas(dtype: str) -> None:
    kind = np.dtype(dtype).kind
    refused = {
        "f": ("~x", "x << 3", "x >> 2"),
        "c": ("~x", "x << 3", "x >> 2", "abs(x)", "sign(x)", "isnan(x)", "isinf(x)", "isfinite(x)"),
        "b": ("sign(x)", "abs(x)"),
        "u": ("abs(x)",),
    }
    texts = [text for text in UNARY if text not in refused.get(kind, ())]
    made_of = "int64" if kind in "biu" else "complex128"
    x = values(dtype)
    body = [f"        store(pointer_{made_of}(p, {1 + k}), i, {text})\n" for k, text in enumerate(texts)]
    source = (
        f"def kernel(p, n):\n    for i in range(size(n, 0)):\n        x = load(pointer_{dtype}(p, 0), i)\n{''.join(body)}    return 0\n"
    )
    found = []
    for backend in ("llvm", "numba"):
        made = [np.zeros(len(x), made_of) for _ in texts]
        run(source, [x, *made], [len(x)], backend)
        found.append(made)
    for text, got, want in zip(texts, *found, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=f"{text} of {dtype}")


ROUTINES = {
    "complex128": ["c_exp2(x)", "c_log2(x)", "c_log10(x)", "c_expm1(x)", "c_log1p(x)", "c_exp(x)", "c_sqrt(x)", "c_tanh(x)", "c_sign(x)",
                   "c_pow(x, y, as_complex128(1.0))", "divide_complex(x, y)", "reciprocal_complex(x)", "conj(x)", "select(x == y, x, y)"],
    "complex64": ["c_pow(x, y, as_complex64(1.0))", "divide_complex(x, y)", "reciprocal_complex(x)"],
    "float64": ["hurwitz_zeta(x, y)", "floor_divide(x, y)", "remainder(x, y)", "fmod(x, y)", "pow(x, y)", "hypot(x, y)", "tanh(x)",
                "maximum(x, y)", "minimum(x, y)", "fmax(x, y)", "fmin(x, y)", "greatest(x, y)", "copysign(x, y)", "nextafter(x, y)",
                "lgamma(x)", "erf(x)", "rint(x)", "trunc(x)", "x**y", "complex_of(x, y)"],
    "float32": ["floor_divide(x, y)", "remainder(x, y)", "maximum(x, y)", "exp(x)", "atan2(x, y)", "sign(x)", "complex(x, y)"],
    "int8": ["floor_divide(x, y)", "remainder(x, y)", "shift_left(x, y)", "shift_right(x, y)", "maximum(x, y)", "fmin(x, y)",
             "max(x, y, 3)"],
    "uint64": ["floor_divide(x, y)", "remainder(x, y)", "shift_left(x, y)", "shift_right(x, y)", "fmin(x, y)", "min(x, y)"],
}  # fmt: skip


@pytest.mark.parametrize("dtype", list(ROUTINES))
def test_routines_are_numbas(dtype: str) -> None:
    texts = ROUTINES[dtype]
    made_of = "int64" if np.dtype(dtype).kind in "iu" else "complex128"
    x, y = (np.ascontiguousarray(part).astype(dtype) for part in zip(*itertools.product(values(dtype), values(dtype)), strict=True))
    body = [f"        store(pointer_{made_of}(p, {2 + k}), i, {text})\n" for k, text in enumerate(texts)]
    head = f"        x = load(pointer_{dtype}(p, 0), i)\n        y = load(pointer_{dtype}(p, 1), i)\n"
    source = f"def kernel(p, n):\n    for i in range(size(n, 0)):\n{head}{''.join(body)}    return 0\n"
    found = []
    for backend in ("llvm", "numba"):
        made = [np.zeros(len(x), made_of) for _ in texts]
        run(source, [x, y, *made], [len(x)], backend)
        found.append(made)
    for text, got, want in zip(texts, *found, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=f"{text} of {dtype}")
