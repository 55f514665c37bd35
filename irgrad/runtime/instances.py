"""What of a path tree's node is needed, and its cut into instances of templates.

Where the recording knows records that are alike (`ir.recording.Block`), what is found for one of them holds for the others: liveness
goes by what is asked of a block, and its instance by which of its values are live. What lies between blocks is looked at record by record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from irgrad.ir.primitive import EFFECT, ELEMENTWISE, GUARD
from irgrad.ir.recording import INTERNED, SMALL, TINY, Block, Data, Record, is_dynamic
from irgrad.ir.template import Instance, Template, TemplateTable
from irgrad.runtime.turns import checkpoint

if TYPE_CHECKING:
    from irgrad.runtime.tree import PathNode

JOINED = 96  # records of all segments up to which
LARGE = 1 << 15  # arrays of this many elements have them in one template
_NONE: list[Any] = []  # never changed
CHUNK = 900  # and by count, as the last resort


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
        path, start, live = self.path, self.start, self.live
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
                        if path[operand].segment != record.segment:
                            self.exported[operand - start] = 1

    def block(self, block: Block) -> None:
        """`records` of a block, by what is asked of it."""
        first, last, kind, externals = block
        start, live, exported = self.start, self.live, self.exported
        asked = bytes(live[first - start : last - start])
        known = kind.memo.get(asked)
        if known is None:
            known = kind.memo[asked] = self.look(block, asked)
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
        for first, last in (*((b.first, b.last) for b in blocks), (self.end, self.end)):
            dead += [i for i in range(at, first) if path[i].carried and not live[i - start]]
            if live.find(0, first - start, last - start) >= 0:
                dead += [i for i in range(first, last) if path[i].carried and not live[i - start]]
            at = last
        if not dead:
            return
        alive = {path[i].segment for i in range(start, self.end) if live[i - start]}
        for root in [i for i in dead if path[i].segment in alive]:
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

    def revive(self, needed: list[int]) -> None:
        path, start, live = self.path, self.start, self.live
        for index in needed:
            live[index - start] = 1
            for operand in path[index].operands:
                if type(operand) is not int:
                    continue
                if operand < start:
                    self.uses.add(operand)
                elif path[operand].segment != path[index].segment:
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
        pieces = (range(at, first),) if found is not None else (range(at, first), range(first, last))
        for piece in pieces:
            for index in piece:
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
    for run in runs:
        checkpoint()
        yield _instance(marks, run, table) if isinstance(run, list) else _block_instance(marks, run[0], run[1], table)


class _Live:
    """Where in blocks of a kind, some of whose values are live, live operations are, and where slices whose offsets are data."""

    __slots__ = ("dynamic", "offsets")

    def __init__(self, path: Sequence[Record], first: int, live: bytes) -> None:
        self.offsets = [k for k, flag in enumerate(live) if flag and (op := path[first + k].op) is not None and not op.traits & GUARD]
        self.dynamic = _dynamic(path, first, self.offsets)


def _whole(marks: _Marks, block: Block, long: int) -> _Live | None:
    """What of a block is live, if it is all of its segment, and of a length that is not cut."""
    first, last, kind, _ = block
    path, start = marks.path, marks.start
    if first > start and path[first - 1].segment == path[first].segment:
        return None
    if last < marks.end and path[last].segment == path[last - 1].segment:
        return None
    live = bytes(marks.live[first - start : last - start])
    found: _Live | None = kind.memo.get((live, "places"))
    if found is None:
        found = kind.memo[live, "places"] = _Live(path, first, live)
    return found if 0 < len(found.offsets) <= long else None


def _instance(marks: _Marks, run: list[int], table: TemplateTable) -> Instance:
    instance = table.instance(marks.path, run)
    start, exported = marks.start, marks.exported
    instance.template.export([position for position, index in enumerate(run) if exported[index - start]])
    return instance


class _Form:
    """The instance of a block of some kind with some live values, in terms of the block."""

    __slots__ = ("count", "exports", "externals", "latest", "literals", "offsets", "starts", "template")

    def __init__(self, template: Template, block: Block, instance: Instance, path: Sequence[Record]) -> None:
        first = block.first
        self.template = template
        self.offsets = [value - first for value in instance.values]
        self.count = len(self.offsets) if self.offsets == list(range(len(self.offsets))) else 0  # of all records from the first on
        numbers = {x: n for n, x in enumerate(block.externals)}
        self.externals = [numbers[x] for x in instance.externals]
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


def _dynamic(path: Sequence[Record], first: int, offsets: Sequence[int]) -> list[int]:
    """The slices whose offsets are data."""
    found: list[int] = []
    for offset in offsets:
        record = path[first + offset]
        if "start" in record.params and is_dynamic(record.op, INTERNED.avals[path[record.operands[0]].aval]):  # type: ignore[arg-type]
            found.append(offset)
    return found


def _block_instance(marks: _Marks, block: Block, live: _Live, table: TemplateTable) -> Instance:
    path, first, externals = marks.path, block.first, block.externals
    pattern: tuple[int, ...] = ()
    if live.dynamic:
        places = [(record.operands[0], record.params["start"]) for record in [path[first + offset] for offset in live.dynamic]]
        if len(set(places)) < len(places):
            numbers: dict[Any, int] = {}
            pattern = tuple([numbers.setdefault(place, len(numbers)) for place in places])
    forms = table.forms.get(live)
    if forms is None:
        forms = table.forms[live] = {}
    form: _Form | None = forms.get(pattern)
    if form is None:
        instance = table.instance(path, [first + offset for offset in live.offsets])
        form = forms[pattern] = _Form(instance.template, block, instance, path)
    literals = [path[first + p].operands[k] for p, k in form.literals]
    if literals == form.latest:
        literals = form.latest  # one list for constants of the loop
    else:
        form.latest = literals
    made = Instance(
        form.template,
        range(first, first + form.count) if form.count else [first + offset for offset in form.offsets],
        [externals[n] for n in form.externals],
        literals,
        [path[first + p].params["start"] for p in form.starts] if form.starts else _NONE,
    )
    exported = bytes(marks.exported[first - marks.start : block.last - marks.start])
    if exported not in form.exports:
        form.exports.add(exported)
        form.template.export([position for position, offset in enumerate(form.offsets) if exported[offset]])
    return made


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
