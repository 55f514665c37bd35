"""Machine code of irgrad's own run-time functions as it comes with the package: the driver, the team, runners of loops and chunks.

They are the same for every program and compute nothing of one, so that no user has to compile them (20 ms of processor time for the
driver, 60 for a `scan`). The files `irgrad/data/native_*.txt` hold object files for the oldest processor of a kind, found by the hash of
the text that they were made from, as entries of the store are. Where that text or the kind of processor is another one, the functions
are compiled as kernels are. ``python -m tests.support.native`` writes the files, and a test makes the code again and compares.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from irgrad.codegen import elf, linker

NAMES = {elf.X86_64: "x86_64", elf.AARCH64: "aarch64"}


def find(key: str) -> tuple[str, bytes] | None:
    """Symbol and object code of a function that comes with the package, None where it does not."""
    found = _entries().get(key)
    return None if found is None else (found[0], base64.b64decode(found[1]))


@cache
def _entries() -> dict[str, tuple[str, str]]:
    name = NAMES.get(linker.machine())
    try:
        return read(name) if name else {}
    except (OSError, ValueError):
        return {}


def path(name: str) -> Path:
    return Path(__file__).parent.parent / "data" / f"native_{name}.txt"


def read(name: str) -> dict[str, tuple[str, str]]:
    """The file of a kind of processor: symbol and base64 by key. Raises OSError or ValueError where there is no such file."""
    lines = path(name).read_text(encoding="ascii").splitlines()
    return {key: (symbol, code) for key, symbol, code in (line.split() for line in lines if not line.startswith("#"))}
