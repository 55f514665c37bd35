"""What a relocation writes: the arithmetic of the x86-64 and AArch64 supplements of the ELF ABI.

A `Rule` says what value a kind of relocation has and how it is written. The value is a target plus the addend, less a base. Targets: the
symbol; the symbol or, where it is too far, a stub that jumps to it; the slot of the global offset table that holds the symbol's address;
that table. Bases: none, the place written to, that place's page of 4 KiB (the target is rounded down to its page too), the table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Literal, NamedTuple

from irgrad.codegen.elf import AARCH64, X86_64

PAGE = 4096


class TooFar(ValueError):
    """A value that does not fit where it is to be written."""


Write = Callable[[memoryview, int, int], None]


class Rule(NamedTuple):
    """How a kind of relocation is computed, and the function that writes its value at an offset; `width` bytes are written."""

    target: Literal["symbol", "near", "slot", "table"]
    base: Literal["none", "place", "page", "table"]
    width: int
    write: Write

    def value(self, target: int, addend: int, place: int, table: int) -> int:
        """What is written at address `place`."""
        if self.base == "page":
            return (target + addend & -PAGE) - (place & -PAGE)
        return target + addend - (place if self.base == "place" else table if self.base == "table" else 0)


def _number(code: str) -> Write:
    layout = struct.Struct("<" + code)

    def write(memory: memoryview, offset: int, value: int) -> None:
        try:
            layout.pack_into(memory, offset, value)
        except struct.error:
            raise TooFar(f"{value:#x} in {layout.size} bytes") from None

    return write


def _address(memory: memoryview, offset: int, value: int) -> None:
    struct.pack_into("<Q", memory, offset, value & 0xFFFFFFFFFFFFFFFF)


def _field(start: int, width: int, shift: int = 0, signed: bool = False, part: int | None = None) -> Write:
    """Into `width` bits of an instruction from bit `start`: the value over 2**shift, which has to be whole.

    With `part` only that many low bits of the value count; without, the value has to fit (`signed` or not).
    """
    mask = (1 << width) - 1

    def write(memory: memoryview, offset: int, value: int) -> None:
        number = value if part is None else value & (1 << part) - 1
        if number & (1 << shift) - 1:
            raise TooFar(f"{number:#x} is no multiple of {1 << shift}")
        number >>= shift
        low, high = (-(1 << width - 1), 1 << width - 1) if signed else (0, 1 << width)
        if not low <= number < high:
            raise TooFar(f"{value:#x} in {width} bits, over {1 << shift}")
        (word,) = struct.unpack_from("<I", memory, offset)
        struct.pack_into("<I", memory, offset, word & ~(mask << start) | (number & mask) << start)

    return write


def _bits(shift: int, exact: bool) -> Write:
    """16 bits of an address into a MOVZ or MOVK from bit 5; with `exact` there may be none above them."""

    def write(memory: memoryview, offset: int, value: int) -> None:
        address = value & 0xFFFFFFFFFFFFFFFF
        if exact and address >> shift + 16:
            raise TooFar(f"{value:#x} in {shift + 16} bits")
        (word,) = struct.unpack_from("<I", memory, offset)
        struct.pack_into("<I", memory, offset, word & ~(0xFFFF << 5) | (address >> shift & 0xFFFF) << 5)

    return write


def _split(shift: int, checked: bool = True) -> Write:
    """The 21 bits of ADR and ADRP: the lowest two in bits 29 and 30, the others from bit 5."""

    def write(memory: memoryview, offset: int, value: int) -> None:
        number = value >> shift
        if checked and not -(1 << 20) <= number < 1 << 20:
            raise TooFar(f"{value:#x} in 21 bits, over {1 << shift}")
        (word,) = struct.unpack_from("<I", memory, offset)
        fields = (number & 3) << 29 | (number >> 2 & 0x7FFFF) << 5
        struct.pack_into("<I", memory, offset, word & ~(3 << 29 | 0x7FFFF << 5) | fields)

    return write


_whole, _signed, _unsigned = _number("q"), _number("i"), _number("I")

RULES: dict[int, dict[int, Rule]] = {
    X86_64: {
        1: Rule("symbol", "none", 8, _address),  # 64
        2: Rule("symbol", "place", 4, _signed),  # PC32
        4: Rule("near", "place", 4, _signed),  # PLT32
        9: Rule("slot", "place", 4, _signed),  # GOTPCREL
        10: Rule("symbol", "none", 4, _unsigned),  # 32
        11: Rule("symbol", "none", 4, _signed),  # 32S
        24: Rule("symbol", "place", 8, _whole),  # PC64
        25: Rule("symbol", "table", 8, _whole),  # GOTOFF64
        26: Rule("table", "place", 4, _signed),  # GOTPC32
        27: Rule("slot", "table", 8, _whole),  # GOT64
        28: Rule("slot", "place", 8, _whole),  # GOTPCREL64
        29: Rule("table", "place", 8, _whole),  # GOTPC64
        31: Rule("near", "table", 8, _whole),  # PLTOFF64
        41: Rule("slot", "place", 4, _signed),  # GOTPCRELX
        42: Rule("slot", "place", 4, _signed),  # REX_GOTPCRELX
    },
    AARCH64: {
        257: Rule("symbol", "none", 8, _address),  # ABS64
        258: Rule("symbol", "none", 4, _unsigned),  # ABS32
        260: Rule("symbol", "place", 8, _whole),  # PREL64
        261: Rule("symbol", "place", 4, _signed),  # PREL32
        263: Rule("symbol", "none", 4, _bits(0, True)),  # MOVW_UABS_G0
        264: Rule("symbol", "none", 4, _bits(0, False)),  # MOVW_UABS_G0_NC
        265: Rule("symbol", "none", 4, _bits(16, True)),  # MOVW_UABS_G1
        266: Rule("symbol", "none", 4, _bits(16, False)),  # MOVW_UABS_G1_NC
        267: Rule("symbol", "none", 4, _bits(32, True)),  # MOVW_UABS_G2
        268: Rule("symbol", "none", 4, _bits(32, False)),  # MOVW_UABS_G2_NC
        269: Rule("symbol", "none", 4, _bits(48, True)),  # MOVW_UABS_G3
        273: Rule("symbol", "place", 4, _field(5, 19, 2, signed=True)),  # LD_PREL_LO19
        274: Rule("symbol", "place", 4, _split(0)),  # ADR_PREL_LO21
        275: Rule("symbol", "page", 4, _split(12)),  # ADR_PREL_PG_HI21
        276: Rule("symbol", "page", 4, _split(12, checked=False)),  # ADR_PREL_PG_HI21_NC
        277: Rule("symbol", "none", 4, _field(10, 12, part=12)),  # ADD_ABS_LO12_NC
        278: Rule("symbol", "none", 4, _field(10, 12, part=12)),  # LDST8_ABS_LO12_NC
        279: Rule("symbol", "place", 4, _field(5, 14, 2, signed=True)),  # TSTBR14
        280: Rule("symbol", "place", 4, _field(5, 19, 2, signed=True)),  # CONDBR19
        282: Rule("near", "place", 4, _field(0, 26, 2, signed=True)),  # JUMP26
        283: Rule("near", "place", 4, _field(0, 26, 2, signed=True)),  # CALL26
        284: Rule("symbol", "none", 4, _field(10, 12, 1, part=12)),  # LDST16_ABS_LO12_NC
        285: Rule("symbol", "none", 4, _field(10, 12, 2, part=12)),  # LDST32_ABS_LO12_NC
        286: Rule("symbol", "none", 4, _field(10, 12, 3, part=12)),  # LDST64_ABS_LO12_NC
        299: Rule("symbol", "none", 4, _field(10, 12, 4, part=12)),  # LDST128_ABS_LO12_NC
        311: Rule("slot", "page", 4, _split(12)),  # ADR_GOT_PAGE
        312: Rule("slot", "none", 4, _field(10, 12, 3, part=12)),  # LD64_GOT_LO12_NC
    },
}


def stub(machine: int, address: int) -> bytes:
    """16 bytes of code that jump to an address."""
    if machine == X86_64:
        return b"\xff\x25\2\0\0\0\x0f\x0b" + struct.pack("<Q", address)  # jmp [rip + 2]; ud2
    return struct.pack("<IIQ", 0x58000050, 0xD61F0200, address)  # ldr x16, 8 bytes on; br x16
