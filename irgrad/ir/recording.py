"""A recording: one path of a program as compact records, without values.

Records are in program order; operands are record indices (int), `Static` numbers of rules, or literals of the user's
program in a `Data` box. `segment` says which run of operations a record belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.primitive import GUARD, Primitive

if TYPE_CHECKING:
    from irgrad.ir.blocks import Block


class Data:
    """A literal of the user's program with the dtype of the loop it enters; `key` tells literals of one trace apart."""

    __slots__ = ("dtype", "key", "value")

    def __init__(self, value: Any, dtype: np.dtype[Any], key: int) -> None:
        self.value = value
        self.dtype = dtype
        self.key = key


class Record:
    """One operation: see the module. `code` is the interned identity of op, params and aval; `carried` says that the next iteration of a
    loop would read the (small) value: it is computed in the last iteration as well, so that iterations are alike."""

    __slots__ = ("aval", "carried", "code", "op", "operands", "params", "segment", "site")

    def __init__(
        self,
        op: Primitive | None,
        operands: tuple[Any, ...],
        params: dict[str, Any],
        aval: int,
        segment: int,
        site: Any,
        code: int,
        carried: bool = False,
    ) -> None:
        self.op = op
        self.operands = operands
        self.params = params
        self.aval = aval
        self.segment = segment
        self.site = site
        self.code = code
        self.carried = carried


@dataclass
class Input:
    """Where an input comes from: `origin` is a leaf number of the arguments, a captured source, or None for a constant."""

    index: int
    origin: Any
    value: Any = None


@dataclass
class Recording:
    """One path: its records, inputs, and outputs (record indices, or constants of any type in a 1-tuple).

    `guards` are the indices of guards, `blocks` (in order) what is known to be alike.
    """

    records: Sequence[Record]
    inputs: list[Input]
    outputs: list[int | tuple[Any]]
    kinds: list[str] = field(default_factory=list)
    guards: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def outcomes(self) -> tuple[int, ...]:
        """What its guards saw."""
        return tuple([guard_outcome(self.records[index]) for index in self.guards])


class Interned:
    """Small positive integers for avals and operation identities, the same for one whole process."""

    def __init__(self) -> None:
        self.avals: list[Aval] = [Aval((), np.dtype(bool))]  # 0 is the aval of records that have none: guards
        self._aval_ids: dict[Any, int] = {}
        self._codes: dict[Any, int] = {}
        self._statics: dict[Any, int] = {}

    def aval(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        key = (shape, dtype)
        found = self._aval_ids.get(key)
        if found is None:
            found = self._aval_ids[key] = len(self.avals)
            self.avals.append(Aval(shape, dtype))
        return found

    def code(self, key: Any) -> int:
        found = self._codes.get(key)
        if found is None:
            found = self._codes[key] = len(self._codes) + 1
        return found

    def static(self, value: Any) -> int:
        array = np.asarray(value)
        key = (array.dtype, array.tobytes())
        found = self._statics.get(key)
        if found is None:
            found = self._statics[key] = len(self._statics)
        return found


INTERNED = Interned()
TINY = 8  # arrays up to this many elements live in scalar variables of a kernel
SMALL = 4096  # elementwise results of up to this many elements are computed for nobody, if that makes a last iteration like the others


def is_dynamic(op: Primitive, operand: Aval) -> bool:
    """Are the start offsets of this slice data to a kernel (of a tiny array they are text)?"""
    return op.name in DYNAMIC and operand.size > TINY


DYNAMIC = frozenset({"slice", "slice_add", "slice_update"})


def is_guard(record: Record) -> bool:
    return record.op is not None and bool(record.op.traits & GUARD)


def guard_outcome(record: Record) -> int:
    """What a guard saw, as the int64 that the driver compares: the bits of a float (0.0 is not -0.0, nan is itself), else the number."""
    value = record.params["value"]
    if record.params["kind"] == "bits":
        return int(np.float64(value).view(np.int64))
    return (int(value) + 2**63) % 2**64 - 2**63  # as uint64 converts
