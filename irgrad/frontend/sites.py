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

from irgrad.frontend.flow import Flow, Follows, reachable
from irgrad.frontend.ownership import is_user_file
from irgrad.ir.source import Source

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep  # its Python layer stands between the user and us
NO_LOOP = -1


_flat: list[int] = []  # NO_LOOP, for the longest code without a loop


class CodeInfo:
    """The loops of one code object: `loop[offset]` is the innermost loop around an instruction, or NO_LOOP.

    `zone[offset]` numbers stretches of one loop that run from any instruction on to all later ones. Code without a loop has one list for
    both, which it shares with all others.
    """

    __slots__ = ("_handlers", "_reached", "_starts", "_successors", "carried", "code", "internal", "loop", "marked", "returned", "zone")

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.internal = code.co_filename.startswith((_PACKAGE, _NUMPY, "<irgrad", "<__array_function__"))
        self.loop = _flat
        self.carried: frozenset[int] = frozenset()  # instructions whose result goes to a variable that the next iteration reads
        self.returned: frozenset[int] = frozenset()  # instructions whose result is returned
        self.marked = self.carried  # either of them
        self.zone = self.loop
        self._successors: Follows = {}
        self._handlers: frozenset[int] = frozenset()  # instructions that only an exception leads to
        self._starts: list[int] = []  # of the instruction at each offset: that of a call is where its inline cache ends
        self._reached: dict[int, frozenset[int]] = {}
        if self.internal:
            return
        size = len(code.co_code) + 2
        _flat.extend([NO_LOOP] * (size - len(_flat)))
        instructions = list(dis.get_instructions(code))
        self.returned = frozenset(a.offset for a, b in pairwise(instructions) if b.opname == "RETURN_VALUE")
        self.marked = self.returned
        if any("JUMP_BACKWARD" in i.opname for i in instructions):
            self._find_loops(instructions)

    def _find_loops(self, instructions: list[dis.Instruction]) -> None:
        flow = Flow(self.code, instructions)
        self._successors, self._handlers = flow.successors, flow.handlers
        size = len(self.code.co_code) + 2
        ends = [*(i.offset for i in instructions[1:]), size]
        starts = self._starts = [i.offset for i, end in zip(instructions, ends, strict=True) for _ in range(i.offset, end)]
        loop = self.loop = [NO_LOOP] * size
        for header, members in flow.loops.items():  # widest first, inner ones overwrite
            for offset, start in enumerate(starts):
                if start in members:
                    loop[offset] = header
        self.carried = frozenset(o for members in flow.loops.values() for o in _carried(instructions, members))
        self.marked = self.carried | self.returned
        number, zone = 0, [0] * size
        for i, end in zip(instructions, ends, strict=True):
            zone[i.offset : end] = [number] * (end - i.offset)
            if end not in self._successors[i.offset] or (end < size and loop[i.offset] != loop[end]):
                number += 1
        self.zone = zone

    def goes_on(self, here: int, there: int) -> bool:
        """May an iteration of the loop around both run from one instruction to the other? To what nothing leads to from anywhere."""
        loop, here, there = self.loop[here], self._starts[here], self._starts[there]
        return there in self._reachable(here, loop) or there not in self._reachable(loop, loop)

    def is_back(self, here: int, there: int) -> bool:
        """Is `there` no further than `here`? What goes on after a handler of exceptions that lies behind it is."""
        if there >= here or not self._handlers or self._starts[here] not in self._handlers or self.loop[here] != self.loop[there]:
            return there <= here
        return self._starts[there] not in self._reachable(self._starts[here], self.loop[here])

    def _reachable(self, here: int, loop: int) -> frozenset[int]:
        """What an iteration of a loop comes to from an instruction on."""
        known = self._reached.get(here)
        if known is None:
            known = self._reached[here] = reachable(self._successors, here, loop)
        return known


def _carried(instructions: list[dis.Instruction], members: frozenset[int]) -> Iterator[int]:
    """Instructions of a loop whose result is stored in a variable that is read before it is stored, or after the loop."""
    first_store: dict[str, int] = {}
    read_first: set[str] = set()
    begin = min(members)
    for i in instructions:
        if i.offset < begin:
            continue
        loads, stores = _variables(i)
        read_first |= {name for name in loads if i.offset not in members or name not in first_store}
        if i.offset in members:
            for name in stores:
                first_store.setdefault(name, i.offset)
    stored = {b.offset for b in instructions if "STORE" in b.opname and (names := _variables(b)[1]) and names[0] in read_first}
    for a, b in pairwise(instructions):
        if a.offset in members and "STORE" not in a.opname:
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
        crossed = loop != self.loop or info.is_back(self.lasti, lasti)
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
                return self.leave_all()
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

    def leave_all(self) -> bool:
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
