"""What a jitted function keeps for one signature: the paths seen, their program, and what it reads and checks at each call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.captured import MISSING, compile_checks
from irgrad.frontend.tracer import Tracer
from irgrad.ir.recording import Recording
from irgrad.ir.template import TemplateTable
from irgrad.runtime.signature import argument, normalise
from irgrad.runtime.tracing import Traced
from irgrad.runtime.tree import Limb, PathNode, PathTree, analyse_limb

FREE = 8  # traces of new paths before any of them is called again
RARE = 256  # calls on new paths for one more
WORTH = 6  # compiled calls that are worth one: about what a trace and its linking cost in eager calls
TRUSTED = 3  # paths to be traced twice before one is believed at first sight
OFTEN = 8  # calls on one path that are worth it in any case
SEEN_EXITS = 1024  # paths that are counted, by the course that calls took or by guard and outcome; the latest ones


class Variant:
    """Programs of one signature for captured values of one shape: input numbering, path tree, program."""

    def __init__(self, leaves: Sequence[Any], siblings: Sequence[Variant] = ()) -> None:
        self.siblings = siblings  # all variants of the signature
        self.tree = PathTree()
        self.program: Any = None
        self.linker: Any = None
        self.arguments = [argument(leaf) for leaf in leaves]
        self.num_leaves = len(leaves)
        self.num_bytes = (0, 0)  # of the first of its arguments, as many as have been counted
        self.origins: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.constants: list[np.ndarray[Any, Any]] = []
        self.constant_numbers: dict[Any, int] = {}
        self.guards: list[Any] = []
        self.checked = (0, 0)  # how many guards and origins `check` and `read` are of
        self.check: Callable[[], bool] = lambda: True
        self.read: Callable[[], tuple[Any, ...]] = tuple
        self.seen: OrderedDict[Any, tuple[Recording, Any]] = OrderedDict()
        self.is_evident = False  # one trace of a path is enough
        self.exit: Any = None  # where the last call left the program: a guard's node, and the outcome
        self.exits: OrderedDict[Any, int] = OrderedDict()  # paths neither compiled nor waiting, and how often they were met
        self.waiting: dict[Any, int] = {}  # names of paths that are to be traced later, with how often they have been met since
        self.eager_seconds = 0.0  # of a processor, for the last call that ran eagerly
        self.results: Any = None
        self.declined = ""
        self.written: set[int] = set()  # leaves that the function writes into
        self.unpack: Any = None  # takes arguments to leaves, where they are nested
        self.odd_calls = 0  # whose leaves were not the arguments, or parts of them, as they are
        self.num_new = 0  # calls on paths that were not compiled
        self.num_traced = 0  # and those of them that were traced
        self.num_repeated = 0  # paths that were traced twice, with equal outcome
        self.literals: set[tuple[type, str]] = set()  # numbers written in the programs of those paths

    def number_input(self, tracer: Tracer) -> int:
        """The number of an input: argument leaf, captured value (appended where new), or a constant (negative)."""
        origin = tracer.params["origin"]
        if type(origin) is int:
            return origin
        if origin is None:
            value = np.ascontiguousarray(tracer.value)
            key = (value.dtype, value.shape, value.tobytes())
            known = self.constant_numbers.get(key)
            if known is None:
                known = self.constant_numbers[key] = ~len(self.constants)
                self.constants.append(value)
            return known
        known = self.numbers.get(origin)
        if known is None:
            known = self.numbers[origin] = self.num_leaves + len(self.origins)
            self.origins.append(origin)
            self.arguments.append(argument(normalise(tracer.value)))
        return known

    @property
    def nbytes(self) -> int:
        """Bytes of its arguments and captured values."""
        count, found = self.num_bytes
        if count < len(self.arguments):
            self.num_bytes = count, found = len(self.arguments), sum(argument.nbytes for argument in self.arguments)
        return found

    def may_trace(self, needed: int) -> bool:
        """Is a call on a new path to be traced?

        Not the first one that leaves the program where it does, if a trace of the second is enough: it costs what an eager call does.
        Where most paths are seen once, few are traced at all: a trace costs a few times what the call does.
        """
        if self.declined:
            return False
        self.num_new += 1
        if needed > 1 and (self.is_evident or self.num_repeated >= TRUSTED) and not self.left_before(self.exit):
            return False
        return self.spend()

    def wants(self, name: Any) -> bool:
        """Is a path to be traced later, that a call has just taken? Its name is its course, or where it left the program."""
        if self.declined:
            return False
        if name in self.waiting:
            self.waiting[name] += 1
            return False
        self.num_new += 1
        times = self.exits.pop(name, 0) + 1
        if times >= 2 and self.spend():
            return True
        if times >= OFTEN:
            self.num_traced += 1
            return True
        self._note_exit(name, times)
        return False

    def spend(self) -> bool:
        """May there be one more trace of a new path?"""
        if self.num_traced >= FREE + self.num_new / RARE + self.num_calls / WORTH:
            return False
        self.num_traced += 1
        return True

    def left_before(self, name: Any) -> bool:
        """Has a call left the program as the last one did? Notes how that was, and forgets it at the second."""
        if name is None:
            return True
        if name in self.exits:
            del self.exits[name]
            return True
        self._note_exit(name, 1)
        return False

    def _note_exit(self, name: Any, times: int) -> None:
        self.exits[name] = times
        if len(self.exits) > SEEN_EXITS:
            self.exits.popitem(last=False)

    def adopt(self, recording: Recording, table: TemplateTable) -> PathNode | None:
        """Attach a path that was seen once, if it is made of nothing new; its leaf, or None.

        That is so for another trip count of a known loop: its operations and numbers have been traced twice on other paths.
        """
        if self.num_repeated < TRUSTED or any(type(o) is tuple for o in recording.outputs):
            return None
        known = len(table.templates)
        leaf = self.tree.attach(recording)
        limb = leaf.limb
        analyse_limb(limb, table)
        if len(table.templates) == known and _literals(limb) <= self.literals:
            return leaf
        self.tree.detach(limb)
        return None

    def repeated(self, limb: Limb) -> None:
        """Note a path that two traces agreed on."""
        self.num_repeated += 1
        self.literals |= _literals(limb)

    @property
    def num_calls(self) -> int:
        """Compiled calls so far."""
        return sum(int(limb.nodes[-1].calls[0]) for limb in self.tree.limbs)

    def fits(self, traced: Traced) -> bool:
        """Does a new trace belong here: do this variant's guards hold, and have captured values the form that its programs read?"""
        if not self.check():
            return False
        found = {**dict(zip(self.origins, self.read(), strict=True)), **traced.captured}
        return all(
            value is not MISSING and self.arguments[self.numbers[origin]] == argument(normalise(value))
            for origin, value in found.items()
            if origin in self.numbers
        )

    def guard(self, guards: Sequence[Any]) -> None:
        """Add the guards of a trace to those that are checked at each call, where they say something new."""
        known = {(guard.origin, guard.how): guard for guard in self.guards}
        for guard in guards:
            if (before := known.get((guard.origin, guard.how))) is None or not before.says(guard):
                self.guards.append(guard)
                known[guard.origin, guard.how] = guard
        if self.checked != (len(self.guards), len(self.origins)):
            self.checked = len(self.guards), len(self.origins)
            self.check, self.read = compile_checks(self.guards, self.origins)


def _literals(limb: Limb) -> set[tuple[type, str]]:
    data = (d for node in limb.nodes for instance in node.instances for d in instance.literals)
    return {(type(d.value), repr(d.value)) for d in data}
