"""Graphs for people: the whole path of one call as a networkx graph, before or after optimisation."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.config import CONFIG
from irgrad.frontend.context import CURRENT
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.sites import source_of
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval, aval_of
from irgrad.ir.graph import PRIMAL, Graph, Literal, Node
from irgrad.ir.primitive import CREATION, GUARD
from irgrad.ir.source import Source
from irgrad.ir.value import Static
from irgrad.ir.verify import verify
from irgrad.passes.pipeline import PIPELINE, optimize
from irgrad.passes.result import PassResult
from irgrad.runtime.jit import Jitted
from irgrad.runtime.signature import CallForm, call_form
from irgrad.runtime.tracing import trace_call


def trace(fun: Callable[..., Any]) -> Callable[..., Graph]:
    """A function that runs `fun` on its arguments and returns the graph of what it did.

    ``print(irgrad.trace(irgrad.grad(f))(x))`` shows the primal and the adjoint; ``graph.nx`` is the networkx graph. Unrolled loops
    are shown expanded, one node per operation.

    Raises what `fun` raises, and TraceError for what cannot be traced.
    """
    target = fun.fun if isinstance(fun, Jitted) else fun

    @functools.wraps(target, assigned=("__name__", "__qualname__", "__doc__"), updated=())
    def traced(*args: Any, **kwargs: Any) -> Graph:
        if CURRENT.get() is not None:
            raise RuntimeError("irgrad.trace cannot be called inside a traced function")
        form = call_form(args, kwargs)
        found = trace_call(target, form, annotate=True)
        try:
            graph = graph_of(found.trace, found.outputs, getattr(target, "__name__", "graph"), _names(target, args, kwargs, form))
        finally:
            found.trace.close()
        if CONFIG.check:
            verify(graph, after="trace")
        if CONFIG.dump in ("trace", "all"):
            print(graph)  # noqa: T201
        return graph

    return traced


def optimized(graph: Graph) -> tuple[Graph, list[tuple[str, PassResult]]]:
    """A copy of `graph` after the pass pipeline, and what each pass did. The given graph is left alone."""
    copy = graph.copy()
    results = optimize(copy, PIPELINE)
    return copy, results


def _names(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], form: CallForm) -> list[str]:
    """Readable names of the data leaves: parameter names where the arguments are flat."""
    try:
        inner: Any = fun
        while hasattr(inner, "fun"):
            inner = inner.fun
        parameters = [p.name for p in inspect.signature(inner).parameters.values()]
    except (TypeError, ValueError):
        return []
    if kwargs or len(args) != len(form.leaves) + len(form.statics) or len(parameters) < len(args):
        return []
    return [name for position, name in enumerate(parameters[: len(args)]) if position not in form.statics]


def graph_of(trace_: GraphTrace, outputs: list[Any], name: str, names: list[str]) -> Graph:
    """The recorded tape as a graph: inputs, sections of the primal and of each adjoint, guards, sources."""
    graph = Graph(name)
    nodes: dict[int, Node] = {}
    sources: dict[Any, Source | None] = {}
    primals = trace_.primals or {}
    taken: set[str] = set()
    for tracer in trace_.tape:
        if tracer.op is None:
            nodes[tracer.index] = graph.add_input(_input_name(tracer, names, taken), aval_of(tracer.value))
    marks: list[Node] = []
    for tracer in trace_.tape:
        op = tracer.op
        if op is None:
            continue
        operands = [_operand(o, nodes) for o in tracer.operands]
        site = tracer.site
        key = None if site is None else (site[0].code, site[1])
        if key not in sources:
            sources[key] = source_of(site)
        primal = primals.get(tracer.index)
        section = PRIMAL
        if primal is not None:
            wrt = ", ".join(dict.fromkeys(_label(m) for m in marks)) or "inputs"
            section = f"adjoint wrt {wrt}"
        aval = Aval((), np.dtype(bool), "scalar") if op.traits & GUARD else aval_of(tracer.value)
        if op.traits & CREATION:
            aval = aval.with_kind("array")
        node = graph.add(op, operands, tracer.params, aval, sources[key], nodes[primal].index if primal in nodes else None, section)
        nodes[tracer.index] = node
        if op.name == "mark":
            marks.append(node)
    graph.set_outputs([_operand(o, nodes) for o in outputs if isinstance(o, (Tracer, int, float, complex, np.ndarray, np.generic))])
    return graph


def _label(mark: Node) -> str:
    operand = mark.operands[0]
    return operand.name if isinstance(operand, Node) and operand.name else f"%{mark.index}"


def _operand(operand: Any, nodes: dict[int, Node]) -> Any:
    if type(operand) is Tracer:
        return nodes[operand.index]
    if type(operand) is Static:
        return Literal(operand.value, static=True)
    return Literal(operand)


def _input_name(tracer: Tracer, names: list[str], taken: set[str]) -> str:
    origin = tracer.params["origin"]
    if type(origin) is int:
        name = names[origin] if origin < len(names) else f"x{origin}"
    elif origin is None:
        name = "constant"
    else:
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in origin.describe().split(" ")[0]).strip("_") or "captured"
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return unique
