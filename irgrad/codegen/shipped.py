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
    name = NAMES.get(linker.machine())
    places = _places(name) if name else {}
    if key not in places:
        return None
    with path(str(name)).open("rb") as file:
        file.seek(places[key])
        _, symbol, code = file.readline().split()
    return str(symbol, "utf-8"), base64.b64decode(code)


@cache
def _places(name: str) -> dict[str, int]:
    """Where the line of each key begins; nothing where there is no such file, or it is spoilt."""
    places: dict[str, int] = {}
    try:
        with path(name).open("rb") as file:
            at = 0
            for line in file:
                if not line.startswith(b"#"):
                    key, _, _ = line.split()
                    places[str(key, "utf-8")] = at
                at += len(line)
    except (OSError, ValueError):
        return {}
    return places


def path(name: str) -> Path:
    return Path(__file__).parent.parent / "data" / f"native_{name}.txt"
