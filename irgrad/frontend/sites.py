"""Where in the user's program an operation is recorded, and where one loop iteration ends and the next begins.

`Sites.locate` looks at the user's frames and answers whether a *boundary* lies between the previous operation and this one:
an instruction offset that moves backwards or repeats, or to where only the next iteration can be (from one branch of an `if` to
another), a loop that is entered or left, a repeated call at one instruction with a new frame (functools.reduce, map), a deeper
activation of the same code (recursion). Loops are the back edges of the byte code. A missed boundary costs a compile later, never an
answer.

Frames of irgrad itself are transparent. A frame is kept alive from its first operation to its last.
"""

from __future__ import annotations

import dis
import linecache
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FrameType

import numpy as np

from irgrad.frontend.ownership import is_user_file
from irgrad.ir.source import Source

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep  # its Python layer stands between the user and us
NO_LOOP = -1
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})
_ENDS = ("JUMP_BACKWARD", "JUMP_FORWARD", "JUMP_ABSOLUTE", "RETURN_", "RAISE_", "RERAISE")  # what the next instruction does not follow


_flat: list[int] = []  # NO_LOOP, for the longest code without a loop


class CodeInfo:
    """The loops of one code object: `loop[offset]` is the innermost loop around an instruction, or NO_LOOP.

    `zone[offset]` numbers stretches of one loop that run from any instruction on to all later ones. Code without a loop has one list for
    both, which it shares with all others.
    """

    __slots__ = ("_reached", "_starts", "_successors", "carried", "code", "internal", "loop", "marked", "returned", "zone")

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.internal = code.co_filename.startswith((_PACKAGE, _NUMPY, "<irgrad", "<__array_function__"))
        self.loop = _flat
        self.carried: frozenset[int] = frozenset()  # instructions whose result goes to a variable that the next iteration reads
        self.returned: frozenset[int] = frozenset()  # instructions whose result is returned
        self.marked = self.carried  # either of them
        self.zone = self.loop
        self._successors: dict[int, tuple[int, ...]] = {}
        self._starts: list[int] = []  # of the instruction at each offset: that of a call is where its inline cache ends
        self._reached: dict[int, frozenset[int]] = {}
        if self.internal:
            return
        size = len(code.co_code) + 2
        _flat.extend([NO_LOOP] * (size - len(_flat)))
        instructions = list(dis.get_instructions(code))
        edges = [(i.argval, i.offset) for i in instructions if "JUMP_BACKWARD" in i.opname and isinstance(i.argval, int)]
        merged: dict[int, int] = {}
        for target, end in edges:  # several back edges to one header are one loop (continue)
            merged[target] = max(end, merged.get(target, end))
        if merged:
            self.loop = [NO_LOOP] * size
        for target, end in sorted(merged.items(), key=lambda edge: edge[0] - edge[1]):  # widest first, inner ones overwrite
            for offset in range(target, min(end + 2, size)):
                self.loop[offset] = target
        self.returned = frozenset(a.offset for a, b in pairwise(instructions) if b.opname == "RETURN_VALUE")
        self.carried = frozenset(o for target, end in merged.items() for o in _carried(instructions, target, end))
        self.marked = self.carried | self.returned
        if merged:
            self._find_zones(instructions)

    def _find_zones(self, instructions: list[dis.Instruction]) -> None:
        number = 0
        zone, self._starts = [0] * len(self.loop), [0] * len(self.loop)
        for i, following in pairwise([*instructions, None]):
            assert i is not None
            end = following.offset if following is not None else len(zone)
            zone[i.offset : end], self._starts[i.offset : end] = [number] * (end - i.offset), [i.offset] * (end - i.offset)
            jumps = (i.argval,) if i.opcode in _JUMPS and isinstance(i.argval, int) else ()
            falls = following is not None and not i.opname.startswith(_ENDS)
            self._successors[i.offset] = (*jumps, end) if falls else jumps
            if not falls or self.loop[i.offset] != self.loop[end]:
                number += 1
        self.zone = zone

    def goes_on(self, here: int, there: int) -> bool:
        """May an iteration of the loop around both run from one instruction to the other? To handlers of exceptions from anywhere."""
        loop, here, there = self.loop[here], self._starts[here], self._starts[there]
        return there in self._reachable(here, loop) or there not in self._reachable(loop, loop)

    def _reachable(self, here: int, loop: int) -> frozenset[int]:
        """What an iteration of a loop comes to from an instruction on."""
        known = self._reached.get(here)
        if known is None:
            found, stack = {here}, [here]
            while stack:
                for offset in self._successors.get(stack.pop(), ()):
                    if offset != loop and offset not in found:
                        found.add(offset)
                        stack.append(offset)
            known = self._reached[here] = frozenset(found)
        return known


def _carried(instructions: list[dis.Instruction], target: int, end: int) -> Iterator[int]:
    """Instructions of the loop [target, end] whose result is stored in a variable that is read before it is stored, or after the loop."""
    first_store: dict[str, int] = {}
    read_first: set[str] = set()
    for i in instructions:
        if i.offset < target:
            continue
        loads, stores = _variables(i)
        read_first |= {name for name in loads if i.offset > end or name not in first_store}
        if i.offset <= end:
            for name in stores:
                first_store.setdefault(name, i.offset)
    stored = {b.offset for b in instructions if "STORE" in b.opname and (names := _variables(b)[1]) and names[0] in read_first}
    for a, b in pairwise(instructions):
        if target <= a.offset <= end and "STORE" not in a.opname:
            jumps = b.opname == "JUMP_FORWARD" and b.argval in stored  # the first branch of a conditional expression
            if b.offset in stored or jumps:
                yield a.offset


def _variables(instruction: dis.Instruction) -> tuple[list[str], list[str]]:
    """Names of local variables that an instruction loads and stores."""
    name, value = instruction.opname, instruction.argval
    if not name.startswith(("LOAD_FAST", "STORE_FAST", "LOAD_DEREF", "STORE_DEREF")):
        return [], []
    names = [str(n) for n in value] if isinstance(value, tuple) else [str(value)]
    if name == "STORE_FAST_LOAD_FAST":
        return names[1:], names[:1]
    return (names, []) if name.startswith("LOAD") else ([], names)


_infos: dict[int, CodeInfo] = {}  # by id, which the info keeps the code's own: hashing code costs 0.2 us


def code_info(code: CodeType) -> CodeInfo:
    info = _infos.get(id(code))
    if info is None:
        info = _infos[id(code)] = CodeInfo(code)
    return info


class Activation:
    """One user frame that has recorded something: its caller's activation and where the caller stood."""

    __slots__ = ("code", "depth", "frame", "info", "lasti", "loop", "parent", "parent_lasti", "repeated", "searched", "sites", "zone")

    def __init__(self, frame: FrameType, info: CodeInfo, parent: Activation | None, repeated: bool) -> None:
        self.frame: FrameType | None = frame
        self.code = frame.f_code
        self.info = info
        self.lasti = frame.f_lasti
        self.loop = info.loop[frame.f_lasti]
        self.zone = info.zone[frame.f_lasti]
        self.parent = parent
        self.parent_lasti = parent.lasti if parent is not None else -1
        self.repeated = repeated
        self.searched = True  # may floats of this code come from places that can be read again?
        self.sites: dict[int, Site] | None = None  # those met in a loop, which comes by them again
        inside = self.loop != NO_LOOP or repeated
        self.depth: int = (parent.depth if parent is not None else 0) + inside

    def move(self, lasti: int) -> bool:
        """Note the frame's new position; was a boundary crossed?"""
        info = self.info
        loop, zone = info.loop[lasti], info.zone[lasti]
        crossed = lasti <= self.lasti or loop != self.loop
        if zone != self.zone:
            crossed = crossed or (loop != NO_LOOP and not info.goes_on(self.lasti, lasti))
            self.zone = zone
        if crossed and self.sites is None:
            self.sites = {}
        if loop != self.loop:
            self.depth += (loop != NO_LOOP) - (self.loop != NO_LOOP)
            self.loop = loop
        self.lasti = lasti
        return crossed


Site = tuple[Activation, int]


class Sites:
    """The chain of active user frames while one trace records."""

    __slots__ = ("base", "carriers", "site", "top")

    def __init__(self, base: FrameType | None) -> None:
        self.top: Activation | None = None
        self.site: Site | None = None  # the present position
        self.carriers: dict[tuple[int, int, int], bool] = {}
        self.base = base

    def locate(self, frame: FrameType) -> bool:
        """Move to the user frame at or above `frame`; True where an iteration boundary was crossed."""
        infos = _infos
        code = frame.f_code
        info = infos.get(id(code)) or code_info(code)
        while info.internal:
            back = frame.f_back
            if back is None or frame is self.base:
                return self._leave_all()
            frame = back
            code = frame.f_code
            info = infos.get(id(code)) or code_info(code)
        top = self.top
        lasti = frame.f_lasti
        if top is None or top.frame is not frame:
            crossed = self._enter(frame, info)
            top = self.top
            assert top is not None
        elif lasti > top.lasti and info.zone[lasti] == top.zone:
            top.lasti = lasti
            crossed = False
        else:
            crossed = top.move(lasti)
        known = top.sites
        if known is None:
            self.site = (top, lasti)
        else:
            self.site = known.get(lasti) or known.setdefault(lasti, (top, lasti))
            top.lasti = self.site[1]
        return crossed

    def _enter(self, frame: FrameType, info: CodeInfo) -> bool:
        """The innermost user frame changed: leave finished activations, enter new ones."""
        chain: list[tuple[FrameType, CodeInfo]] = []
        known: Activation | None = None
        walk: FrameType | None = frame
        while walk is not None and walk is not self.base:
            code = code_info(walk.f_code)
            if not code.internal:
                known = self._find(walk)
                if known is not None:
                    break
                chain.append((walk, code))
            walk = walk.f_back
        boundary = False
        top = self.top
        while top is not None and top is not known:
            boundary |= top.loop != NO_LOOP or top.repeated
            top.frame = None
            top = top.parent
        repeated = False
        if known is not None:
            crossed = known.move(known.frame.f_lasti) if known.frame is not None else False
            boundary |= crossed
            repeated = crossed and known.loop == NO_LOOP and bool(chain)
        for position, (each, code) in enumerate(reversed(chain)):
            again = (repeated and position == 0) or self._is_recursive(top, each.f_code)
            top = Activation(each, code, top, again)
            boundary |= again or top.loop != NO_LOOP
        self.top = top
        return boundary

    def _leave_all(self) -> bool:
        """No user frame is between irgrad's and the start of the trace: every activation has ended."""
        boundary = False
        top = self.top
        while top is not None:
            boundary |= top.loop != NO_LOOP or top.repeated
            top.frame = None
            top = top.parent
        self.top = self.site = None
        return boundary

    def _find(self, frame: FrameType) -> Activation | None:
        walk = self.top
        while walk is not None:
            if walk.frame is frame:
                return walk
            walk = walk.parent
        return None

    @staticmethod
    def _is_recursive(top: Activation | None, code: CodeType) -> bool:
        while top is not None:
            if top.code is code:
                return True
            top = top.parent
        return False

    @property
    def depth(self) -> int:
        """How many loop iterations are open around the present position."""
        return self.top.depth if self.top is not None else 0

    def is_carried(self, site: Site) -> bool:
        """`is_carried`, remembered: a loop comes by few sites."""
        activation, lasti = site
        if lasti not in activation.info.marked:
            return False
        place = (id(activation.code), lasti, activation.parent_lasti)
        known = self.carriers.get(place)
        if known is None:
            known = self.carriers[place] = is_carried(site)
        return known

    def close(self) -> None:
        top = self.top
        while top is not None:
            top.frame = None
            top = top.parent
        self.top = self.site = self.base = None


def is_carried(site: Site | None) -> bool:
    """Does the result of this site go to a variable that the next iteration of a loop reads?"""
    if site is None:
        return False
    activation, lasti = site
    walk: Activation | None = activation
    while walk is not None:
        if lasti in walk.info.carried:
            return True
        if lasti not in walk.info.returned:
            return False
        lasti, walk = walk.parent_lasti, walk.parent
    return False


def source_of(site: Site | None) -> Source | None:
    """File, line and function of a recorded site."""
    if site is None:
        return None
    activation, lasti = site
    code = activation.code
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= lasti < end and number is not None:
            line = number
            break
    return Source(code.co_filename, line, code.co_qualname)


def user_source(frame: FrameType | None = None) -> Source | None:
    """File and line of the nearest frame of the user's; of an installed package's where there is none."""
    walk: FrameType | None = frame if frame is not None else sys._getframe(1)
    nearest: Source | None = None
    while walk is not None:
        code = walk.f_code
        if not code_info(code).internal:
            source = Source(code.co_filename, walk.f_lineno, code.co_qualname)
            if is_user_file(code.co_filename):
                return source
            nearest = nearest or source
        walk = walk.f_back
    return nearest


def line_text(source: Source) -> str:
    return linecache.getline(source.file, source.line).strip()
