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
        self.check: Callable[[], bool] = lambda: True
        self.read: Callable[[], tuple[Any, ...]] = tuple
        self.seen: OrderedDict[Any, tuple[Recording, Any]] = OrderedDict()
        self.results: Any = None
        self.declined = ""

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
        self.check, self.read = compile_checks(self.guards, self.origins)
