"""Kernel source to machine code: a library of kernels by content, compiled by `irgrad.codegen.llvm` or, where that refuses, by Numba.

A kernel is compiled once per process at most, and once per user with the store on disk. Its source text stays on it and is
registered with `linecache`, so that tracebacks and debuggers show it. Several threads may ask; one compiles at a time.
"""

from __future__ import annotations

import ctypes
import hashlib
import linecache
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irgrad.codegen import layout, objects, plain, processor, vector
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.codegen.store import Store, default_folder, environment
from irgrad.config import CONFIG

SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@dataclass(slots=True)
class Kernel:
    """A compiled kernel: its name (with the hash of its content), readable source, and address."""

    name: str
    source: str
    address: int
    keep: Any
    refused: str = ""  # why Numba compiled it


@dataclass(slots=True)
class Code:
    """Machine code in this process: its address, and what keeps it."""

    address: int
    keep: Any
    refused: str = ""  # why Numba made it


@dataclass(slots=True)
class Counts:
    """What a caller's kernels cost: compiled now (of them by Numba, because `irgrad.codegen.llvm` refused), loaded, seconds."""

    compiled: int = 0
    refused: int = 0
    loaded: int = 0
    seconds: float = 0.0


def kernel_key(source: str, evaluate: bool = False) -> str:
    """The name of a text's code in the store: of its content, and of what runs or compiles it."""
    way = "plain_" if evaluate else "oracle_" if CONFIG.backend == "numba" else ""
    return way + hashlib.sha256(source.encode()).hexdigest()[:24]


class Library:
    """All kernels of this process, by key of their source."""

    def __init__(self) -> None:
        self.kernels: dict[str, Kernel] = {}
        self.lock = threading.RLock()
        self._drivers: list[Code] = []
        self._store: Store | None = None

    def get(self, source: str, counts: Counts) -> Kernel:
        """The kernel of this source text (``def kernel(p, n): ...``), compiled or loaded where it is new."""
        key = kernel_key(source, CONFIG.evaluate)
        kernel = self.kernels.get(key)
        if kernel is not None:
            return kernel
        with self.lock:
            kernel = self.kernels.get(key)
            if kernel is None:
                start = time.perf_counter()
                kernel = self.kernels[key] = self._make(key, source, counts)
                counts.seconds += time.perf_counter() - start
        return kernel

    def _make(self, key: str, source: str, counts: Counts) -> Kernel:
        name = f"kernel_{key}"
        text = source.replace("def kernel(", f"def {name}(", 1)
        file = f"<irgrad {name}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        if CONFIG.dump in ("source", "all"):
            print(text)  # noqa: T201
        if CONFIG.evaluate:
            counts.compiled += 1
            return plain_kernel(name, text, file)
        stored = self.store.get(key)
        if stored is not None:
            address = objects.load(*stored)
            if address:
                counts.loaded += 1
                return Kernel(name, text, address, None)
        counts.compiled += 1
        code = self._compile(key, name, text, {}, counts)
        return Kernel(name, text, code.address, code.keep, code.refused)

    def driver(self, name: str) -> int:
        """Address of a function of `irgrad.codegen.driver`, compiled or loaded where it is new."""
        with self.lock:
            here = Path(__file__).parent
            text = (here / "driver.py").read_text(encoding="utf-8")
            key = f"{name}_{kernel_key(text + (here / 'layout.py').read_text(encoding='utf-8'))}"
            stored = self.store.get(key)
            address = objects.load(*stored) if stored is not None else 0
            if address:
                return address
            constants = {word: value for word, value in vars(layout).items() if word.isupper()}
            code = self._compile(key, name, text, constants, Counts())
            self._drivers.append(code)
            return code.address

    def _compile(self, key: str, name: str, text: str, constants: dict[str, Any], counts: Counts) -> Code:
        """The function `name` of a text, as machine code that is kept on disk too."""
        why = ""
        if CONFIG.backend == "llvm":
            try:
                made = self._translated(name, text, constants)
            except Unsupported as reason:
                counts.refused += 1
                why = str(reason)
            else:
                self.store.put(key, name, made)
                address = objects.load(name, made)
                if address:
                    return Code(address, made)
        from irgrad.codegen import native

        address, keep, symbol, made = native.machine_code(name, text, constants)
        if made:
            self.store.put(key, symbol, made)
        return Code(address, keep, why)

    def _translated(self, name: str, text: str, constants: dict[str, Any]) -> bytes:
        from irgrad.codegen.llvm import machine

        ir = machine.ir(name, text, constants)
        if CONFIG.dump in ("llvm", "all"):
            print(machine.optimised(ir))  # noqa: T201
        return machine.object_code(ir)

    @property
    def store(self) -> Store:
        if self._store is None or self._store.root != default_folder():
            versions = [processor.version_of(package) for package in ("numba", "llvmlite", "numpy")]
            self._store = Store(default_folder(), environment(*versions, processor.identity() + vector.identity()))
        return self._store

    def stored(self, key: str, make: Callable[[], tuple[str, bytes]]) -> tuple[str, bytes]:
        """Symbol and object code that the store has under a key, or that `make` makes and the store then keeps."""
        found = self.store.get(key)
        if found is None:
            found = make()
            self.store.put(key, *found)
        return found

    def forget(self) -> None:
        """Drop the kernels of this process (for tests and benchmarks of the store)."""
        with self.lock:
            self.kernels = {}


def plain_kernel(name: str, text: str, file: str) -> Kernel:
    """The kernel as plain Python behind the same native signature: the oracle of the compiled one."""
    space = plain.names()
    exec(compile(text, file, "exec"), space)
    function = space[name]

    def run(pointers: int, sizes: int) -> int:
        return plain.run(function, pointers, sizes)

    callback = SIGNATURE(run)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    assert address is not None
    return Kernel(name, text, address, callback)


LIBRARY = Library()
