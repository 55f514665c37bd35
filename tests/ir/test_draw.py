from __future__ import annotations

import importlib
import re
import sys
import types
from typing import Any
from xml.etree import ElementTree

import pytest

from irgrad.ir.draw import to_dot, to_svg
from irgrad.ir.graph import Graph
from irgrad.ir.parser import parse

TEXT = """
graph "loss"(x: f64[3], w: f64[3], unused: f64) -> (f64[3], f64[3], float)
primal
  %0: f64[3] = t_mul %x %x
  %1: f64[3] = t_mul %0 %w
  t_guard %1 is True
adjoint of %1 wrt w
  %2: f64[3] = t_any[axis=0, name='<a "b">'] %0 1.0
return %1, %2, 2.0:float
"""


class _Layouts:
    """Stands in for the result of the layout package: rows by depth, no crossings avoided."""

    def __init__(self, edges: list[tuple[int, int]]) -> None:
        depth: dict[int, int] = {}
        for start, end in edges * len(edges):
            depth[end] = max(depth.get(end, 0), depth.setdefault(start, 0) + 1)
        self.places = {node: (2.0 * i, -float(d)) for i, (node, d) in enumerate(depth.items())}

    def align_layouts_horizontal(self) -> _Layouts:
        return self

    def to_dict(self) -> dict[int, tuple[float, float]]:
        return {**self.places, 99: (0.0, 0.0)}  # a dummy vertex of the layout


@pytest.fixture
def graph() -> Graph:
    return parse(TEXT)


def test_dot_has_sections_edges_and_outputs(graph: Graph) -> None:
    text = to_dot(graph)
    assert text == graph.to_dot()
    assert 'digraph "\\"loss\\""' in text
    assert re.findall(r'label="(primal|adjoint of %1 wrt w)"', text) == ["primal", "adjoint of %1 wrt w"]
    x, _, _, y, *_ = range(7)
    assert text.count(f"n{x} -> n{y} [headlabel=") == 2
    assert '[shape=plaintext, style=solid, label="return 2: 2.0:float"]' in text
    assert text.count("{") == text.count("}")
    assert r"\"b\"" in text


def test_svg_is_well_formed(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = types.ModuleType("fast_sugiyama")
    fake.from_edges = lambda edges, **_: _Layouts(edges)
    monkeypatch.setitem(sys.modules, "fast_sugiyama", fake)
    check_svg(graph, to_svg(graph))


def test_svg_with_the_real_layout(graph: Graph) -> None:
    pytest.importorskip("fast_sugiyama")
    check_svg(graph, to_svg(graph))
    check_svg(Graph("empty"), to_svg(Graph("empty")))


def test_svg_needs_the_extra(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_sugiyama", None)
    with pytest.raises(ImportError):
        importlib.import_module("fast_sugiyama")
    assert to_svg(graph) is None


def check_svg(graph: Graph, text: str | None) -> None:
    assert text is not None
    root = ElementTree.fromstring(text)
    space = {"s": "http://www.w3.org/2000/svg"}
    boxes = [(float(box.attrib["x"]), float(box.attrib["y"])) for box in root.findall("s:rect", space)]
    assert len(boxes) == len(graph.inputs) + len(graph)
    assert len(set(boxes)) == len(boxes)
    uses = sum(len(graph.users(node)) for node in (*graph.inputs, *graph.nodes()))
    assert len(root.findall("s:path", space)) == uses
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(0 <= x < width and 0 <= y < height for x, y in boxes)
