"""What a jitted function keeps for one signature: the paths seen, their program, and what it reads and checks at each call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.captured import compile_checks
from irgrad.frontend.tracer import Tracer
from irgrad.ir.recording import Recording
from irgrad.runtime.signature import argument, normalise
from irgrad.runtime.tracing import Traced
from irgrad.runtime.tree import PathTree

CREDIT = 16.0  # traces of new paths before any of them has been seen again
REFUND = 2.0  # when a path is seen again: its two traces
GAIN = 0.125  # at each call that ran eagerly for lack of credit


class Variant:
    """Programs of one signature for captured values of one shape: input numbering, path tree, program."""

    def __init__(self, leaves: Sequence[Any]) -> None:
        self.tree = PathTree()
        self.program: Any = None
        self.arguments = [argument(leaf) for leaf in leaves]
        self.num_leaves = len(leaves)
        self.origins: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.constants: list[np.ndarray[Any, Any]] = []
        self.constant_numbers: dict[Any, int] = {}
        self.guards: list[Any] = []
        self.checked = (0, 0)  # how many guards and origins `check` and `read` are of
        self.check: Callable[[], bool] = lambda: True
        self.read: Callable[[], tuple[Any, ...]] = tuple
        self.seen: OrderedDict[Any, tuple[Recording, Any]] = OrderedDict()
        self.results: Any = None
        self.declined = ""
        self.credit = CREDIT

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

    def may_trace(self) -> bool:
        """Is a call on a new path to be traced? Where most paths are seen once, few are: a trace costs a few times what the call does."""
        if self.declined:
            return False
        if self.credit >= 1:
            self.credit -= 1
            return True
        self.credit += GAIN
        return False

    @property
    def num_calls(self) -> int:
        """Compiled calls so far."""
        return self.tree.root.num_calls if self.tree.root is not None else 0

    def fits(self, traced: Traced) -> bool:
        """Does a new trace belong here: do this variant's guards hold, and have captured values the form that its programs read?"""
        if not self.check():
            return False
        for origin, value in traced.captured.items():
            number = self.numbers.get(origin)
            if number is not None and self.arguments[number] != argument(normalise(value)):
                return False
        return True

    def guard(self, guards: Sequence[Any]) -> None:
        """Add the guards of a trace to those that are checked at each call."""
        self.guards = list(dict.fromkeys([*self.guards, *guards]))
        if self.checked != (len(self.guards), len(self.origins)):
            self.checked = len(self.guards), len(self.origins)
            self.check, self.read = compile_checks(self.guards, self.origins)
