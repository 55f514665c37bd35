"""Loops written as vectors: the same numbers as one at a time, nothing touched behind the end, and what is left to LLVM."""

from __future__ import annotations

import ast
import re
from typing import Any

import numpy as np
import pytest

from irgrad.codegen.llvm import binding, machine, vectors
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.codegen.llvm.lanes import Many, Step, Wider, lanes_of
from irgrad.codegen.llvm.module import Module
from irgrad.codegen.llvm.moves import LaneWriter
from irgrad.codegen.llvm.writer import DOUBLE, I64, Value, Writer
from tests.support.machine import optimised, run, vector_body

LENGTHS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 131, 300)
HAS_MASKS = pytest.mark.skipif(not vectors.is_possible(), reason="no masks here")
# p0 and p1 are read, p2 is written, p3 has what iterations share; p4 totals
ARRAYS = {
    "float64": """v1 = load(p0, i0)
        v2 = load(p1, i0)
        v3 = v1 * v2 - 2.0
        v4 = load(p3, 1)
        v5 = select(v1 <= v2, fabs(v3), -v4)
        v6 = load(p3, 0) + v4
        store(p2, i0, v5 / v6)""",
    "exp": """v1 = load(p0, i0)
        store(p2, i0, exp(v1) + sign(v1) * sqrt(fabs(load(p1, i0))))""",
    "tanh": "store(p2, i0, tanh(load(p0, i0)))",
    "counter": "store(p2, i0, as_float64(i0 * 3 + n0) * 0.5 + as_float64(i0))",
    "nan": "store(p2, i0, select(isnan(load(p0, i0)), 0.0, maximum(load(p0, i0), load(p1, i0))))",
    "in place": "store(p2, i0, load(p2, i0) + load(p0, i0))",
    "twice": """store(p2, i0, load(p0, i0))
        store(p2, i0, load(p2, i0) * 2.0)""",
    "shifted": "store(p2, 2 + i0, load(p0, i0 + 3) - load(p0, i0))",
    "strided": "store(p2, i0, load(p0, s0 * i0 + 1) - load(p0, i0 * s0))",
    "copy": "store(p2, i0 + 1, load(p0, i0))",
    "zeros": "store(p2, i0, 0.0)",
    "ones": "store(p2, i0, 1.0)",
    "every third": "store(p2, i0, load(p0, 3 * i0) - load(p1, 3 * i0 + 2))",
    "pairs": """v1 = load(p0, 2 * i0)
        v2 = load(p0, 2 * i0 + 1)
        store(p2, 2 * i0 + 1, v1 * v2)
        store(p2, 2 * i0, v1 + v2)""",
    "pairs in place": """store(p2, 2 * i0, load(p2, 2 * i0) * 0.5)
        v1 = load(p2, 2 * i0) + load(p2, 2 * i0 + 1)
        store(p2, 2 * i0 + 1, v1)""",
    "triples": """v1 = load(p0, 3 * i0) + load(p0, 3 * i0 + 1)
        store(p2, 3 * i0, v1)
        store(p2, 3 * i0 + 1, v1 * load(p0, 3 * i0 + 2))
        store(p2, 3 * i0 + 2, exp(v1))""",
    "some of four": """store(p2, 4 * i0 + 1, load(p0, 3 * i0))
        store(p2, 4 * i0 + 3, load(p1, 3 * i0 + 1))""",
    "backwards": "store(p2, i0, load(p0, 400 - i0))",
    "far behind": """store(p2, i0 + 32, load(p0, i0))
        store(p2, i0, load(p2, i0 + 64) + 1.0)""",
    "costly at a distance": "store(p2, s0 * i0, exp(load(p0, s0 * i0 + 1)))",
    "own variable": """a1 = 1.5
        a1 = a1 * load(p0, i0)
        a1 = a1 - load(p1, i0)
        store(p2, i0, a1)""",
}
TOTALS = {
    "sum": "a0 = add_any_order(a0, load(p0, i0) * load(p0, i0))",
    "greatest": "a0 = greatest(a0, load(p0, i0))",
    "least": "a0 = least(a0, load(p0, i0) - load(p1, i0))",
    "sum of shares": "a0 = add_any_order(a0, load(p3, 0))",
    "strided": "a0 = add_any_order(a0, load(p0, s0 * i0))",
    "with values": """v1 = load(p0, i0) + 1.0
        store(p2, i0, v1)
        a0 = add_any_order(a0, v1)""",
}
LEFT = {
    "a recurrence": "a0 = a0 * 0.5 + load(p0, i0)",
    "a total that is read": """a0 = add_any_order(a0, load(p0, i0))
        store(p2, i0, a0)""",
    "memory of the iteration before": "store(p2, i0 + 1, load(p2, i0) + load(p0, i0))",
    "memory of a few iterations before": "store(p2, i0 + 7, load(p2, i0) + load(p0, i0))",
    "one element": "store(p2, 0, load(p0, i0))",
    "a choice of statements": """if load(p0, i0) > 0.0:
            store(p2, i0, 1.0)""",
    "a routine of memory": "a0 = collect(p0, 2, 0.0)",
    "division of integers": "store(p2, i0, as_float64(floor_divide(i0 + 7, i0 + 1)))",
}


def kernel(body: str, dtype: str = "float64", loop: str = "range(n0)") -> str:
    names = "".join(f"    p{k} = scoped_{dtype}(p, {k}, {k}, 5)\n" for k in range(5))
    text = (
        f"def kernel(p, n):\n{names}    n0 = size(n, 0)\n    s0 = size(n, 1)\n    a0 = load(p4, 0)\n    for i0 in {loop}:\n        {body}\n"
    )
    return f"{text}    store(p4, 0, a0)\n    return 0\n"


def memory(rng: np.random.Generator, dtype: str) -> list[np.ndarray[Any, Any]]:
    arrays = [rng.normal(size=size).astype(dtype) for size in (1400, 1400, 1400, 2, 1)]
    arrays[0][[1, 5, 40]] = np.nan, -0.0, np.inf
    return arrays


def both(source: str, length: int, dtype: str, rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Memory behind the kernel as machine code and as plain Python."""
    first = memory(rng, dtype)
    second = [a.copy() for a in first]
    with np.errstate(all="ignore"):
        assert run(source, first, (length, 3)) == run(source, second, (length, 3), "plain") == 0
    return first, second


@pytest.mark.parametrize("name", ARRAYS)
def test_elements_are_those_of_one_at_a_time(name: str, rng: np.random.Generator) -> None:
    source = kernel(ARRAYS[name])
    if vectors.is_possible():
        assert machine.translated("kernel", source)[1] == binding.LIGHT
    tolerance = 4e-15 if name in ("exp", "tanh", "triples", "costly at a distance") else 0
    for length in LENGTHS:
        for got, want in zip(*both(source, length, "float64", rng), strict=True):
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
            np.testing.assert_array_equal(np.signbit(got)[~np.isnan(got)], np.signbit(want)[~np.isnan(want)])


@pytest.mark.parametrize("name", TOTALS)
def test_totals_are_those_of_all_iterations(name: str, rng: np.random.Generator) -> None:
    source = kernel(TOTALS[name])
    if vectors.is_possible():
        assert machine.translated("kernel", source)[1] == binding.LIGHT
    for length in LENGTHS:
        for first in (None, np.inf, -0.0, 0.0):
            arrays = memory(rng, "float64")
            arrays[0][:41] = rng.normal(size=41) if first is None else first
            others = [a.copy() for a in arrays]
            with np.errstate(all="ignore"):
                run(source, arrays, (length, 3))
                run(source, others, (length, 3), "plain")
            for got, want in zip(arrays, others, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_llvm(name: str, rng: np.random.Generator) -> None:
    source = kernel(LEFT[name])
    assert machine.translated("kernel", source)[1] == binding.FULL
    for length in (0, 3, 8, 33):
        for got, want in zip(*both(source, length, "float64", rng), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-14)


@HAS_MASKS
@pytest.mark.parametrize(
    "lanes",
    ["range(4)", "range(5)", "range(3, 0)", "range(2, 19)", "range(8)", "lanes(4)", "lanes(16)", "range(3, n0)", "range(n0 - n0 + 1, 40)"],
)
def test_lengths_in_the_text(lanes: str, rng: np.random.Generator) -> None:
    for body in (ARRAYS["exp"], ARRAYS["float64"], TOTALS["sum"]):
        source = kernel(body, loop=lanes)
        assert machine.translated("kernel", source)[1] == binding.LIGHT
        arrays = memory(rng, "float64")
        arrays[0][:50] = rng.normal(size=50)
        others = [a.copy() for a in arrays]
        run(source, arrays, (20, 3))
        run(source, others, (20, 3), "plain")
        for got, want in zip(arrays, others, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "uint8", "bool"])
def test_other_kinds(dtype: str, rng: np.random.Generator) -> None:
    """With numbers of two widths in one loop, and truth values as bytes."""
    values = "load(p0, i0) & load(p1, i0)" if dtype == "bool" else "load(p0, i0) + load(p1, i0)"
    body = f"store(p2, i0, as_{dtype}({values}))\n        store(p5, i0, select(load(p0, i0) > load(p1, i0), as_float64(load(p0, i0)), 0.5))"
    names = "".join(f"    p{k} = scoped_{dtype}(p, {k}, {k}, 6)\n" for k in range(3)) + "    p5 = scoped_float64(p, 3, 3, 6)\n"
    source = f"def kernel(p, n):\n{names}    for i0 in range(size(n, 0)):\n        {body}\n    return 0\n"
    for length in LENGTHS:
        arrays = [rng.integers(0, 2 if dtype == "bool" else 100, 400).astype(dtype) for _ in range(3)] + [np.zeros(400)]
        others = [a.copy() for a in arrays]
        run(source, arrays, (length,))
        run(source, others, (length,), "plain")
        for got, want in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(got, want)


COMPLEX = {
    "product": """v1 = load(p0, i0)
        v2 = conj(v1) * load(p1, i0 + 2)
        store(p2, i0, v2 - real(v1))
        store(p5, i0, imag(v2))""",
    "in place": "store(p2, i0, load(p2, i0) * load(p3, 1))",
    "copy": "store(p2, i0 + 1, load(p0, i0))",
    "of reals": "store(p2, i0, as_{dtype}(load(p5, i0)))",
    "every second": "store(p2, i0, load(p0, 2 * i0) + load(p1, i0))",
    "to every second": "store(p2, 2 * i0, conj(load(p0, i0)))",
    "backwards": "store(p2, i0, load(p0, 390 - i0))",
    "exp": "store(p2, i0, c_exp(load(p0, i0)) + c_sign(load(p1, i0)))",
}


@pytest.mark.parametrize("name", COMPLEX)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_taken_apart(name: str, dtype: str, rng: np.random.Generator) -> None:
    real = "float32" if dtype == "complex64" else "float64"
    names = "".join(f"    p{k} = scoped_{dtype}(p, {k}, {k}, 6)\n" for k in range(4)) + f"    p5 = scoped_{real}(p, 4, 4, 6)\n"
    body = COMPLEX[name].format(dtype=dtype)
    source = f"def kernel(p, n):\n{names}    for i0 in range(size(n, 0)):\n        {body}\n    return 0\n"
    if vectors.is_possible():
        assert machine.translated("kernel", source)[1] == binding.LIGHT
    tolerance = 0 if name != "exp" else 1e-6 if real == "float32" else 1e-14
    for length in LENGTHS[:-1]:
        arrays = [(rng.normal(size=400) + 1j * rng.normal(size=400)).astype(dtype) for _ in range(4)] + [rng.normal(size=400).astype(real)]
        arrays[0][[1, 5]] = -0.0, complex(0.0, -1.5)
        others = [a.copy() for a in arrays]
        run(source, arrays, (length,))
        run(source, others, (length,), "plain")
        for got, want in zip(arrays, others, strict=True):
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("body", ["store(p0, i0 + 1, load(p0, i0))", "store(p0, 2 * i0 + 2, load(p0, 2 * i0))"])
def test_complex_numbers_that_are_left_to_llvm(body: str, rng: np.random.Generator) -> None:
    names = "".join(f"    p{k} = scoped_complex128(p, {k}, {k}, 2)\n" for k in range(2))
    source = f"def kernel(p, n):\n{names}    for i0 in range(size(n, 0)):\n        {body}\n    return 0\n"
    assert machine.translated("kernel", source)[1] == binding.FULL
    arrays = [rng.normal(size=80) + 1j * rng.normal(size=80) for _ in range(2)]
    others = [a.copy() for a in arrays]
    run(source, arrays, (33,))
    run(source, others, (33,), "plain")
    np.testing.assert_array_equal(arrays, others)


@HAS_MASKS
def test_whole_vectors_and_a_mask() -> None:
    text = optimised(kernel(ARRAYS["float64"]), "llvm")
    assert "load <8 x double>" in vector_body(text)
    assert "masked" not in vector_body(text)
    assert "@llvm.masked.store.v8f64" in text
    assert vector_body(text).count("fdiv") == 1
    assert vector_body(optimised(kernel(TOTALS["sum"]), "llvm")).count("fmul") == 4  # sums which do not wait for each other


def rows(width: int) -> str:
    """A body of 4 statements for each element of a row, and a total over the rows."""
    lines = ["a1 = 0.0"]
    for k in range(width):
        lines += [f"v{k} = load(p0, i0 * {width} + {k})", f"a1 = a1 + v{k}"]
    for k in range(width):
        lines += [f"w{k} = v{k} * a1 + load(p1, i0)", f"store(p2, i0 * {width} + {k}, w{k} - load(p2, i0 * {width} + {k}))"]
    return "\n        ".join([*lines, "a0 = add_any_order(a0, a1 * load(p1, i0))"])


@pytest.mark.parametrize("width", [10, 16])
def test_rows_are_gathered_under_a_mask(width: int, rng: np.random.Generator) -> None:
    source = kernel(rows(width))
    if vectors.is_possible():
        assert machine.translated("kernel", source)[1] == binding.LIGHT
        text = machine.ir("kernel", source)
        assert text.count(" = fmul ") == width + 1  # the body is there once
        assert "masked.scatter.v8f64" in text
    for length in (0, 1, 7, 8, 9, 40, 62):
        arrays = [rng.normal(size=size) for size in (1000, 1000, 1000, 2, 1)]
        others = [a.copy() for a in arrays]
        run(source, arrays, (length, 3))
        run(source, others, (length, 3), "plain")
        for got, want in zip(arrays[:4], others, strict=False):
            np.testing.assert_array_equal(got, want)
        np.testing.assert_allclose(arrays[4], others[4], rtol=1e-13)


@pytest.mark.parametrize("change", [("p2, i0 * 10", "p2, i0 * 9"), ("range(n0)", "range(12)")])
def test_rows_that_are_left_to_llvm(change: tuple[str, str], rng: np.random.Generator) -> None:
    """Rows that meet, and a few rows."""
    source = kernel(rows(10)).replace(*change)
    assert machine.translated("kernel", source)[1] == binding.FULL
    arrays = [rng.normal(size=size) for size in (1000, 1000, 1000, 2, 1)]
    others = [a.copy() for a in arrays]
    run(source, arrays, (12, 10))
    run(source, others, (12, 10), "plain")
    for got, want in zip(arrays, others, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


SERIAL = {
    "a distance that is data": "store(p2, s0 * i0, load(p0, i0))",
    "rows at such a distance": rows(10).replace("i0 * 10", "i0 * s0"),
}


@pytest.mark.parametrize("name", SERIAL)
def test_writes_at_a_distance_that_is_data_need_no_vectoriser(name: str, rng: np.random.Generator) -> None:
    source = kernel(SERIAL[name])
    if vectors.is_possible():
        assert machine.translated("kernel", source)[1] == binding.LIGHT
    for length in (0, 1, 8, 33):
        for got, want in zip(*both(source, length, "float64", rng), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13)


@HAS_MASKS
def test_neighbours_are_read_as_vectors() -> None:
    """What three numbers of each iteration need: three vectors each way, the last one read no further than the numbers go."""
    text = machine.ir("kernel", kernel(ARRAYS["triples"]))
    assert not re.search(r"call .*masked\.(gather|scatter)", text)
    body = vector_body(text)
    assert [body.count(word) for word in ("= load <8 x double>", "  store <8 x double>")] == [3, 3]
    body = vector_body(machine.ir("kernel", kernel(ARRAYS["every third"])))
    assert body.count("= load <8 x double>") == 4
    end = f"<8 x i1> <{', '.join(['i1 true'] * 6 + ['i1 false'] * 2)}>"
    assert body.count(end) == 2  # 22 of 24 elements


@HAS_MASKS
@pytest.mark.parametrize(("step", "is_gathered"), [(2, False), (4, False), (5, True)])
def test_near_elements(step: int, is_gathered: bool) -> None:
    text = machine.ir("kernel", kernel(f"store(p2, i0, load(p0, {step} * i0))"))
    assert bool(re.search(r"call .*masked\.gather", text)) == is_gathered


@HAS_MASKS
def test_what_iterations_share_is_computed_once() -> None:
    text = optimised(kernel(ARRAYS["float64"]), "llvm")
    assert text.count("fadd double") == 1
    assert "load double" not in vector_body(text)


@HAS_MASKS
def test_copies_and_zeros_are_calls() -> None:
    assert "@llvm.memcpy" in optimised(kernel(ARRAYS["copy"]), "llvm")
    assert "@llvm.memset" in optimised(kernel(ARRAYS["zeros"]), "llvm")
    overlapping = kernel(ARRAYS["copy"]).replace("scoped_float64(p, 2, 2,", "scoped_float64(p, 2, 0,")
    assert machine.translated("kernel", overlapping)[1] == binding.FULL


@HAS_MASKS
def test_one_loop_for_llvm_leaves_it_all_of_them() -> None:
    vectors_only, other = kernel(ARRAYS["float64"]), kernel(LEFT["memory of the iteration before"])
    loop, end = other[other.index("    for i0") : other.index("    store(p4")], "    store(p4, 0, a0)"
    together = vectors_only.replace(end, loop + end)
    assert "llvm.masked" in machine.ir("kernel", vectors_only)
    assert "llvm.masked" not in machine.ir("kernel", together)
    assert machine.translated("kernel", together)[1] == binding.FULL


def test_operands_that_are_no_numbers_have_no_text() -> None:
    w = LaneWriter(Writer(Module()), 8, 512)
    counter = Step(I64(0), 0, I64(1))
    vector = w.fadd(Many(lanes_of(DOUBLE, 8), "%x"), DOUBLE(1.0))
    for x in (counter, vector, w.element(DOUBLE, Value(I64, "%p"), counter)):
        with pytest.raises(Unsupported):
            _ = x.text
    with pytest.raises(Wider):
        LaneWriter(Writer(Module()), 16, 512).fadd(Many(lanes_of(DOUBLE, 16), "%x"), DOUBLE(1.0))


def test_indices_stay_numbers() -> None:
    w = LaneWriter(Writer(Module()), 8, 512)
    index = w.add(w.mul(Step(I64(0), 0, I64(1)), I64(6)), I64(5))
    other = w.sub(index, I64(2))
    assert isinstance(index, Step)
    assert isinstance(other, Step)
    assert (index.step.text, index.offset, other.offset) == ("6", 5, 3)
    assert not w.before
    assert not w.lines


def test_loops_with_an_exit_need_no_vectoriser(rng: np.random.Generator) -> None:
    source = kernel("""if load(p0, i0) > 100.0:
            return 2
        store(p2, 2 * i0, load(p0, i0))""")
    assert machine.translated("kernel", source)[1] == binding.LIGHT
    for length in (0, 3, 33):
        for got, want in zip(*both(source.replace("100.0", "inf"), length, "float64", rng), strict=True):
            np.testing.assert_array_equal(got, want)


def test_loops_around_others_are_none() -> None:
    source = kernel("for i1 in range(3):\n            store(p2, i0 * 3 + i1, load(p0, i1))")
    (loop,) = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.For) and isinstance(node.body[0], ast.For)]
    assert not vectors.vectorised(None, loop, I64(0), I64(3))  # type: ignore[arg-type]


def test_places_that_were_read_need_no_vectoriser(rng: np.random.Generator) -> None:
    """An exchange of elements, as of pivots: whatever the places, one after the other."""
    source = kernel("""v1 = load(p2, i0)
        v2 = as_int64(load(p0, i0))
        store(p2, i0, load(p2, v2))
        store(p2, v2, v1)""")
    if vectors.is_possible():
        assert machine.translated("kernel", source)[1] == binding.LIGHT
    arrays = [rng.normal(size=size) for size in (1400, 1400, 1400, 2, 1)]
    arrays[0][:40] = rng.integers(0, 40, 40)
    others = [a.copy() for a in arrays]
    run(source, arrays, (40, 3))
    run(source, others, (40, 3), "plain")
    np.testing.assert_array_equal(arrays[2], others[2])
