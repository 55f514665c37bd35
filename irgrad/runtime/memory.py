"""Memory of a program: where each value is while its program is linked, and the arena that local buffers share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from irgrad.codegen.program import REF_BITS
from irgrad.ir.recording import Record
from irgrad.ir.template import Instance


@dataclass(slots=True)
class Place:
    """Where a value is: its reference (base and byte offset), strides in elements, and the arena buffer that it lives in."""

    ref: int
    strides: tuple[int, ...]
    buffer: Buffer | None = None


class Buffer:
    """A piece of the arena; free when its last value is dead. `holders` are the values in it (a number: one, or none where it is negative:
    a set for each takes more memory than all the rest); others are of the instance at hand.

    A `lent` one is memory of someone else, which the program may change.
    """

    __slots__ = ("holders", "lent", "offset", "size", "values")

    def __init__(self, offset: int, size: int, values: int = 0, holders: set[int] | int = -1, lent: bool = False) -> None:
        self.offset = offset
        self.size = size
        self.values = values
        self.holders: set[int] | int = holders
        self.lent = lent

    @property
    def ref(self) -> int:
        """Where it begins."""
        return self.offset << REF_BITS  # the arena is base 0

    def take(self, value: int) -> None:
        """Have one more value in it."""
        self.values += 1
        holders = self.holders
        if isinstance(holders, set):
            holders.add(value)
        else:
            self.holders = value if holders < 0 else {holders, value}

    def leave(self, value: int) -> None:
        """Have one value less."""
        self.values -= 1
        holders = self.holders
        if isinstance(holders, set):
            holders.discard(value)
        elif holders == value:
            self.holders = -1

    def others(self, value: int) -> list[int]:
        """The values in it but for one, in order."""
        holders = self.holders
        if isinstance(holders, set):
            return sorted(holders - {value})
        return [] if holders < 0 or holders == value else [holders]


def rounded(nbytes: int) -> int:
    """The size of a buffer."""
    return max(-(-nbytes // 64) * 64 if nbytes >= 64 else -(-nbytes // 16) * 16, 16)


@dataclass(slots=True)
class Use:
    """An instance while it is linked: where its external values are, as places, references of its slots, and arena buffers."""

    instance: Instance
    path: Sequence[Record]
    places: dict[int, Place]
    bound: list[Place]
    slots: list[int]
    buffers: list[Buffer | None]


class Arena:
    """Bump allocation with free lists by size."""

    def __init__(self) -> None:
        self.top = 0
        self.free: dict[int, list[int]] = {}

    def allocate(self, nbytes: int) -> Buffer:
        size = rounded(nbytes)
        known = self.free.get(size)
        if known:
            return Buffer(known.pop(), size)
        offset = self.top if size < 64 else -(-self.top // 64) * 64
        self.top = offset + size
        return Buffer(offset, size)

    def release(self, buffer: Buffer) -> None:
        if not buffer.lent:
            known = self.free.get(buffer.size)
            if known is None:
                self.free[buffer.size] = [buffer.offset]
            else:
                known.append(buffer.offset)

    def copy(self) -> Arena:
        made = Arena()
        made.top = self.top
        made.free = {size: list(offsets) for size, offsets in self.free.items()}
        return made


def copied(places: dict[int, Place]) -> dict[int, Place]:
    """Places of a branch of its own: siblings count the lives of shared buffers separately."""
    buffers: dict[Buffer, Buffer] = {}
    made: dict[int, Place] = {}
    for value, place in places.items():
        buffer = place.buffer
        if buffer is not None:
            if buffer not in buffers:
                holders = set(buffer.holders) if type(buffer.holders) is set else buffer.holders
                buffers[buffer] = Buffer(buffer.offset, buffer.size, buffer.values, holders, buffer.lent)
            buffer = buffers[buffer]
        made[value] = Place(place.ref, place.strides, buffer)
    return made


class States:
    """Where values are behind some nodes of a path tree, the latest that were asked for: a new path is not followed from its root."""

    MOST = 32

    def __init__(self) -> None:
        self.known: OrderedDict[Any, tuple[dict[int, Place], Arena]] = OrderedDict()

    def keep(self, node: Any, places: dict[int, Place], arena: Arena) -> None:
        self.known[node] = copied(places), arena.copy()
        if len(self.known) > self.MOST:
            self.known.popitem(last=False)

    def nearest(self, line: Sequence[Any]) -> tuple[int, dict[int, Place], Arena]:
        """How many nodes of a path need not be followed, and the state behind them."""
        for k in range(len(line) - 1, -1, -1):
            if line[k] in self.known:
                self.known.move_to_end(line[k])
                places, arena = self.known[line[k]]
                return k + 1, copied(places), arena.copy()
        return 0, {}, Arena()
