"""What a jitted function has done, for people: signatures, the path tree with its guards, kernels, and where time went."""

from __future__ import annotations

import sys
from typing import IO, Any

import numpy as np

from irgrad.codegen.team import TEAM
from irgrad.frontend.sites import line_text, source_of
from irgrad.ir.aval import short_name
from irgrad.runtime.jit import Jitted
from irgrad.runtime.tree import PathNode
from irgrad.runtime.variant import Variant

MAX_LINES = 40  # guards printed of one tree


def explain(jitted: Jitted, file: IO[str] | None = None) -> None:
    """Print what `jitted` (the result of `irgrad.jit`) traced, guards, compiled and ran, and why.

    Raises TypeError for anything else.
    """
    if not isinstance(jitted, Jitted):
        raise TypeError(f"explain expects the result of irgrad.jit, got {type(jitted).__name__}")
    print(explanation(jitted), file=file if file is not None else sys.stdout)


def explanation(jitted: Jitted) -> str:
    """The text that `explain` prints."""
    stats = jitted.stats()
    lines = [
        f"irgrad.jit of {jitted.__name__}",
        f"  calls {stats.calls}: {stats.calls - stats.eager_calls} compiled, {stats.eager_calls} eager; {stats.traces} traces of "
        f"{stats.recorded_ops} recorded operations in all",
        f"  paths {stats.paths}, kernels {stats.kernels} ({stats.kernels_compiled} compiled, {stats.kernels_loaded} from the store), host "
        f"calls {stats.host_calls}, rounded guards {stats.guard_rounding}",
        f"  seconds: tracing {stats.trace_seconds:.3f}, passes {stats.pass_seconds:.3f}, compiling {stats.compile_seconds:.3f}, "
        f"linking {stats.link_seconds:.3f}; running compiled code is not timed",
        f"  tables {stats.program_bytes} bytes, arena {stats.arena_bytes} bytes a call",
    ]
    if stats.waiting:
        lines.append(f"  {stats.waiting} paths wait to be traced and linked by the next calls")
    if stats.kernels_refused:
        lines.append(f"  compiled by Numba: {stats.kernels_refused} kernels")
    if jitted.impure:
        lines.append(f"  runs eagerly for good: {jitted.impure}")
    for variant in jitted.variants:
        lines += _variant(variant)
    return "\n".join(lines)


def _variant(variant: Variant) -> list[str]:
    shown = ", ".join(f"{short_name(a.dtype)}{list(a.shape) if a.shape else ''}" for a in variant.arguments[: variant.num_leaves])
    lines = [f"  signature ({shown})"]
    for origin, argument in zip(variant.origins, variant.arguments[variant.num_leaves :], strict=True):
        lines.append(f"    reads {origin.describe()}: {short_name(argument.dtype)}{list(argument.shape) if argument.shape else ''}")
    for guard in variant.guards:
        lines.append(f"    guards {guard.origin.describe()} by {guard.how}")
    if variant.program is None:
        lines.append(f"    {len(variant.seen)} paths seen once, none compiled" + (f" ({variant.declined})" if variant.declined else ""))
        return lines
    program = variant.program
    lines.append(
        f"    {variant.tree.num_paths} paths, {program.num_rows} rows, {len(program.kernels)} kernels, {len(program.hosts)} host rows"
    )
    if program.parallel_rows:
        lines.append(f"    {program.parallel_rows} rows may be split between threads: {TEAM.described()}")
    for row, call in list(program.hosts.items())[:MAX_LINES]:
        lines.append(f"    host row {row}: {call.op.name} has no kernel")
    if variant.tree.root is not None:
        tree: list[str] = []
        _node(variant.tree.root, 2, tree)
        lines += tree[:MAX_LINES]
        if len(tree) > MAX_LINES:
            lines.append(f"    ... {len(tree) - MAX_LINES} more guards and paths")
    return lines


def _node(root: PathNode, depth: int, lines: list[str]) -> None:
    stack: list[tuple[PathNode, int, str]] = [(root, depth, "")]
    repeated: list[Any] = ["", 0]
    while stack:
        node, depth, label = stack.pop()
        indent = "  " * depth
        if label:
            lines.append(indent + label)
            repeated = ["", 0]
        if node.guard is None:
            lines.append(f"{indent}  path {node.number}: {len(node.outputs or [])} results, {node.num_calls} compiled calls")
            continue
        source = source_of(node.guard.site)
        text = f"{source}  {line_text(source)}" if source is not None else "unknown line"
        kind = node.guard.params["kind"]
        outcomes = ", ".join(f"{_shown(kind, outcome)}: {child.num_calls}" for outcome, child in node.children.items())
        single = len(node.children) == 1
        line = f"{indent}  guard {kind} at {text}  [{outcomes}]"
        if lines and repeated[0] == line:  # the iterations of a loop
            repeated[1] += 1
            lines[-1] = f"{line} x {repeated[1]}"
        else:
            lines.append(line)
            repeated = [line, 1]
        for outcome, child in reversed(node.children.items()):
            stack.append((child, depth if single else depth + 1, "" if single else f"  if {_shown(kind, outcome)}:"))


def _shown(kind: str, outcome: int) -> Any:
    """A guard's outcome as the user's program saw it."""
    if kind == "bits":
        return float(np.int64(outcome).view(np.float64))
    return bool(outcome) if kind == "bool" else outcome
