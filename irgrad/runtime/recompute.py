"""The order in which a node's instances run, and how long their values are kept: all of them, or within a budget of bytes.

Reverse mode keeps values of the forward part until the adjoint needs them. Under a budget the forward part is cut into blocks; a block's
values are dropped once its own instances have used them, and it runs again just before the adjoint needs the first of them, from what
it read from before the block (checkpoints in equal blocks: with b blocks of n steps about n/b + b of them are kept, at the cost of one
more forward run; Griewank and Walther, Evaluating Derivatives, 2nd ed., 2008, chapter 12). What is impure never runs twice. Blocks are
of one node; where guards part the forward from the adjoint, the leaf does all of its path once more (`Limb.replay`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from irgrad.ir.primitive import PURE
from irgrad.ir.recording import INTERNED, Record
from irgrad.ir.template import Instance

MAX_BLOCKS = 1024
FEW = 16  # values that are found in a list as soon as in a set, which takes more memory


@dataclass
class Schedule:
    """Instances in order; `dying[k]` are values that nobody needs behind the k-th, `kept[k]` those of its results that somebody does."""

    instances: list[Instance]
    dying: list[list[int]]
    kept: list[Collection[int]]
    peak: int = 0  # bytes of kept results at most
    at: int = 0  # where


def plan(
    instances: list[Instance], path: Sequence[Record], ending: Sequence[int], survives: Callable[[int], bool], budget: int | None
) -> Schedule:
    """The schedule of a node's instances whose `ending` values are read behind the last; those that survive are needed in later nodes."""
    found = _follow(instances, path, ending, survives)
    if budget is None:
        return found
    _measure(found, path)
    if found.peak <= budget:
        return found
    best, blocks, at = found, 2, found.at
    while blocks <= min(MAX_BLOCKS, at + 1) and best.peak > budget:
        made = _follow(_blocked(instances, path, at, blocks), path, ending, survives)
        _measure(made, path)
        if made.peak < best.peak:
            best = made
        blocks *= 2
    return best


def _size(path: Sequence[Record], value: int) -> int:
    return int(INTERNED.avals[path[value].aval].nbytes)


def _follow(instances: list[Instance], path: Sequence[Record], ending: Sequence[int], survives: Callable[[int], bool]) -> Schedule:
    """Lifetimes: backwards, a value is needed from its last use to the definition before that."""
    count = len(instances)
    dying: list[list[int]] = [[] for _ in range(count + 1)]
    kept: list[Collection[int]] = [()] * count
    needed: set[int] = set()
    met: set[int] = set()  # those that survive are needed from the start

    for value in ending:
        if value not in met:
            met.add(value)
            if not survives(value):
                dying[count].append(value)
            needed.add(value)
    for position in range(count - 1, -1, -1):
        instance = instances[position]
        here: list[int] = []
        for value in instance.results():
            if value not in met:
                met.add(value)
                if not survives(value):
                    continue
            elif value not in needed:
                continue
            needed.discard(value)
            here.append(value)
        if here:
            kept[position] = here if len(here) <= FEW else set(here)
        for value in instance.externals:
            if value in needed:
                continue
            if value in met:
                dying[position].append(value)
            else:
                met.add(value)
                if not survives(value):
                    dying[position].append(value)
            needed.add(value)
    return Schedule(instances, dying, kept)


def _measure(made: Schedule, path: Sequence[Record]) -> None:
    """The peak of what is kept: a view counts as if it had memory of its own."""
    dying, kept = made.dying, made.kept
    live, here = 0, {value for values in kept for value in values}
    for position in range(len(kept)):
        live += sum(_size(path, value) for value in kept[position])
        if live > made.peak:
            made.peak, made.at = live, position
        live -= sum(_size(path, value) for value in dying[position] if value in here)


def _blocked(instances: list[Instance], path: Sequence[Record], at: int, blocks: int) -> list[Instance]:
    """The instances with those up to `at` in blocks that run again when a later one needs them; the last block is kept."""
    bounds = [at * k // blocks for k in range(blocks)]  # where each begins
    block_of: dict[int, int] = {}
    for position in range(at):
        for value in instances[position].results():
            block_of[value] = bisect_right(bounds, position) - 1
    wanted: list[set[int]] = [set() for _ in bounds]
    for instance in instances[at:]:
        for value in instance.externals:
            if value in block_of:
                wanted[block_of[value]].add(value)
    made, done = instances[:at], {blocks - 1}
    for instance in instances[at:]:
        for value in instance.externals:
            block = block_of.get(value)
            if block is not None and block not in done:
                done.add(block)
                made += _slice(instances[bounds[block] : bounds[block + 1]], path, wanted[block])
        made.append(instance)
    return made


def _slice(block: list[Instance], path: Sequence[Record], wanted: set[int]) -> list[Instance]:
    """The instances of a block that its wanted values need."""
    wanted = set(wanted)
    made: list[Instance] = []
    for instance in reversed(block):
        if wanted.isdisjoint(instance.values) or not all(_is_pure(path[value]) for value in instance.values):
            continue
        wanted.update(instance.externals)
        made.append(instance)
    made.reverse()
    return made


def _is_pure(record: Record) -> bool:
    return record.op is not None and record.op.has(PURE)
