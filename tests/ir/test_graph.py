from __future__ import annotations

import networkx
import numpy as np
import pytest

from irgrad.ir.aval import Aval, aval_of
from irgrad.ir.graph import Graph, Literal, Node, same_param, static_literal
from irgrad.ir.parser import parse
from irgrad.ir.primitive import REGISTRY

VECTOR = Aval((3,), np.dtype(np.float64))


def square() -> tuple[Graph, Node, Node, Node]:
    """sum(x * x)."""
    graph = Graph("square")
    x = graph.add_input("x", VECTOR)
    y = graph.add(REGISTRY["t_mul"], (x, x))
    s = graph.add(REGISTRY["t_sum"], (y,), {"axis": 0})
    graph.set_outputs([s])
    return graph, x, y, s


def test_users_count_each_position() -> None:
    graph, x, y, s = square()
    assert graph.users(x) == [(y, 0), (y, 1)]
    assert graph.users(y) == [(s, 0)]
    assert graph.users(s) == []
    assert graph.num_users(x) == 2


def test_nodes_are_in_program_order_without_inputs() -> None:
    graph, x, y, s = square()
    assert graph.nodes() == [y, s]
    assert len(graph) == 2
    first = graph.add(REGISTRY["t_mul"], (x, Literal(2.0)), before=y)
    middle = graph.add(REGISTRY["t_mul"], (y, y), before=s)
    assert graph.nodes() == [first, y, middle, s]
    graph.move(middle, None)
    graph.move(first, s)
    assert graph.nodes() == [y, first, s, middle]
    graph.move(middle, y)
    assert graph.nodes() == [middle, y, first, s]


def test_aval_is_computed_unless_given() -> None:
    graph, x, y, s = square()
    assert (y.aval, s.aval) == (VECTOR, Aval((), np.dtype(np.float64)))
    given = graph.add(REGISTRY["t_mul"], (x, x), aval=s.aval)
    assert given.aval is s.aval


def test_replace_uses_moves_every_use_and_output() -> None:
    graph, x, y, s = square()
    two = Literal(2.0)
    scaled = graph.add(REGISTRY["t_mul"], (x, two), before=y)
    graph.replace_uses(x, scaled)
    assert y.operands == (scaled, scaled)
    assert scaled.operands == (x, two)
    assert graph.users(x) == [(scaled, 0)]
    graph.replace_uses(s, two)
    assert graph.outputs == [two]


def test_remove_refuses_a_used_node() -> None:
    graph, x, y, s = square()
    for used in (x, y, s):
        with pytest.raises(ValueError, match="still used"):
            graph.remove(used)
    graph.set_outputs([y])
    graph.remove(s)
    assert s not in graph
    assert graph.users(y) == []
    assert graph.get(s.index) is None


def test_remove_keeps_the_order_of_the_others() -> None:
    graph, x, y, s = square()
    nodes = [graph.add(REGISTRY["t_mul"], (x, x)) for _ in range(3)]
    graph.remove(nodes[1])
    graph.remove(nodes[2])
    last = graph.add(REGISTRY["t_mul"], (x, x))
    assert graph.nodes() == [y, s, nodes[0], last]
    assert last.index > nodes[2].index


def test_copy_is_equal_and_independent() -> None:
    graph, _, y, _ = square()
    y.cotangent = y.primal = 0
    other = graph.copy()
    assert other.equal(graph)
    assert [node.index for node in other.nodes()] == [node.index for node in graph.nodes()]
    other.add(REGISTRY["t_mul"], (other.inputs[0], other.inputs[0]))
    assert not other.equal(graph)
    assert len(graph) == 2


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("%0: f64[3] = t_mul %x %x", None),
        ("%0: f64[3] = t_mul %x 2.0", "operands"),
        ("%0: f64[3] = t_any %x %x", "op"),
        ("%0: f64[3] = t_mul[k=1] %x %x", "params"),
        ("%0: f32[3] = t_mul %x %x", "aval"),
        ("%0: f64[3] = t_mul %x %x  # vjp of %x", "primal"),
    ],
)
def test_equal_names_the_first_difference(line: str, field: str | None) -> None:
    graph = parse(f"graph f(x: f64[3]) -> (f64[3])\nprimal\n{line}\nreturn %0")
    other = parse("graph g(y: f64[3]) -> (f64[3])\nprimal\n%7: f64[3] = t_mul %y %y\nreturn %7")
    difference = graph.first_difference(other)
    assert graph.equal(other) is (field is None)
    assert difference is None or (field is not None and difference.endswith(field))


def test_equal_sees_sections_and_outputs() -> None:
    text = "graph f(x: f64[3]) -> (f64[3])\nprimal\n%0: f64[3] = t_mul %x %x\nreturn %0"
    assert not parse(text).equal(parse(text.replace("primal", "adjoint of %x")))
    assert parse(text).first_difference(parse(text.replace("return %0", "return %x"))) == "outputs differ"
    assert parse(text).first_difference(parse(text.replace("x: f64[3]", "x: f64[4]"))) == "inputs differ"


def test_nx_has_positions_and_is_a_dag() -> None:
    graph, x, y, s = square()
    digraph = graph.nx
    assert digraph.edges[x.index, y.index]["positions"] == (0, 1)
    assert digraph.nodes[s.index]["node"] is s
    assert digraph.nodes[y.index]["op"] == "t_mul"
    assert digraph.nodes[x.index]["op"] is None
    assert networkx.is_directed_acyclic_graph(digraph)
    assert list(networkx.topological_sort(digraph)) == [x.index, y.index, s.index]
    assert networkx.ancestors(digraph, s.index) == {x.index, y.index}


def test_nx_follows_changes_and_refuses_its_own() -> None:
    graph, x, y, s = square()
    before = graph.nx
    assert graph.nx is before
    graph.set_operand(y, 1, Literal(3.0))
    assert graph.nx.edges[x.index, y.index]["positions"] == (0,)
    graph.set_outputs([])
    graph.remove(s)
    assert s.index not in graph.nx
    with pytest.raises(networkx.NetworkXError):
        graph.nx.add_edge(0, 1)


def test_same_param_tells_types_and_signs() -> None:
    assert same_param(float("nan"), float("nan"))
    assert not same_param(0.0, -0.0)
    assert not same_param((1, (2,)), (1, (2.0,)))
    assert not same_param(True, 1)
    assert same_param(slice(0, 3), slice(0, 3))
    assert not same_param(slice(0, 3), slice(0, 3, 1))


def test_literals_compare_by_bits() -> None:
    assert Literal(1.0) != Literal(1.0, static=True)
    assert Literal(1.0) != Literal(np.float64(1.0))
    assert Literal(np.ones(2)) == Literal(np.ones(2))
    assert len({Literal(np.ones(2)), Literal(np.ones(2)), Literal(1.0), Literal(1.0)}) == 2
    assert Literal(2.0, Aval((), np.dtype(np.float32), "python"), static=True) == Literal(2.0, static=True)


@pytest.mark.parametrize(
    ("dtype", "number", "expected"),
    [(np.float32, 2.0, np.float32), (np.int64, 0.5, np.float64), (np.complex64, 1.0, np.complex64), (np.int8, 3, np.int8)],
)
def test_numbers_have_the_dtype_of_the_other_operand(dtype: type, number: float, expected: type) -> None:
    graph = Graph()
    x = graph.add_input("x", Aval((3,), np.dtype(dtype)))
    for beside in ((x,), (np.zeros(3, dtype),)):
        literal = static_literal(number, beside)
        assert literal.static
        assert literal.value is number
        assert literal.aval == Aval((), np.dtype(expected), "python")


def test_literal_aval_defaults_to_that_of_its_value() -> None:
    assert Literal(np.float32(1)).aval == aval_of(np.float32(1))
