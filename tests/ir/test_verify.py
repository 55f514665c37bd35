from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from irgrad.errors import InternalError
from irgrad.ir.aval import Aval
from irgrad.ir.graph import Graph, Literal, Node
from irgrad.ir.parser import parse
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.source import Source
from irgrad.ir.verify import CHECKS, verify

GOOD = """
graph f(x: f64[3], n: f64) -> (f64[3], float)
primal
  %0: f64[3] = t_mul %x %n
  %1: bool[3] = t_greater %0 0.0
  t_guard %1 is True
  %2: f64[3] = t_mul %0 2.0
  t_guard %2 is 3
  %3: f64[3] = t_draw %0
adjoint of %2 wrt x
  %4: f64[3] = t_mul %2 %3  # vjp of %2, ct of %x
return %4, 2.0:float
"""


def find(graph: Graph, op: str, position: int = 0) -> Node:
    return [node for node in graph.nodes() if node.op is REGISTRY[op]][position]


def undefined_operand(graph: Graph) -> None:
    stranger = Graph().add_input("y", Aval((3,), np.dtype(float)))
    node = find(graph, "t_draw")
    node.operands = (stranger,)


def undefined_output(graph: Graph) -> None:
    node = find(graph, "t_mul", 2)
    graph.set_outputs([])
    graph.remove(node)
    graph.set_outputs([node])


def later_operand(graph: Graph) -> None:
    graph.move(find(graph, "t_mul", 1), None)


def cycle(graph: Graph) -> None:
    first = find(graph, "t_mul")
    graph.set_operand(first, 0, find(graph, "t_draw"))


def stale_users(graph: Graph) -> None:
    node = find(graph, "t_draw")
    node.operands = (graph.inputs[0],)


def wrong_arity(graph: Graph) -> None:
    node = find(graph, "t_draw")
    node.op = REGISTRY["t_sum"]


def wrong_params(graph: Graph) -> None:
    node = find(graph, "t_draw")
    node.op, node.params = REGISTRY["t_sum"], {"axis": 2}


def wrong_aval(graph: Graph) -> None:
    find(graph, "t_draw").aval = Aval((3,), np.dtype(np.float32))


def used_guard(graph: Graph) -> None:
    graph.set_operand(find(graph, "t_draw"), 0, find(graph, "t_guard"))


def guard_as_output(graph: Graph) -> None:
    graph.set_outputs([find(graph, "t_guard")])


def guard_without_value(graph: Graph) -> None:
    find(graph, "t_guard").params = {}


def late_guard(graph: Graph) -> None:
    graph.move(find(graph, "t_guard"), None)


def wrong_cotangent(graph: Graph) -> None:
    find(graph, "t_mul", 2).cotangent = graph.inputs[1].index


def input_with_op(graph: Graph) -> None:
    graph.inputs[0].op = REGISTRY["t_zeros"]


BROKEN: list[tuple[Callable[[Graph], None], str]] = [
    (undefined_operand, "operands defined: t_draw %3: expected operand 0 defined in graph f, got <node %0 y: f64[3]>"),
    (undefined_output, "operands defined: graph f: expected output 0 defined in graph f, got <node %8 t_mul: f64[3]>"),
    (input_with_op, "inputs: input %x: expected an input without op and operands, got <node %0 t_zeros: f64[3]>"),
    (
        later_operand,
        "program order: t_guard %4 is 3: expected operand 0 earlier in program order, got <node %5 t_mul: f64[3]> at or after it",
    ),
    (cycle, "program order: t_mul %0: expected operand 0 earlier in program order, got <node %7 t_draw: f64[3]> at or after it"),
    (stale_users, "users: input %x: expected uses (index, position) [(2, 0), (7, 0)], got [(2, 0)]"),
    (used_guard, "guard form: t_guard %1 is True: expected a guard without uses, got 1 users"),
    (guard_as_output, "guard form: t_guard %1 is True: expected a guard without uses, got an output"),
    (guard_without_value, "guard form: t_guard %1: expected one operand and params 'kind' and 'value', got 1 operands and params []"),
    (wrong_arity, "arity: t_sum %3: expected operands and params that t_sum accepts, got (f64[3]): _reduced() missing 1 required"),
    (
        wrong_params,
        "arity: t_sum %3: expected operands and params that t_sum accepts, got (f64[3]): axis 2 out of range for f64[3]",
    ),
    (wrong_aval, "aval: t_draw %3: expected aval f64[3], got f32[3]"),
    (
        late_guard,
        "guard order: t_guard %1 is True: expected a guard before <node %7 t_draw: f64[3]>, which it protects, got a guard after it",
    ),
    (wrong_cotangent, "cotangent aval: t_mul %4: expected a cotangent of <node %1 n: f64>, got f64[3]"),
]


def test_a_good_graph_passes() -> None:
    verify(parse(GOOD))


@pytest.mark.parametrize(("damage", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_broken_graphs(damage: Callable[[Graph], None], message: str) -> None:
    graph = parse(GOOD)
    damage(graph)
    with pytest.raises(InternalError) as caught:
        verify(graph, after="cse")
    text = str(caught.value)
    assert text.startswith(f"after cse: {message}"), text


def test_every_check_has_a_broken_graph() -> None:
    covered = {message.split(":")[0] for _, message in BROKEN}
    assert covered == {check.__name__.removeprefix("check_").replace("_", " ") for check in CHECKS}


def test_the_report_marks_the_line() -> None:
    graph = Graph("long")
    x = graph.add_input("x", Aval((3,), np.dtype(float)))
    nodes = [graph.add(REGISTRY["t_mul"], (x, Literal(float(i), static=True))) for i in range(20)]
    nodes[10].aval = Aval((), np.dtype(float))
    with pytest.raises(InternalError) as caught:
        verify(graph)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("after trace: aval: t_mul %10: expected aval f64[3], got f64[]")
    assert lines[1] == "  graph long(x: f64[3]) -> ()"
    assert lines[2:7] == [f"  %{i}: f64[3] = t_mul %x {float(i)}" for i in range(5, 10)]
    assert lines[7] == "> %10: f64[] = t_mul %x 10.0"
    assert len(lines) == 12


def test_sources_on_request() -> None:
    graph = parse(GOOD)
    with pytest.raises(InternalError, match="after trace: source present: t_mul %0: expected a source, got none"):
        verify(graph, sources=True)
    for node in graph.nodes():
        node.source = Source("model.py", 3, "f")
    verify(graph, sources=True)


def test_graphs_in_params_are_verified() -> None:
    inner = parse(GOOD)
    wrong_aval(inner)
    outer = Graph("outer")
    x = outer.add_input("x", Aval((3,), np.dtype(float)))
    outer.add(REGISTRY["t_any"], (x,), {"body": inner})
    with pytest.raises(InternalError, match="aval: t_draw"):
        verify(outer)
