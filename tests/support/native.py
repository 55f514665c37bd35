"""Writes the machine code that comes with the package: ``python -m tests.support.native``. See `irgrad.codegen.shipped`."""

from __future__ import annotations

import base64

from irgrad.codegen import loops, panels, shipped, split, team
from irgrad.codegen.compile import LIBRARY, kernel_key
from irgrad.codegen.llvm import machine
from irgrad.codegen.llvm.binding import LIGHT, Public

OLDEST = {"x86_64": "x86-64", "aarch64": "generic"}  # processors, by LLVM's names
RUNNERS = (loops.SCAN, loops.WHILE, loops.BRANCH, split.SPLIT, split.CHUNK_OF, panels.PANEL_OF)
HEAD = "# Object files of irgrad's run-time functions: key, symbol, base64. Written by python -m tests.support.native\n"


def made(name: str) -> dict[str, tuple[str, bytes]]:
    """Symbols and object code by key, compiled for a kind of processor."""
    llvm = Public(f"{name}-unknown-linux-gnu", OLDEST[name])
    found = {
        LIBRARY.driver_key(function): (function, llvm.object_code(LIBRARY.driver_ir(function), LIGHT)) for function in ("enter", "drive")
    }
    for symbol, text in team.texts(name).items():
        found[team.key_of(text)] = (symbol, llvm.object_code(text, LIGHT))
    for source in RUNNERS:
        key = kernel_key(source)
        symbol = f"kernel_{key}"
        text, effort = machine.translated(symbol, source.replace("def kernel(", f"def {symbol}(", 1))
        found[key] = (symbol, llvm.object_code(text, effort))
    return found


def read(name: str) -> dict[str, tuple[str, str]]:
    """Symbol and base64 by key, as the file has them."""
    lines = shipped.path(name).read_text(encoding="ascii").splitlines()
    return {key: (symbol, code) for key, symbol, code in (line.split() for line in lines if not line.startswith("#"))}


def runner_keys() -> list[str]:
    return [kernel_key(source) for source in RUNNERS]


def write() -> None:
    for name in OLDEST:
        lines = [f"{key} {symbol} {base64.b64encode(code).decode()}\n" for key, (symbol, code) in made(name).items()]
        shipped.path(name).write_text(HEAD + "".join(lines), encoding="ascii")


if __name__ == "__main__":
    write()
