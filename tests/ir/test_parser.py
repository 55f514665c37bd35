from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from irgrad.ir.aval import Aval
from irgrad.ir.graph import Graph, Literal
from irgrad.ir.parser import ParseError, parse
from irgrad.ir.primitive import GUARD, REGISTRY
from irgrad.ir.printer import print_graph

importlib.import_module("irgrad.ops")  # every primitive round-trips, whatever it is
VECTOR = Aval((3,), np.dtype(np.float64))


def round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    parsed = parse(text)
    assert parsed.first_difference(graph) is None, text
    assert print_graph(parsed) == text


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_primitive(name: str) -> None:
    op = REGISTRY[name]
    graph = Graph("f")
    x = graph.add_input("x", VECTOR)
    if op.has(GUARD):
        graph.add(op, (x,), {"kind": "int", "value": 3}, aval=VECTOR)
    else:
        y = graph.add(op, (x, Literal(2.0, static=True), Literal(3.0), x), {"axes": (0,), "shape": (3,)}, aval=VECTOR)
        graph.set_outputs([y, x])
    round_trip(graph)


@pytest.mark.parametrize(
    "value",
    [
        True, False, 0, 1, -7, 2**70, 0.1, -0.0, 1e-300, float("inf"), float("-inf"), float("nan"), 1 + 2j, complex(-0.0, float("nan")),
        np.float32(0.1), np.float64(-0.0), np.int8(-3), np.bool_(True), np.complex64(1 + 2j), np.float16(1.5), np.uint64(2**63),
        np.ones(3), np.array(2.0), np.zeros((0, 2)), np.array([[1, 2], [3, 4]], np.int32), np.array([True, False]),
        np.array([np.nan, -np.inf, -0.0], np.float32), np.array([1 + 2j, complex(0, -0.0)]), np.arange(1000.0), np.arange(200).reshape(20, 10).T,  # noqa: E501
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("static", [False, True])
def test_literals(value: Any, static: bool) -> None:
    graph = Graph("f")
    x = graph.add_input("x", VECTOR)
    literal = Literal(value, static=static)
    y = graph.add(REGISTRY["t_any"], (literal, x, literal), aval=VECTOR)
    graph.set_outputs([y, literal])
    round_trip(graph)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -2.5, float("nan"), float("-inf"), 1j, "text", "it's \"a\"\n%0 #]", (), (1,), (0, (None, ...)), ..., slice(1, None, -1),  # noqa: E501
        np.dtype(np.float32), np.float64, np.float32(2.5), np.bool_(False), np.complex128(1j), np.ones((2, 2)), ((slice(None), None), "x"),
    ],
    ids=repr,
)  # fmt: skip
def test_params(value: Any) -> None:
    graph = Graph("f")
    x = graph.add_input("x", VECTOR)
    graph.set_outputs([graph.add(REGISTRY["t_any"], (x,), {"p": value, "q": 1})])
    round_trip(graph)


def test_primitive_as_param() -> None:
    graph = Graph("f")
    graph.set_outputs([graph.add(REGISTRY["t_any"], (Literal(1.0),), {"op": REGISTRY["t_mul"]})])
    round_trip(graph)


@pytest.mark.parametrize(
    ("kind", "value", "implied"),
    [
        ("bool", True, True),
        ("int", 3, True),
        ("bits", 2.5, True),
        ("bits", np.float32(1), True),
        ("bits", np.ones(2), True),
        ("bits", 3, False),
        ("shape", (2, 3), False),
    ],
)
def test_guards(kind: str, value: Any, implied: bool) -> None:
    graph = Graph("f")
    x = graph.add_input("x", VECTOR)
    graph.add(REGISTRY["t_guard"], (x,), {"kind": kind, "value": value})
    round_trip(graph)
    assert ("kind" not in str(graph)) is implied


@pytest.mark.parametrize(
    "aval",
    [
        VECTOR, Aval((), np.dtype(bool), "python"), Aval((), np.dtype(bool), "scalar"), Aval((), np.dtype(bool)), Aval((), np.dtype(int), "python"),  # noqa: E501
        Aval((), np.dtype(np.float32), "python"), Aval((), np.dtype(np.complex64), "scalar"), Aval((0, 2), np.dtype(np.uint8)),
    ],
    ids=str,
)  # fmt: skip
def test_avals(aval: Aval) -> None:
    graph = Graph("f")
    x = graph.add_input("x", aval)
    graph.set_outputs([graph.add(REGISTRY["t_any"], (x,))])
    round_trip(graph)


def test_a_graph_as_param() -> None:
    inner = Graph("body")
    i = inner.add_input("i", VECTOR)
    inner.set_outputs([inner.add(REGISTRY["t_mul"], (i, Literal(2.0, static=True)))])
    outer = inner
    for name in ("outer", "outermost"):
        graph = Graph(name)
        x = graph.add_input("x", VECTOR)
        graph.set_outputs([graph.add(REGISTRY["t_any"], (x,), {"body": outer, "trips": 3})])
        outer = graph
    round_trip(outer)


def test_sections_and_notes() -> None:
    text = """
        graph f(x: f64[3], w: f64[3]) -> (f64[3], f64[3])
        primal
          %0: f64[3] = t_mul %x %w   # model.py:8
        adjoint of %0 wrt w
          %1: f64[3] = t_mul %x 1.0  # vjp of %0, ct of %w
        primal
          %2: f64[3] = t_mul %1 %1
        return %2, %1
    """
    graph = parse(text)
    first, second, third = graph.nodes()
    assert (second.primal, second.cotangent) == (first.index, graph.inputs[1].index)
    assert str(first.source) == "model.py:8"
    assert [first.section, second.section, third.section] == ["primal", f"adjoint of %{first.index} wrt w", "primal"]
    round_trip(graph)


def test_made_by_comes_back() -> None:
    graph = parse("# made by cse: 0 nodes\ngraph f() -> ()\nreturn")
    assert graph.made_by == "cse"
    assert graph.outputs == []


HEAD = "graph f(x: f64[3]) -> (f64[3])\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected 'graph name"),
        ("graph f(x: g64[3]) -> ()\nreturn", "line 1: 'g64' is no aval"),
        ("graph f(x: f64, x: f64) -> ()\nreturn", "line 1: input x is defined twice"),
        (HEAD + "return %0", "line 2: %0 is not defined above"),
        (HEAD, "line 2: expected 'return'"),
        (HEAD + "%0: f64[3] = nothing %x\nreturn %0", "line 2: no primitive 'nothing'"),
        (HEAD + "%0: f64[3] = t_mul %x %y\nreturn %0", "line 2: %y is not defined above"),
        (HEAD + "%0: f64[3] = t_mul %x )\nreturn %0", "line 2: expected an operand"),
        (HEAD + "%0: f64[3] t_mul %x %x\nreturn %0", "line 2: expected '=', got 't'"),
        (HEAD + "%0: f64[3] = t_any[p=q] %x\nreturn %0", "line 2: unknown value 'q'"),
        (HEAD + "%0: f64[3] = t_any[p=<object>] %x\nreturn %0", "line 2: a value without a text form"),
        (HEAD + "%0: f64[3] = t_any %x\n%0: f64[3] = t_any %x\nreturn %0", "line 3: %0 is defined twice"),
        (HEAD + "%0: f64[3] = t_any const(f64[3], ...)\nreturn %0", "line 2: the content of this array was left out"),
        (HEAD + "%0: f64[3] = t_any const(f64[3], [1.0])\nreturn %0", "line 2: no content for f64[3]"),
        (HEAD + "return %x, %x", "the header declares 1 outputs, 'return' has 2"),
        (HEAD + "return %x\nmore", "line 3: text after the end of the graph"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert str(caught.value).splitlines()[-1].strip() == "^"
