"""Graph -> text that `irgrad.ir.parser` reads back.

One value per line, numbered in program order, params sorted: equal graphs print equal text in every run. A static number
prints bare (``1.0``), data with its aval (``2.0:f64``, ``2.0:float``), an array as ``const(f64[2], [1.0, 2.0])``. Beyond
what str(aval) tells, a Python bool is ``pybool``. Values whose type has no text form print as ``<repr>``, which the
parser refuses.
"""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any

import numpy as np

from irgrad.ir.aval import LONG, PYTHON, Aval, python_name, short_name
from irgrad.ir.body import Body
from irgrad.ir.graph import Graph, Literal, Node, Operand, renumbered
from irgrad.ir.primitive import Primitive

LISTED = 64  # larger array literals are packed
ELIDED = 1000  # larger ones are left out of str(graph)
_MAX_LEFT, _MAX_BODY = 24, 72


def print_graph(graph: Graph, *, elide: bool = False) -> str:
    """The text of `graph`; with `elide`, the content of large array literals is left out (not parseable)."""
    return "\n".join(Printer(graph, elide).lines()) + "\n"


class Printer:
    """The names and lines of one graph."""

    def __init__(self, graph: Graph, elide: bool = False) -> None:
        self.graph = graph
        self.elide = elide
        self.names = number(graph)

    def lines(self) -> list[str]:
        return [*self.header(), *self.body(), self.footer()]

    def header(self) -> list[str]:
        graph = self.graph
        inputs = ", ".join(f"{self.names[node.index]}: {aval_text(node.aval)}" for node in graph.inputs)
        outputs = ", ".join(aval_text(output.aval) for output in graph.outputs)
        name = re.sub(r"[\s(){}#]", "_", graph.name) or "graph"
        made = [f"# made by {graph.made_by}: {len(graph)} nodes"] if graph.made_by else []
        return [*made, f"graph {name}({inputs}) -> ({outputs})"]

    def body(self) -> list[str]:
        nodes = self.graph.nodes()
        lefts = [self.left(node) for node in nodes]
        width = min(max(map(len, lefts), default=0), _MAX_LEFT)
        bodies = [
            f"  {left:<{width}} = {self.right(node)}" if left else f"  {self.right(node)}" for node, left in zip(nodes, lefts, strict=True)
        ]
        column = min(max((len(body) for body in bodies if "\n" not in body), default=0), _MAX_BODY)
        lines: list[str] = []
        section = None
        for node, body in zip(nodes, bodies, strict=True):
            if node.section != section:
                section = node.section
                lines.append(renumbered(section, self.names))
            comment = self.comment(node)
            lines.append(f"{body:<{column}}  # {comment}" if comment else body)
        return lines

    def footer(self) -> str:
        return " ".join(["return", ", ".join(map(self.operand, self.graph.outputs))]).rstrip()

    def left(self, node: Node) -> str:
        return "" if node.is_guard else f"%{self.names[node.index]}: {aval_text(node.aval)}"

    def right(self, node: Node) -> str:
        """The op with its params and operands; a guard says what it expects."""
        assert node.op is not None
        params = dict(node.params)
        expected = ""
        if node.is_guard and "value" in params:
            value = params.pop("value")
            expected = f" is {self.value(value)}"
            if params.get("kind") == guard_kind(value):
                del params["kind"]
        listed = ", ".join(f"{key}={self.value(params[key])}" for key in sorted(params))
        head = f"{node.op.name}[{listed}]" if listed else node.op.name
        return " ".join([head, *map(self.operand, node.operands)]) + expected

    def line(self, node: Node) -> str:
        """One node alone, without alignment."""
        left, comment = self.left(node), self.comment(node)
        text = f"{left} = {self.right(node)}" if left else self.right(node)
        return f"{text}  # {comment}" if comment else text

    def comment(self, node: Node) -> str:
        notes: list[str] = []
        if node.primal in self.names:
            notes.append(f"vjp of %{self.names[node.primal]}")
        if node.cotangent in self.names:
            notes.append(f"ct of %{self.names[node.cotangent]}")
        source = node.source
        if not notes and source is not None and source.is_known:
            notes.append(f"{source}  {source.text}".rstrip() if node.is_guard else str(source))
        return ", ".join(notes)

    def operand(self, operand: Operand) -> str:
        if isinstance(operand, Node):
            return f"%{self.names.get(operand.index, 'removed')}"
        return self.literal(operand)

    def literal(self, literal: Literal) -> str:
        value = literal.value
        mark = "!" if literal.static else ":"
        if issubclass(type(value), np.ndarray):
            return self.array(value, "const!" if literal.static else "const")
        if literal.static and type(value) in (bool, int, float, complex):
            return number_text(value)
        return f"{number_text(value)}{mark}{aval_text(literal.aval)}"

    def array(self, value: np.ndarray[Any, Any], head: str = "const") -> str:
        aval = aval_text(Aval(value.shape, value.dtype))
        if value.dtype.name not in LONG.values():
            return f"<{head} {aval}>"
        if self.elide and value.size > ELIDED:
            return f"{head}({aval}, ...)"
        if value.size > LISTED:
            packed = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes())).decode()
            return f"{head}({aval}, '{packed}')"
        return f"{head}({aval}, {_nested(value.tolist())})"

    def value(self, value: Any) -> str:
        """The text of a param."""
        kind: type[Any] = value.__class__
        if value is Ellipsis:
            return "..."
        if value is None or kind in (bool, str):
            return repr(value)
        if kind in (int, float, complex):
            return number_text(value)
        if kind is tuple:
            items = [self.value(item) for item in value]
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        if kind is slice:
            return f"slice({', '.join(map(self.value, (value.start, value.stop, value.step)))})"
        if kind is np.ndarray:
            return self.array(value)
        if issubclass(kind, np.generic):
            return self.literal(Literal(value))
        if issubclass(kind, np.dtype):
            return short_name(value)
        if kind is type and issubclass(value, np.generic):
            return f"np.{value.__name__}"
        if kind is Primitive:
            return f"@{value.name}"
        if kind is Graph:
            inner = "\n".join(f"    {line}" for line in Printer(value, self.elide).lines())
            return f"{{\n{inner}\n  }}"
        if kind is Body:
            return f"body {self.value(value.graph)}"
        return f"<{value!r}>"


def number(graph: Graph) -> dict[int, str]:
    """What each value is called in the text: inputs by their (cleaned, unique) name, nodes by number."""
    names: dict[int, str] = {}
    taken: set[str] = {"removed"}
    for position, node in enumerate(graph.inputs):
        base = re.sub(r"\W+", "_", node.name).strip("_") or f"arg{position}"
        base = f"_{base}" if base[0].isdigit() else base
        name, suffix = base, 1
        while name in taken:
            name, suffix = f"{base}_{suffix}", suffix + 1
        taken.add(name)
        names[node.index] = name
    count = 0
    for node in graph.nodes():
        if not node.is_guard:
            names[node.index] = str(count)
            count += 1
    return names


def guard_kind(value: Any) -> str:
    """The kind of a guard on `value`, unless its text says otherwise."""
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "bits"


def aval_text(aval: Aval) -> str:
    """str(aval), made unambiguous for Python numbers."""
    if aval.kind != "python":
        return str(aval)
    name = python_name(aval.dtype)
    text = "pybool" if name == "bool" else name
    return text if PYTHON[name] == aval.dtype else f"{text}({short_name(aval.dtype)})"


def number_text(value: Any) -> str:
    """A number with all its bits."""
    number = value.item() if issubclass(type(value), np.generic) else value
    if type(number) is complex:
        return f"complex({number.real!r}, {number.imag!r})"
    return repr(number) if type(number) in (bool, int, float) else f"<{value!r}>"


def _nested(content: Any) -> str:
    kind: type[Any] = content.__class__
    return f"[{', '.join(map(_nested, content))}]" if kind is list else number_text(content)
