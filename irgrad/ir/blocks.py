"""Blocks: stretches of a recording that are alike, whose records are made when somebody asks for one.

What blocks of a kind have in common is known once; a block by itself is a few short lists: the values that it takes from before, its
numbers, the offsets of its slices and its sites. Whoever goes by blocks never needs the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, overload

from irgrad.ir.primitive import Primitive
from irgrad.ir.recording import Data, Record

_new = object.__new__


class Kind:
    """What records that are alike have in common: the same operations on values of the same forms, wired in the same way.

    They may differ in numbers, in the offsets of slices and in which values they take from before. `memo` and `places` are for what is
    worked out of one of them and holds for all, by the flags of its values.
    """

    __slots__ = ("memo", "places")

    def __init__(self) -> None:
        self.memo: dict[bytes, Any] = {}
        self.places: dict[bytes, Any] = {}


class Entry(NamedTuple):
    """A record of a mould. Operands are ("own", k), ("external", n), ("literal", m) or ("is", static number); `params` is a number where
    they are the block's own, `site` the place of its site among those of the block."""

    op: Primitive
    operands: tuple[tuple[str, Any], ...]
    params: dict[str, Any] | int
    aval: int
    code: int
    site: int


class Mould:
    """What the records of a block are made of."""

    __slots__ = ("entries", "literals", "params")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self.literals = {(k, j): o[1] for k, e in enumerate(entries) for j, o in enumerate(e.operands) if o[0] == "literal"}
        self.params = tuple([e.params for e in entries])


class Block:
    """The records [first, last), a segment or a part of one, of a kind; `externals` are the values from before, by first appearance.

    With a mould there are no records yet: `literals` and `params` are the block's own by number, `sites` one for each place, or the first
    record of the block whose sites they are. `kept` are the places of values that the next iteration reads (`Record.carried`),
    `carried` those of the tiny ones.
    """

    __slots__ = ("carried", "externals", "first", "kept", "kind", "last", "literals", "mould", "params", "segment", "sites")
    op: Primitive | None = None  # on a tape, where it stands for values that nobody has
    operands: tuple[Any, ...] = ()

    def __init__(self, first: int, last: int, kind: Kind, externals: Sequence[int]) -> None:
        self.first = first
        self.last = last
        self.kind = kind
        self.externals = externals
        self.mould: Any = None
        self.segment = -1
        self.literals: tuple[Data, ...] = ()
        self.params: tuple[dict[str, Any], ...] = ()
        self.sites: tuple[Any, ...] | int = ()
        self.carried: Sequence[int] = ()
        self.kept: Sequence[int] = ()

    def records(self, known: Records) -> list[Record]:
        """Its records."""
        first, externals, sites, kept = self.first, self.externals, self.sites, self.kept
        made: list[Record] = []
        for k, entry in enumerate(self.mould.entries):
            operands: list[Any] = []
            for kind, what in entry.operands:
                if kind == "own":
                    operands.append(first + what)
                elif kind == "external":
                    operands.append(externals[what])
                else:
                    operands.append(self.literals[what] if kind == "literal" else what)
            params = self.params[entry.params] if type(entry.params) is int else entry.params
            site = sites[entry.site] if type(sites) is tuple else known[sites + entry.site].site  # type: ignore[operator]
            made.append(Record(entry.op, tuple(operands), params, entry.aval, self.segment, site, entry.code, k in kept))  # type: ignore[arg-type]
        return made

    def agrees(self, other: Block) -> bool:
        """Have two blocks of one mould, at one place, the same records?"""
        if self.mould is not other.mould or self.first != other.first or list(self.externals) != list(other.externals):
            return False
        mine, others = [p.get("start") for p in self.params], [p.get("start") for p in other.params]
        return mine == others and all(same_number(a.value, b.value) for a, b in zip(self.literals, other.literals, strict=True))


def same_number(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)


Item: TypeAlias = Record | Block


class Records(Sequence[Record]):
    """Records by index. `items` has a block in all of its places until one of its records is asked for."""

    __slots__ = ("items",)

    def __init__(self, items: list[Item]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if type(index) is slice:
            part = self.items[index]
            for item in part:
                if type(item) is Block:
                    self.write(item)
                    part = self.items[index]
            return part  # type: ignore[return-value]
        found = self.items[index]  # type: ignore[index]
        if type(found) is Record:
            return found
        self.write(found)  # type: ignore[arg-type]
        return self.items[index]  # type: ignore[index, return-value]

    def __iter__(self) -> Iterator[Record]:
        return (self[k] for k in range(len(self.items)))

    def write(self, block: Block) -> None:
        """Make the records of a block."""
        items, first = self.items, block.first
        for k, record in enumerate(block.records(self)):
            if items[first + k] is block:  # the beginning may be another path's, as far as a guard
                items[first + k] = record


def items_of(records: Sequence[Record]) -> Sequence[Item]:
    """What there is so far."""
    return records.items if type(records) is Records else records


def is_input(records: Sequence[Record], index: int) -> bool:
    """Is it the record of an input?"""
    item: Item = records.items[index] if type(records) is Records else records[index]
    return item.op is None and type(item) is Record


def inputs_of(records: Sequence[Record], start: int, stop: int) -> list[int]:
    """Those among some records that are inputs."""
    if type(records) is not Records:
        return [k for k, record in enumerate(records[start:stop], start) if record.op is None]
    found: list[int] = []
    while start < stop:
        item = records.items[start]
        if type(item) is Block:
            start = item.last
            continue
        if item.op is None:
            found.append(start)
        start += 1
    return found


def aval_at(records: Sequence[Record], index: int) -> int:
    """The aval of a record."""
    item: Item = records.items[index] if type(records) is Records else records[index]
    if type(item) is Record:
        return item.aval
    aval: int = item.mould.entries[index - item.first].aval  # type: ignore[union-attr]
    return aval


def joined(before: Sequence[Record], records: Sequence[Record], at: int) -> Sequence[Record]:
    """The first `at` of some records with the rest of others."""
    if type(before) is list is type(records):
        return before[:at] + records[at:]
    return Records([*items_of(before)[:at], *items_of(records)[at:]])
