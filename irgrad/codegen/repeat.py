"""Repeat kernels: straight-line kernels in a loop over their uses.

A loop of the user's program becomes row after row with one kernel, whose references advance by constant steps. `repeated` turns such rows
into one: the text of the kernel inside a loop over its uses, with the number of uses and the steps as data. What each use reads of the one
before it is carried in a variable, what all of them read is loaded once, and everything else is loaded and stored as before, so that
memory holds the same bits after every use. Nothing is reordered: a load is carried or hoisted only where the addresses of the rows show
that no store comes between.

An affine reference is where it was, plus a step a use. A *pair* alternates between two such places, as memory that is given back and
taken again does.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Table = np.ndarray[Any, np.dtype[np.int64]]

LEAST = 5  # uses from which a loop is written: ten steps of Runge-Kutta have as many kernels as ten thousand
BASE = 65535
_POINTER = re.compile(r"(\w+) = pointer_(\w+)\(p, (\d+)\)$")
_ROUTINE = re.compile(r"\w+ = size\(p, \d+\)$")
_LOAD = re.compile(r"(v\d+) = load\((p\d+), (\d+)\)$")
_STORE = re.compile(r"store\((p\d+), (\d+), (.+)\)$")
_VALUE = re.compile(r"v\d+ = (?!load)")
_CARRIED = frozenset({"float64", "float32", "int64", "complex128"})


@dataclass(frozen=True, slots=True)
class Access:
    """A load or store: the line it is, its pointer's number, byte offset, dtype name, and the text it loads into or stores."""

    line: int
    pointer: int
    offset: int
    dtype: str
    text: str
    is_store: bool


@dataclass(frozen=True, slots=True)
class Form:
    """A kernel without loops, taken apart. `itemsizes` has 0 for what is no pointer to memory."""

    head: tuple[str, ...]
    body: tuple[str, ...]
    names: tuple[str, ...]
    itemsizes: tuple[int, ...]
    accesses: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the text of a repeat kernel depends on: for each pointer "fixed", "affine" or "pair", and which of them advance together, as
    numbers (of fixed ones -1); loads that are done once; and loads that carry what a store left in the use before, as pairs of accesses."""

    kinds: tuple[str, ...]
    groups: tuple[int, ...]
    hoisted: tuple[int, ...]
    carried: tuple[tuple[int, int], ...]


@lru_cache(maxsize=2048)
def form(source: str) -> Form | None:
    """The parts of a kernel's text; None where it is not straight-line code on scalars."""
    head: list[str] = []
    body: list[str] = []
    names: dict[int, tuple[str, str]] = {}
    accesses: list[Access] = []
    for text in source.splitlines()[1:-1]:
        line = text.strip()
        pointer, load, store = _POINTER.match(line), _LOAD.match(line), _STORE.match(line)
        if pointer is not None:
            names[int(pointer[3])] = (pointer[1], pointer[2])
        elif load is not None or store is not None:
            found = load or store
            assert found is not None
            name = found[2] if load else found[1]
            number = int(name[1:])
            dtype = names[number][1]
            offset = int(found[3] if load else found[2]) * np.dtype(dtype).itemsize
            accesses.append(Access(len(body), number, offset, dtype, found[1] if load else found[3], load is None))
            body.append(line)
        elif _VALUE.match(line):
            body.append(line)
        elif not _ROUTINE.match(line):
            return None
        if pointer is not None or _ROUTINE.match(line):
            head.append(line)
    if not accesses:
        return None
    order = [names.get(k, ("", "")) for k in range(len(head))]
    itemsizes = tuple(np.dtype(dtype).itemsize if dtype else 0 for _, dtype in order)
    return Form(tuple(head), tuple(body), tuple(name for name, _ in order), itemsizes, tuple(accesses))


def segments(refs: Table) -> list[tuple[int, int]]:
    """Cut rows of references (uses x pointers) where the step from a use to the one after the next changes: ranges of uses."""
    count = len(refs)
    steps = refs[2:] - refs[:-2]
    changes = (np.flatnonzero((steps[1:] != steps[:-1]).any(axis=1)) + 1).tolist()
    found: list[tuple[int, int]] = []
    start = 0
    for change in changes:
        if change >= start + 1:  # the step from use `change` is another than that from the use before, which is of this segment
            found.append((start, change + 2))
            start = change + 2
    found.append((start, count))
    return [(a, b) for a, b in found if a < b]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Uses of a kernel that one repeat kernel can do: `steps` has for each pointer how many elements it is further at the use after the
    next, and at the next."""

    count: int
    pattern: Pattern
    steps: tuple[tuple[int, int], ...]


def repeated(source: str, refs: Table, apart: bool) -> tuple[str, list[int]] | None:
    """Text and sizes of the kernel that does all these uses (uses x pointers); its references are those of the first use.

    `refs` is one of the `segments`. `apart` says that different bases are different memory. None where there is no such kernel.
    """
    found = analysed(source, refs, apart)
    return None if found is None else (text(source, found.pattern), sizes_of(found, found.pattern))


def analysed(source: str, refs: Table, apart: bool) -> Repeat | None:
    """How a repeat kernel does these uses; see `repeated`."""
    parts = form(source)
    if parts is None or ((refs - refs[0]) & BASE).any():
        return None
    offsets = refs >> 16
    kinds: list[str] = []
    steps: list[tuple[int, int]] = []
    groups: list[Hashable] = []
    first, second = offsets[1] - offsets[0], offsets[2] - offsets[0]
    affine = (offsets[1:] - offsets[:-1] == first).all(axis=0)
    for k, width in enumerate(parts.itemsizes):
        both = int(second[k]), int(first[k])
        if any(both) and (not width or any(step % width for step in both)):
            return None
        kinds.append("pair" if not affine[k] else "affine" if any(both) else "fixed")
        steps.append((both[0] // width, both[1] // width) if any(both) else (0, 0))
        groups.append((*both, width, min(int(refs[0, k]) & BASE, 2)) if any(both) else None)
    hoisted: list[int] = []
    carried: list[tuple[int, int]] = []
    places = _Places(parts, refs, apart)
    for k, access in enumerate(parts.accesses):
        if access.is_store:
            continue
        if kinds[access.pointer] == "fixed" and not places.is_written(k):
            hoisted.append(k)
            continue
        store = places.source(k)
        if store is not None:
            carried.append((k, store))
    return Repeat(len(refs), Pattern(tuple(kinds), _numbered(groups), tuple(hoisted), tuple(carried)), tuple(steps))


def _numbered(groups: Iterable[Hashable]) -> tuple[int, ...]:
    """Numbers by first appearance; -1 for None."""
    numbers: dict[Hashable, int] = {None: -1}
    return tuple([numbers.setdefault(group, len(numbers) - 1) for group in groups])


def sizes_of(run: Repeat | None, pattern: Pattern) -> list[int]:
    """The sizes with which the kernel of a pattern does a run whose pattern it covers; without one, a single use."""
    sizes = [run.count if run is not None else 1]
    for k in _leaders(pattern):
        second, first = run.steps[k] if run is not None else (0, 0)
        sizes += [second, first] if pattern.kinds[k] == "pair" else [first]
    return sizes


def _leaders(pattern: Pattern) -> list[int]:
    """The first pointer of each group."""
    return [pattern.groups.index(group) for group in range(max(pattern.groups, default=-1) + 1)]


_KINDS = ("fixed", "affine", "pair")  # each is one of the next


def covers(pattern: Pattern, other: Pattern) -> bool:
    """Does the kernel of a pattern do the runs of another as well?"""
    kinds = all(_KINDS.index(a) >= _KINDS.index(b) for a, b in zip(pattern.kinds, other.kinds, strict=True))
    together = len(set(zip(pattern.groups, other.groups, strict=True))) == len(set(pattern.groups))
    return kinds and together and set(pattern.hoisted) <= set(other.hoisted) and set(pattern.carried) <= set(other.carried)


def join(a: Pattern, b: Pattern) -> Pattern:
    """The pattern that covers two."""
    kinds = tuple([max(pair, key=_KINDS.index) for pair in zip(a.kinds, b.kinds, strict=True)])
    groups = _numbered([pair if max(pair) >= 0 else None for pair in zip(a.groups, b.groups, strict=True)])
    hoisted = tuple([k for k in a.hoisted if k in b.hoisted])
    return Pattern(kinds, groups, hoisted, tuple([pair for pair in a.carried if pair in b.carried]))


def alone(source: str, pattern: Pattern, refs: Table, apart: bool) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which uses (rows of `refs`) the kernel of a pattern does one by one: those in which no store comes before a load that it moves."""
    parts = form(source)
    assert parts is not None
    bases, offsets = refs & BASE, refs >> 16
    fits = np.ones(len(refs), np.bool_)
    for load in [*pattern.hoisted, *[load for load, _ in pattern.carried]]:
        a = parts.accesses[load]
        for b in parts.accesses[:load]:
            if not b.is_store:
                continue
            gap = offsets[:, a.pointer] + a.offset - offsets[:, b.pointer] - b.offset
            one = bases[:, a.pointer] == bases[:, b.pointer]
            clash = one & (gap < parts.itemsizes[b.pointer]) & (gap > -parts.itemsizes[a.pointer])
            if not apart:
                clash |= ~one & (bases[:, a.pointer] > 1) & (bases[:, b.pointer] > 1)
            fits &= ~clash
    return fits


class _Places:
    """Where the accesses of some uses of a kernel are, and which of them meet."""

    def __init__(self, parts: Form, refs: Table, apart: bool) -> None:
        self.accesses = parts.accesses
        self.apart = apart
        self.bases = [int(refs[0, a.pointer]) & BASE for a in self.accesses]
        self.at = [(refs[:, a.pointer] >> 16) + a.offset for a in self.accesses]
        self.low = [int(min(at[0], at[1], at[-1], at[-2])) for at in self.at]
        self.high = [int(max(at[0], at[1], at[-1], at[-2])) for at in self.at]
        self.widths = [parts.itemsizes[a.pointer] for a in self.accesses]
        self.stores = [k for k, a in enumerate(self.accesses) if a.is_store]

    def may_meet(self, a: int, b: int) -> bool:
        """Can two accesses concern the same memory, in any two uses?"""
        if self.bases[a] != self.bases[b]:
            return not self.apart and self.bases[a] > 1 and self.bases[b] > 1  # the arena and the numbers are apart from all others
        return self.low[a] < self.high[b] + self.widths[b] and self.low[b] < self.high[a] + self.widths[a]

    def is_written(self, load: int) -> bool:
        return any(self.may_meet(load, store) for store in self.stores)

    def source(self, load: int) -> int | None:
        """The store whose value the load finds in the next use, every time; None where there is none, or another may come between."""
        dtype = self.accesses[load].dtype
        found: int | None = None
        for store in self.stores:
            if not self.may_meet(load, store):
                continue
            if self.bases[load] != self.bases[store]:
                return None
            width = self.widths[store], self.widths[load]
            if store < load and _meet(self.at[load] - self.at[store], *width):
                return None
            gap = self.at[load][1:] - self.at[store][:-1]
            if not gap.any() and self.accesses[store].dtype == dtype and dtype in _CARRIED:
                found = store
            elif _meet(gap, *width):
                found = None  # unless a later store is the source after all
        return found


def _meet(gap: Table, width: int, other: int) -> bool:
    """Do elements overlap anywhere, the second of which starts `gap` bytes behind the first?"""
    return bool(((gap < width) & (gap > -other)).any())


@lru_cache(maxsize=2048)
def text(source: str, pattern: Pattern) -> str:
    """The repeat kernel."""
    parts = form(source)
    assert parts is not None
    head = ["count = size(n, 0)", *parts.head]
    lines: list[str] = []
    place = 1
    for k in _leaders(pattern):
        group = pattern.groups[k]
        head.append(f"s{group} = size(n, {place})")
        step = f"k * s{group}"
        if pattern.kinds[k] == "pair":
            head.append(f"t{group} = size(n, {place + 1})")
            step = f"(k >> 1) * s{group} + (k & 1) * t{group}"
        place += 2 if pattern.kinds[k] == "pair" else 1
        lines.append(f"b{group} = {step}")
    index = {k: f"b{group}" for k, group in enumerate(pattern.groups) if group >= 0}
    carried = dict(pattern.carried)
    body = list(parts.body)
    for k, access in enumerate(parts.accesses):
        width = parts.itemsizes[access.pointer]
        name, near = parts.names[access.pointer], access.offset // width
        at = " + ".join(part for part in (index.get(access.pointer, ""), str(near) if near or access.pointer not in index else "") if part)
        if access.is_store:
            body[access.line] = f"store({name}, {at}, {access.text})"
        elif k in pattern.hoisted:
            head.append(f"{access.text} = load({name}, {near})")
            body[access.line] = ""
        elif k in carried:
            head.append(f"c{k} = load({name}, {near})")
            body[access.line] = f"{access.text} = c{k}"
        else:
            body[access.line] = f"{access.text} = load({name}, {at})"
    lines += [line for line in body if line]
    lines += [f"c{k} = {parts.accesses[store].text}" for k, store in pattern.carried]
    loop = "".join(f"        {line}\n" for line in lines)
    return "def kernel(p, n):\n" + "".join(f"    {line}\n" for line in head) + f"    for k in range(count):\n{loop}    return 0\n"
