from __future__ import annotations

from pathlib import Path

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.graph import Graph, Literal
from irgrad.ir.parser import parse
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.printer import print_graph
from irgrad.ir.source import Source

TEXT = """\
# made by adjoint: 5 nodes
graph loss(x: f64[3,4], w: f64[4]) -> (f64[], f64[4])
primal
  %0: f64[3,4] = t_mul %x %w                       # model.py:8
  %1: f64[4]   = t_sum[axis=0] %0                  # model.py:9
  %2: bool[4]  = t_greater %1 0.0
  t_guard %2 is True                               # model.py:10  if s > 0:
adjoint of %1 wrt w
  %3: f64[4]   = t_mul %1 const(f64[2], [1.0, 2.0])  # vjp of %1, ct of %w
return 2.0:float, %3
"""


def loss(tmp_path: Path) -> Graph:
    path = tmp_path / "model.py"
    path.write_text("\n" * 9 + "    if s > 0:\n")
    graph = Graph("loss")
    graph.made_by = "adjoint"
    x = graph.add_input("x", Aval((3, 4), np.dtype(float)))
    w = graph.add_input("w", Aval((4,), np.dtype(float)))
    dead = graph.add(REGISTRY["t_mul"], (x, w))
    y = graph.add(REGISTRY["t_mul"], (x, w), source=Source(str(path), 8, "loss"))
    graph.remove(dead)
    s = graph.add(REGISTRY["t_sum"], (y,), {"axis": 0}, source=Source(str(path), 9, "loss"))
    test = graph.add(REGISTRY["t_greater"], (s, Literal(0.0, static=True)))
    graph.add(REGISTRY["t_guard"], (test,), {"kind": "bool", "value": True}, source=Source(str(path), 10, "loss"))
    ct = graph.add(
        REGISTRY["t_mul"],
        (s, Literal(np.array([1.0, 2.0]))),
        aval=w.aval,
        primal=s.index,
        section=f"adjoint of %{s.index} wrt w",
    )
    ct.cotangent = w.index
    graph.set_outputs([Literal(2.0), ct])
    return graph


def test_text_of_a_whole_graph(tmp_path: Path) -> None:
    text = print_graph(loss(tmp_path))
    header = TEXT.replace("-> (f64[], f64[4])", "-> (float, f64[4])")
    assert [" ".join(line.split()) for line in text.splitlines()] == [" ".join(line.split()) for line in header.splitlines()]
    equals = {line.index(" = ") for line in text.splitlines() if " = " in line}
    assert len(equals) == 1


def test_equal_graphs_print_equal_text(tmp_path: Path) -> None:
    graph = loss(tmp_path)
    assert print_graph(graph) == print_graph(graph.copy())
    assert str(graph) == print_graph(graph)


def test_params_are_sorted() -> None:
    graph = Graph("f")
    x = graph.add_input("x", Aval((), np.dtype(float)))
    graph.add(REGISTRY["t_any"], (x,), {"b": 1, "a": (2,), "c": "s"})
    assert "t_any[a=(2,), b=1, c='s'] %x" in str(graph)


def test_input_names_are_cleaned_and_unique() -> None:
    graph = Graph("<lambda>")
    for name in ("x", "x", "", "2", "p['w']", "removed"):
        graph.add_input(name, Aval((), np.dtype(float), "scalar"))
    graph.set_outputs(graph.inputs)
    text = str(graph)
    assert "graph <lambda>(x: f64, x_1: f64, arg2: f64, _2: f64, p_w: f64, removed_1: f64)" in text
    assert parse(text).equal(graph)


def test_large_arrays_are_left_out_of_str() -> None:
    graph = Graph("f")
    graph.set_outputs([Literal(np.arange(2000.0))])
    assert "const(f64[2000], ...)" in str(graph)
    assert "..." not in print_graph(graph)


def test_a_section_may_name_a_removed_value() -> None:
    graph = Graph("f")
    x = graph.add_input("x", Aval((), np.dtype(float)))
    gone = graph.add(REGISTRY["t_any"], (x,))
    graph.add(REGISTRY["t_any"], (x,), primal=gone.index, section=f"adjoint of %{gone.index}")
    graph.remove(gone)
    assert "adjoint of %removed\n" in str(graph)
    assert "vjp" not in str(graph)
    assert parse(str(graph)).equal(graph)
