"""Object files into this process without LLVM: sections laid out in fresh pages, relocated, then made read-only and executable.

Pages are never writable and executable at once, and never given back: code of a kernel may be running in any thread. Importing
llvmlite costs 60 MB and 15 ms, and with it gone a process that compiles nothing needs only this. What this module does not handle is
`UnsupportedObject`, and left to LLVM.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from irgrad.codegen import elf
from irgrad.codegen.elf import AARCH64, X86_64, MalformedObject, ObjectFile, Relocation, UnsupportedObject
from irgrad.codegen.relocate import PAGE, RULES, Rule, TooFar, stub

MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}
STUB, SLOT = 16, 8  # bytes


def link(found: ObjectFile, symbol: str, resolve: Callable[[str], int]) -> int:
    """Address of `symbol` after putting an object file into memory; `resolve` finds names from elsewhere, and gives 0 where it cannot.

    Raises: MalformedObject (no such function, a relocation outside its section), UnsupportedObject.
    """
    if found.machine != machine():
        raise UnsupportedObject(f"code for machine {found.machine}")
    layout = Layout(found, symbol, resolve)
    start = _pages(layout.size)
    try:
        view = memoryview((ctypes.c_char * layout.size).from_address(start)).cast("B")
        layout.write(view, start)
        view.release()
        _make_executable(start, layout.writable)
    except BaseException:
        _system().munmap(start, layout.size)
        raise
    return start + layout.entry


@cache
def machine() -> int:
    """The kind of machine code that this process can be given, 0 where that is not known."""
    if sys.platform != "linux" or sys.maxsize < 2**32 or sys.byteorder != "little":
        return 0
    return MACHINES.get(os.uname().machine, 0)


def process_symbol(name: str) -> int:
    """Address of a name that the interpreter and the libraries it loads for all to see define; 0 without one."""
    for library in _libraries():
        try:
            return ctypes.cast(library[name], ctypes.c_void_p).value or 0
        except (AttributeError, ValueError):  # no such name, or no name at all
            continue
    return 0


@cache
def _libraries() -> tuple[Any, ...]:
    return (ctypes.CDLL(None), ctypes.CDLL("libm.so.6"))


class Layout:
    """Where everything of an object file lies, in bytes from the start of its pages.

    First what stays as it is (code, constants, stubs, the global offset table), then from `writable` on what code writes to.
    """

    def __init__(self, found: ObjectFile, name: str, resolve: Callable[[str], int]) -> None:
        self.found, self.name, self.resolve = found, name, resolve
        self.size = 0
        self.places: dict[int, int] = {}  # of sections
        self.common: dict[int, int] = {}  # of symbols that have no section
        self.stubs: dict[int, int] = {}
        self.slots: dict[int, int] = {}
        self.outside: dict[int, int] = {}  # addresses of symbols from elsewhere
        rules = [(relocation, self.rule(relocation)) for relocation in self.found.relocations]
        self._find_outside(relocation.symbol for relocation, rule in rules if rule.target != "table")
        self._place_sections(is_writable=False)
        for relocation, rule in rules:
            if rule.target == "near" and relocation.symbol in self.outside and relocation.symbol not in self.stubs:
                self.stubs[relocation.symbol] = self._take(STUB, STUB)
        self.table = self._take(0, STUB)
        for relocation, rule in rules:
            if rule.target == "slot" and relocation.symbol not in self.slots:
                self.slots[relocation.symbol] = self._take(SLOT, SLOT)
        self.writable = self._take(0, max(PAGE, mmap.PAGESIZE))
        self._place_sections(is_writable=True)
        for relocation, _ in rules:
            symbol = self.found.symbols[relocation.symbol]
            if symbol.section == elf.COMMON and relocation.symbol not in self.common:
                self.common[relocation.symbol] = self._take(symbol.size, symbol.value)
        self._take(0, mmap.PAGESIZE)
        if self.size > elf.LIMIT:
            raise MalformedObject(f"{self.size} bytes of code and data")
        self.entry = self._find_entry()

    def rule(self, relocation: Relocation) -> Rule:
        """What a relocation means; its bytes lie inside its section."""
        rule = RULES[self.found.machine].get(relocation.kind)
        if rule is None:
            raise UnsupportedObject(f"relocation of kind {relocation.kind}")
        if relocation.offset + rule.width > len(self.found.sections[relocation.section].data):
            raise MalformedObject(f"a relocation writes {rule.width} bytes at {relocation.offset} of its section")
        if rule.target == "slot" and relocation.addend and self.found.machine == AARCH64:
            raise UnsupportedObject("a slot for an address beside a symbol")
        return rule

    def _take(self, size: int, align: int) -> int:
        start = -(-self.size // align) * align
        self.size = start + size
        return start

    def _find_outside(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            symbol = self.found.symbols[number]
            if symbol.section == elf.UNDEFINED and number not in self.outside:
                address = self.resolve(symbol.name) if symbol.name else 0
                if not address:
                    raise UnsupportedObject(f"no symbol {symbol.name}")
                self.outside[number] = address

    def _place_sections(self, is_writable: bool) -> None:
        for number, section in self.found.sections.items():
            if section.is_writable == is_writable:
                self.places[number] = self._take(section.size, section.align)

    def address(self, number: int, start: int) -> int:
        """Of a symbol, by number."""
        symbol = self.found.symbols[number]
        if symbol.section in self.places:
            return start + self.places[symbol.section] + symbol.value
        if symbol.section == elf.UNDEFINED:
            return self.outside[number]
        if symbol.section == elf.COMMON:
            return start + self.common[number]
        if symbol.section == elf.ABSOLUTE:
            return symbol.value
        raise UnsupportedObject(f"symbol {symbol.name} of a section that is not in memory")

    def write(self, view: memoryview, start: int) -> None:
        """Fill the pages at address `start`, which `view` shows."""
        for number, section in self.found.sections.items():
            place = self.places[number]
            view[place : place + len(section.data)] = section.data
        for number, place in self.stubs.items():
            view[place : place + STUB] = stub(self.found.machine, self.outside[number])
        for number, place in self.slots.items():
            view[place : place + SLOT] = self.address(number, start).to_bytes(SLOT, "little")
        for relocation in self.found.relocations:
            try:
                self._apply(relocation, view, start)
            except TooFar as error:
                raise UnsupportedObject(f"relocation of kind {relocation.kind}: {error}") from error

    def _apply(self, relocation: Relocation, view: memoryview, start: int) -> None:
        rule, number = self.rule(relocation), relocation.symbol
        offset, table = self.places[relocation.section] + relocation.offset, start + self.table
        target = start + self.slots[number] if rule.target == "slot" else table if rule.target == "table" else self.address(number, start)
        try:
            rule.write(view, offset, rule.value(target, relocation.addend, start + offset, table))
        except TooFar:
            if number not in self.stubs:
                raise
            rule.write(view, offset, rule.value(start + self.stubs[number], relocation.addend, start + offset, table))

    def _find_entry(self) -> int:
        """Where the function of this name begins."""
        for symbol in self.found.symbols:
            section = self.found.sections.get(symbol.section)
            if self.name and symbol.name == self.name and section is not None and section.is_code and symbol.value < len(section.data):
                return self.places[symbol.section] + symbol.value
        raise MalformedObject(f"no function {self.name}")


@cache
def _system() -> Any:
    """The C library, with the signatures of what is called here."""
    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype = ctypes.c_void_p
    system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    system.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    system.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return system


def _pages(size: int) -> int:
    """Address of fresh memory of this process, all zeros, that is there to stay."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = _system().mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise UnsupportedObject(f"no memory of {size} bytes")
    return int(address)


def _make_executable(start: int, size: int) -> None:
    if machine() == AARCH64:  # instructions may be cached apart from data
        clear = process_symbol("__clear_cache") or _of_gcc("__clear_cache")
        if not clear:
            raise UnsupportedObject("no way to clear the instruction cache")
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(clear)(start, start + size)
    if _system().mprotect(start, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise UnsupportedObject("pages may not be made executable")


def _of_gcc(name: str) -> int:
    try:
        return ctypes.cast(ctypes.CDLL("libgcc_s.so.1")[name], ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0
