"""The order of the passes, in one tuple, and what watches them.

`optimize` runs on a template or a whole graph. Verification after each pass, dumps and timing hang on it.
"""

from __future__ import annotations

from collections.abc import Callable

from irgrad.config import CONFIG
from irgrad.ir.graph import Graph
from irgrad.passes.contractions import contractions
from irgrad.passes.cse import cse
from irgrad.passes.dce import dce
from irgrad.passes.joins import joins
from irgrad.passes.powers import powers
from irgrad.passes.products import products
from irgrad.passes.ranges import ranges
from irgrad.passes.result import PassResult
from irgrad.passes.simplify import simplify
from irgrad.passes.spectra import spectra

Pass = Callable[[Graph], PassResult]

PIPELINE: tuple[Pass, ...] = (
    dce,  # adjoints of what nobody asked for go first: everything after costs less
    simplify,  # the ones and negations of derivative rules hide equal expressions from cse
    cse,
    simplify,  # merged values make new neighbours
    powers,  # by what is left, the neighbour is computed in any case
    dce,  # operands that rewriting left behind
    spectra,  # before products look for sums and factors
    contractions,  # by what is left, who else reads a product is known
    products,  # also those just made
    joins,  # products look for sums of slices; what regions have is final here
    ranges,  # also of what was joined just now
)
EXACT = tuple(each for each in PIPELINE if each not in (contractions, products, spectra))  # numpy's own orders


def optimize(graph: Graph, passes: tuple[Pass, ...] = PIPELINE) -> list[tuple[str, PassResult]]:
    """Run `passes` on `graph`, changing it, and return (name, result) of each."""
    results: list[tuple[str, PassResult]] = []
    for each in passes:
        name = each.__name__
        result = each(graph)
        graph = result.graph
        graph.made_by = name
        results.append((name, result))
        if CONFIG.check:
            from irgrad.ir.verify import verify

            verify(graph, after=name)
        if CONFIG.dump in (name, "all"):
            print(graph)  # noqa: T201
    return results
