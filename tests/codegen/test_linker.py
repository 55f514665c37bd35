"""Object files linked without LLVM: the same answers as LLVM's linker gives, other files refused, addresses checked by hand."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import random
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from irgrad.codegen import elf, linker, objects
from irgrad.codegen.elf import AARCH64, X86_64, MalformedObject, UnsupportedObject
from irgrad.codegen.linker import Layout
from irgrad.codegen.relocate import RULES, TooFar, stub
from tests.support.objects import ALL, ARM, CALLS, SWITCH, X86, compiled
from tests.support.threads import together

HERE = {X86_64: X86, AARCH64: ARM}.get(linker.machine(), "")
runs = pytest.mark.skipif(not HERE, reason="code of another kind of object files")
LOW = (X86, "small", "static")  # 32 bits for addresses: such code goes to low memory only
MINE = [(model, kind) for triple, model, kind in ALL if triple == (HERE or X86)]

One = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
Three = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
outside = ctypes.c_int64(1000)


@One
def doubled(a: int) -> int:
    return 2 * a


NAMES = {"outside": ctypes.addressof(outside), "named": ctypes.cast(doubled, ctypes.c_void_p).value or 0}


def resolver(names: Mapping[str, int]) -> Callable[[str], int]:
    return lambda name: names.get(name) or linker.process_symbol(name)


@runs
@pytest.mark.parametrize(("model", "kind"), MINE)
def test_our_linker_and_llvms_give_the_same_function(model: str, kind: str) -> None:
    """Each has its own counter and array; both change from call to call."""
    code = compiled(CALLS, HERE, model, kind)
    if (HERE, model, kind) == LOW:
        with pytest.raises(UnsupportedObject):
            linker.link(elf.parse(code), "entry", resolver(NAMES))
        return
    ours = Three(linker.link(elf.parse(code), "entry", resolver(NAMES)))
    large = compiled(CALLS, HERE, "jitdefault", "static")  # the one that LLVM's linker is used with
    theirs = Three(objects.by_llvm("entry", large, NAMES))
    for a, b, c in itertools.product((0, 1, 20), (0, 3), (1, 2, 999)):
        assert ours(a, b, c) == theirs(a, b, c)


@runs
@pytest.mark.parametrize(("model", "kind"), MINE)
def test_tables_of_jumps(model: str, kind: str) -> None:
    code = compiled(SWITCH, HERE, model, kind)
    if HERE == X86 and kind == "static" and model in ("small", "medium"):
        with pytest.raises(UnsupportedObject):
            linker.link(elf.parse(code), "entry", resolver({}))
        return
    address = linker.link(elf.parse(code), "entry", resolver({}))
    found = [Three(address)(a, 100, 7) for a in range(-1, 7)]
    assert found == [-1, 300, 93, 100 ^ 7, 14, 1600, 2, -1]


@runs
def test_pages_are_never_writable_and_executable() -> None:
    address = linker.link(elf.parse(compiled(CALLS, HERE, "jitdefault", "static")), "entry", resolver(NAMES))
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    spans = [(*(int(end, 16) for end in line[0].split("-")), line[1]) for line in maps]
    assert [permissions for start, stop, permissions in spans if start <= address < stop] == ["r-xp"]


@runs
def test_threads_link_at_once() -> None:
    code = compiled(CALLS, HERE, "jitdefault", "static")
    found: list[int] = []

    def work(_: int) -> None:
        for _ in range(20):
            function = Three(linker.link(elf.parse(code), "entry", resolver(NAMES)))
            found.append(function(1, 1, 3))

    together(work, 4)
    assert len(found) == 80
    assert len(set(found)) == 1


@runs
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_runs_and_links_code() -> None:
    code = compiled(SWITCH, HERE, "jitdefault", "static")
    before = Three(linker.link(elf.parse(code), "entry", resolver({})))
    child = os.fork()
    if child == 0:
        after = Three(linker.link(elf.parse(code), "entry", resolver({})))
        os._exit(0 if before(0, 5, 1) == after(0, 5, 1) == 15 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert before(0, 5, 1) == 15


@runs
def test_what_is_not_known_is_left_to_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    code = compiled(SWITCH.replace("@entry", "@left_to_llvm"), HERE, "jitdefault", "static")
    monkeypatch.setattr(linker, "machine", lambda: 0)
    with pytest.raises(UnsupportedObject, match="machine"):
        linker.link(elf.parse(code), "left_to_llvm", resolver({}))
    assert Three(objects.load("left_to_llvm", code))(0, 9, 1) == 27


@runs
def test_a_name_that_nothing_defines_is_refused_by_both() -> None:
    code = compiled(CALLS.replace("@named", "@no_such_name"), HERE, "jitdefault", "static")
    with pytest.raises(UnsupportedObject, match="no_such_name"):
        linker.link(elf.parse(code), "entry", resolver({"outside": NAMES["outside"]}))
    assert objects.load("entry", code, {"outside": NAMES["outside"]}) == 0


@runs
def test_a_function_that_is_not_there_is_refused() -> None:
    code = compiled(CALLS, HERE, "jitdefault", "static")
    for name in ("other", "counter", "sin", ""):
        with pytest.raises(MalformedObject, match="no function"):
            linker.link(elf.parse(code), name, resolver(NAMES))
        assert objects.load(name, code, NAMES) == 0


# -- hostile files: parsed and laid out, written to a buffer, never run --


def attempt(code: bytes, name: str = "entry") -> str:
    """What becomes of an object file; any other error than the two fails the test."""
    try:
        layout = Layout(elf.parse(code), name, lambda _: 0x7000_0000_0000)
        if layout.size < 1 << 20:
            layout.write(memoryview(bytearray(layout.size)), 0x7000_1000_0000)
    except (MalformedObject, UnsupportedObject) as error:
        return type(error).__name__
    return "linked"


@pytest.mark.parametrize(("triple", "model", "kind"), ALL)
def test_a_file_that_is_cut_off_is_refused(triple: str, model: str, kind: str) -> None:
    code = compiled(CALLS, triple, model, kind)
    assert elf.parse(code).machine == (X86_64 if triple == X86 else AARCH64)
    for end in range(len(code)):
        assert attempt(code[:end]) != "linked"


@pytest.mark.parametrize("triple", [X86, ARM])
def test_changed_files_never_write_outside_their_pages(triple: str, rng: Any) -> None:
    code = compiled(CALLS, triple, "jitdefault", "static")
    draw = random.Random(int(rng.integers(1 << 30)))
    outcomes = {"MalformedObject": 0, "UnsupportedObject": 0, "linked": 0}
    (headers,) = struct.unpack_from("<Q", code, 40)
    for _ in range(3000):
        changed = bytearray(code)
        for _ in range(draw.choice((1, 1, 2, 5))):
            place = draw.choice((draw.randrange(64), draw.randrange(headers, len(code)), draw.randrange(len(code))))
            changed[place] = draw.choice((0, 1, 0x7F, 0xFF, draw.randrange(256)))
        outcomes[attempt(bytes(changed))] += 1
    assert min(outcomes.values()) > 0


def test_bytes_of_other_formats_are_not_taken() -> None:
    for code in (b"", b"\x7fEL", b"MZ" + bytes(100), b"\xcf\xfa\xed\xfe" + bytes(100)):
        with pytest.raises(UnsupportedObject):
            elf.parse(code)
    with pytest.raises(MalformedObject):
        elf.parse(b"\x7fELF\2\1\1" + bytes(20))
    with pytest.raises(UnsupportedObject):
        elf.parse(b"\x7fELF\1\1\1" + bytes(100))


# -- arithmetic --

S, P, TABLE = 0x7F12_3456_7890, 0x7F12_3456_1234, 0x7F12_3450_0000


def written(machine: int, kind: int, target: int, addend: int, before: int = 0, place: int = P) -> int:
    rule = RULES[machine][kind]
    memory = bytearray(struct.pack("<Q", before))
    rule.write(memoryview(memory), 0, rule.value(target, addend, place, TABLE))
    assert memory[rule.width :] == struct.pack("<Q", before)[rule.width :]
    return int.from_bytes(memory[: rule.width], "little")


@pytest.mark.parametrize(
    ("kind", "value", "width"),
    [
        (1, S + 4, 8),
        (2, S + 4 - P, 4),
        (4, S + 4 - P, 4),
        (9, S + 4 - P, 4),
        (24, S + 4 - P, 8),
        (25, S + 4 - TABLE, 8),
        (26, S + 4 - P, 4),
        (27, S + 4 - TABLE, 8),
        (28, S + 4 - P, 8),
        (29, S + 4 - P, 8),
        (31, S + 4 - TABLE, 8),
        (41, S + 4 - P, 4),
        (42, S + 4 - P, 4),
    ],
)
def test_x86_values(kind: int, value: int, width: int) -> None:
    assert written(X86_64, kind, S, 4) == value % (1 << 8 * width)


def test_x86_values_that_do_not_fit_are_refused() -> None:
    assert written(X86_64, 2, P - (1 << 31), 0) == 1 << 31
    assert written(X86_64, 10, 0xFFFF_FFFF, 0) == 0xFFFF_FFFF
    assert written(X86_64, 11, 0x7FFF_FFFF, 0) == 0x7FFF_FFFF
    for kind, target in ((2, P + (1 << 31)), (2, P - (1 << 31) - 1), (4, 0), (10, 1 << 32), (10, -1), (11, 1 << 31), (24, 1 << 64)):
        with pytest.raises(TooFar):
            written(X86_64, kind, target, 0)


def bits(word: int, start: int, width: int) -> int:
    return word >> start & (1 << width) - 1


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> width - 1 else value


@pytest.mark.parametrize("distance", [0, 4, -4, (1 << 27) - 4, -(1 << 27)])
@pytest.mark.parametrize("kind", [282, 283])
def test_arm_branches(kind: int, distance: int) -> None:
    word = written(AARCH64, kind, P + distance, 0, 0x94000000)
    assert bits(word, 26, 6) == 0x94000000 >> 26
    assert 4 * signed(bits(word, 0, 26), 26) == distance


@pytest.mark.parametrize("kind", [282, 283])
def test_arm_branches_too_far_or_between_instructions_are_refused(kind: int) -> None:
    for distance in (1 << 27, -(1 << 27) - 4, 2, 1):
        with pytest.raises(TooFar):
            written(AARCH64, kind, P + distance, 0)


@pytest.mark.parametrize("kind", [275, 276, 311])
@pytest.mark.parametrize("target", [S, P, P - 5000, P + (1 << 32) - 8192, P - (1 << 32) + 8192])
def test_arm_pages(kind: int, target: int) -> None:
    word = written(AARCH64, kind, target, 0, 0x90000003)
    assert word & 0x9F00001F == 0x90000003
    pages = signed(bits(word, 5, 19) << 2 | bits(word, 29, 2), 21)
    assert (P & ~4095) + 4096 * pages == target & ~4095


def test_arm_pages_too_far_are_refused() -> None:
    for target in (P + (1 << 32) + 4096, P - (1 << 32) - 4096):
        with pytest.raises(TooFar):
            written(AARCH64, 275, target, 0)


@pytest.mark.parametrize(("kind", "shift"), [(277, 0), (278, 0), (284, 1), (285, 2), (286, 3), (299, 4), (312, 3)])
def test_arm_low_bits(kind: int, shift: int) -> None:
    target = S & ~15
    word = written(AARCH64, kind, target, 0, 0xF9400041)
    assert word & ~(0xFFF << 10) == 0xF9400041
    assert bits(word, 10, 12) << shift == target & 4095
    if shift:
        with pytest.raises(TooFar):
            written(AARCH64, kind, target + 1, 0)


@pytest.mark.parametrize(("kind", "shift"), [(264, 0), (266, 16), (268, 32), (269, 48)])
def test_arm_words_of_an_address(kind: int, shift: int) -> None:
    word = written(AARCH64, kind, S, 8, 0xF2E00008)
    assert bits(word, 5, 16) == (S + 8) >> shift & 0xFFFF
    assert word & ~(0xFFFF << 5) == 0xF2E00008


def test_arm_words_that_are_the_last_have_to_hold_the_address() -> None:
    for kind, limit in ((263, 1 << 16), (265, 1 << 32), (267, 1 << 48)):
        assert bits(written(AARCH64, kind, limit - 1, 0), 5, 16) == 0xFFFF
        with pytest.raises(TooFar):
            written(AARCH64, kind, limit, 0)


@pytest.mark.parametrize(("kind", "start", "width"), [(273, 5, 19), (280, 5, 19), (279, 5, 14)])
def test_arm_short_distances(kind: int, start: int, width: int) -> None:
    for distance in (8, -8, (1 << width + 1) - 4, -(1 << width + 1)):
        assert 4 * signed(bits(written(AARCH64, kind, P + distance, 0), start, width), width) == distance
    with pytest.raises(TooFar):
        written(AARCH64, kind, P + (1 << width + 1), 0)


def test_arm_address_of_a_label() -> None:
    for distance in (5, -5, (1 << 20) - 1, -(1 << 20)):
        word = written(AARCH64, 274, P + distance, 0)
        assert signed(bits(word, 5, 19) << 2 | bits(word, 29, 2), 21) == distance
    with pytest.raises(TooFar):
        written(AARCH64, 274, P + (1 << 20), 0)


def test_arm_data() -> None:
    assert written(AARCH64, 257, S, 1) == S + 1
    assert written(AARCH64, 258, 0x1234, 1) == 0x1235
    assert written(AARCH64, 260, S, 1) == S + 1 - P
    assert written(AARCH64, 261, S, 1) == S + 1 - P


@runs
def test_a_stub_jumps_any_distance() -> None:
    start = linker._pages(mmap.PAGESIZE)
    code = stub(linker.machine(), NAMES["named"])
    ctypes.memmove(start, code, len(code))
    linker._make_executable(start, mmap.PAGESIZE)
    assert One(start)(21) == 42


# -- code for AArch64 on any machine: the addresses that its instructions make are worked out here --


def arm_addresses(memory: bytes, first: int, size: int, start: int) -> set[int]:
    """Addresses that straight-line AArch64 code makes with ADRP, ADD, MOVZ, MOVK, loads and branches; its memory is at `start`."""
    registers: dict[int, int] = {}
    found: set[int] = set()
    for offset in range(first, first + size, 4):
        (word,) = struct.unpack_from("<I", memory, offset)
        to, source = word & 31, word >> 5 & 31
        if word & 0x9F000000 == 0x90000000:  # adrp
            registers[to] = (start + offset & ~4095) + 4096 * signed(bits(word, 5, 19) << 2 | bits(word, 29, 2), 21)
        elif word & 0xFFC00000 == 0x91000000 and source in registers:  # add
            registers[to] = registers[source] + bits(word, 10, 12)
            found.add(registers[to])
        elif word & 0xFFC00000 == 0xF9400000 and source in registers:  # ldr, 64 bits
            place = registers[source] + 8 * bits(word, 10, 12)
            found.add(place)
            if 0 <= place - start <= len(memory) - 8:
                (registers[to],) = struct.unpack_from("<Q", memory, place - start)
                found.add(registers[to])
        elif word & 0xFF800000 == 0xD2800000:  # movz
            registers[to] = bits(word, 5, 16) << 16 * bits(word, 21, 2)
        elif word & 0xFF800000 == 0xF2800000 and to in registers:  # movk
            shift = 16 * bits(word, 21, 2)
            registers[to] = registers[to] & ~(0xFFFF << shift) | bits(word, 5, 16) << shift
            found.add(registers[to])
        elif word >> 26 == 0x25:  # bl
            found.add(start + offset + 4 * signed(bits(word, 0, 26), 26))
    return found


@pytest.mark.parametrize(("model", "kind"), [(model, kind) for triple, model, kind in ALL if triple == ARM])
def test_arm_code_reaches_what_it_names(model: str, kind: str) -> None:
    start, names = 0xFFFF_8000_3000, {"sin": 0xAAAA_0000_1230, "named": 0xBBBB_0000_4560, "outside": 0xCCCC_0000_7890}
    found = elf.parse(compiled(CALLS, ARM, model, kind))
    layout = Layout(found, "entry", names.__getitem__)
    memory = bytearray(layout.size)
    layout.write(memoryview(memory), start)
    stubs = {found.symbols[number].name: start + place for number, place in layout.stubs.items()}
    for name, place in stubs.items():
        assert struct.unpack_from("<IIQ", memory, place - start) == (0x58000050, 0xD61F0200, names[name])
    numbers = {symbol.name: k for k, symbol in enumerate(found.symbols)}
    reached = arm_addresses(bytes(memory), layout.entry, found.symbols[numbers["entry"]].size, start)
    assert set(stubs) == {"sin", "named"}
    assert names["outside"] in reached
    for name in ("sin", "named"):
        assert stubs[name] in reached
    for name in ("counter", "table"):
        assert layout.address(numbers[name], start) in reached


@pytest.mark.skipif(sys.platform != "linux", reason="names are looked up in the C library")
def test_names_of_the_process() -> None:
    assert linker.process_symbol("PyLong_FromLong") == ctypes.cast(ctypes.pythonapi.PyLong_FromLong, ctypes.c_void_p).value
    assert linker.process_symbol("sin") != 0
    assert linker.process_symbol("no_such_name_anywhere") == 0
    assert linker.process_symbol("\udcff") == 0
