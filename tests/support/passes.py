"""What tests of passes share: text in, pass, expected text out, and both graphs evaluated."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np

import irgrad
from irgrad.ir.evaluate import evaluate
from irgrad.ir.graph import Graph
from irgrad.ir.parser import parse
from irgrad.ir.plan import Plan, contiguous
from irgrad.ir.printer import print_graph
from irgrad.ir.verify import verify
from irgrad.passes.cluster import cluster
from irgrad.passes.legalize import legalize
from irgrad.passes.pipeline import optimize
from irgrad.passes.result import PassResult


def plan(f: Callable[..., Any], *arguments: Any) -> Plan:
    """The plan of a function's graph for contiguous arguments; the others are numbers."""
    graph = irgrad.trace(f)(*arguments)
    optimize(graph)
    legalize(graph)
    return cluster(graph, [contiguous(node.aval.shape) for node in graph.inputs])


def arguments(graph: Graph, rng: np.random.Generator) -> list[Any]:
    """Random inputs for a graph."""
    found: list[Any] = []
    for node in graph.inputs:
        dtype, shape = node.aval.dtype, node.aval.shape
        value = (
            rng.integers(-3, 4, shape)
            if dtype.kind in "iu"
            else rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype.kind == "c" else 0)
        )
        found.append(np.asarray(value).astype(dtype))
    return found


def same_bits(a: Any, b: Any) -> bool:
    """Equal shape, dtype and bits, up to the sign of a zero."""
    x, y = np.asarray(a), np.asarray(b)
    return x.shape == y.shape and x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")


def check(run: Callable[[Graph], PassResult], before: str, after: str, counts: dict[str, int] | None = None) -> None:
    """`run` turns the graph of `before` into that of `after` (up to names) and keeps its values; `counts` is what it reports."""
    graph = parse(before)
    rng = np.random.default_rng(5)
    inputs = arguments(graph, rng)
    values = evaluate(graph, *inputs)
    result = run(graph)
    verify(graph)
    wanted = parse(after)
    if graph.first_difference(wanted) is not None:
        graph.made_by = ""
        got, want = print_graph(graph).splitlines(), print_graph(wanted).splitlines()
        raise AssertionError(
            "\n".join([graph.first_difference(wanted) or "", *difflib.unified_diff(want, got, "expected", "got", lineterm="")])
        )
    for old, new in zip(values, evaluate(graph, *inputs), strict=True):
        assert same_bits(old, new), f"{old} became {new}"
    if counts is not None:
        assert result.counts == counts
    assert result.changed == (parse(before).first_difference(graph) is not None)


def check_unchanged(run: Callable[[Graph], PassResult], text: str) -> None:
    """`run` leaves the graph alone and says so."""
    check(run, text, text, {})
