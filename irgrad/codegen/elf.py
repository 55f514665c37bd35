"""Relocatable object files (ELF, 64 bits, little endian) as data: sections, symbols, relocations.

Nothing here touches memory outside the bytes it was given: every offset and index is checked against them, and `MalformedObject` is
raised where one points elsewhere. What is well formed and not understood raises `UnsupportedObject`. The format is that of the System V
ABI, chapters 4 and 5, with its supplements for x86-64 and AArch64.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

X86_64, AARCH64 = 62, 183
UNDEFINED, ABSOLUTE, COMMON = 0, 0xFFF1, 0xFFF2  # sections of symbols that have none
RESERVED = 0xFF00  # section numbers from here on have a meaning of their own
LIMIT = 1 << 26  # bytes of a section: far above any kernel's

_NULL, _PROGBITS, _SYMTAB, _RELA, _NOBITS, _NOTE, _REL, _UNWIND = 0, 1, 2, 4, 8, 7, 9, 0x70000001
_WRITE, _ALLOC, _EXECUTE, _GROUP, _TLS, _COMPRESSED = 1, 2, 4, 0x200, 0x400, 0x800
_KNOWN_FLAGS = _WRITE | _ALLOC | _EXECUTE | 0x10 | 0x20 | 0x40 | _GROUP | 0x10000000  # merge, strings, link info, large
_ORDINARY_SYMBOLS = (0, 1, 2, 3, 4)  # no type, object, function, section, file


class MalformedObject(ValueError):
    """Bytes that are no relocatable object file of this machine."""


class UnsupportedObject(ValueError):
    """An object file with something that is not handled here."""


class Section(NamedTuple):
    """A section that is to be in memory; `data` is empty where its bytes are zero."""

    name: str
    data: bytes
    size: int
    align: int
    is_writable: bool
    is_code: bool


class Symbol(NamedTuple):
    """A name, where it is defined (a section's number or one of the constants above) and how far inside."""

    name: str
    section: int
    value: int
    size: int


class Relocation(NamedTuple):
    """Bytes of a section that depend on where a symbol lies."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


class ObjectFile(NamedTuple):
    """`sections` by number in the file; `symbols` by the numbers that relocations have."""

    machine: int
    sections: dict[int, Section]
    symbols: list[Symbol]
    relocations: list[Relocation]

    def undefined(self) -> set[str]:
        """Names that relocations need from elsewhere."""
        return {
            symbol.name for symbol in (self.symbols[relocation.symbol] for relocation in self.relocations) if symbol.section == UNDEFINED
        }


class _Header(NamedTuple):
    name: int
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


def parse(code: bytes) -> ObjectFile:
    """The parts of an object file that matter for linking it.

    Raises: MalformedObject, UnsupportedObject.
    """
    if code[:4] != b"\x7fELF":
        raise UnsupportedObject("no ELF file")
    if len(code) < 64:
        raise MalformedObject("the header is cut off")
    if code[4:7] != b"\2\1\1":
        raise UnsupportedObject("not 64 bits, little endian, version 1")
    kind, machine = struct.unpack_from("<HH", code, 16)
    if kind != 1 or machine not in (X86_64, AARCH64):
        raise UnsupportedObject(f"file type {kind} for machine {machine}")
    headers = _headers(code)
    names = _strings(code, headers, struct.unpack_from("<H", code, 62)[0])
    titles = [_text(names, header.name) for header in headers]
    sections = {k: _section(code, header, titles[k]) for k, header in enumerate(headers) if _is_needed(header, titles[k])}
    tables = [header for header in headers if header.kind == _SYMTAB]
    if len(tables) != 1:
        raise MalformedObject(f"{len(tables)} symbol tables")
    symbols = _symbols(code, headers, tables[0], sections)
    relocations: list[Relocation] = []
    for header in headers:
        if header.kind in (_RELA, _REL) and header.info in sections:
            if header.kind == _REL or headers[header.link : header.link + 1] != tables:
                raise UnsupportedObject("relocations of another kind")
            relocations += _relocations(code, header, sections[header.info], len(symbols))
    return ObjectFile(machine, sections, symbols, relocations)


def _headers(code: bytes) -> list[_Header]:
    (start,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    if size != 64 or not 0 < count < RESERVED or start + size * count > len(code):
        raise MalformedObject(f"{count} section headers of {size} bytes at {start}, in {len(code)} bytes")
    found = []
    for k in range(count):
        name, kind, flags, _, offset, length, link, info, align, entry = struct.unpack_from("<IIQQQQIIQQ", code, start + size * k)
        if kind not in (_NULL, _NOBITS) and offset + length > len(code):
            raise MalformedObject(f"section {k} ends at {offset + length}, in {len(code)} bytes")
        found.append(_Header(name, kind, flags, offset, length, link, info, align, entry))
    return found


def _is_needed(header: _Header, name: str) -> bool:
    """Is it part of the running code? Tables for unwinding are not: nothing unwinds through a kernel."""
    return bool(header.flags & _ALLOC) and header.kind not in (_NULL, _NOTE, _UNWIND) and name != ".eh_frame"


def _section(code: bytes, header: _Header, name: str) -> Section:
    if header.kind not in (_PROGBITS, _NOBITS) or header.flags & ~_KNOWN_FLAGS or (header.flags & _WRITE and header.flags & _EXECUTE):
        raise UnsupportedObject(f"section {name} of kind {header.kind} with flags {header.flags:#x}")
    align = max(header.align, 1)
    if header.size > LIMIT or align & (align - 1) or align > 4096:
        raise MalformedObject(f"section {name} of {header.size} bytes aligned to {align}")
    data = code[header.offset : header.offset + header.size] if header.kind == _PROGBITS else b""
    return Section(name, data, header.size, align, bool(header.flags & _WRITE), bool(header.flags & _EXECUTE))


def _strings(code: bytes, headers: list[_Header], number: int) -> bytes:
    if number >= len(headers) or headers[number].kind != 3:
        raise MalformedObject(f"section {number} is no table of names")
    return code[headers[number].offset : headers[number].offset + headers[number].size]


def _text(names: bytes, start: int) -> str:
    end = names.find(b"\0", start)
    if end < 0:
        raise MalformedObject(f"a name at {start} has no end")
    return names[start:end].decode("utf-8", "surrogateescape")


def _symbols(code: bytes, headers: list[_Header], table: _Header, sections: dict[int, Section]) -> list[Symbol]:
    if table.entry != 24 or table.size % 24:
        raise MalformedObject(f"a symbol table of {table.size} bytes")
    names = _strings(code, headers, table.link)
    found = []
    for k in range(table.size // 24):
        name, info, _, section, value, size = struct.unpack_from("<IBBHQQ", code, table.offset + 24 * k)
        if info & 15 not in _ORDINARY_SYMBOLS or (section >= RESERVED and section not in (ABSOLUTE, COMMON)):
            raise UnsupportedObject(f"symbol {k} of type {info & 15} in section {section:#x}")
        if section < RESERVED and section >= len(headers):
            raise MalformedObject(f"symbol {k} in section {section} of {len(headers)}")
        if section in sections and value > sections[section].size:
            raise MalformedObject(f"symbol {k} lies {value} bytes into a section of {sections[section].size}")
        if section == COMMON and (size > LIMIT or not 0 < value <= 4096 or value & (value - 1)):
            raise MalformedObject(f"symbol {k} asks for {size} bytes aligned to {value}")
        found.append(Symbol(_text(names, name), section, value, size))
    return found


def _relocations(code: bytes, header: _Header, section: Section, num_symbols: int) -> list[Relocation]:
    if header.entry != 24 or header.size % 24:
        raise MalformedObject(f"relocations in {header.size} bytes")
    found = []
    for k in range(header.size // 24):
        offset, info, addend = struct.unpack_from("<QQq", code, header.offset + 24 * k)
        if offset >= len(section.data) or info >> 32 >= num_symbols:
            raise MalformedObject(f"relocation {k} of {section.name}: byte {offset}, symbol {info >> 32}")
        found.append(Relocation(header.info, offset, info & 0xFFFFFFFF, info >> 32, addend))
    return found
