"""The invariants of a graph, one `check_*` function each.

Each yields the violations it finds; `verify` raises for the first, naming pass, invariant, node, expected and got, with the
lines around it. `CHECKS` is in the order in which a violation is easiest to understand: later checks may rely on earlier ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from irgrad.errors import InternalError
from irgrad.ir.aval import Aval
from irgrad.ir.graph import Graph, Literal, Node
from irgrad.ir.primitive import GUARD, PURE
from irgrad.ir.printer import Printer, aval_text

CONTEXT = 5  # lines shown on either side


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant; `node` is None where an output or the graph as a whole is wrong."""

    node: Node | None
    expected: str
    got: str


Check = Callable[[Graph], Iterator[Violation]]


def verify(graph: Graph, after: str = "trace", *, sources: bool = False) -> None:
    """Check every invariant of `graph` and of the graphs in its params.

    Raises InternalError for the first that is broken, naming `after`, the pass that made the graph.
    """
    for check in (*CHECKS, check_source_present) if sources else CHECKS:
        for violation in check(graph):
            raise InternalError(_report(graph, after, check.__name__.removeprefix("check_"), violation))
    for node in graph.nodes():
        for value in node.params.values():
            if isinstance(value, Graph):
                verify(value, after, sources=sources)


def check_operands_defined(graph: Graph) -> Iterator[Violation]:
    """Operands and outputs are literals or values of this graph."""
    for node in graph.nodes():
        for position, operand in enumerate(node.operands):
            if not isinstance(operand, Literal) and operand not in graph:
                yield Violation(node, f"operand {position} defined in graph {graph.name}", repr(operand))
    for position, output in enumerate(graph.outputs):
        if not isinstance(output, Literal) and output not in graph:
            yield Violation(None, f"output {position} defined in graph {graph.name}", repr(output))


def check_program_order(graph: Graph) -> Iterator[Violation]:
    """Operands come before their users, which also makes the graph acyclic."""
    seen = {node.index for node in graph.inputs}
    for node in graph.nodes():
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Node) and operand.index not in seen:
                yield Violation(node, f"operand {position} earlier in program order", f"{operand!r} at or after it")
        seen.add(node.index)


def check_inputs(graph: Graph) -> Iterator[Violation]:
    """Inputs have neither op nor operands, and every other value has an op."""
    for node in graph.inputs:
        if node.op is not None or node.operands:
            yield Violation(node, "an input without op and operands", repr(node))
    for node in graph.nodes():
        if node.op is None:
            yield Violation(node, "an op", "none")


def check_users(graph: Graph) -> Iterator[Violation]:
    """The table of uses says what the operand tuples say."""
    uses: dict[int, Counter[tuple[int, int]]] = {}
    for node in graph.nodes():
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Node):
                uses.setdefault(operand.index, Counter())[node.index, position] += 1
    for node in (*graph.inputs, *graph.nodes()):
        expected = sorted(uses.get(node.index, Counter()))
        got = sorted((user.index, position) for user, position in graph.users(node))
        if expected != got:
            yield Violation(node, f"uses (index, position) {expected}", str(got))


def check_arity(graph: Graph) -> Iterator[Violation]:
    """The aval rule of the op accepts these operands and params."""
    for node in graph.nodes():
        try:
            _recomputed(node)
        except Exception as error:
            operands = ", ".join(aval_text(operand.aval) for operand in node.operands)
            yield Violation(node, f"operands and params that {_name(node)} accepts", f"({operands}): {error}")


def check_aval(graph: Graph) -> Iterator[Violation]:
    """The recorded aval has the shape and dtype that the op computes."""
    for node in graph.nodes():
        expected = _recomputed(node)
        if expected is not None and not node.is_guard and not expected.same_array(node.aval):
            yield Violation(node, f"aval {aval_text(expected)}", aval_text(node.aval))


def check_guard_form(graph: Graph) -> Iterator[Violation]:
    """A guard checks one value, by its kind, against a param and has no users."""
    for node in graph.nodes():
        if not node.is_guard:
            continue
        if len(node.operands) != 1 or not {"kind", "value"} <= node.params.keys():
            yield Violation(
                node, "one operand and params 'kind' and 'value'", f"{len(node.operands)} operands and params {sorted(node.params)}"
            )
        if graph.num_users(node) or graph.is_output(node):
            yield Violation(node, "a guard without uses", "an output" if graph.is_output(node) else f"{graph.num_users(node)} users")


def check_guard_order(graph: Graph) -> Iterator[Violation]:
    """A guard comes before the guards and the impure ops that were recorded under it; pure ones may move freely."""
    latest: Node | None = None
    for node in graph.nodes():
        if node.op is None or (node.op.has(PURE) and not node.is_guard):
            continue
        if latest is not None and node.is_guard and node.index < latest.index:
            yield Violation(node, f"a guard before {latest!r}, which it protects", "a guard after it")
        if latest is None or node.index > latest.index:
            latest = node


def check_cotangent_aval(graph: Graph) -> Iterator[Violation]:
    """A complete cotangent has the shape and dtype of its value."""
    for node in graph.nodes():
        value = None if node.cotangent is None else graph.get(node.cotangent)
        if value is not None and not value.aval.same_array(node.aval):
            yield Violation(node, f"a cotangent of {value!r}", aval_text(node.aval))


def check_source_present(graph: Graph) -> Iterator[Violation]:
    """Each node knows the user's line, or the value whose derivative it belongs to."""
    for node in graph.nodes():
        if node.primal is None and (node.source is None or not node.source.is_known):
            yield Violation(node, "a source", "none")


CHECKS: tuple[Check, ...] = (
    check_operands_defined,
    check_inputs,
    check_program_order,
    check_users,
    check_guard_form,
    check_arity,
    check_aval,
    check_guard_order,
    check_cotangent_aval,
)


def _name(node: Node) -> str:
    return "nothing" if node.op is None else node.op.name


def _recomputed(node: Node) -> Aval | None:
    """What the op computes as the result's aval; None where it has none or follows from data."""
    op = node.op
    if op is None or op.has(GUARD):
        return None
    avals: list[Any] = [operand.aval for operand in node.operands]
    return op.aval(*avals, **node.params)


def _report(graph: Graph, after: str, invariant: str, violation: Violation) -> str:
    printer = Printer(graph, elide=True)
    node = violation.node
    nodes = graph.nodes()
    lines = ["\n".join(printer.header()), *map(printer.line, nodes), printer.footer()]
    if node is None:
        where, place = f"graph {graph.name}", len(lines) - 1
    elif any(node is each for each in graph.inputs):
        where, place = f"input %{printer.names[node.index]}", 0
    else:
        where = f"{_name(node)} %{printer.names[node.index]}" if node.index in printer.names else printer.right(node)
        place = 1 + next(i for i, each in enumerate(nodes) if each is node)
    start = max(place - CONTEXT, 1)
    shown = [(0, lines[0]), *enumerate(lines[start : place + CONTEXT], start)]
    message = f"after {after}: {invariant.replace('_', ' ')}: {where}: expected {violation.expected}, got {violation.got}"
    return "\n".join([message, *(f"{'>' if i == place else ' '} {line}" for i, line in shown)])
