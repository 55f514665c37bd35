"""Scalar text: literals, dtypes, and the forms of one primitive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad.ops  # noqa: F401  (declares the primitives)
from irgrad.codegen import plain
from irgrad.codegen.scalar import conversion, expand, literal
from irgrad.ir.graph import Node
from irgrad.ir.parser import parse


def node(right: str, aval: str, inputs: str = "x: f64[3], y: f64[3]") -> Node:
    return parse(f"graph f({inputs}) -> ({aval})\nprimal\n  %0: {aval} = {right}\nreturn %0\n").nodes()[0]


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1, "float64", "1.0"), (-0.0, "float64", "(-0.0)"), (1e300, "float64", "1e+300"), (float("inf"), "float64", "inf"),
        (float("-inf"), "float32", "as_float32((-inf))"), (float("nan"), "float64", "nan"), (0.1, "float32", "as_float32(0.1)"),
        (7, "int64", "7"), (-7, "int8", "as_int8(-7)"), (True, "bool", "True"), (0, "bool", "False"), (2.0, "int64", "2"),
        (1 + 2j, "complex128", "as_complex128(complex(1.0, 2.0))"), (-2, "complex64", "as_complex64(complex((-2.0), 0.0))"),
    ],
)  # fmt: skip
def test_literals(value: Any, dtype: str, text: str) -> None:
    assert literal(value, np.dtype(dtype)) == text
    got = eval(text, plain.names())
    np.testing.assert_array_equal(np.asarray(got).astype(dtype), np.asarray(value).astype(dtype))


@pytest.mark.parametrize("value", [np.iinfo(d).min for d in ("int8", "int64")] + [np.iinfo("uint64").max])
def test_extreme_integers_keep_their_bits(value: int) -> None:
    dtype = np.dtype("uint64") if value > 0 else np.dtype("int8") if value > -1000 else np.dtype("int64")
    assert eval(literal(value, dtype), plain.names()) == value


@pytest.mark.parametrize(
    ("right", "aval", "inputs", "text"),
    [
        ("add %x %y", "f64[3]", "x: f64[3], y: f64[3]", "a + b"),
        ("add %x %y", "i64[3]", "x: i64[3], y: i64[3]", "a + b"),
        ("add %x %y", "i8[3]", "x: i8[3], y: i8[3]", "as_int8(a + b)"),
        ("add %x %y", "bool[3]", "x: bool[3], y: bool[3]", "a | b"),
        ("floor_divide %x %y", "u8[3]", "x: u8[3], y: u8[3]", "as_uint8(floor_divide(a, b))"),
        ("maximum %x %y", "f32[3]", "x: f32[3], y: f32[3]", "maximum(a, b)"),
        ("div %x %y", "c128[3]", "x: c128[3], y: c128[3]", "divide_complex(a, b)"),
        ("exp %x", "c128[3]", "x: c128[3]", "c_exp(a)"),
        ("exp %x", "c64[3]", "x: c64[3]", "as_complex64(c_exp(as_complex128(a)))"),
        ("reciprocal %x", "f32[3]", "x: f32[3]", "as_float32(1.0) / a"),
        ("integer_pow[n=3] %x", "f64[3]", "x: f64[3]", "square(a) * a"),
        ("integer_pow[n=-2] %x", "f64[3]", "x: f64[3]", "1.0 / (square(a))"),
        ("integer_pow[n=9] %x", "f64[3]", "x: f64[3]", "pow(a, 9.0)"),
        ("integer_pow[n=9] %x", "i32[3]", "x: i32[3]", "as_int32(square(square(square(a))) * a)"),
        ("integer_pow[n=0] %x", "f64[3]", "x: f64[3]", "1.0"),
        ("logical_and %x %y", "bool[3]", "x: f64[3], y: f64[3]", "(a != 0) & (b != 0)"),
    ],
)  # fmt: skip
def test_text_of_one_operation(right: str, aval: str, inputs: str, text: str) -> None:
    assert expand(node(right, aval, inputs), ["a", "b"][: right.count("%")]) == text


@pytest.mark.parametrize("want", ["bool", "int8", "uint8", "int32", "int64", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("have", ["bool", "int8", "uint8", "int32", "int64", "float32", "float64", "complex64", "complex128"])
def test_conversions_are_numpys(have: str, want: str) -> None:
    values = np.array([0, 1, 3] if have in ("bool", "uint8") else [0, 1, -2, 100]).astype(have)
    text = conversion("x", np.dtype(have), np.dtype(want))
    for x in values:
        got = eval(text, {**plain.names(), "x": x})
        expected = x.real.astype(want) if have.startswith("complex") and not want.startswith(("complex", "bool")) else x.astype(want)
        assert np.asarray(got).dtype == expected.dtype
        assert got == expected
