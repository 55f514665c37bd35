"""Memory in the lanes of vectors: the writer of `irgrad.codegen.llvm.lanes` with reads and writes.

Elements side by side move as vectors, others are gathered and scattered, or moved with their neighbours (`groups`).
"""

from __future__ import annotations

from irgrad.codegen.llvm.groups import NEAR, Group, near_groups, put_together, taken_apart
from irgrad.codegen.llvm.kinds import Serial, Unsupported
from irgrad.codegen.llvm.lanes import Lanes, Lanewise, Many, Place, Step, is_varying, is_whole, lanes_of
from irgrad.codegen.llvm.writer import I1, I32, I64, POINTER, Type, Value, Writer, pair_of

SAFE = 1  # in lanes behind the end of a loop: a value that few functions mind


class Access:
    """A read or write of memory in a loop, of one element (without a place) or of one for each iteration."""

    __slots__ = ("is_store", "note", "place", "pointer")

    def __init__(self, is_store: bool, note: str, pointer: str, place: Place | None = None) -> None:
        self.is_store = is_store
        self.note = note
        self.pointer = pointer
        self.place = place

    def meets(self, other: Access, together: float) -> bool:
        """May two accesses of different iterations be of one element, `together` of which are written as one?"""
        p, q = self.place, other.place
        if p is not None and q is not None and (p.row, p.step.text) == (q.row, q.step.text):
            near, step = abs(p.offset - q.offset), abs(int(p.step.text)) if is_whole(p.step) else 0
            if near == 0 or (step and (near % step or near >= together * step)):
                return False  # each iteration has its own, or one that comes much later
        if self.note and other.note:
            return self.note == other.note
        on_stack = self.pointer.startswith("%s") or other.pointer.startswith("%s")
        return not on_stack or self.pointer == other.pointer


class Near(Exception):
    """Elements of the body are near one another: write it again with these groups."""

    def __init__(self, groups: list[Group | None]) -> None:
        super().__init__()
        self.groups = groups


class LaneWriter(Lanewise):
    """Writes the body of a loop for `count` iterations at once, any number of times, with what it reads and writes."""

    def __init__(self, around: Writer, count: int, bits: int, is_long: bool = False, is_chain: bool = False) -> None:
        super().__init__(around, count, bits, is_long, is_chain)
        self.accesses: list[Access] = []
        self.loaded: dict[str, Place] = {}  # vectors as they are in memory
        self.stored: list[tuple[Value, Type, Place]] = []
        self.groups: list[Group | None] | None = None  # of each access to elements near one another, once they are known
        self.scatters = False  # may it write elements that are an unknown distance apart?
        self._loads: dict[str, tuple[str, Value]] = {}
        self._near: list[tuple[str, int, int]] = []  # these accesses: what they are to, offset, step
        self._waiting: dict[str, dict[int, tuple[str, Lanes, Place, str]]] = {}  # elements of groups, to be written together
        self.left = ""  # how many iterations are in the mask, or more than there are lanes

    def begin(self, first: str, mask: str = "") -> None:
        super().begin(first, mask)
        self.stored, self._loads, self._near, self._waiting = [], {}, [], {}

    # -- places --

    def element(self, type_: Type, pointer: Value, index: Value) -> Value:
        if not is_varying(index):
            return super().element(type_, pointer, index)
        if not isinstance(index, Step) or (index.step.text != "1" and type_.width < 32):
            raise Unsupported("elements that are anywhere")
        row = pointer if index.base.text == "0" else super().element(type_, pointer, index.base)
        return Place(pointer.text, row.text, index.offset, index.step)

    def _address(self, type_: Type, place: Place, start: str = "") -> str:
        """Where the elements are: one address, or a vector of them; `start` is another first element than `turn` is."""
        first, step = start or self.turn.text, place.step
        if not place.is_dense:
            first = self.each(f"mul i64 {first}, {step.text}", I64).name
        at = self.each(f"getelementptr {type_.name}, ptr {place.row}, i64 {first}", POINTER).name
        if place.offset:
            at = self.each(f"getelementptr {type_.name}, ptr {at}, i64 {place.offset}", POINTER).name
        if place.is_dense:
            return at
        whole = lanes_of(I64, self.lanes).name
        apart = self.emit(f"mul {whole} {self.iota(I64)}, {self.many(step)}", I64).text
        return self.each(f"getelementptr {type_.name}, ptr {at}, {whole} {apart}", POINTER).name

    def load(self, type_: Type, pointer: Value, note: str = "") -> Value:
        if not isinstance(pointer, Place):
            self.accesses.append(Access(False, note, pointer.text))
            return super().load(type_, pointer, note)
        self.accesses.append(Access(False, note, pointer.pointer, pointer))
        key, group = f"{pointer.key} {type_.name}", self._group(False, type_, pointer)
        known = self._loads.get(key)
        if known is not None:
            return known[1]
        self.flush(note)
        whole = self.of(Value(type_, ""))
        if group is not None:
            made = self._taken(group, whole, pointer, note)
        elif self.mask or not pointer.is_dense:
            made = self._masked_load(whole, self._address(type_, pointer), self._mask(), note, pointer.is_dense)
        else:
            made = self._read(f"load {whole.name}, ptr {self._address(type_, pointer)}, align {type_.width // 8}{note}", whole)
        self._loads[key] = note, made
        if pointer.is_dense:
            self.loaded[made.name] = pointer
        return made

    def _masked_load(self, whole: Lanes, address: str, mask: str, note: str, is_dense: bool) -> Many:
        name, at = self._masked("load" if is_dense else "gather", whole, is_dense)
        masks = f"<{self.lanes} x i1>"
        self.module.declare(f"@{name}", f"{whole.name} @{name}({at}, i32 immarg, {masks}, {whole.name})")
        rest = f"i32 {whole.width // 8}, {masks} {mask}, {whole.name} {self.many(whole(SAFE))}"
        return self._read(f"call {whole.name} @{name}({at} {address}, {rest}){note}", whole)

    def _masked(self, word: str, whole: Lanes, is_dense: bool) -> tuple[str, str]:
        """The name of an access under a mask, and the type of its addresses."""
        name = f"llvm.masked.{word}.v{self.lanes}{'f' if whole.is_float else 'i'}{whole.width}"
        return (f"{name}.p0", "ptr") if is_dense else (f"{name}.v{self.lanes}p0", f"<{self.lanes} x ptr>")

    def _mask(self) -> str:
        return self.mask or f"<{', '.join(['i1 true'] * self.lanes)}>"

    def _read(self, text: str, type_: Lanes) -> Many:
        self._known.pop(text, None)
        return self.each(text, type_)

    def store(self, value: Value, pointer: Value, note: str = "") -> None:
        if not isinstance(pointer, Place):
            raise Unsupported("one place for all iterations")
        if not (pointer.is_dense or is_whole(pointer.step) or (note and self.scatters)):
            raise Serial("writes that are not side by side")  # and perhaps in one place
        self.accesses.append(Access(True, note, pointer.pointer, pointer))
        whole, text = self.of(value), self.many(value)
        self.stored.append((value, whole.element, pointer))
        group = self._group(True, whole.element, pointer)
        if group is not None:
            key = f"{pointer.row} {group.first} {group.step} {whole.name}"
            elements = self._waiting.setdefault(key, {})
            elements[pointer.offset] = text, whole, pointer, note
            if len(elements) == group.step:
                self._put(group, self._waiting.pop(key))
        else:
            self._write(text, whole, pointer, note)
        self._forget(note)

    def _write(self, text: str, whole: Lanes, place: Place, note: str) -> None:
        self._move_out(text, whole, self._address(whole.element, place), self.mask, note, place.is_dense)

    def _move_out(self, text: str, whole: Lanes, address: str, mask: str, note: str, is_dense: bool) -> None:
        width = whole.width // 8
        if mask or not is_dense:
            name, at = self._masked("store" if is_dense else "scatter", whole, is_dense)
            masks = f"<{self.lanes} x i1>"
            self.module.declare(f"@{name}", f"void @{name}({whole.name}, {at}, i32 immarg, {masks})")
            rest = f"i32 {width}, {masks} {mask or self._mask()}"
            self.lines.append(f"  call void @{name}({whole.name} {text}, {at} {address}, {rest}){note}")
        else:
            self.lines.append(f"  store {whole.name} {text}, ptr {address}, align {width}{note}")

    # -- elements near one another --

    def _group(self, is_store: bool, type_: Type, place: Place) -> Group | None:
        """The elements that an access moves with its own."""
        if not is_whole(place.step) or not 1 < int(place.step.text) <= NEAR // type_.width:
            return None
        number = len(self._near)
        self._near.append((f"{is_store} {place.row} {place.step.text} {type_.name}", place.offset, int(place.step.text)))
        return self.groups[number] if self.groups else None

    def find_groups(self) -> None:
        """Raise Near where the body written last moves elements near one another, and was to find that out."""
        if self.groups is None and self._near:
            found = near_groups(self._near)
            if any(found):
                raise Near(found)

    def _taken(self, group: Group, whole: Lanes, place: Place, note: str) -> Many:
        """The elements of a place, out of the vectors that hold a group."""
        count = group.count(self.lanes)
        starts = range(0, count, self.lanes)
        vectors = [self._vector(group, k, min(self.lanes, count - start), whole, place, note) for k, start in enumerate(starts)]
        made = vectors[0]
        for vector, mask in zip(vectors[1:], taken_apart(place.offset - group.first, count, group.step, self.lanes), strict=True):
            made = self._shuffled(made, vector, whole, mask)
        return made

    def _vector(self, group: Group, number: int, count: int, whole: Lanes, place: Place, note: str) -> Many:
        """One of the vectors that hold a group: of the last one its first elements, so that nothing behind the group is read."""
        key = f"{place.row} {group.first} {group.last} {group.step} {whole.name} {number}"
        known = self._loads.get(key)
        if known is None:
            at = self._beside(group, number, whole, place)
            if self.mask:
                made = self._masked_load(whole, at, self._left(group, number), note, True)
            elif count == self.lanes:
                made = self._read(f"load {whole.name}, ptr {at}, align {whole.width // 8}{note}", whole)
            else:
                mask = f"<{', '.join(['i1 true'] * count + ['i1 false'] * (self.lanes - count))}>"
                made = self._masked_load(whole, at, mask, note, True)
            known = self._loads[key] = note, made
        return known[1]  # type: ignore[return-value]

    def _left(self, group: Group, number: int) -> str:
        """The elements of one of the vectors that hold a group, as a mask: those of the iterations in this one's mask."""
        count = self.each(f"mul i32 {self.left}, {group.step}", I32).name
        behind = group.step - (group.last - group.first + 1)
        end = self.each(f"sub i32 {count}, {behind + number * self.lanes}", I32).name
        return self._below(end, "slt")

    def _beside(self, group: Group, number: int, whole: Lanes, place: Place) -> str:
        """The address of one of the vectors that hold a group."""
        first = Place(place.pointer, place.row, group.first + number * self.lanes, I64(1))
        return self._address(whole.element, first, self.each(f"mul i64 {self.turn.text}, {group.step}", I64).name)

    def _shuffled(self, a: Many, b: Many, whole: Lanes, mask: str) -> Many:
        return self.each(f"shufflevector {whole.name} {a.name}, {whole.name} {b.name}, {mask}", whole)

    def _put(self, group: Group, elements: dict[int, tuple[str, Lanes, Place, str]]) -> None:
        """Write the elements of a group, all of which are there."""
        _, whole, place, note = elements[group.first]
        parts = [Many(whole, elements[group.first + k][0]) for k in range(group.step)]
        for number in range(group.step):
            made = parts[0]
            for part, mask in zip(parts[1:], put_together(number, group.step, self.lanes), strict=True):
                made = self._shuffled(made, part, whole, mask)
            at = self._beside(group, number, whole, place)
            self._move_out(made.name, whole, at, self._left(group, number) if self.mask else "", note, True)

    def flush(self, note: str = "") -> None:
        """Write elements of groups that are not complete, where a read with a note may see them: without one, all."""
        for elements in list(self._waiting.values()):
            if any(not note or not other or note == other for _, _, _, other in elements.values()):
                for text, whole, place, other in elements.values():
                    self._write(text, whole, place, other)
                elements.clear()

    # -- complex numbers --

    def pair(self, type_: Type, pointer: Value, index: Value) -> tuple[Value, Value]:
        if is_varying(index):
            raise Unsupported("addresses of complex numbers")
        return super().pair(type_, pointer, index)

    def _pairs(self, type_: Type, pointer: Value, index: Value) -> Place:
        """Where the first of complex numbers is."""
        place = self.element(pair_of(type_), pointer, index)
        assert isinstance(place, Place)
        return place

    def _part(self, place: Place, k: int) -> Place:
        """Where one part of complex numbers is that are not side by side."""
        return Place(place.pointer, place.row, 2 * place.offset + k, self._product(place.step, I64(2)))

    def load_pair(self, type_: Type, pointer: Value, index: Value, note: str = "") -> tuple[Value, Value]:
        """Both parts of consecutive complex numbers, which are read together and taken apart."""
        if not is_varying(index):
            self.accesses.append(Access(False, note, pointer.text))
            return super().load_pair(type_, pointer, index, note)
        place = self._pairs(type_, pointer, index)
        if not place.is_dense:
            return self.load(type_, self._part(place, 0), note), self.load(type_, self._part(place, 1), note)
        self.accesses.append(Access(False, note, place.pointer, place))
        whole, both = lanes_of(type_, self.lanes), lanes_of(type_, 2 * self.lanes).name
        keys = [f"{place.key} {type_.name} {k}" for k in range(2)]
        if keys[1] not in self._loads:
            self.flush(note)
            made, at = self._new(), self._address(pair_of(type_), place)
            if self.mask:
                name, masks = self._masked_pairs("load", type_), f"<{2 * self.lanes} x i1>"
                self.module.declare(f"@{name}", f"{both} @{name}(ptr, i32 immarg, {masks}, {both})")
                safe = f"<{', '.join([f'{type_.name} {type_(SAFE).text}'] * (2 * self.lanes))}>"
                made_by = f"call {both} @{name}(ptr {at}, i32 {type_.width // 8}, {masks} {self._mask_of_pairs()}, {both} {safe})"
                self.lines.append(f"  {made} = {made_by}{note}")
            else:
                self.lines.append(f"  {made} = load {both}, ptr {at}, align {type_.width // 8}{note}")
            for k, key in enumerate(keys):
                chosen = ", ".join(f"i32 {2 * i + k}" for i in range(self.lanes))
                part = self.each(f"shufflevector {both} {made}, {both} poison, <{self.lanes} x i32> <{chosen}>", whole)
                self._loads[key] = note, part
        return self._loads[keys[0]][1], self._loads[keys[1]][1]

    def store_pair(self, parts: tuple[Value, Value], pointer: Value, index: Value, note: str = "") -> None:
        if not is_varying(index):
            raise Unsupported("one place for all iterations")
        type_ = self.of(parts[0]).element
        place = self._pairs(type_, pointer, index)
        if not place.is_dense:
            for k, part in enumerate(parts):
                self.store(part, self._part(place, k), note)
            return
        self.accesses.append(Access(True, note, place.pointer, place))
        one, both = self.of(parts[0]).name, lanes_of(type_, 2 * self.lanes).name
        re, im, made, at = *map(self.many, parts), self._new(), self._address(pair_of(type_), place)
        order = ", ".join(f"i32 {i}, i32 {i + self.lanes}" for i in range(self.lanes))
        self.lines.append(f"  {made} = shufflevector {one} {re}, {one} {im}, <{2 * self.lanes} x i32> <{order}>")
        if self.mask:
            name, masks = self._masked_pairs("store", type_), f"<{2 * self.lanes} x i1>"
            self.module.declare(f"@{name}", f"void @{name}({both}, ptr, i32 immarg, {masks})")
            mask = self._mask_of_pairs()
            self.lines.append(f"  call void @{name}({both} {made}, ptr {at}, i32 {type_.width // 8}, {masks} {mask}){note}")
        else:
            self.lines.append(f"  store {both} {made}, ptr {at}, align {type_.width // 8}{note}")
        self._forget(note)

    def _masked_pairs(self, word: str, type_: Type) -> str:
        return f"llvm.masked.{word}.v{2 * self.lanes}f{type_.width}.p0"

    def _mask_of_pairs(self) -> str:
        """The mask of lanes, each lane twice."""
        twice = ", ".join(f"i32 {i}, i32 {i}" for i in range(self.lanes))
        one, count = f"<{self.lanes} x i1>", 2 * self.lanes
        type_ = lanes_of(I1, count)
        return self.each(f"shufflevector {one} {self.mask}, {one} poison, <{count} x i32> <{twice}>", type_).name

    def _forget(self, note: str) -> None:
        """What was read from memory that a write may have changed."""
        self._loads = {key: found for key, found in self._loads.items() if note and found[0] and found[0] != note}

    def check(self, copies: int = 1) -> None:
        """Raise Unsupported where iterations may depend on one another through memory, with so many copies of the body side by side."""
        if self.is_shared(copies * self.lanes):
            raise Unsupported("iterations that share memory")

    def is_shared(self, together: float) -> bool:
        """May two of `together` consecutive iterations be at one element, and one of them write it?"""
        pairs = ((access, other) for k, access in enumerate(self.accesses) for other in self.accesses[: k + 1])
        return any((access.is_store or other.is_store) and access.meets(other, together) for access, other in pairs)

    # -- masks --

    def masked(self, left: str) -> str:
        """The lanes of the first `left` iterations: an int32."""
        self.left = left
        return self._below(left, "ult")

    def _below(self, end: str, relation: str) -> str:
        """The lanes in front of one, as a mask."""
        type_ = lanes_of(I32, self.lanes)
        one = self.each(f"insertelement {type_.name} poison, i32 {end}, i32 0", type_)
        all_ = self.each(f"shufflevector {type_.name} {one.name}, {type_.name} poison, <{self.lanes} x i32> zeroinitializer", type_)
        return self.each(f"icmp {relation} {type_.name} {self.iota(I32)}, {all_.name}", lanes_of(I1, self.lanes)).name
