"""Every primitive as a program of its own against numpy: as plain Python kernels, and a bounded slice as machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irgrad.config import CONFIG
from irgrad.errors import TraceError, TraceIndexError
from irgrad.ir.aval import aval_of
from irgrad.ir.primitive import ELEMENTWISE, GUARD, REGISTRY, Primitive
from irgrad.ops import compare, control, create, elementwise, index, linalg, products, reduce, shape
from irgrad.passes.forms import OWN_KERNEL, REDUCTIONS
from tests.ops.samples import SAMPLES, Sample
from tests.support.kernels import EXACT, ULPS, compiled, difference, program

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")]
FAMILIES = (elementwise, compare, reduce, shape, index, linalg, products, create, control)
NAMES = sorted({op.name for family in FAMILIES for op in vars(family).values() if isinstance(op, Primitive) and not op.has(GUARD)})
IN_NUMPY = {"sort", "argsort", "mask_indices"}


def bound(name: str, operands: tuple[Any, ...]) -> tuple[int, Any]:
    """Allowed error in ulps, and of what: sums and products are judged by the size of what they add."""
    if name in EXACT and not any(np.iscomplexobj(x) for x in operands):
        return 0, None
    if name in OWN_KERNEL or name in REDUCTIONS:
        sizes = [np.abs(np.asarray(x)) for x in operands[:2]]
        return ULPS * 8, max(float(x.max(initial=1.0)) for x in sizes) ** 2 * max(x.size for x in sizes)
    return ULPS, None


def check(name: str, operands: tuple[Any, ...], params: dict[str, Any], got: Any) -> None:
    with np.errstate(all="ignore"):
        want = REGISTRY[name].evaluate(*operands, **params)
    wrong = difference(got, want, *bound(name, operands))
    kinds = ", ".join(f"{np.asarray(x).dtype}{np.shape(x)}" for x in operands)
    assert not wrong, f"{name}({kinds}) {params}: {wrong}"


# ---- every row of the samples, as plain Python kernels ----


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("plain")
def test_samples_as_plain_kernels(name: str) -> None:
    in_numpy = 0
    for sample in SAMPLES[name]:
        one = program(REGISTRY[name], sample.params)
        if sample.operands:
            got, count = compiled(one, *sample.operands)
        else:
            got, count = compiled(lambda x, one=one: one(), np.float64(1.0))
        in_numpy += count
        check(name, sample.operands, sample.params, got)
    assert (in_numpy == len(SAMPLES[name])) == (name in IN_NUMPY)


# ---- the same as machine code: all rows of several operations in one program ----

COMPILED = {
    "arithmetic": ["add", "sub", "mul", "div", "neg", "abs", "sign", "square", "reciprocal", "sqrt", "floor_divide", "remainder", "fmod"],
    "choices": [
        "maximum",
        "minimum",
        "fmax",
        "fmin",
        "where",
        "clip",
        "heaviside",
        "copysign",
        "signbit",
        "isnan",
        "logical_xor",
        "invert",
    ],
    "functions": ["exp", "log", "sin", "cos", "tanh", "arctan", "expm1", "log1p", "cbrt", "hypot", "arctan2", "logaddexp"],
    "powers": ["integer_pow", "pow"],
    "parts": ["real", "imag", "conj", "angle", "complex_of", "convert"],
    "reductions": sorted(REDUCTIONS),
    "moves": ["reshape", "transpose", "broadcast_to", "concatenate", "pad", "slice", "slice_add", "slice_update", "full", "iota", "zeros"],
    "places": [
        "gather",
        "scatter_add",
        "scatter_update",
        "argmax",
        "argmin",
        "cumsum",
        "cumprod",
        "dot",
        "batch_dot",
        "product",
        "product_add",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("family", COMPILED)
def test_samples_as_machine_code(family: str) -> None:
    rows: list[tuple[str, Sample]] = [(name, sample) for name in COMPILED[family] for sample in SAMPLES[name]]
    check_together(rows)


def check_together(rows: list[tuple[str, Sample]]) -> None:
    """All rows as one program."""
    operands = [x for _, sample in rows for x in sample.operands]

    def together(first: Any, *given: Any) -> Any:
        outputs, at = [], 0
        for name, sample in rows:
            count = len(sample.operands)
            outputs.append(program(REGISTRY[name], sample.params)(*given[at : at + count]))
            at += count
        return tuple(outputs)

    got, _ = compiled(together, np.float64(1.0), *operands)
    for (name, sample), value in zip(rows, got, strict=True):
        check(name, sample.operands, sample.params, value)


# ---- edge values of every dtype in loops ----

DTYPES = ("float64", "float32", "complex128", "complex64", "int64", "int32", "int8", "uint8", "uint64", "bool")
EDGES = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 2.5, 3.0, 7.0, -7.0, 1e-310])


def edges(dtype: str, seed: int) -> Any:
    """Some 20 values of a dtype, the extreme ones among them, in another order for each operand."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(20) < 0.5
    if kind in "iu":
        info = np.iinfo(dtype)
        return rng.permutation(np.array([info.min, info.max, 0, 1, 2, 3, 5, 7, info.max - 1, info.min + 1] * 2, dtype))
    x = rng.permutation(np.concatenate([EDGES, rng.normal(size=6) * 3]))
    if kind == "c":
        x = np.where(np.isfinite(x), x, 0.75) + 1j * rng.permutation(np.where(np.isfinite(x), x, -1.25))
    return x.astype(dtype)


def edge_rows(name: str, dtype: str) -> list[tuple[str, Sample]]:
    """The operation on edge values, where numpy has a loop for the dtype and the kernel text is not numpy's business."""
    count = len(SAMPLES[name][0].operands)
    operands = tuple(edges(dtype, seed) for seed in range(count))
    if name == "where":
        operands = (edges("bool", 7), *operands[1:])
    if name == "pow" and np.dtype(dtype).kind in "iu":
        return []
    params = {"integer_pow": [{"n": n} for n in (0, 1, 2, 3, 5)], "convert": [{"dtype": "bool"}, {"dtype": "complex128"}]}.get(name, [{}])
    rows = []
    for each in params:
        if name == "integer_pow" and dtype == "bool":
            continue
        try:
            REGISTRY[name].aval(*map(aval_of, operands), **each)
            with np.errstate(all="ignore"):
                out = REGISTRY[name].evaluate(*operands, **each)
        except (TypeError, TraceError):
            continue
        if np.asarray(out).dtype.name != "float16":
            rows.append((name, Sample(operands, each)))
    return rows


LOOPS = sorted(name for name in NAMES if REGISTRY[name].has(ELEMENTWISE) and name not in IN_NUMPY)
INACCURATE = {("exp2", "complex64"), ("pow", "complex64"), ("integer_pow", "complex64")}  # numpy's own single precision errs by more


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.usefixtures("plain")
def test_edge_values_as_plain_kernels(name: str) -> None:
    for dtype in DTYPES:
        for row in edge_rows(name, dtype):
            if (name, dtype) not in INACCURATE:
                check_together([row])


@pytest.mark.parametrize("dtype", ["float64", "int64", "int8"])
def test_edge_values_as_machine_code(dtype: str) -> None:
    """One kernel of all operations for a dtype."""
    check_together([row for name in LOOPS for row in edge_rows(name, dtype)])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", sorted(set(DTYPES) - {"float64", "int64", "int8"}))
def test_edge_values_of_other_dtypes_as_machine_code(dtype: str) -> None:
    check_together([row for name in LOOPS for row in edge_rows(name, dtype) if (name, dtype) not in INACCURATE])


# ---- reductions and scans: axes, extents, layouts ----

SHAPES = [(3, 4, 5), (1, 7, 1), (2, 1, 9), (4, 0, 3), (0, 3), (130, 3), (3, 300), (9,), (1,), ()]


def axes_of(ndim: int) -> list[tuple[int, ...]]:
    return [tuple(a for a in range(ndim) if mask >> a & 1) for mask in range(2**ndim)]


def array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    x = rng.integers(0, 4, shape) if np.dtype(dtype).kind in "iub" else rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if dtype.startswith("complex") else x).astype(dtype)


def reduction_rows(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> list[tuple[str, Sample]]:
    x = array(rng, shape, dtype)
    rows = []
    for axes in axes_of(len(shape)):
        for name in sorted(REDUCTIONS):
            empty = any(shape[a] == 0 for a in axes)
            if not (name in ("reduce_max", "reduce_min") and (empty or dtype.startswith("complex"))):
                rows.append((name, Sample((x if len(axes) % 2 else np.asfortranarray(x),), {"axes": axes})))
    return rows


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.usefixtures("plain")
def test_reductions_over_every_axis(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    for dtype in ("float64", "float32", "int32", "bool") if np.prod(shape) > 100 else DTYPES:
        check_together(reduction_rows(rng, shape, dtype))


@pytest.mark.parametrize(("shape", "dtype"), [((3, 4, 5), "float64"), ((2, 300), "float32"), ((3, 5), "uint8"), ((2, 9), "complex128")])
def test_reductions_as_machine_code(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> None:
    rows = reduction_rows(rng, shape, dtype)
    check_together(rows[:: len(rows) // 12 + 1])


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "argmax", "argmin"])
@pytest.mark.usefixtures("plain")
def test_scans_along_every_axis(name: str, rng: np.random.Generator) -> None:
    for extents in ((3, 4, 5), (1, 9), (9, 1), (12,), (2, 2)):
        for dtype in DTYPES:
            x = array(rng, extents, dtype)
            check_together([(name, Sample((np.asfortranarray(x),), {"axis": axis})) for axis in range(len(extents))])


@pytest.mark.usefixtures("plain")
def test_extremes_of_complex_numbers_run_in_numpy(rng: np.random.Generator) -> None:
    for name, params in (("reduce_max", {"axes": (0,)}), ("argmin", {"axis": 0})):
        for n in (3, 30):
            z = np.round(array(rng, (n,), "complex128"))
            got, in_numpy = compiled(program(REGISTRY[name], params), z)
            assert in_numpy == 1
            check(name, (z,), params, got)


@pytest.mark.usefixtures("plain")
def test_a_nan_is_the_extreme_and_the_first_wins() -> None:
    for values in ([1.0, np.nan, 3.0, np.nan], [2.0, 3.0, 3.0, 1.0], [np.nan] * 4):
        for n in (1, 5):
            x = np.array(values * n)
            for name, params in (
                ("argmax", {"axis": 0}),
                ("argmin", {"axis": 0}),
                ("reduce_max", {"axes": (0,)}),
                ("reduce_min", {"axes": (0,)}),
            ):
                check(name, (x,), params, compiled(program(REGISTRY[name], params), x)[0])


@pytest.mark.usefixtures("plain")
def test_half_precision_runs_in_numpy(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4)).astype("float16")
    rows = [
        ("sin", {}),
        ("add", {}),
        ("reduce_sum", {"axes": (1,)}),
        ("cumsum", {"axis": 0}),
        ("transpose", {"axes": (1, 0)}),
        ("concatenate", {"axis": 0}),
    ]
    for name, params in rows:
        operands = (x, x) if name in ("add", "concatenate") else (x,)
        check(name, operands, params, compiled(program(REGISTRY[name], params), *operands)[0])


# ---- indices that are data ----


@pytest.mark.usefixtures("plain")
def test_indices_wrap_and_repeat(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(4, 5)), rng.normal(size=(6, 5))
    rows = np.array([0, -1, 2, 2, -4, 0])
    columns = np.array([[4], [-5]], np.int32)
    check_together(
        [
            ("gather", Sample((x, rows))),
            ("gather", Sample((x, rows, columns))),
            ("gather", Sample((x.T, np.array([1, 3], np.uint8)))),
            ("scatter_add", Sample((x, y, rows))),
            ("scatter_add", Sample((x, y[0], rows))),
            ("scatter_update", Sample((x, y, rows))),
            ("scatter_update", Sample((np.asfortranarray(x), y[:2, :1], rows[:1], columns))),
            ("scatter_add", Sample((np.arange(20, dtype="int8"), np.full(3, 100, "int8"), np.array([1, 1, 1])))),
        ]
    )


@pytest.mark.parametrize("native", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["gather", "scatter_add", "scatter_update"])
def test_an_index_out_of_range_is_numpys_error(name: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import irgrad

    monkeypatch.setattr(CONFIG, "evaluate", not native)
    x, y = np.arange(40.0).reshape(4, 10), np.ones((3, 10))
    operands = (x,) if name == "gather" else (x, y)
    jitted = irgrad.jit(program(REGISTRY[name], {}), compile_after=1)
    for at in ([0, 1, 2], [3, -4, 0]):
        jitted(*operands, np.array(at))
    for at in ([0, 4, 1], [0, 1, -5]):
        with pytest.raises(TraceIndexError, match="out of bounds"):
            jitted(*operands, np.array(at))
    np.testing.assert_array_equal(x, np.arange(40.0).reshape(4, 10))
    check(name, (*operands, np.array([0, 1, 2])), {}, jitted(*operands, np.array([0, 1, 2])))
