"""What of a path tree's node is needed, and its cut into instances of templates.

Where the recording knows records that are alike (`ir.recording.Block`), what is found for one of them holds for the others: liveness
goes by what is asked of a block, and its instance by which of its values are live. What lies between blocks is looked at record by record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from irgrad.ir.blocks import Block, items_of
from irgrad.ir.primitive import EFFECT, ELEMENTWISE, GUARD
from irgrad.ir.recording import INTERNED, SMALL, TINY, Data, Record, is_dynamic
from irgrad.ir.template import Instance, Template, TemplateTable
from irgrad.runtime.turns import checkpoint

if TYPE_CHECKING:
    from irgrad.runtime.tree import PathNode

JOINED = 96  # records of all segments up to which
LARGE = 1 << 15  # arrays of this many elements have them in one template
_NONE: list[Any] = []  # never changed
_new = object.__new__
CHUNK = 900  # and by count, as the last resort
TURN = 16  # instances between checkpoints


def analyse_node(node: PathNode, table: TemplateTable) -> None:
    """Set `uses` and `instances` of a node from what later ones ask of it."""
    start, path = node.first, node.path
    needed = set(node.asked)
    if node.outputs is not None:
        needed |= {output for output in node.outputs if type(output) is int}
    marks = _Marks(path, start, node.end)
    for index in needed:
        marks.need(index)
    if node.guard is not None and type(node.guard.operands[0]) is int:
        marks.need(node.guard.operands[0])
    marks.asked = bytes(marks.exported)
    stop = node.end
    for block in reversed(node.blocks):
        if block.last < stop:
            marks.records(block.last, stop)
        marks.block(block)
        stop = block.first
    marks.records(start, stop)
    marks.revive_carried(node.blocks)
    node.uses = marks.uses
    node.instances = list(_instances(marks, node.blocks, table))


class _Marks:
    """Of the records from `start` on: which are live, and which of these are used in another segment or node."""

    def __init__(self, path: Sequence[Record], start: int, end: int) -> None:
        self.path = path
        self.items = items_of(path)
        self.start = start
        self.end = end
        self.live = bytearray(end - start)
        self.exported = bytearray(end - start)
        self.asked = b""  # what of them is used in other nodes
        self.uses: set[int] = set()  # values from before `start`

    def need(self, index: int) -> None:
        """A value is used from outside of its segment."""
        if index < self.start:
            self.uses.add(index)
        else:
            self.live[index - self.start] = self.exported[index - self.start] = 1

    def records(self, first: int, last: int) -> None:
        """Mark what the live ones among these records need."""
        path, items, start, live = self.path, self.items, self.start, self.live
        for index in range(last - 1, first - 1, -1):
            record = path[index]
            if record.op is None or not (live[index - start] or record.op.traits & (GUARD | EFFECT)):
                continue
            live[index - start] = 1
            for operand in record.operands:
                if type(operand) is int:
                    if operand < start:
                        self.uses.add(operand)
                    else:
                        live[operand - start] = 1
                        if items[operand].segment != record.segment:
                            self.exported[operand - start] = 1

    def block(self, block: Block) -> None:
        """`records` of a block, by what is asked of it."""
        first, last, externals, memo = block.first, block.last, block.externals, block.kind.memo
        start, live, exported = self.start, self.live, self.exported
        asked = bytes(live[first - start : last - start])
        known = memo.get(asked)
        if known is None:
            known = memo[asked] = self.look(block, asked)
        flags, used = known
        live[first - start : last - start] = flags
        for n in used:  # `need`
            index = externals[n]
            if index < start:
                self.uses.add(index)
            else:
                live[index - start] = exported[index - start] = 1

    def look(self, block: Block, asked: bytes) -> tuple[bytes, tuple[int, ...]]:
        """Which records of a block are live, and which external values they use."""
        first = block.first
        live = bytearray(asked)
        numbers = {x: n for n, x in enumerate(block.externals)}
        used: set[int] = set()
        for index in range(block.last - 1, first - 1, -1):
            record = self.path[index]
            if record.op is None or not (live[index - first] or record.op.traits & (GUARD | EFFECT)):
                continue
            live[index - first] = 1
            for operand in record.operands:
                if type(operand) is int:
                    if operand < first:
                        used.add(numbers[operand])
                    else:
                        live[operand - first] = 1
        return bytes(live), tuple(sorted(used))

    def revive_carried(self, blocks: Sequence[Block]) -> None:
        """Compute what a last iteration hands to no one, if it computes anything: it is then like the other iterations."""
        path, start, live = self.path, self.start, self.live
        dead: list[int] = []
        at = start
        for block in (*blocks, None):
            first, last = (self.end, self.end) if block is None else (block.first, block.last)
            dead += [i for i in range(at, first) if path[i].carried and not live[i - start]]
            if block is not None and live.find(0, first - start, last - start) >= 0:
                kept = [k for k in range(last - first) if path[first + k].carried] if block.mould is None else block.kept
                dead += [first + k for k in kept if not live[first + k - start]]
            at = last
        if not dead:
            return
        for root in [i for i in dead if self.is_alive(i)]:
            needed: list[int] = []
            stack, seen = [root], {root}
            while stack:
                index = stack.pop()
                if index < start or live[index - start]:
                    continue
                needed.append(index)
                stack += [o for o in path[index].operands if type(o) is int and o not in seen]
                seen.update(o for o in path[index].operands if type(o) is int)
            if all(_is_cheap(path[index]) for index in needed):
                self.revive(needed)

    def is_alive(self, index: int) -> bool:
        """Is anything of the segment of a value live?"""
        items, segment, first, last = self.items, self.items[index].segment, index, index + 1
        while first > self.start and items[first - 1].segment == segment:
            first -= 1
        while last < self.end and items[last].segment == segment:
            last += 1
        return self.live.find(1, first - self.start, last - self.start) >= 0

    def revive(self, needed: list[int]) -> None:
        path, start, live = self.path, self.start, self.live
        for index in needed:
            live[index - start] = 1
            for operand in path[index].operands:
                if type(operand) is not int:
                    continue
                if operand < start:
                    self.uses.add(operand)
                elif self.items[operand].segment != self.items[index].segment:
                    self.exported[operand - start] = 1


def _is_cheap(record: Record) -> bool:
    """A few numbers, or a pass over a small array."""
    op, size = record.op, INTERNED.avals[record.aval].size
    return size <= TINY or op is None or (size <= SMALL and bool(op.traits & ELEMENTWISE))


# ---- runs ----


def _instances(marks: _Marks, blocks: Sequence[Block], table: TemplateTable) -> Iterator[Instance]:
    """The instances of a node in order."""
    path, start, live = marks.path, marks.start, marks.live
    if live.count(1) <= JOINED:
        blocks = ()
    runs: list[tuple[Block, _Live] | list[int]] = []
    current: list[int] = []
    segment: Any = None
    at = start
    for block in (*blocks, None):
        first, last = (marks.end, marks.end) if block is None else (block.first, block.last)
        found = _whole(marks, block, table.long) if block is not None else None
        for index in range(at, last if found is None else first):
            record = path[index]
            if record.op is None or not live[index - start] or record.op.traits & GUARD:
                continue
            if record.segment != segment:
                if current:
                    runs += _cut(path, current, table.long)
                current, segment = [], record.segment
            current.append(index)
        if block is not None and found is not None:
            if current:
                runs += _cut(path, current, table.long)
                current = []
            segment = None
            runs.append((block, found))
        at = last
    if current:
        runs += _cut(path, current, table.long)
    lists = [run for run in runs if type(run) is list]
    if len(lists) == len(runs) and _is_heavy(path, lists):
        runs = [[index for run in lists for index in run]]
        marks.exported[:] = marks.asked
    for run in runs:  # parts of a segment
        if type(run) is list:
            for index in run:
                for operand in path[index].operands:
                    if type(operand) is int and start <= operand < run[0]:
                        marks.exported[operand - start] = 1
    for k, run in enumerate(runs):
        if not k % TURN:
            checkpoint()
        yield _instance(marks, run, table) if isinstance(run, list) else _block_instance(marks, run[0], run[1], table)


class _Live:
    """Where in blocks of a kind, some of whose values are live, live operations are, and where slices whose offsets are data.

    `operands` are those of the latter in one of the blocks; `shared` are groups with the same: equal offsets of these are one number.
    `slots` are the params of moulded blocks that have the offsets, None where a mould has some of them, or none was seen.
    """

    __slots__ = ("dynamic", "has_mould", "moulded", "offsets", "operands", "shared", "slots")

    def __init__(self, path: Sequence[Record], block: Block, live: bytes) -> None:
        first = block.first
        self.offsets = [k for k, flag in enumerate(live) if flag and (op := path[first + k].op) is not None and not op.traits & GUARD]
        self.dynamic = _dynamic(path, first, self.offsets)
        self.operands = [path[first + offset].operands[0] for offset in self.dynamic]
        groups = [[o for o, operand in zip(self.dynamic, self.operands, strict=True) if operand == each] for each in set(self.operands)]
        self.shared = [group for group in groups if len(group) > 1]
        self.moulded = object()  # for forms of moulded blocks
        self.slots: list[int] | None = None
        self.has_mould = block.mould is not None
        if self.has_mould:
            own = [block.mould.params[offset] for offset in self.dynamic]
            self.slots = list(dict.fromkeys(own)) if all(type(p) is int for p in own) else None


def _whole(marks: _Marks, block: Block, long: int) -> _Live | None:
    """What of a block is live, if it is all of its segment, and of a length that is not cut."""
    first, last, items, start = block.first, block.last, marks.items, marks.start
    if first > start and items[first - 1].segment == items[first].segment:
        return None
    if last < marks.end and items[last].segment == items[last - 1].segment:
        return None
    places, live = block.kind.places, bytes(marks.live[first - start : last - start])
    found: _Live | None = places.get(live)
    if found is None or (block.mould is not None and not found.has_mould):
        found = places[live] = _Live(marks.path, block, live)
    return found if 0 < len(found.offsets) <= long else None


def _instance(marks: _Marks, run: list[int], table: TemplateTable) -> Instance:
    instance = table.instance(marks.path, run)
    start, exported = marks.start, marks.exported
    instance.template.export([position for position, index in enumerate(run) if exported[index - start]])
    return instance


class _Form:
    """The instance of a block of some kind with some live values, in terms of the block."""

    __slots__ = ("count", "exports", "externals", "has_all", "latest", "literals", "offsets", "own", "slots", "starts", "template")

    def __init__(self, template: Template, block: Block, instance: Instance, path: Sequence[Record]) -> None:
        first = block.first
        self.template = template
        self.offsets = [value - first for value in instance.values]
        self.count = len(self.offsets) if self.offsets == list(range(len(self.offsets))) else 0  # of all records from the first on
        numbers = {x: n for n, x in enumerate(block.externals)}
        self.externals = [numbers[x] for x in instance.externals]
        self.has_all = self.externals == list(range(len(block.externals)))
        found: dict[Any, tuple[int, int]] = {}
        for value in instance.values:
            for k, o in enumerate(path[value].operands):
                if type(o) is Data:
                    found.setdefault(o.key, (value - first, k))
        self.literals = [found[data.key] for data in instance.literals]
        self.starts: list[int] = []
        patterns: set[Any] = set()
        for offset in _dynamic(path, first, self.offsets):
            record = path[first + offset]
            key = (record.operands[0], record.params["start"])
            if key not in patterns:
                patterns.add(key)
                self.starts.append(offset)
        self.exports: set[bytes] = set()
        self.latest: list[Data] = []  # the literals of the last instance
        self.own: tuple[Data, ...] | None = None  # all those of its block
        self.slots: list[int] | None = None  # the places of `starts` among the offsets of a moulded block


def _dynamic(path: Sequence[Record], first: int, offsets: Sequence[int]) -> list[int]:
    """The slices whose offsets are data."""
    found: list[int] = []
    for offset in offsets:
        record = path[first + offset]
        if "start" in record.params and is_dynamic(record.op, INTERNED.avals[path[record.operands[0]].aval]):  # type: ignore[arg-type]
            found.append(offset)
    return found


def _block_instance(marks: _Marks, block: Block, live: _Live, table: TemplateTable) -> Instance:
    slots = live.slots
    if slots is None or block.mould is None:
        return _written_instance(marks, block, live, table)
    own = block.params
    starts = [own[k]["start"] for k in slots] if slots else _NONE
    pattern: tuple[int, ...] = ()
    if slots and len(set(starts)) < len(starts):
        numbers: dict[Any, int] = {}
        pattern = tuple([numbers.setdefault(start, len(numbers)) for start in starts])
    form = _form(marks, block, live, table, live.moulded, pattern)
    if block.literals == form.own:
        literals = form.latest  # one list for constants of the loop
    else:
        form.own, places = block.literals, block.mould.literals
        literals = form.latest = [block.literals[places[place]] for place in form.literals]
    if form.starts:
        params = block.mould.params
        if form.slots is None:
            form.slots = [slots.index(params[offset]) for offset in form.starts]
        starts = [starts[k] for k in form.slots]
    return _made(marks, block, form, literals, starts if form.starts else _NONE)


def _written_instance(marks: _Marks, block: Block, live: _Live, table: TemplateTable) -> Instance:
    """The instance of a block that goes by its records."""
    path, first = marks.path, block.first
    pattern: tuple[int, ...] = ()
    if any(len(set(_starts(path, block, group))) < len(group) for group in live.shared):
        numbers: dict[Any, int] = {}
        places = zip(live.operands, _starts(path, block, live.dynamic), strict=True)
        pattern = tuple([numbers.setdefault(place, len(numbers)) for place in places])
    form = _form(marks, block, live, table, live, pattern)
    literals = [path[first + p].operands[k] for p, k in form.literals]
    if literals == form.latest:
        literals = form.latest
    else:
        form.latest, form.own = literals, None
    return _made(marks, block, form, literals, _starts(path, block, form.starts) if form.starts else _NONE)


def _form(marks: _Marks, block: Block, live: _Live, table: TemplateTable, key: Any, pattern: tuple[int, ...]) -> _Form:
    forms = table.forms.get(key)
    if forms is None:
        forms = table.forms[key] = {}
    form: _Form | None = forms.get(pattern)
    if form is None:
        instance = table.instance(marks.path, [block.first + offset for offset in live.offsets])
        form = forms[pattern] = _Form(instance.template, block, instance, marks.path)
    return form


def _made(marks: _Marks, block: Block, form: _Form, literals: list[Data], starts: list[Any]) -> Instance:
    first, externals = block.first, block.externals
    made = _new(Instance)  # slot by slot: a call of the class costs 0.1 us more
    made.template = form.template
    made.values = range(first, first + form.count) if form.count else [first + offset for offset in form.offsets]
    made.externals = list(externals) if form.has_all else [externals[n] for n in form.externals]
    made.literals = literals
    made.starts = starts
    at = first - marks.start
    exported = bytes(marks.exported[at : at + block.last - first])
    if exported not in form.exports:
        form.exports.add(exported)
        form.template.export([position for position, offset in enumerate(form.offsets) if exported[offset]])
    return made


def _starts(path: Sequence[Record], block: Block, offsets: Sequence[int]) -> list[Any]:
    """Where slices of a block begin."""
    if block.mould is None:
        return [path[block.first + offset].params["start"] for offset in offsets]
    own, params = block.params, block.mould.params
    return [(own[p] if type(p := params[offset]) is int else p)["start"] for offset in offsets]


def _is_heavy(path: Sequence[Record], runs: list[list[int]]) -> bool:
    """Are these a few operations on large arrays? Then passes over memory cost more than a kernel for this number of iterations."""
    if not 1 < len(runs) <= sum(map(len, runs)) <= JOINED:
        return False
    return any(INTERNED.avals[path[index].aval].size >= LARGE for run in runs for index in run)


def _cut(path: Sequence[Record], run: list[int], long: int) -> list[list[int]]:
    if len(run) <= long:
        return [run]
    chains = [_chain(path[index].site) for index in run]
    depth = 0
    shortest = min(map(len, chains))
    while depth < shortest and len({id(chain[depth]) for chain in chains}) == 1:
        depth += 1
    parts: list[list[int]] = []
    last: Any = run
    for index, chain in zip(run, chains, strict=True):
        here = chain[depth] if depth < len(chain) else None
        if here is not last:
            parts.append([])
            last = here
        parts[-1].append(index)
    if len(parts) == 1:
        return [run[i : i + CHUNK] for i in range(0, len(run), CHUNK)]
    joined: list[list[int]] = []
    for part in parts:  # a few operations between two calls go with the call before them
        if joined and len(part) < 4:
            joined[-1].extend(part)
        else:
            joined.append(part)
    if len(joined) == 1:
        return [run[i : i + CHUNK] for i in range(0, len(run), CHUNK)]
    return [piece for part in joined for piece in _cut(path, part, long)]


def _chain(site: Any) -> list[Any]:
    chain: list[Any] = []
    activation = site[0] if site is not None else None
    while activation is not None:
        chain.append(activation)
        activation = activation.parent
    chain.reverse()
    return chain
