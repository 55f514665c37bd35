"""Graph -> DOT text, and a layered SVG drawing.

The DOT text needs nothing; sections are clusters, the primal in one colour and adjoints in others. The drawing takes its
positions from the package `fast-sugiyama` (the `draw` extra) and is written here. Both are for graphs that a person can read:
a few hundred nodes.
"""

from __future__ import annotations

import importlib
from html import escape
from typing import Any

from irgrad.ir.graph import PRIMAL, Graph, Literal, Node, renumbered
from irgrad.ir.printer import Printer, aval_text

COLOURS = {"input": "#e8e8e8", "guard": "#ffd9b3", PRIMAL: "#cfe3f7"}
ADJOINT_COLOURS = ("#f7d6d6", "#e3d6f7", "#d9f0d3", "#f7f0c6")
_LONGEST = 40
_CHARACTER, _LINE, _MARGIN = 7.0, 16.0, 20.0


def to_dot(graph: Graph) -> str:
    """`graph` in the DOT language."""
    printer = Printer(graph, elide=True)
    colours = section_colours(graph)
    lines = [f"digraph {_quoted(graph.name)} {{", '  node [shape=box, style="filled,rounded", fontname=monospace];']
    lines += [f"  n{node.index} [{_attributes(printer, node, colours)}];" for node in graph.inputs]
    for i, section in enumerate(colours):
        inside = [node for node in graph.nodes() if node.section == section]
        lines.append(f"  subgraph cluster_{i} {{")
        lines.append(f"    label={_quoted(renumbered(section, printer.names))};")
        lines += [f"    n{node.index} [{_attributes(printer, node, colours)}];" for node in inside]
        lines.append("  }")
    for node in graph.nodes():
        several = len(node.operands) > 1
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Node):
                label = f' [headlabel="{position}"]' if several else ""
                lines.append(f"  n{operand.index} -> n{node.index}{label};")
    for position, output in enumerate(graph.outputs):
        label = f"return {position}" if isinstance(output, Node) else f"return {position}: {printer.operand(output)}"
        lines.append(f"  return{position} [shape=plaintext, style=solid, label={_quoted(label)}];")
        if isinstance(output, Node):
            lines.append(f"  n{output.index} -> return{position};")
    return "\n".join([*lines, "}"]) + "\n"


def to_svg(graph: Graph) -> str | None:
    """A drawing of `graph`; None if the `draw` extra (package fast-sugiyama) is not installed."""
    try:
        layout: Any = importlib.import_module("fast_sugiyama")
    except ImportError:
        return None
    printer = Printer(graph, elide=True)
    colours = section_colours(graph)
    nodes = [*graph.inputs, *graph.nodes()]
    labels = {node.index: label_lines(printer, node) for node in nodes}
    width = max((len(line) for lines in labels.values() for line in lines), default=1) * _CHARACTER + 12
    height = max((len(lines) for lines in labels.values()), default=1) * _LINE + 8
    places = _positions(layout, graph, nodes)
    columns, rows = width / 2 + 10, height + 30

    def centre(node: Node) -> tuple[float, float]:
        x, y = places[node.index]
        return _MARGIN + width / 2 + x * columns, _MARGIN + height / 2 + y * rows

    shapes: list[str] = []
    for node in graph.nodes():
        for operand in node.operands:
            if isinstance(operand, Node):
                shapes.append(_edge(centre(operand), centre(node), height))
    outputs = {output.index for output in graph.outputs if isinstance(output, Node)}
    for node in nodes:
        stroke = "2.5" if node.index in outputs else "1"
        shapes.append(_box(centre(node), width, height, labels[node.index], _colour(node, colours), stroke))
    right = max((centre(node)[0] for node in nodes), default=0.0) + width / 2 + _MARGIN
    bottom = max((centre(node)[1] for node in nodes), default=0.0) + height / 2 + _MARGIN
    size = f'width="{right:.0f}" height="{bottom:.0f}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="12">',
        f"<title>{escape(graph.name)}</title>",
        '<defs><marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto">',
        '<path d="M0,0 L7,3 L0,6 z"/></marker></defs>',
    ]
    return "\n".join([*head, *shapes, "</svg>"]) + "\n"


def section_colours(graph: Graph) -> dict[str, str]:
    """A colour for each section, in program order."""
    colours: dict[str, str] = {}
    for node in graph.nodes():
        if node.section not in colours:
            adjoints = len(colours) - (PRIMAL in colours)
            colours[node.section] = COLOURS.get(node.section, ADJOINT_COLOURS[adjoints % len(ADJOINT_COLOURS)])
    return colours


def label_lines(printer: Printer, node: Node) -> list[str]:
    """What a box says: the value and its aval, the op with its params and literals."""
    if node.op is None:
        return [f"%{printer.names[node.index]}", aval_text(node.aval)]
    if node.is_guard:
        return [_short(printer.right(node))]
    literals = [printer.operand(operand) for operand in node.operands if isinstance(operand, Literal)]
    params = [f"{key}={printer.value(node.params[key])}" for key in sorted(node.params)]
    return [_short(line) for line in (printer.left(node), " ".join([node.op.name, *literals]), ", ".join(params)) if line]


def _positions(layout: Any, graph: Graph, nodes: list[Node]) -> dict[int, tuple[float, float]]:
    """Column and row of each node: unit distance between neighbours of a row, rows growing downwards."""
    edges = [(start, end) for start, end in graph.nx.edges]
    found: dict[int, tuple[float, float]] = {}
    if edges:
        found = layout.from_edges(edges, vertex_spacing=2, minimum_length=1).align_layouts_horizontal().to_dict()
    known = [node.index for node in nodes if node.index in found]
    left = min((found[index][0] for index in known), default=0.0)
    levels = sorted({found[index][1] for index in known}, reverse=True)
    places = {index: (found[index][0] - left, float(levels.index(found[index][1]))) for index in known}
    alone = [node.index for node in nodes if node.index not in places]
    places |= {index: (2.0 * i, float(len(levels))) for i, index in enumerate(alone)}
    return places


def _edge(start: tuple[float, float], end: tuple[float, float], height: float) -> str:
    (x0, y0), (x1, y1) = start, end
    y0, y1 = y0 + height / 2, y1 - height / 2
    bend = (y1 - y0) / 2
    return (
        f'<path d="M{x0:.1f},{y0:.1f} C{x0:.1f},{y0 + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1:.1f}" '
        'fill="none" stroke="#666" marker-end="url(#arrow)"/>'
    )


def _box(centre: tuple[float, float], width: float, height: float, lines: list[str], colour: str, stroke: str) -> str:
    x, y = centre
    box = (
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" '
        f'fill="{colour}" stroke="#444" stroke-width="{stroke}"/>'
    )
    top = y - (len(lines) - 1) * _LINE / 2 + 4
    texts = [f'<text x="{x:.1f}" y="{top + i * _LINE:.1f}" text-anchor="middle">{escape(line)}</text>' for i, line in enumerate(lines)]
    return box + "".join(texts)


def _attributes(printer: Printer, node: Node, colours: dict[str, str]) -> str:
    label = "\n".join(label_lines(printer, node))
    return f"label={_quoted(label)}, fillcolor={_quoted(_colour(node, colours))}"


def _colour(node: Node, colours: dict[str, str]) -> str:
    if node.op is None:
        return COLOURS["input"]
    return COLOURS["guard"] if node.is_guard else colours[node.section]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
