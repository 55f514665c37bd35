"""Kernel source to machine code: one wrapper owns Numba, and a library of kernels by content.

A kernel is compiled once per process at most, and once per user with the store on disk. Its source text stays on it and is
registered with `linecache`, so that tracebacks and debuggers show it. Several threads may ask; one compiles at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import linecache
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irgrad.codegen import objects, plain, processor, vector
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


@dataclass(slots=True)
class Counts:
    """What a caller's kernels cost: compiled now, loaded from the store, seconds."""

    compiled: int = 0
    loaded: int = 0
    seconds: float = 0.0


def kernel_key(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:24]


class Library:
    """All kernels of this process, by key of their source."""

    def __init__(self) -> None:
        self.kernels: dict[str, Kernel] = {}
        self.lock = threading.RLock()
        self._names: dict[str, Any] | None = None
        self._drivers: list[Any] = []
        self._store: Store | None = None

    def get(self, source: str, counts: Counts) -> Kernel:
        """The kernel of this source text (``def kernel(p, n): ...``), compiled or loaded where it is new."""
        key = f"plain_{kernel_key(source)}" if CONFIG.evaluate else kernel_key(source)
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
        space = self.names
        exec(compile(text, file, "exec"), space)
        return self._compile(key, name, text, space.pop(name))

    def driver(self, name: str) -> int:
        """Address of a function of `irgrad.codegen.driver`, compiled or loaded where it is new."""
        with self.lock:
            here = Path(__file__).parent
            text = "".join((here / file).read_text() for file in ("driver.py", "layout.py"))
            key = f"{name}_{kernel_key(text)}"
            stored = self.store.get(key)
            address = objects.load(*stored) if stored is not None else 0
            if address:
                return address
            from irgrad.codegen import driver

            compiled, address = self._machine_code(key, getattr(driver, name).py_func, "int64(int64,int64,int64)")
            self._drivers.append(compiled)
            return address

    def _compile(self, key: str, name: str, text: str, function: Callable[..., Any]) -> Kernel:
        compiled, address = self._machine_code(key, function, "int64(int64,int64)")
        return Kernel(name, text, address, compiled)

    def _machine_code(self, key: str, function: Callable[..., Any], signature: str) -> tuple[Any, int]:
        """What holds the code of a function, and its address; the code goes to the store."""
        from numba import cfunc

        compiled = cfunc(signature, error_model="numpy")(function)
        with contextlib.suppress(AttributeError, RuntimeError):  # private names of numba: without them nothing is kept on disk
            self.store.put(key, compiled._wrapper_name, bytes(compiled._library._get_compiled_object()))  # noqa: SLF001
        return compiled, int(compiled.address)

    @property
    def names(self) -> dict[str, Any]:
        if self._names is None:
            from irgrad.codegen import native

            vector.load_for_llvm()
            self._names = native.names()
        return self._names

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
