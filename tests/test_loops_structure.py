"""Loops are one node whatever their length: counts of operations, kernels and rows, memory, graphs as text, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.errors import DifferentiationError, TraceError, TraceIndexError, TraceLinAlgError
from irgrad.ir.body import Body
from irgrad.ir.evaluate import evaluate
from irgrad.ir.parser import parse
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.printer import print_graph
from irgrad.ir.verify import verify
from irgrad.runtime.bodies import link, link_in_place


def rk4(count: int, **options: Any) -> Any:
    def change(z: Any, p: Any) -> Any:
        return np.stack([p[0] * z[0] - p[1] * z[0] * z[1], p[2] * z[0] * z[1] - p[3] * z[1]])

    def loss(p: Any) -> Any:
        h = 1.0 / count

        def step(z: Any, _: Any) -> Any:
            k1 = change(z, p)
            k2 = change(z + h / 2 * k1, p)
            k3 = change(z + h / 2 * k2, p)
            k4 = change(z + h * k3, p)
            return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        z, _ = irgrad.scan(step, np.array([1.0, 1.0]), None, count, **options)
        return np.sum(z**2)

    return loss


P = np.array([1.5, 1.0, 3.0, 1.0])


def test_counts_do_not_depend_on_the_length() -> None:
    counts = []
    for length in (10, 1000, 100_000):
        fast = irgrad.jit(irgrad.grad(rk4(length))).compile(P)
        gradient = fast(P)
        stats = fast.stats()
        counts.append((stats.kernels, stats.recorded_ops, stats.rows_last_call, stats.paths))
        assert stats.kernels_compiled == 0 or length == 10
        assert stats.program_bytes < 4000
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][1] < 40 and counts[0][0] < 10
    exact = irgrad.grad(rk4(1000))(P)
    np.testing.assert_allclose(gradient, exact, rtol=1e-9)  # the method's error is far below


def test_memory_is_linear_in_the_carries() -> None:
    """Reverse mode keeps one carry an iteration, and a k-th of them with checkpoints."""
    arenas = []
    for length, options in ((1000, {}), (4000, {}), (4096, {"checkpoint": 64})):
        fast = irgrad.jit(irgrad.grad(rk4(length, **options))).compile(P)
        fast(P)
        arenas.append(fast.stats().arena_bytes)
    carry = 2 * 8
    assert 1000 * carry < arenas[0] < 1000 * carry + 4000
    assert arenas[1] - arenas[0] == 3000 * carry
    assert arenas[2] < 3 * 64 * carry + 8000


def test_nothing_is_kept_where_nothing_goes_backwards() -> None:
    for transform in (lambda f: f, irgrad.deriv):
        fast = irgrad.jit(transform(rk4(10_000))).compile(P)
        fast(P)
        assert fast.stats().arena_bytes < 4000


def test_a_million_iterations() -> None:
    def f(p: float) -> Any:
        return irgrad.scan(lambda c, _: (c + 1e-6 * np.sin(p * c), None), 1.0, None, 1_000_000)[0]

    eager, compiled = irgrad.grad(f)(0.7), irgrad.jit(irgrad.grad(f), compile_after=1)
    assert compiled(0.7) == compiled(0.7) == eager
    np.testing.assert_allclose(eager, (f(0.7 + 1e-5) - f(0.7 - 1e-5)) / 2e-5, rtol=1e-7)


def test_a_graph_with_bodies() -> None:
    def f(p: Any, x: Any) -> Any:
        c, _ = irgrad.scan(lambda c, x: (c * p + x, None), 0.5, x)
        return irgrad.cond(c > 0, lambda c: c * p, lambda c: c, c)

    x = np.arange(3.0)
    graph = irgrad.trace(f)(0.9, x)
    assert [line.split("  # ")[0] for line in str(graph).splitlines()[2:9]] == [
        "  %0: f64[1] = scan[body=body {",
        "    graph scan_body(x0: float, x1: float, x2: f64) -> (f64[])",
        "    primal",
        "      %0: f64[] = mul %x1 %x0",
        "      %1: f64[] = add %0 %x2",
        "    return %1",
        "  }, carries=1, counted=False, length=3, reverse=False, saved=False, xs=1] %p 0.5:float %x",
    ]
    for each in (graph, irgrad.trace(irgrad.grad(f))(0.9, x)):
        verify(each)
        text = print_graph(each)
        again = parse(text)
        assert again.first_difference(each) is None and print_graph(again) == text
        assert evaluate(again, 0.9, x) == evaluate(each, 0.9, x)
        optimized, _ = irgrad.optimized(each)
        np.testing.assert_allclose(evaluate(optimized, 0.9, x), evaluate(each, 0.9, x), rtol=1e-14)


def test_equal_bodies_are_one() -> None:
    def body_of(step: Any) -> Body:
        graph = irgrad.trace(lambda x: irgrad.scan(step, 0.0, x)[0])(np.ones(3))
        body: Body = graph.nodes()[0].params["body"]
        return body

    first = body_of(lambda c, r: (c * 2.0 + r, None))
    assert body_of(lambda k, x: (k * 2.0 + x, None)) is first
    assert body_of(lambda c, r: (c * 3.0 + r, None)) is not first
    assert link(first) is link(first)


def test_a_wrong_operand_is_seen_by_the_verifier() -> None:
    graph = irgrad.trace(lambda x: irgrad.scan(lambda c, r: (c + r, None), 0.0, x)[0])(np.ones(3))
    node = graph.nodes()[0]
    graph.set_operand(node, 1, graph.add(REGISTRY["zeros"], (), {"shape": (4,), "dtype": "float64"}, before=node))
    with pytest.raises(irgrad.errors.InternalError, match=r"scan: expected an operand f64\[3\], got f64\[4\]"):
        verify(graph)


# ---- refused ----


def _branching(c: Any, x: Any) -> Any:
    return (c if x > 0 else -c), None


def _writing(x: Any) -> Any:
    seen = x * 2.0

    def step(c: Any, r: Any) -> Any:
        seen[0] = r
        return c, r

    return irgrad.scan(step, 1.0, x)[0] * np.sum(seen)


def _drawing(c: Any, x: Any) -> Any:
    return c + np.random.normal(), x


X = np.ones(3)
REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "if": (lambda x: irgrad.scan(_branching, 1.0, x), TraceError,
           r"`if` or `while` on a traced value inside the body of scan \(test_loops_structure.py:\d+\).*use irgrad.cond or np.where"),
    "int": (lambda x: irgrad.scan(lambda c, r: (c + [1, 2][int(r)], None), 1.0, x), TraceError, r"int\(\) or an index of a Python object"),
    "shape": (lambda x: irgrad.scan(lambda c, r: (np.stack([c, c]), None), x[0], x), TraceError,
              r"init is f64\[\] and the body of scan returns f64\[2\] for it .*a carry keeps its shape and dtype"),
    "dtype": (lambda x: irgrad.scan(lambda c, r: ({"a": c["a"] * 1j}, None), {"a": x}, x), TraceError,
              r"init\['a'\] is f64\[3\] and the body of scan returns c128\[3\]"),
    "narrow": (lambda x: irgrad.while_loop(lambda c: np.sum(c) < 9.0, lambda c: c * x, x.astype(np.float32)), TraceError,
               r"init_val is f32\[3\] and the body of while_loop returns f64\[3\]"),
    "structure": (lambda x: irgrad.scan(lambda c, r: ((c, c), None), 1.0, x), TraceError, "returned a carry of the structure"),
    "pair": (lambda x: irgrad.scan(lambda c, r: c, 1.0, x), TraceError, r"returns a pair \(carry, y\)"),
    "rows": (lambda x: irgrad.scan(lambda c, r: (c, r), 1.0, {"a": x, "b": np.ones(4)}), TraceError,
             r"xs\['b'\] has 4 rows and xs\['a'\] says 3"),
    "length": (lambda x: irgrad.scan(lambda c, r: (c, r), 1.0, x, 4), TraceError, "xs has 3 rows and length says 4"),
    "no length": (lambda x: irgrad.scan(lambda c, r: (c, r), x), TraceError, "neither xs nor length"),
    "negative": (lambda x: irgrad.scan(lambda c, r: (c, r), x, None, -1), TraceError, "length is -1"),
    "string": (lambda x: irgrad.scan(lambda c, r: (c, r), {"a": "b"}, x), TraceError, r"init\['a'\] is str"),
    "number as xs": (lambda x: irgrad.scan(lambda c, r: (c, r), x, 3.0), TraceError, "xs is a number"),
    "result": (lambda x: irgrad.scan(lambda c, r: (c, "y"), x, x), TraceError, "the body of scan returns str"),
    "write": (_writing, TraceError, "the body of scan writes into an array from outside of it"),
    "draw": (lambda x: irgrad.scan(_drawing, 1.0, x), TraceError, "a random draw inside the body of scan"),
    "condition": (lambda x: irgrad.while_loop(lambda c: c, lambda c: c - 1, x[0]), TraceError, "it returns one bool: a comparison"),
    "bound": (lambda x: irgrad.fori_loop(0, x[0], lambda i, v: v, x), TraceError, "upper is float64"),
    "checkpoint": (lambda x: irgrad.scan(lambda c, r: (c, r), 1.0, x, checkpoint=0), ValueError, "checkpoint is True or a positive"),
    "index": (lambda x: irgrad.scan(lambda c, r: (c + x[r], None), 0.0, np.array([0, 2, 3])), TraceIndexError,
              "index 3 is out of bounds for axis 0 with size 3"),
    "singular": (lambda x: irgrad.scan(lambda c, r: (np.linalg.inv(c * r), None), np.eye(2), x * np.array([1.0, 2.0, 0.0])),
                 TraceLinAlgError, "Singular matrix"),
    "own error": (lambda x: irgrad.scan(lambda c, r: 1 / 0, 1.0, x), ZeroDivisionError, "division by zero"),
}  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, compiled: bool) -> None:
    fun, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        (irgrad.jit(fun) if compiled else fun)(X)
    assert irgrad.grad(lambda x: irgrad.scan(lambda c, r: (c * r, None), 1.0, x)[0])(X).shape == (3,)  # nothing is left behind


@pytest.mark.parametrize(
    ("true", "false", "message"),
    [
        (lambda x: x, lambda x: x[0], r"false_fun returns f64 and true_fun returns f64\[3\] as result 0"),
        (lambda x: x * 1j, lambda x: x, r"false_fun returns f64\[3\] and true_fun returns c128\[3\]"),
        (lambda x: (x, x), lambda x: x, "branches return the same"),
    ],
)
def test_branches_that_differ(true: Any, false: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        irgrad.jit(lambda x: irgrad.cond(np.sum(x) > 0, true, false, x))(X)


def test_a_predicate_is_one_bool() -> None:
    with pytest.raises(TraceError, match=r"the predicate is .* of shape \(3,\)"):
        irgrad.cond(X > 0, lambda: 1.0, lambda: 2.0)


def test_reverse_mode_needs_to_know_how_long_an_inner_while_is() -> None:
    def f(x: Any) -> Any:
        return irgrad.scan(lambda c, r: (irgrad.while_loop(lambda c: c < 9.0, lambda c: c * 2.0, c) * r, None), x[0], x)[0]

    with pytest.raises(DifferentiationError, match="give max_steps"):
        irgrad.grad(f)(X)
    assert np.isfinite(irgrad.make_jvp(f)(X)(X)[1])


def test_a_failure_of_compiled_code_is_numpys_error() -> None:
    table = np.arange(4.0)
    fast = irgrad.jit(lambda i: irgrad.scan(lambda c, i: (c + table[i], None), 0.0, i)[0], compile_after=1)
    assert fast(np.array([0, 3, -1])) == fast(np.array([3, 0, 3])) == 6.0
    with pytest.raises(TraceIndexError, match="index 4 is out of bounds"):
        fast(np.array([0, 4, 0]))
    assert fast(np.array([0, 3, -1])) == 6.0


# ---- carries that are changed in place ----


def _set(c: Any, i: Any, value: Any) -> Any:
    c[i] = value
    return c


UPDATES: dict[str, tuple[Any, set[int]]] = {  # a step from two carries and an index, and the carries that share memory with the next ones
    "one element": (lambda a, b, i: ((_set(a, i, a[i - 1] * 0.5 + i), b), a[0]), {0, 1}),
    "read after it": (lambda a, b, i: ((_set(a, i, 2.0), b), a[i]), {0, 1}),
    "kept as y": (lambda a, b, i: (y := a * 1.0, ((_set(a, i, 2.0), b), y))[1], {0, 1}),
    "copied": (lambda a, b, i: ((_set(a.copy(), i, a[i] + 2.0), _set(b, i, a[i])), a[i]), {1}),
    "handed out": (lambda a, b, i: ((_set(a, i, 2.0), b), a), {1}),
    "swapped": (lambda a, b, i: ((_set(b, i, 3.0), a), b[i]), set()),
    "twice": (lambda a, b, i: ((_set(_set(a, i, 2.0), i - 1, a[i]), a), b[0]), set()),
    "both the same": (lambda a, b, i: ((c := _set(a, i, b[0] + 1.0), c), i), set()),
    "then all of it": (lambda a, b, i: ((_set(a, i, 4.0) + b, _set(b, i, a[0])), a[1]), {1}),
    "slices": (lambda a, b, i: ((_set(a, slice(0, 20), a[20:40] * 0.5), _set(b, 3, a[i])), b[3]), {0, 1}),
}


@pytest.mark.parametrize("name", UPDATES)
def test_carries_changed_in_place(name: str) -> None:
    step, shared = UPDATES[name]
    rng = np.random.default_rng(3)
    a, b, rows = rng.normal(size=40), rng.normal(size=40), np.array([3, 7, 0, 39, -2])

    def scanned(a: Any, b: Any) -> Any:
        (a, b), ys = irgrad.scan(lambda c, i: step(c[0], c[1], i), (a, b), rows)
        return a, b, ys

    def looped(a: Any, b: Any) -> Any:
        ys = []
        for i in rows:
            (a, b), y = step(np.array(a), np.array(b), i)
            ys.append(np.array(y))
        return a, b, np.stack(ys)

    def whiled(a: Any, b: Any) -> Any:
        def move(s: Any) -> Any:
            (a, b), _ = step(s[1], s[2], rows[s[0]])
            return s[0] + 1, a, b

        return irgrad.while_loop(lambda s: s[0] < len(rows), move, (0, a, b))[1:]

    expected = looped(a, b)
    for run in (scanned, irgrad.jit(scanned).compile(a, b)):
        for found, wanted in zip(run(a, b), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    for run in (whiled, irgrad.jit(whiled).compile(a, b)):
        for found, wanted in zip(run(a, b), expected, strict=False):
            np.testing.assert_array_equal(found, wanted)
    scan = next(node for node in irgrad.trace(scanned)(a, b).nodes() if node.op is not None and node.op.name == "scan")
    assert link_in_place(scan.params["body"], 2, 1).kept == shared

    def loss(run: Any) -> Any:
        return lambda a, b: sum(np.sum(np.sin(part)) for part in run(a, b))

    for found, wanted in zip(irgrad.grad(loss(scanned), (0, 1))(a, b), irgrad.grad(loss(looped), (0, 1))(a, b), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_one_element_an_iteration_costs_one_element() -> None:
    """Neither the carry nor the cotangent of a table is copied in each iteration."""
    rows = np.arange(50) % 7

    def f(table: Any, c: Any) -> Any:
        def step(c: Any, i: Any) -> Any:
            c[i] = np.sin(c[i - 1]) * table[i]
            return c, None

        return np.sum(irgrad.scan(step, c, rows)[0])

    arenas = []
    for size in (1000, 11_000):
        table, c = np.ones(size), np.linspace(0.0, 1.0, size)
        fast = irgrad.jit(irgrad.grad(lambda t: f(t, c * 1.0))).compile(table)
        fast(table)
        graph = irgrad.trace(irgrad.grad(lambda t: f(t, c * 1.0)))(table)
        bodies = [node.params["body"] for node in graph.nodes() if node.op is not None and node.op.name == "scan"]
        arenas.append([link_in_place(body, 1 if k == 0 else 2, 1 if k == 0 else 2).work for k, body in enumerate(bodies)])
        forward, backward = (link_in_place(body, 1 + k, 1 + k) for k, body in enumerate(bodies))
        assert forward.kept == {0} and 1 in backward.kept
    assert arenas[0][0] == arenas[1][0]


# ---- what does not change from one iteration to the next ----


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_the_same_in_all_iterations_is_computed_once(compiled: bool) -> None:
    a = np.eye(4) * 2.0 + np.arange(16.0).reshape(4, 4) / 20

    def step(a: Any, c: Any, x: Any) -> Any:
        return np.tanh(np.linalg.inv(a).T @ c) * np.exp(a[0, 0]) + x, np.sum(np.exp(a))

    def scanned(a: Any, x: Any) -> Any:
        c, ys = irgrad.scan(lambda c, x: step(a, c, x), x[0], x)
        return np.sum(c) + np.sum(ys)

    def looped(a: Any, x: Any) -> Any:
        c, total = x[0], 0.0
        for row in x:
            c, y = step(a, c, row)
            total = total + y
        return np.sum(c) + total

    x = np.sin(np.arange(12.0)).reshape(3, 4)
    fun = irgrad.grad(lambda a: np.sum(irgrad.grad(scanned)(a, x) ** 2 + irgrad.grad(scanned, 1)(a, x)[0]))
    expected = irgrad.grad(lambda a: np.sum(irgrad.grad(looped)(a, x) ** 2 + irgrad.grad(looped, 1)(a, x)[0]))(a)
    np.testing.assert_allclose((irgrad.jit(fun).compile(a) if compiled else fun)(a), expected, rtol=1e-9)
    nodes = [node for node in irgrad.trace(irgrad.grad(scanned, (0, 1)))(a, x).nodes() if node.op is not None]
    assert [node.op.name for node in nodes].count("inv") == 1
    forward, backward = ({inner.op.name for inner in node.params["body"].graph.nodes()} for node in nodes if node.op.name == "scan")
    assert not {"inv", "reduce_sum"} & forward and "inv" not in backward
    assert "exp" in forward  # of one number: cheaper than an operand with a cotangent


def test_a_decision_that_is_the_same_in_all_iterations_is_a_path() -> None:
    def f(x: Any, flag: Any) -> Any:
        def step(c: Any, r: Any) -> Any:
            return (c * r if flag * 2 > 0 else c + r), None

        return irgrad.scan(step, x[0], x)[0]

    fast = irgrad.jit(f, compile_after=1)
    x = np.array([1.5, 2.0, -1.0])
    for flag in (1.0, -1.0, 2.0, -3.0):
        expected = x[0] * np.prod(x) if flag > 0 else x[0] + np.sum(x)
        assert fast(x, flag) == f(x, flag) == expected
    assert fast.stats().traces == fast.stats().paths == 2
