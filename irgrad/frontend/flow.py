"""The flow of control in byte code: what runs after an instruction, what handles its exceptions, and the loops.

A loop is a header, which backward jumps lead to, and the stretch of instructions from it to the last of those jumps. From Python 3.12
on, handlers of exceptions lie behind all other code and jump back to where it goes on: no such jump makes a loop, and a handler
belongs to the loops around what it protects.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import CodeType

_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})
_ENDS = ("JUMP_BACKWARD", "JUMP_FORWARD", "JUMP_ABSOLUTE", "RETURN_VALUE", "RETURN_CONST", "RAISE_", "RERAISE")  # nothing follows
Follows = Mapping[int, Sequence[int]]


class Flow:
    """Successors of each instruction of a code object, by offset, and members of each loop by its header, widest loop first."""

    __slots__ = ("handlers", "loops", "successors")

    def __init__(self, code: CodeType, instructions: list[dis.Instruction]) -> None:
        plain = _successors(instructions)
        entries = dis.Bytecode(code).exception_entries if code.co_exceptiontable else ()  # type: ignore[attr-defined]
        self.successors: Follows = plain
        self.handlers: frozenset[int] = frozenset()  # what only an exception leads to
        edges = [(i.argval, i.offset) for i in instructions if "JUMP_BACKWARD" in i.opname and isinstance(i.argval, int)]
        if not entries or not instructions:
            self.loops = _nested({}, edges, frozenset(), plain)
            return
        first = instructions[0].offset
        self.handlers = frozenset(plain) - reachable(plain, first)
        joined = dict(plain)
        begins: dict[int, int] = {}  # handler -> the first instruction that it is for
        for entry in entries:
            begins[entry.target] = min(entry.start, begins.get(entry.target, entry.start))
            for offset in plain:
                if entry.start <= offset < entry.end:
                    joined[offset] = (*joined[offset], entry.target)
        self.successors = joined
        closed = _closing(joined, first)
        regions: dict[int, frozenset[int]] = {}
        for target, begin in begins.items():
            regions[begin] = regions.get(begin, frozenset()) | (reachable(plain, target) & self.handlers)
        self.loops = _nested(regions, [edge for edge in edges if edge in closed], self.handlers, joined)


def _successors(instructions: list[dis.Instruction]) -> dict[int, tuple[int, ...]]:
    """What may run next, but for handlers of exceptions."""
    found: dict[int, tuple[int, ...]] = {}
    for i, following in pairwise([*instructions, None]):
        assert i is not None
        jumps = (i.argval,) if i.opcode in _JUMPS and isinstance(i.argval, int) else ()
        falls = following is not None and not i.opname.startswith(_ENDS)
        found[i.offset] = (*jumps, following.offset) if falls and following is not None else jumps
    return found


def reachable(successors: Follows, here: int, without: int = -1) -> frozenset[int]:
    """The instructions that may run from one on, itself included, never passing `without`."""
    found, stack = {here}, [here]
    while stack:
        for offset in successors.get(stack.pop(), ()):
            if offset != without and offset not in found:
                found.add(offset)
                stack.append(offset)
    return frozenset(found)


def _closing(successors: Follows, first: int) -> set[tuple[int, int]]:
    """The jumps (target, source) that close a loop: to an instruction that a depth-first walk is below of."""
    closed: set[tuple[int, int]] = set()
    open_: set[int] = {first}
    seen = {first}
    stack = [(first, iter(successors.get(first, ())))]
    while stack:
        offset, rest = stack[-1]
        for target in rest:
            if target in open_:
                closed.add((target, offset))
            elif target not in seen:
                seen.add(target)
                open_.add(target)
                stack.append((target, iter(successors.get(target, ()))))
                break
        else:
            open_.discard(offset)
            stack.pop()
    return closed


def _nested(
    regions: Mapping[int, frozenset[int]], edges: Iterable[tuple[int, int]], handlers: frozenset[int], successors: Follows
) -> dict[int, frozenset[int]]:
    """Header -> members. `regions` are the handlers of what begins at an instruction."""
    ends: dict[int, int] = {}
    for target, source in edges:  # several jumps to one header are one loop (continue)
        if source in handlers and target not in handlers:  # the loop ends with the last instruction before it that is no handler's
            body = reachable(_reversed(successors), source, target)
            source = max([target, *[o for o in body if o not in handlers]])
        ends[target] = max(source, ends.get(target, source))
    made: dict[int, set[int]] = {target: {o for o in successors if target <= o <= end} for target, end in ends.items()}
    for members in made.values():
        more = True
        while more:  # a handler may protect itself
            found = set().union(*[region for start, region in regions.items() if start in members])
            more = not found <= members
            members |= found
    return {target: frozenset(members) for target, members in sorted(made.items(), key=lambda item: -len(item[1]))}


def _reversed(successors: Follows) -> dict[int, list[int]]:
    """Instruction -> those that it may follow."""
    before: dict[int, list[int]] = {}
    for offset, targets in successors.items():
        for target in targets:
            before.setdefault(target, []).append(offset)
    return before
