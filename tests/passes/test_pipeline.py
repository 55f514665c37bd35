"""The passes together, and what watches them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from irgrad.config import CONFIG
from irgrad.errors import InternalError
from irgrad.ir.evaluate import evaluate
from irgrad.ir.graph import Graph
from irgrad.ir.parser import parse
from irgrad.passes.pipeline import PIPELINE, optimize
from irgrad.passes.result import PassResult
from tests.support.passes import arguments, check

LOSS = """
graph loss(x: f64[9], y: f64[9]) -> (f64[], f64[9])
primal
  %0: f64[9] = mul %x %y
  %1: f64[9] = sin %0
  %2: f64[]  = reduce_sum[axes=(0,)] %1
adjoint wrt x
  %3: f64[9] = broadcast_to[shape=(9,)] 1.0!f64
  %4: f64[9] = mul %x %y
  %5: f64[9] = cos %4
  %6: f64[9] = mul %3 %5
  %7: f64[9] = mul %6 %y
  %8: f64[9] = mul %6 %x
return %2, %7
"""


def test_a_gradient_is_tidied() -> None:
    check(
        lambda graph: PassResult(graph, {"all": 1} if optimize(graph) else {}),
        LOSS,
        """
        graph loss(x: f64[9], y: f64[9]) -> (f64[], f64[9])
        primal
          %0: f64[9] = mul %x %y
          %1: f64[9] = sin %0
          %2: f64[]  = reduce_sum[axes=(0,)] %1
        adjoint wrt x
          %3: f64[9] = cos %0
          %4: f64[9] = mul %3 %y
        return %2, %4
        """,
    )


def test_every_pass_says_its_name_and_counts() -> None:
    graph = parse(LOSS)
    results = optimize(graph)
    assert [name for name, _ in results] == [each.__name__ for each in PIPELINE]
    assert results[0][1].counts == {"removed": 1}
    assert graph.made_by == PIPELINE[-1].__name__
    assert not any(result.changed for _, result in optimize(graph))  # nothing is left to do


def test_dump_prints_after_the_pass_of_that_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(CONFIG, "dump", "cse")
    optimize(parse(LOSS))
    text = capsys.readouterr().out
    assert re.findall("# made by (.*): ", text) == ["cse"]


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Graph) -> PassResult:
        graph.nodes()[0].aval = graph.nodes()[2].aval
        return PassResult(graph)

    monkeypatch.setattr(CONFIG, "check", True)
    with pytest.raises(InternalError, match="after broken"):
        optimize(parse(LOSS), (broken,))


@pytest.mark.parametrize("fuel", range(6))
def test_fuel_stops_anywhere_with_the_same_values(fuel: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    graph = parse(LOSS)
    inputs = arguments(graph, rng)
    wanted = evaluate(graph, *inputs)
    monkeypatch.setattr(CONFIG, "fuel", fuel)
    optimize(graph)
    for a, b in zip(wanted, evaluate(graph, *inputs), strict=True):
        np.testing.assert_array_equal(a, b)
