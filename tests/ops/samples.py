"""Sample rows: for every primitive its operands and params, and the calls it must refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irgrad.errors import TraceError, TraceIndexError, TraceValueError

Error = type[TraceError]


@dataclass(frozen=True)
class Sample:
    """One call. `order` is the highest derivative compared with differences: 0 at kinks."""

    operands: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    order: int = 2


@dataclass(frozen=True)
class Bad:
    """A call that the aval refuses, and words of the message."""

    operands: tuple[Any, ...]
    error: Error
    message: str
    params: dict[str, Any] = field(default_factory=dict)


_RNG = np.random.default_rng(20240501)


def draw(shape: tuple[int, ...], low: float = -1.5, high: float = 1.5, dtype: str = "float64") -> Any:
    """Random values in a domain; whole for integer dtypes, in a square for complex ones."""
    if dtype == "bool":
        return _RNG.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        return _RNG.integers(int(low), int(high) + 1, shape).astype(dtype)
    if np.dtype(dtype).kind == "c":
        return (_RNG.uniform(low, high, shape) + 1j * _RNG.uniform(low, high, shape)).astype(dtype)
    return np.asarray(_RNG.uniform(low, high, shape), dtype)


def unary(low: float = -1.5, high: float = 1.5, dtypes: str = "fdFD", extra: tuple[Any, ...] = (), order: int = 2) -> list[Sample]:
    """Float samples of several shapes, then one array of each other dtype in `dtypes`."""
    rows = [Sample((draw(shape, low, high),), order=order) for shape in ((3, 4), (), (0, 2))]
    rows += [Sample((np.float64(draw((), low, high)),), order=order), Sample((draw((2, 4), low, high)[:, ::2],), order=order)]
    for char in dtypes.replace("d", ""):
        rows.append(Sample((draw((3,), low, high, np.dtype(char).name),), order=order if char == "D" else 0))
    return rows + [Sample((x,), order=0) for x in extra]


def binary(
    left: tuple[float, float] = (-1.5, 1.5),
    right: tuple[float, float] = (-1.5, 1.5),
    dtypes: str = "fdFD",
    extra: tuple[tuple[Any, Any], ...] = (),
    order: int = 2,
) -> list[Sample]:
    """Equal shapes, broadcasting, 0-d, empty, a Python number on either side, then the other dtypes."""
    shapes = [((3, 4), (3, 4)), ((3, 1), (4,)), ((2, 3), ()), ((), (2,)), ((), ()), ((0, 2), (2,))]
    rows = [Sample((draw(s, *left), draw(t, *right)), order=order) for s, t in shapes]
    rows += [Sample((draw((3,), *left), 0.75), order=order), Sample((0.75, draw((3,), *right)), order=order)]
    rows += [Sample((draw((3,), *left, "float32"), 0.75), order=0), Sample((np.float64(0.5), draw((2,), *right)), order=order)]
    for char in dtypes.replace("d", ""):
        name = np.dtype(char).name
        rows.append(Sample((draw((3,), *left, name), draw((3,), *right, name)), order=order if char == "D" else 0))
    return rows + [Sample(pair, order=0) for pair in extra]


def whole_pairs() -> list[Sample]:
    return [Sample((draw((3, 1), 0, 6, c), draw((4,), 0, 6, c))) for c in ("int64", "int32", "uint8", "bool")]


INF, NAN = float("inf"), float("nan")
EDGES = np.array([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN])
ZEROS = np.zeros(2)
X = draw((3, 4))
SPREAD = np.array([[0.3, -1.2, 0.9], [2.0, -0.4, 1.1]])  # entries well apart: no ties within a step
COMPLEX = draw((3,), dtype="complex128")
PART = {"start": (0, 3), "count": (2, 2), "step": (1, -2), "drop": ()}
ENTRY = {"start": (1, 2), "count": (1, 1), "step": (1, 1), "drop": (0, 1)}
ROW = {"start": (2, 0), "count": (1, 4), "step": (1, 1), "drop": (0,)}
NOTHING = {"start": (0, 0), "count": (0, 4), "step": (1, 1), "drop": ()}
WHOLE_REVERSED = {"start": (2, 3), "count": (3, 4), "step": (-1, -1), "drop": ()}
AT = np.array([2, 0, -1])
TWICE = np.array([[1, -3], [1, 0]])


def reductions(x: Any, dtypes: tuple[str, ...] = ("float32", "int64", "int8", "uint8", "bool"), order: int = 2) -> list[Sample]:
    rows = [Sample((x,), {"axes": axes}, order) for axes in ((0,), (1,), (0, 1), ())]
    rows += [Sample((np.float64(1.5),), {"axes": ()}, order), Sample((np.zeros((2, 0, 3)),), {"axes": (0,)}, order)]
    return rows + [Sample((draw((2, 3), 0, 3, dtype),), {"axes": (1,)}, 0) for dtype in dtypes]


def along(x: Any, dtypes: tuple[str, ...] = (), order: int = 2) -> list[Sample]:
    rows = [Sample((x,), {"axis": axis}, order) for axis in range(np.ndim(x))]
    return rows + [Sample((draw((2, 3), 0, 3, dtype),), {"axis": 1}, 0) for dtype in dtypes]


EXTREMES = Sample((np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]),), {"axes": (1,)}, 0)
CHOICE_EDGES = ((np.array([1.0, 2.0, NAN, 1.0]), np.array([1.0, 1.0, 1.0, NAN])), (np.arange(3), np.array([2, 1, 0])))
SCANNED = np.array([[0.5, 0.0, 2.0, -1.5, 0.7], [0.0, 1.2, 0.0, 0.4, 1.1], [1.5, -0.8, 0.6, 1.9, -0.3]])

SAMPLES: dict[str, list[Sample]] = {
    # elementwise, one operand
    "neg": unary(extra=(np.arange(3),)),
    "abs": unary(0.2, extra=(EDGES, np.arange(-2, 3), np.arange(3, dtype="uint8"), np.array([True]), ZEROS * 1j)),
    "sign": unary(0.2, extra=(EDGES, np.arange(-2, 3), ZEROS * 1j)),
    "exp": unary(extra=(np.arange(3),)),
    "exp2": unary(),
    "expm1": unary(),
    "log": unary(0.2, extra=(np.arange(1, 3),)),
    "log2": unary(0.2),
    "log10": unary(0.2),
    "log1p": unary(-0.8),
    "sqrt": unary(0.2, extra=(ZEROS,)),
    "cbrt": unary(0.2, dtypes="fd"),
    "square": unary(extra=(np.arange(3),)),
    "reciprocal": unary(0.2, extra=(np.arange(1, 4),)),
    "sin": unary(),
    "cos": unary(),
    "tan": unary(-1.2, 1.2),
    "arcsin": unary(-0.9, 0.9),
    "arccos": unary(-0.9, 0.9),
    "arctan": unary(-0.9, 0.9),
    "sinh": unary(),
    "cosh": unary(),
    "tanh": unary(-1.2, 1.2, extra=(np.array([0.5], "float16"),)),
    "arcsinh": unary(-0.9, 0.9),
    "arccosh": unary(1.2, 3.0, extra=(np.array([-1.5 + 0.5j]),)),
    "arctanh": unary(-0.9, 0.9),
    "floor": unary(dtypes="fd", extra=(EDGES, np.arange(3), np.array([True]))),
    "ceil": unary(dtypes="fd", extra=(EDGES, np.arange(3))),
    "trunc": unary(dtypes="fd", extra=(EDGES, np.arange(3))),
    "rint": unary(dtypes="fd", extra=(EDGES,)),
    "conj": unary(extra=(np.arange(3),)),
    "real": unary(extra=(np.arange(3),)),
    "imag": unary(extra=(np.arange(3),)),
    "angle": [*unary(0.2), Sample((EDGES,), order=0), Sample((ZEROS * 1j,), order=0), Sample((COMPLEX,))],
    "integer_pow": [
        *(Sample(s.operands, {"n": n}, s.order) for n in (-2, 0, 1, 2, 3) for s in unary(0.2)),
        Sample((np.arange(4),), {"n": 3}),
        Sample((1.5,), {"n": -1}),
        Sample((ZEROS,), {"n": 2}),
    ],
    "convert": [
        *(Sample((X,), {"dtype": d}, 0) for d in ("float32", "int64", "complex64", "bool")),
        *(Sample((X,), {"dtype": d}) for d in ("float64", "complex128")),
        Sample((COMPLEX,), {"dtype": "complex64"}, 0),
        Sample((2,), {"dtype": "float32"}),
        Sample((np.float64(1.5),), {"dtype": "float32"}, 0),
        Sample((np.arange(3),), {"dtype": "float64"}),
    ],
    "copy": unary(),
    "identity": unary(),
    "stop_gradient": unary(order=0),
    # elementwise, two operands
    "add": binary(extra=((np.arange(3), 2), (np.array([True, False]), np.array([True, True])))),
    "sub": binary(extra=((np.arange(3), 2),)),
    "mul": binary(extra=((np.arange(3), 2), (np.array([True, False]), np.array([True, True])))),
    "div": binary(right=(0.3, 1.5), extra=((np.arange(3), np.arange(1, 4)),)),
    "pow": [
        *binary(left=(0.3, 1.5)),
        Sample((np.array([-1.5, 0.5]), np.array([3, 0]))),
        Sample((np.array([0.5, 1.5]), 0.0)),
        Sample((np.array([0.0, 0.0, 2.0]), np.array([0.0, 2.0, 0.0])), order=0),
        Sample((ZEROS, 0.0), order=0),
        Sample((0.0, np.array([2.0, 0.5])), order=1),
        Sample((np.arange(3), np.arange(3))),
    ],
    "floor_divide": binary(right=(0.3, 1.5), dtypes="fd", extra=((np.arange(-3, 3), np.full(6, -2)),)),
    "remainder": [Sample((np.array([2.3, -2.3, 0.4]), np.array([0.7, 0.7, -1.1]))), *binary((2.1, 2.4), (0.9, 1.0), "fd"),
                  Sample((np.arange(-3, 3), np.full(6, -2)))],
    "fmod": [Sample((np.array([2.3, -2.3, 0.4]), np.array([0.7, 0.7, -1.1]))), *binary((2.1, 2.4), (0.9, 1.0), "fd"),
             Sample((np.arange(-3, 3), np.full(6, -2)))],
    "arctan2": binary((0.3, 1.5), (0.3, 1.5), "fd", extra=((ZEROS, ZEROS), (np.array([1e-200]), np.array([1e-200])))),
    "hypot": binary((0.3, 1.5), (0.3, 1.5), "fd", extra=((ZEROS, ZEROS),)),
    "logaddexp": binary(dtypes="fd", extra=((np.array([-INF, 800.0]), np.array([1.0, 800.0])),)),
    "logaddexp2": binary(dtypes="fd"),
    "power_below": [
        Sample((x, y, x ** (y + 1.0)))
        for x, y in ((draw((3, 4), 0.5, 2.0), draw((4,), -1.5, 1.5)), (draw((3,), 0.5, 2.0), 0.75), (np.float64(0.5), np.float64(-2.5)))
    ],
    "first_share": binary(dtypes="fd", extra=((np.array([-INF, 800.0, INF]), np.array([1.0, 800.0, 1.0])),)),
    "second_share": binary(dtypes="fd", extra=((np.array([-INF, 800.0, INF]), np.array([1.0, 800.0, 1.0])),)),
    "maximum": binary((0.5, 0.7), (0.71, 0.74), "fdFD", extra=CHOICE_EDGES),
    "minimum": binary((0.5, 0.7), (0.71, 0.74), "fdFD", extra=CHOICE_EDGES),
    "fmax": binary((0.5, 0.7), (0.71, 0.74), "fd", extra=CHOICE_EDGES),
    "fmin": binary((0.5, 0.7), (0.71, 0.74), "fd", extra=CHOICE_EDGES),
    "copysign": [*binary((0.3, 1.5), (0.3, 1.5), "fd"), Sample((np.array([1.5, -2.0]), np.array([-0.0, -1.0])), order=0)],
    "heaviside": [*binary((0.3, 1.5), dtypes="fd"), Sample((EDGES, 0.5), order=0)],
    "nextafter": binary(dtypes="fd", order=1),
    "complex_of": [*binary(dtypes="fd"), Sample((1.0, 2.0)), Sample((np.arange(2), 1))],
    **{name: whole_pairs() for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    **{name: whole_pairs()[:3] for name in ("left_shift", "right_shift")},
    "where": [
        Sample((X > 0, X, draw((4,)))),
        Sample((np.array([[True], [False], [True]]), draw((4,)), 0.0)),
        Sample((X[:2] > 0, 1.0, X[:2].astype("float32")), order=0),
        Sample((np.arange(3), draw((3,)), COMPLEX)),
        Sample((True, 1.0, 2)),
    ],
    "clip": [
        Sample((np.linspace(-2.0, 2.0, 8), -1.1, 1.2)),
        Sample((np.linspace(-2.0, 2.0, 8), draw((8,), -1.0, -0.8), np.float64(0.9))),
        Sample((np.array([-1.0, 0.0, 1.0, 2.0]), -1.0, 1.0), order=0),
        Sample((np.array([0.5, 3.0]), 2.0, 1.0), order=0),
        Sample((np.arange(5), 1, 3)),
        Sample((draw((3,), dtype="float32"), 0.0, 1), order=0),
    ],
    # compare
    **{
        name: [*binary(), *whole_pairs(), Sample((EDGES, EDGES[::-1])), Sample((EDGES, 0))]
        for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor")
    },
    "logical_not": unary(extra=(EDGES, np.arange(2), np.array([True, False]))),
    "isnan": unary(extra=(EDGES, np.arange(2), EDGES.astype(complex))),
    "isinf": unary(extra=(EDGES, np.arange(2))),
    "isfinite": unary(extra=(EDGES, np.arange(2))),
    "signbit": unary(dtypes="fd", extra=(EDGES,)),
    "invert": [Sample((np.arange(3),)), Sample((np.array([True, False]),)), Sample((np.arange(3, dtype="uint8"),))],
    # reduce
    "reduce_sum": [*reductions(SPREAD), Sample((COMPLEX,), {"axes": (0,)})],
    "reduce_prod": [
        *reductions(SPREAD),
        Sample((SCANNED,), {"axes": (1,)}),
        Sample((SCANNED.reshape(3, 5, 1) + np.zeros(2),), {"axes": (0, 2)}),
        Sample((np.zeros((2, 2)),), {"axes": (0, 1)}),
        Sample((COMPLEX,), {"axes": (0,)}),
    ],
    "reduce_max": [*reductions(SPREAD), EXTREMES, Sample((np.array([1.0, NAN]),), {"axes": (0,)}, 0)],
    "reduce_min": [*reductions(SPREAD), EXTREMES],
    "reduce_any": reductions(SPREAD),
    "reduce_all": reductions(SPREAD),
    "argmax": along(SPREAD, ("int64",)),
    "argmin": along(SPREAD, ("int64",)),
    "cumsum": along(SPREAD, ("float32", "bool", "int8")),
    "cumprod": [*along(SPREAD, ("float32", "bool", "int8")), *along(SCANNED), Sample((np.zeros((1, 0)),), {"axis": 1}), *along(COMPLEX)],
    "sort": [*along(SPREAD, ("int64", "float32")), *along(draw((2, 3, 2)))],
    "argsort": along(SPREAD, ("int64",)),
    # shape
    "reshape": [Sample((X,), {"shape": s}) for s in ((4, 3), (12,), (2, 1, 6))] + [Sample((1.5,), {"shape": (1, 1)})],
    "transpose": [Sample((draw((2, 3, 4)),), {"axes": (2, 0, 1)}), Sample((X,), {"axes": (1, 0)}), Sample((np.float64(1),), {"axes": ()})],
    "broadcast_to": [
        Sample((draw((4,)),), {"shape": (3, 4)}),
        Sample((draw((2, 1)),), {"shape": (2, 3)}),
        Sample((draw((4, 3)).T,), {"shape": (2, 3, 4)}),
        Sample((np.float64(2.0),), {"shape": (0, 2)}),
        Sample((1.5,), {"shape": (2,)}),
        Sample((np.zeros((0,)),), {"shape": (2, 0)}),
    ],
    "concatenate": [
        Sample((draw((2, 3)), draw((2, 1)), draw((2, 0))), {"axis": 1}),
        Sample((draw((2,)), np.arange(3)), {"axis": 0}),
        Sample((draw((1, 2), dtype="float32"), draw((2, 2), dtype="float32")), {"axis": 0}, 0),
    ],
    "pad": [
        Sample((X, np.float64(0.5)), {"low": (1, 0), "high": (0, 2)}),
        Sample((draw((2,), dtype="float32"), 0.0), {"low": (1,), "high": (1,)}, 0),
        Sample((np.float64(2.0), 1.0), {"low": (), "high": ()}),
    ],
    # index
    "slice": [Sample((X,), p) for p in (PART, ENTRY, ROW, NOTHING, WHOLE_REVERSED)],
    "slice_add": [
        Sample((X, draw((2, 2))), PART),
        Sample((X, np.float64(2.0)), ENTRY),
        Sample((X, draw((4,))), ROW),
        Sample((X, 1.0), NOTHING),
        Sample((X, draw((1, 4))), WHOLE_REVERSED),
    ],
    "slice_update": [
        Sample((X, draw((2, 2))), PART),
        Sample((X, np.float64(2.0)), ENTRY),
        Sample((X, 2), ROW),
        Sample((X, 1.0), NOTHING),
        Sample((X, draw((4,))), WHOLE_REVERSED),
    ],
    "window": [
        Sample((draw((7, 4)),), {"start": (1, 2), "shape": (4, 4)}),
        Sample((draw((5, 2, 3), dtype="complex128"),), {"start": (0, 1, 1), "shape": (3, 2, 3)}),
        Sample((draw((30,), dtype="float32"),), {"start": (2,), "shape": (20,)}, 0),
    ],
    "gather": [
        Sample((X, AT)),
        Sample((X, TWICE)),
        Sample((X, AT, np.array([[0], [-1]]))),
        Sample((X, np.int64(1))),
        Sample((X, np.array(1), np.array(-1))),
        Sample((X, np.zeros((0,), int))),
    ],
    "gather_sum": [
        Sample((X, AT)),
        Sample((X, TWICE)),
        Sample((X, AT, np.array([[0], [-1]]))),
        Sample((draw((3, 4), dtype="complex128"), TWICE)),
        Sample((np.arange(12).reshape(3, 4), TWICE), order=0),
        Sample((X, np.zeros((2, 0), int))),
    ],
    "scatter_add": [
        Sample((X, draw((3, 4)), AT)),
        Sample((X, draw((2, 2, 4)), TWICE)),
        Sample((X, draw((2, 3)), AT, np.array([[0], [-1]]))),
        Sample((X, np.float64(1.0), np.int64(1), AT)),
    ],
    "scatter_update": [
        Sample((X, draw((3, 4)), AT)),
        Sample((X, draw((2, 2, 4)), TWICE)),
        Sample((X, draw((2, 3)), AT, np.array([[0], [-1]]))),
        Sample((X, draw((4,)), np.array([1, 1, -1, 2]), np.array([3, -1, 0, 0]))),
        Sample((X, np.float64(1.0), np.int64(1), np.array([0, 0]))),
        Sample((X, 0.5, np.array(1))),
    ],
    "opaque": [
        Sample((np.array([6, 4]), 4), {"function": "gcd", "options": (), "part": None, "shape": (2,), "dtype": "int64"}, 0),
        Sample((np.array([0.5, 3.0]),), {"function": "frexp", "options": (), "part": 1, "shape": (2,), "dtype": "int32"}, 0),
        Sample((draw((2, 3)),), {"function": "argpartition", "options": (("kth", 1),), "part": None, "shape": (2, 3), "dtype": "int64"}, 0),
    ],
    "mask_indices": [Sample((np.array([True, False, True]),), {"count": 2}), Sample((np.zeros((2, 2), bool),), {"count": 0})],
    # linalg
    "dot": [
        Sample((draw((3,)), draw((3,)))),
        Sample((draw((2, 3)), draw((3,)))),
        Sample((draw((3,)), draw((3, 2)))),
        Sample((draw((2, 3)), draw((3, 4)))),
        Sample((draw((2, 0)), draw((0, 4)))),
        Sample((draw((2, 3), dtype="complex128"), draw((3, 2), dtype="complex128"))),
        Sample((draw((2, 3), dtype="float32"), draw((3,), dtype="float32")), order=0),
        Sample((draw((3,)), draw((3,), dtype="complex128"))),
    ],
    "dot_add": [
        Sample((draw((2, 4)), draw((2, 3)), draw((3, 4))), {"negative": False}),
        Sample((draw((2, 4)), draw((2, 3)), draw((3, 4))), {"negative": True}),
        Sample((draw((2,)), draw((2, 3)), draw((3,))), {"negative": True}),
        Sample((draw((2,)), draw((3,)), draw((3, 2))), {"negative": False}),
        Sample((draw((2, 4)), draw((2, 0)), draw((0, 4))), {"negative": False}),
    ],
    "product": [
        Sample((draw((2, 3)), draw((3, 4))), {"order": (0, 1), "written": None, "factor": "", "negative": True}),
        Sample((draw((3, 2)), draw((2, 4)), draw((4,))), {"order": (0, (1, 2)), "written": ((0, 1), 2), "factor": "", "negative": False}),
        Sample((draw((2, 3)), draw((3,)), 1.5), {"order": (0, 1), "written": (("scaled", 0), 1), "factor": "mul", "negative": True}),
        Sample((draw((2, 3)), draw((3, 2)), 1.5), {"order": (0, 1), "written": None, "factor": "div", "negative": False}),
        Sample(
            (draw((3,)), draw((3, 1)), draw((1, 4)), draw((4, 2)), -0.5),
            {"order": ((0, 1), (2, 3)), "written": (0, ((1, ("scaled", 2)), 3)), "factor": "div", "negative": True},
        ),
        Sample(
            (draw((2, 3), dtype="complex128"), draw((3, 2), dtype="complex128"), draw((2, 1), dtype="complex128")),
            {"order": (0, (1, 2)), "written": ((0, 1), 2), "factor": "", "negative": False},
        ),
    ],
    "product_add": [
        Sample((draw((2, 4)), draw((2, 3)), draw((3, 4)), 1.5), {"factor": "mul", "negative": False}),
        Sample((draw((2,)), draw((2, 3)), draw((3,)), 1.5), {"factor": "div", "negative": True}),
        Sample((draw((2, 4)), draw((2, 0)), draw((0, 4)), 1.5), {"factor": "mul", "negative": True}),
    ],
    "batch_dot": [
        Sample((draw((2, 3, 4)), draw((2, 4, 5)))),
        Sample((draw((2, 1, 3, 2), dtype="complex128"), draw((2, 1, 2, 3), dtype="complex128"))),
    ],
    # control
    "mark": unary(),
    "guard": [
        Sample((X[0, 0] > 0,), {"kind": "bool", "value": True}),
        Sample((np.int64(3),), {"kind": "int", "value": 3}),
        Sample((np.float64(0.5),), {"kind": "bits", "value": 0.5}),
    ],
    # create
    "full": [
        Sample((np.float64(2.0),), {"shape": (2, 3), "dtype": "float64"}),
        Sample((3,), {"shape": (), "dtype": "int64"}),
        Sample((np.float64(2.0),), {"shape": (2,), "dtype": "float32"}, 0),
    ],
    "zeros": [Sample((), {"shape": (2, 0), "dtype": "float32"})],
    "empty": [Sample((), {"shape": (2, 3), "dtype": "float64"})],
    "iota": [Sample((), {"n": 4, "dtype": "int64"}), Sample((), {"n": 0, "dtype": "float64"})],
}  # fmt: skip

PAIR = (np.ones(3), np.ones(4))
BAD: list[tuple[str, Bad]] = [
    ("add", Bad(PAIR, TraceValueError, r"add: shapes do not broadcast.*f64\[3\], f64\[4\]")),
    ("where", Bad((np.ones(2, bool), *PAIR), TraceValueError, r"where: shapes do not broadcast")),
    ("floor", Bad((COMPLEX,), TraceError, r"floor: numpy has no loop.*c128\[3\]")),
    ("bitwise_and", Bad(PAIR, TraceError, r"bitwise_and: numpy has no loop")),
    ("add", Bad((1.0,), TraceError, r"add: expected 2 operands, got 1")),
    ("clip", Bad((COMPLEX, 0.0, 1.0), TraceError, r"clip: expected real operands")),
    ("complex_of", Bad((COMPLEX, 0.0), TraceError, r"complex_of: expected two real operands")),
    ("integer_pow", Bad((np.arange(3),), TraceValueError, r"integers to the negative power -1", {"n": -1})),
    ("convert", Bad((1.0,), TraceError, r"'float33' is no numpy dtype", {"dtype": "float33"})),
    ("reduce_sum", Bad((X,), TraceValueError, r"axis 2 out of range for f64\[3,4\]; valid axes are 0, 1", {"axes": (2,)})),
    ("reduce_sum", Bad((X,), TraceValueError, r"expected sorted distinct axes, got \(1, 0\)", {"axes": (1, 0)})),
    ("reduce_max", Bad((np.ones((2, 0)),), TraceValueError, r"empty axis", {"axes": (1,)})),
    ("argmax", Bad((np.ones((2, 0)),), TraceValueError, r"axis 1 is empty", {"axis": 1})),
    ("cumsum", Bad((np.float64(1.0),), TraceValueError, r"axis 0 out of range for f64; valid axes are none", {"axis": 0})),
    ("reshape", Bad((X,), TraceValueError, r"cannot reshape 12 elements into \(5,\)", {"shape": (5,)})),
    ("reshape", Bad((X,), TraceValueError, r"expected a full shape", {"shape": (-1, -12)})),
    ("transpose", Bad((X,), TraceValueError, r"\(0, 0\) are no permutation of \(0, 1\)", {"axes": (0, 0)})),
    ("broadcast_to", Bad((X,), TraceValueError, r"\(3, 4\) does not broadcast to \(4,\)", {"shape": (4,)})),
    ("concatenate", Bad((), TraceValueError, r"at least one operand", {"axis": 0})),
    ("concatenate", Bad((X, X.T), TraceValueError, r"equal shapes except along axis 0", {"axis": 0})),
    ("concatenate", Bad((X,), TraceValueError, r"axis 2 out of range", {"axis": 2})),
    ("pad", Bad((X, 0.0), TraceValueError, r"expected 2 non-negative widths", {"low": (1,), "high": (0, 0)})),
    ("pad", Bad((X, 1j), TraceError, r"value that the array can hold", {"low": (1, 1), "high": (0, 0)})),
    ("slice", Bad((X,), TraceIndexError, r"2 entries from 3 by 1 leave axis 1 of extent 4", {**PART, "step": (1, 1)})),
    ("slice", Bad((X,), TraceValueError, r"expected axes of count 1", {**PART, "drop": (0,)})),
    ("window", Bad((X,), TraceValueError, r"expected a shape and a start of 2 axes", {"start": (0, 0), "shape": (2, 3)})),
    ("window", Bad((X,), TraceIndexError, r"12 elements from -4 leave 12", {"start": (1, 0), "shape": (3, 4)})),
    ("slice_update", Bad((X, np.ones(3)), TraceValueError, r"slice_update: shapes do not broadcast", PART)),
    ("slice_add", Bad((X, np.ones((1, 2, 2))), TraceValueError, r"cannot write shape \(1, 2, 2\) into a region", PART)),
    ("slice_add", Bad((X, 1j), TraceError, r"cannot write complex values into a real buffer", PART)),
    ("gather", Bad((X, AT, AT, AT), TraceIndexError, r"3 index arrays; expected between 1 and 2")),
    ("gather", Bad((X, np.ones(2)), TraceIndexError, r"expected index arrays of integers")),
    ("gather_sum", Bad((X, np.int64(1)), TraceIndexError, r"expected index arrays with an axis to sum over")),
    ("scatter_add", Bad((X, np.ones(3), AT), TraceValueError, r"scatter_add: shapes do not broadcast")),
    ("mask_indices", Bad((AT,), TraceIndexError, r"expected a bool mask", {"count": 1})),
    ("dot", Bad((np.ones((2, 2, 2)), np.ones(2)), TraceValueError, r"dot: expected vectors and matrices")),
    ("dot", Bad((X, X), TraceValueError, r"inner extents 4 and 3 differ")),
    (
        "product",
        Bad((X, X.T, X), TraceValueError, r"expected a number as the factor",
            params={"order": (0, 1), "written": None, "factor": "mul", "negative": False}),
    ),
    (
        "product_add",
        Bad((X, X, X.T, 1.0), TraceValueError, r"expected a buffer like the product", params={"factor": "mul", "negative": False}),
    ),
    ("batch_dot", Bad((X, X.T), TraceValueError, r"at least three axes")),
    ("batch_dot", Bad((np.ones((2, 2, 3)), np.ones((2, 2, 3))), TraceValueError, r"inner extents 3 and 2 differ")),
    ("full", Bad((X,), TraceValueError, r"expected a scalar value", {"shape": (2,), "dtype": "float64"})),
]  # fmt: skip

# ---- families with files of their own ----

from tests.ops import samples_fft, samples_linalg, samples_special  # noqa: E402

SAMPLES |= samples_fft.SAMPLES | samples_linalg.SAMPLES | samples_special.SAMPLES
BAD += samples_fft.BAD + samples_linalg.BAD
