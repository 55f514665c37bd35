"""autograd's `const_graph` and `full_graph`: a function's operations recorded once and done again, and the graph of one call.

Both are for programs that import them. `irgrad.jit` compiles and follows control flow; `irgrad.trace` gives a graph to print and draw.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.errors import DifferentiationError, RuntimeGuardError, TraceError
from irgrad.extend import concrete_of, readable, untraced
from irgrad.frontend.trace import here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import aval_of
from irgrad.ir.evaluate import evaluate
from irgrad.ir.graph import Graph, Literal
from irgrad.ir.primitive import EFFECT
from irgrad.passes.pipeline import optimize
from irgrad.pytree import Structure, flatten, unflatten
from irgrad.runtime.graphs import graph_of
from irgrad.runtime.signature import call_form
from irgrad.runtime.tracing import trace_call


def const_graph(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """`fun` with these first arguments and keywords; its first call records what it does, later ones do that again.

    What `fun` captures is a constant from then on. Differentiable and traceable as `fun` is. Raises DifferentiationError if the output
    does not depend on the arguments, TraceError for arguments of another form than those of the first call, and
    RuntimeGuardError where a decision that `fun` took would be another one.
    """
    partial_fun = functools.partial(fun, *args, **kwargs)
    made: list[_Constant] = []

    @functools.wraps(fun, updated=())
    def constant(*args: Any) -> Any:
        leaves, structure = flatten(args)
        if made:
            return made[0](leaves, structure)
        first = untraced(_Constant, (partial_fun, structure, [concrete_of(leaf) for leaf in leaves]), {})
        made.append(first)
        result, first.result = first.result, None
        return first(leaves, structure) if any(type(leaf) is Tracer for leaf in leaves) else result

    return constant


class _Constant:
    """One recorded call."""

    def __init__(self, fun: Callable[..., Any], structure: Structure, leaves: Sequence[Any]) -> None:
        args = unflatten(structure, leaves)
        form = call_form(args, {})
        if form.statics:
            kinds = ", ".join(type(value).__name__ for value in form.statics.values())
            raise TraceError(f"const_graph: an argument is no number or array but {kinds} ({here()}); give it to const_graph itself")
        found = trace_call(fun, form)
        try:
            if not any(type(out) is Tracer for out in found.outputs):
                raise DifferentiationError(f"Output is independent of input ({here()}): const_graph has nothing to record")
            self.result: Any = found.result
            traced = [out for out in found.outputs if type(out) is Tracer]
            self.graph: Graph = graph_of(found.trace, traced, getattr(fun, "__name__", "constant"), [])
            inputs = [t for t in found.trace.tape if t.op is None]
            self.places = [t.params["origin"] for t in inputs]
            self.values = [None if type(t.params["origin"]) is int else np.array(t.value)[()] for t in inputs]
            self.kinds = [aval_of(out.value).kind if type(out) is Tracer else None for out in found.outputs]
            self.outputs = [out.value if type(out) is Tracer else out for out in found.outputs]
            self.out_structure = found.structure
        finally:
            found.trace.close()
        self.structure = structure
        self.avals = [aval_of(leaf) for leaf in leaves]
        optimize(self.graph)

    def __call__(self, leaves: Sequence[Any], structure: Structure) -> Any:
        values = [concrete_of(leaf) for leaf in leaves]
        avals = [aval_of(value) for value in values]
        if structure != self.structure or not all(a.same_array(b) for a, b in zip(avals, self.avals, strict=True)):
            have, want = (", ".join(map(str, each)) for each in (avals, self.avals))
            raise TraceError(f"const_graph: the arguments are {have} ({here()}); it was recorded for {want}")
        inputs = [leaves[place] if type(place) is int else value for place, value in zip(self.places, self.values, strict=True)]
        traced = any(type(x) is Tracer for x in inputs)
        found = iter(_replay(self.graph, inputs) if traced else evaluate(self.graph, *inputs))
        results: list[Any] = []
        for kind, known in zip(self.kinds, self.outputs, strict=True):
            value = known if kind is None else next(found)
            if kind == "python" and isinstance(value, (np.ndarray, np.generic)):
                value = value.item()
            results.append(value)
        return unflatten(self.out_structure, results)


def _replay(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """`evaluate`, recorded in the trace of the inputs."""
    trace = next(x._trace for x in inputs if type(x) is Tracer)
    values: dict[int, Any] = dict(zip((node.index for node in graph.inputs), inputs, strict=True))
    for node in graph.nodes():
        assert node.op is not None
        operands = [o.value if isinstance(o, Literal) else values[o.index] for o in node.operands]
        if node.is_guard:
            if not node.op.evaluate(concrete_of(operands[0]), **node.params):
                raise RuntimeGuardError(f"const_graph: a decision at {node.source} would be another one than was recorded ({here()})")
            if type(operands[0]) is Tracer:
                trace.guard(operands[0], node.params["kind"], node.params["value"])
        elif node.op.has(EFFECT):
            raise TraceError(f"const_graph of a function that draws random numbers cannot be traced ({here()}); use irgrad.jit")
        elif any(type(o) is Tracer for o in operands) or trace.is_graph:
            values[node.index] = trace.call(node.op, operands, node.params)
        else:
            values[node.index] = node.op.evaluate(*operands, **node.params)
    return [o.value if isinstance(o, Literal) else values[o.index] for o in graph.outputs]


class FullGraphNode:
    """One value of a call: `value`, and `recipe`, which is (function, arguments, keywords, [(argnum, node), ...])."""

    __slots__ = ("recipe", "value")

    def __init__(
        self, value: Any, recipe: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[tuple[int, FullGraphNode]]]
    ) -> None:
        self.value = value
        self.recipe = recipe

    def __repr__(self) -> str:
        function = self.recipe[0]
        return f"<FullGraphNode {getattr(function, '__name__', function)}: {self.value!r}>"


def full_graph(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> FullGraphNode | None:
    """The node of what ``fun(*args, **kwargs)`` returns, whose `recipe` leads to all that it was computed from.

    Only what depends on `args` has nodes. None if the output does not. Raises TraceError for an output that is no number or array.
    """
    form = call_form(args, {})
    found = untraced(trace_call, (functools.partial(fun, **kwargs), form), {})
    try:
        if len(found.outputs) != 1:
            raise TraceError(f"full_graph expects a function of one output, got {len(found.outputs)} ({here()})")
        nodes: dict[int, FullGraphNode] = {}
        for tracer in found.trace.tape:
            if tracer.op is None:
                if type(tracer.params["origin"]) is int:
                    nodes[tracer.index] = FullGraphNode(tracer.value, (_root, (), {}, []))
                continue
            parents = [(k, nodes[o.index]) for k, o in enumerate(tracer.operands) if type(o) is Tracer and o.index in nodes]
            if parents and tracer.value is not None:
                values = tuple([concrete_of(readable(o)) for o in tracer.operands])
                nodes[tracer.index] = FullGraphNode(tracer.value, (_named(tracer.op), values, dict(tracer.params), parents))
        out = found.outputs[0]
        return nodes.get(out.index) if type(out) is Tracer else None
    finally:
        found.trace.close()


def _root() -> None:
    """What an argument was computed by: nothing."""


def _named(op: Any) -> Callable[..., Any]:
    """The numpy meaning of an operation under its name."""

    @functools.wraps(op.evaluate)
    def apply(*args: Any, **params: Any) -> Any:
        return op.evaluate(*args, **params)

    apply.__name__ = apply.__qualname__ = op.name
    return apply


__all__ = ["FullGraphNode", "const_graph", "full_graph"]
