"""Text -> graph: the inverse of `irgrad.ir.printer`, for tests and for dumps attached to reports.

The text is read by one recursive descent over the characters. Sources come back as file name and line only. Primitives
must be declared; avals are taken as written and checked by `irgrad.ir.verify`, not here.
"""

from __future__ import annotations

import ast
import base64
import binascii
import re
import zlib
from typing import Any

import numpy as np

from irgrad.ir.aval import LONG, PYTHON, Aval, parse_aval
from irgrad.ir.body import body_of
from irgrad.ir.graph import PRIMAL, Graph, Literal, Node, Operand, static_literal
from irgrad.ir.primitive import GUARD, REGISTRY, Primitive
from irgrad.ir.printer import guard_kind
from irgrad.ir.source import Source

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t]*(?:#[^\n]*)?(?:\n|$))*[ \t]*")
_COMMENT = re.compile(r"[ \t]*(?:#[ \t]*([^\n]*))?(?:\n|$)")
_MADE_BY = re.compile(r"\s*# made by (.*): \d+ nodes[ \t]*\n")
_NAME = re.compile(r"[A-Za-z_]\w*")
_REFERENCE = re.compile(r"%(\w+)")
_NUMBER = re.compile(r"-?(?:inf\b|nan\b|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)")
_STRING = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_GRAPH = re.compile(r"graph[ \t]+([^\s(]+)[ \t]*\(")
_SECTION = re.compile(r"[^#\n]+")
_ORIGIN = re.compile(r"(\S.*?):(\d+)(?:  .*)?$")
_KEYWORDS = {"None": None, "True": True, "False": False, "inf": float("inf"), "nan": float("nan")}


class ParseError(ValueError):
    """Text that is no graph; the message shows the line."""


def parse(text: str) -> Graph:
    """The graph that `text` describes.

    Raises ParseError with the number and text of the first line that is wrong.
    """
    parser = _Parser(text)
    graph = parser.graph()
    parser.skip(_BLANK)
    if parser.position < len(text):
        raise parser.error("text after the end of the graph")
    return graph


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    # Characters

    def error(self, message: str, position: int | None = None) -> ParseError:
        position = self.position if position is None else position
        start = self.text.rfind("\n", 0, position) + 1
        line = self.text[start:].split("\n", 1)[0]
        return ParseError(f"line {self.text.count(chr(10), 0, position) + 1}: {message}\n  {line}\n  {' ' * (position - start)}^")

    def skip(self, pattern: re.Pattern[str] = _SPACE) -> None:
        match = pattern.match(self.text, self.position)
        if match is not None:
            self.position = match.end()

    def peek(self, literal: str) -> bool:
        self.skip()
        return self.text.startswith(literal, self.position)

    def take(self, literal: str) -> bool:
        if not self.peek(literal):
            return False
        self.position += len(literal)
        return True

    def expect(self, literal: str) -> None:
        if not self.take(literal):
            found = self.text[self.position : self.position + 1]
            raise self.error(f"expected {literal!r}, got {found!r}" if found.strip() else f"expected {literal!r}, got the end of the line")

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self.skip()
        match = pattern.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
        return match

    def name(self, what: str) -> str:
        match = self.match(_NAME)
        if match is None:
            raise self.error(f"expected {what}")
        return match[0]

    # Graph

    def graph(self) -> Graph:
        made_by = self.match(_MADE_BY)
        self.skip(_BLANK)
        header = self.match(_GRAPH)
        if header is None:
            raise self.error("expected 'graph name(inputs) -> (outputs)'")
        body = _Body(Graph(header[1]))
        body.graph.made_by = made_by[1] if made_by is not None else ""
        while not self.take(")"):
            where = self.position
            name = self.name("the name of an input")
            self.expect(":")
            if name in body.values:
                raise self.error(f"input {name} is defined twice", where)
            body.values[name] = body.graph.add_input(name, self.aval())
            if not self.peek(")"):
                self.expect(",")
        self.expect("->")
        declared = self.declared_outputs()
        self.line_end()
        while not self.statement(body):
            pass
        found = [output.aval for output in body.graph.outputs]
        if len(declared) != len(found):
            raise self.error(f"the header declares {len(declared)} outputs, 'return' has {len(found)}")
        return body.graph

    def declared_outputs(self) -> list[Aval]:
        self.expect("(")
        declared: list[Aval] = []
        while not self.take(")"):
            declared.append(self.aval())
            if not self.peek(")"):
                self.expect(",")
        return declared

    def line_end(self) -> str:
        match = _COMMENT.match(self.text, self.position)
        if match is None:
            raise self.error("expected the end of the line")
        self.position = match.end()
        return match[1] or ""

    def statement(self, body: _Body) -> bool:
        """Read one line; True after 'return'."""
        self.skip(_BLANK)
        start = self.position
        if start >= len(self.text):
            raise self.error("expected 'return'")
        if self.peek("%"):
            self.node(body)
            return False
        word = _NAME.match(self.text, start)
        if word is not None and word[0] == "return":
            self.position = word.end()
            self.returned(body)
            return True
        op = None if word is None else REGISTRY.get(word[0])
        if op is not None and op.has(GUARD):
            self.application(body, None, None)
            return False
        section = self.match(_SECTION)
        body.section(section[0].strip() if section is not None else PRIMAL)
        self.line_end()
        return False

    def node(self, body: _Body) -> None:
        where = self.position
        match = self.match(_REFERENCE)
        if match is None:
            raise self.error("expected a value such as %0")
        if match[1] in body.values:
            raise self.error(f"%{match[1]} is defined twice", where)
        self.expect(":")
        aval = self.aval()
        self.expect("=")
        self.application(body, match[1], aval)

    def application(self, body: _Body, name: str | None, aval: Aval | None) -> None:
        where = self.position
        op = self.primitive()
        params = self.params() if self.take("[") else {}
        operands: list[Operand | None] = []
        static: dict[int, Any] = {}
        while not self.at_end() and not (name is None and self.peek("is ")):
            self.operand(body, operands, static)
        if name is None and self.take("is "):
            params["value"] = self.value()
            params.setdefault("kind", guard_kind(params["value"]))
        beside = [operand for operand in operands if operand is not None]
        complete = [static_literal(static[i], beside) if operand is None else operand for i, operand in enumerate(operands)]
        try:
            node = body.graph.add(op, complete, params, aval)
        except Exception as error:  # a guard has no recorded aval: its rule runs
            raise self.error(f"{op.name}: {error}", where) from error
        if name is not None:
            body.values[name] = node
        body.annotate(node, self.line_end())

    def primitive(self) -> Primitive:
        where = self.position
        name = self.name("a primitive")
        if name not in REGISTRY:
            raise self.error(f"no primitive {name!r}", where)
        return REGISTRY[name]

    def at_end(self) -> bool:
        self.skip()
        return self.position >= len(self.text) or self.text[self.position] in "#\n"

    def returned(self, body: _Body) -> None:
        operands: list[Operand | None] = []
        static: dict[int, Any] = {}
        while not self.at_end():
            self.operand(body, operands, static)
            if not self.at_end():
                self.expect(",")
        body.graph.set_outputs([static_literal(static[i], ()) if operand is None else operand for i, operand in enumerate(operands)])
        self.line_end()

    def operand(self, body: _Body, operands: list[Operand | None], static: dict[int, Any]) -> None:
        """Append one operand; a bare number enters `static`, since its dtype follows from the others."""
        where = self.position
        reference = self.match(_REFERENCE)
        if reference is not None:
            if reference[1] not in body.values:
                raise self.error(f"%{reference[1]} is not defined above", where)
            operands.append(body.values[reference[1]])
        elif self.peek("const"):
            operands.append(self.const())
        else:
            value = self.number()
            if self.take("!"):
                operands.append(self.literal(value, True))
            elif self.take(":"):
                operands.append(self.literal(value, False))
            else:
                static[len(operands)] = value
                operands.append(None)

    # Values

    def aval(self) -> Aval:
        where = self.position
        name = self.name("an aval such as f64[3]")
        try:
            if name == "pybool" or (name in PYTHON and name != "bool"):
                dtype = PYTHON[name.removeprefix("py")]
                if self.text.startswith("(", self.position):
                    self.expect("(")
                    dtype = np.dtype(LONG[self.name("a dtype")])
                    self.expect(")")
                return Aval((), dtype, "python")
            dims = re.compile(r"\[[\d,]*\]").match(self.text, self.position)
            if dims is not None:
                self.position = dims.end()
            return parse_aval(name + (dims[0] if dims is not None else ""))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ParseError):
                raise
            raise self.error(f"{name!r} is no aval", where) from error

    def number(self) -> Any:
        match = self.match(_NUMBER)
        if match is not None:
            text = match[0]
            return int(text) if text.lstrip("-").isdigit() else float(text)
        where = self.position
        name = self.name("an operand")
        if name == "complex":
            return self.complex()
        if name in ("True", "False"):
            return name == "True"
        raise self.error(f"expected an operand, got {name!r}", where)

    def complex(self) -> complex:
        self.expect("(")
        real = self.number()
        self.expect(",")
        imaginary = self.number()
        self.expect(")")
        return complex(real, imaginary)

    def literal(self, value: Any, static: bool) -> Literal:
        aval = self.aval()
        return Literal(aval.dtype.type(value) if aval.kind == "scalar" else value, aval, static)

    def const(self) -> Literal:
        self.expect("const")
        static = self.take("!")
        self.expect("(")
        aval = self.aval()
        self.expect(",")
        where = self.position
        if self.take("..."):
            raise self.error("the content of this array was left out; print it with print_graph(graph)", where)
        string = self.match(_STRING)
        try:
            if string is not None:
                flat = np.frombuffer(zlib.decompress(base64.b64decode(string[0][1:-1])), aval.dtype)
                value = flat.reshape(aval.shape).copy()
            else:
                value = np.array(self.nested(), aval.dtype).reshape(aval.shape)
        except (ValueError, TypeError, OverflowError, zlib.error, binascii.Error) as error:
            raise error if isinstance(error, ParseError) else self.error(f"no content for {aval}: {error}", where) from error
        self.expect(")")
        return Literal(value, aval, static)

    def nested(self) -> Any:
        if not self.take("["):
            return self.number()
        items: list[Any] = []
        while not self.take("]"):
            items.append(self.nested())
            if not self.peek("]"):
                self.expect(",")
        return items

    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = {}
        while not self.take("]"):
            key = self.name("the name of a param")
            self.expect("=")
            params[key] = self.value()
            if not self.peek("]"):
                self.expect(",")
        return params

    def value(self) -> Any:
        """A param."""
        string = self.match(_STRING)
        if string is not None:
            return _unquoted(string[0])
        if self.take("..."):
            return Ellipsis
        if self.take("("):
            return self.items()
        if self.take("@"):
            return self.primitive()
        if self.take("{"):
            inner = self.graph()
            self.skip(_BLANK)
            self.expect("}")
            return inner
        if self.peek("const("):
            return self.const().value
        if self.peek("<"):
            raise self.error("a value without a text form cannot be parsed")
        number = self.match(_NUMBER)
        if number is not None:
            self.position = number.start()
            value = self.number()
            return self.literal(value, False).value if self.take(":") else value
        return self.word()

    def word(self) -> Any:
        where = self.position
        name = self.name("a value")
        if name == "slice":
            self.expect("(")
            return slice(*self.items())
        if name == "np":
            self.expect(".")
            return getattr(np, self.name("a numpy type"))
        if name == "body":
            return body_of(self.value())
        if name == "complex" and self.peek("("):
            value: Any = self.complex()
        elif name in _KEYWORDS:
            value = _KEYWORDS[name]
        elif name in LONG:
            return np.dtype(LONG[name])
        else:
            raise self.error(f"unknown value {name!r}", where)
        return self.literal(value, False).value if self.take(":") else value

    def items(self) -> tuple[Any, ...]:
        found: list[Any] = []
        while not self.take(")"):
            found.append(self.value())
            if not self.peek(")"):
                self.expect(",")
        return tuple(found)


class _Body:
    """A graph while its lines are read, and the values by the name they have in the text."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Node] = {}

    def section(self, text: str) -> None:
        def index(match: re.Match[str]) -> str:
            node = self.values.get(match[1])
            return match[0] if node is None else f"%{node.index}"

        self.graph.section = _REFERENCE.sub(index, text)

    def annotate(self, node: Node, comment: str) -> None:
        node.section = self.graph.section
        for note in comment.split(", "):
            kind, _, reference = note.partition(" of %")
            value = self.values.get(reference)
            if kind == "vjp" and value is not None:
                node.primal = value.index
            elif kind == "ct" and value is not None:
                node.cotangent = value.index
        origin = _ORIGIN.match(comment)
        if origin is not None and node.primal is None and node.cotangent is None:
            node.source = Source(origin[1], int(origin[2]), "")


def _unquoted(text: str) -> str:
    return str(ast.literal_eval(text))
