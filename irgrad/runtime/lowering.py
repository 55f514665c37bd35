"""Templates to rows: passes, clusters and lowering, once per template, kept for the functions of the process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from irgrad.codegen.compile import Counts
from irgrad.codegen.lower import lower
from irgrad.codegen.lowered import Lowered
from irgrad.config import CONFIG
from irgrad.ir.sizes import any_size
from irgrad.ir.template import Instance, Template, template_graph
from irgrad.passes.accumulate import accumulate
from irgrad.passes.cluster import cluster
from irgrad.passes.legalize import legalize
from irgrad.passes.panels import panels
from irgrad.passes.pipeline import EXACT, PIPELINE, optimize
from irgrad.passes.reuse import replaceable, take_over
from irgrad.passes.windows import windows
from irgrad.runtime.memory import Place
from irgrad.runtime.turns import checkpoint, clock


@dataclass
class LinkCounts:
    """Seconds and counts of linking, and whether products keep the order in which they are written."""

    passes: float = 0.0
    kernels: Counts = field(default_factory=Counts)
    pass_counts: dict[str, int] = field(default_factory=dict)
    templates: int = 0
    exact: bool = False


_lowered: dict[Any, Lowered] = {}  # the last ones: functions hold their own
MANY = 2048


def lowered_template(
    template: Template,
    exported: bytes,
    instance: Instance,
    records: Any,
    strides: tuple[tuple[int, ...], ...],
    counts: LinkCounts,
    many_sizes: bool = False,
    taken: tuple[int, ...] = (),
) -> Lowered:
    """The rows of a template that gives away what is exported, for inputs with these strides, from cache or by passes and lowering.

    Results take over the memory of the slots `taken`.
    """
    use = (exported, strides, counts.exact, many_sizes, taken, CONFIG.blas)
    found: Lowered | None = template.lowered.get(use)
    if found is not None:  # the key of a template is long
        return found
    key = (template.key, *use)
    found = _lowered.get(key)
    if found is None:
        start = clock()
        while len(_lowered) >= MANY:
            _lowered.pop(next(iter(_lowered), None), None)
        with any_size(many_sizes):
            found = _lowered[key] = _lower(template, exported, instance, records, strides, counts, taken)
        counts.templates += 1
        counts.passes += clock() - start
    template.lowered[use] = found
    return found


def _lower(
    template: Template,
    exported: bytes,
    instance: Instance,
    records: Any,
    strides: tuple[tuple[int, ...], ...],
    counts: LinkCounts,
    taken: tuple[int, ...],
) -> Lowered:
    """Passes, clusters and rows."""
    graph, nodes = template_graph(instance, records, f"template_{template.number}")
    graph.set_outputs([node for node, given in zip(nodes, exported, strict=True) if given])
    for name, result in optimize(graph, EXACT if counts.exact else PIPELINE):
        for what, count in result.counts.items():
            counts.pass_counts[f"{name} {what}"] = counts.pass_counts.get(f"{name} {what}", 0) + count
    checkpoint()
    legalize(graph)
    for what, count in accumulate(graph).counts.items():
        counts.pass_counts[f"accumulate {what}"] = counts.pass_counts.get(f"accumulate {what}", 0) + count
    for what, count in windows(graph).counts.items():
        counts.pass_counts[f"windows {what}"] = counts.pass_counts.get(f"windows {what}", 0) + count
    numbers = tuple(() for _ in range(len(graph.inputs) - len(strides)))
    checkpoint()
    plan = cluster(graph, [*strides, *numbers])
    checkpoint()
    found = replaceable(plan)
    if taken:
        take_over(plan, taken)
    if not counts.exact:
        panels(plan)
    made = lower(plan)
    if not taken:
        made.replaceable = tuple([(slot, graph.outputs.index(node)) for slot, node in found.items()])
    return made


def lowered_instance(
    template: Template,
    exported: bytes,
    instance: Instance,
    records: Any,
    bound: list[Place],
    results: list[int],
    dying: list[int],
    direct: dict[int, int],
    counts: LinkCounts,
    many_sizes: bool,
) -> tuple[Lowered, list[int], list[int]]:
    """The rows for an instance: where external values die in it, `results` may take over their memory, but for those with their own.

    Returns the slots whose memory they could take over and those where they do as well.
    """
    strides = tuple([p.strides for p in bound])
    lowered = lowered_template(template, exported, instance, records, strides, counts, many_sizes)
    taken: list[int] = []
    if not lowered.replaceable:
        return lowered, taken, taken
    for slot, export in lowered.replaceable:
        buffer = bound[slot].buffer
        alone = buffer is not None and buffer.values == 1 and sum(p.buffer is buffer for p in bound) == 1
        if alone and instance.externals[slot] in dying and results[export] not in direct:
            taken.append(slot)
    may_take = [slot for slot, _ in lowered.replaceable]
    if taken:
        lowered = lowered_template(template, exported, instance, records, strides, counts, many_sizes, tuple(taken))
    return lowered, may_take, taken
