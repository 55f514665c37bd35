"""Kernel source to machine code: a library of kernels by content, compiled by `irgrad.codegen.llvm` or, where that refuses, by Numba.

A kernel is compiled once per process at most, and once per user with the store on disk. Its text stays on it, and where Python or Numba
has it `linecache` does too, so that tracebacks and debuggers show it. Several threads may ask. `ask` translates a kernel and leaves LLVM's
part to a queue (`irgrad.codegen.jobs`); the kernel has an address when it is settled.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import linecache
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from irgrad.codegen import callables, layout, objects, plain, processor, shipped, vector
from irgrad.codegen.jobs import QUEUE, Job
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.codegen.locks import Lock
from irgrad.codegen.store import Store, default_folder, environment
from irgrad.config import CONFIG

SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@dataclass(slots=True)
class Kernel:
    """A compiled kernel: its name (with the hash of its content), the text it is made of, and address."""

    name: str
    text: str  # of the row, whose function is `kernel`: one object for both
    address: int
    keep: Any = None
    refused: str = ""  # why Numba compiled it
    waits: Job[bytes] | None = None  # for LLVM; the address is 0 until then

    @property
    def source(self) -> str:
        """The readable text, with the function named as the kernel is."""
        return named(self.text, self.name)


@dataclass(slots=True)
class Code:
    """Machine code in this process: its address, and what keeps it."""

    address: int
    keep: Any


@dataclass(slots=True)
class Counts:
    """What a caller's kernels cost: compiled now (of them by Numba, because `irgrad.codegen.llvm` refused), loaded, seconds."""

    compiled: int = 0
    refused: int = 0
    loaded: int = 0
    seconds: float = 0.0


def named(text: str, name: str) -> str:
    """The text of a kernel with the name of its function."""
    return text.replace("def kernel(", f"def {name}(", 1)


def kernel_key(source: str, evaluate: bool = False) -> str:
    """The name of a text's code in the store: of its content, and of what runs or compiles it."""
    way = "plain_" if evaluate else "oracle_" if CONFIG.backend == "numba" else ""
    return way + hashlib.sha256(source.encode()).hexdigest()[:24]


class Library:
    """All kernels of this process, by key of their source."""

    def __init__(self) -> None:
        self.kernels: dict[str, Kernel] = {}
        self.lock = Lock()
        self.num_objects = 0  # made by LLVM in this process, for tests
        self._drivers: dict[str, Job[bytes]] = {}
        self._kept: list[Code] = []
        self._store: Store | None = None

    def get(self, source: str, counts: Counts) -> Kernel:
        """The kernel of this source text (``def kernel(p, n): ...``), compiled or loaded where it is new."""
        kernel = self.ask(source, counts)
        self.settle((kernel,), counts)
        return kernel

    def ask(self, source: str, counts: Counts) -> Kernel:
        """The same, perhaps still without its address: `settle` sees to that."""
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

    def settle(self, kernels: Iterable[Kernel], counts: Counts) -> None:
        """Give these kernels their addresses. Raises what compiling one raises; then it is no kernel of the process any more."""
        waiting = [kernel for kernel in kernels if kernel.waits is not None]
        start = time.perf_counter()
        for kernel in waiting:
            job = kernel.waits
            if job is None:  # another thread settled it meanwhile
                continue
            try:
                made = job.result()
            except Unsupported as reason:
                counts.refused += 1
                made, kernel.refused = b"", str(reason)
            except Exception:
                self.kernels.pop(kernel.name.removeprefix("kernel_"), None)
                raise
            with self.lock:
                if kernel.waits is not None:
                    self._finish(kernel, made)
        if waiting:
            counts.seconds += time.perf_counter() - start

    def _finish(self, kernel: Kernel, made: bytes) -> None:
        """The address of a kernel from its object code, or from Numba where there is none or it cannot be linked."""
        key = kernel.name.removeprefix("kernel_")
        try:
            if made:
                self.num_objects += 1
                self.store.put(key, kernel.name, made)
                kernel.address = objects.load(kernel.name, made)
            if not kernel.address:
                code = self._by_numba(key, kernel.name, kernel.source, {})
                kernel.address, kernel.keep = code.address, code.keep
        except BaseException:
            self.kernels.pop(key, None)
            raise
        kernel.waits = None

    def _make(self, key: str, source: str, counts: Counts) -> Kernel:
        name = f"kernel_{key}"
        text = named(source, name)
        if CONFIG.dump in ("source", "all"):
            print(text)  # noqa: T201
        if CONFIG.evaluate:
            counts.compiled += 1
            return plain_kernel(name, source)
        stored = self.kept(key)
        if stored is not None:
            address = objects.load(*stored)
            if address:
                counts.loaded += 1
                return Kernel(name, source, address)
        counts.compiled += 1
        why = ""
        if CONFIG.backend == "llvm":
            try:
                work, weight = self._translated(name, text)
                return Kernel(name, source, 0, waits=QUEUE.add(work, weight=weight))
            except Unsupported as reason:
                counts.refused += 1
                why = str(reason)
        code = self._by_numba(key, name, text, {})
        return Kernel(name, source, code.address, code.keep, why)

    def _translated(self, name: str, text: str) -> tuple[Callable[[], bytes], int]:
        """What makes the object code of a kernel, and about how long it takes. Raises Unsupported where its text is not understood."""
        from irgrad.codegen.llvm import machine

        ir, effort = machine.translated(name, text)
        if CONFIG.dump in ("llvm", "all"):
            print(machine.optimised(ir, effort))  # noqa: T201
        return partial(machine.object_code, ir, effort), len(ir)

    def ask_driver(self, name: str) -> Job[bytes]:
        """The object code of a function of `irgrad.codegen.driver`, with its callables, as a job that may be on: see `driver`."""
        with self.lock:
            job = self._drivers.get(name)
            if job is None:
                key = self.driver_key(name)
                stored = self.kept(key)
                job = Job.of(stored[1]) if stored is not None else QUEUE.add(partial(self._driver_code, name, key), at_once=True)
                self._drivers[name] = job
        return job

    def driver(self, name: str) -> bytes:
        """The object code of a function of the driver. Raises Unsupported where LLVM is not to be had."""
        try:
            return self.ask_driver(name).result()
        except Exception:
            self._drivers.pop(name, None)
            raise

    def driver_key(self, name: str) -> str:
        """The name of the object code of a function of the driver."""
        return f"{name}_{kernel_key(''.join((_HERE / file).read_text(encoding='utf-8') for file in _DRIVER))}"

    def driver_ir(self, name: str) -> str:
        """LLVM's text of a function of the driver, with its callables. Raises Unsupported where it is not understood."""
        from irgrad.codegen.llvm import machine

        return callables.around(name, machine.ir(name, _driver_text(), _LAYOUT))

    def _driver_code(self, name: str, key: str) -> bytes:
        from irgrad.codegen.llvm.binding import LIGHT, compiler

        compiler()  # first of all: loading LLVM leaves the interpreter to the thread that traces
        from irgrad.codegen.llvm import machine

        made = machine.object_code(self.driver_ir(name), LIGHT)
        self.num_objects += 1
        self.store.put(key, name, made)
        return made

    def driver_address(self, name: str) -> int:
        """Address of a function of the driver as the setting of the backend has it."""
        if CONFIG.backend == "llvm":
            with contextlib.suppress(Unsupported):
                address = objects.load(name, self.driver(name))
                if address:
                    return address
        key = f"{self.driver_key(name)}_alone"
        with self.lock:
            stored = self.store.get(key)
            address = objects.load(*stored) if stored is not None else 0
            return address or self._by_numba(key, name, _driver_text(), _LAYOUT).address

    def _by_numba(self, key: str, name: str, text: str, constants: dict[str, Any]) -> Code:
        """The function `name` of a text, as machine code that is kept on disk too."""
        from irgrad.codegen import native

        register(name, text)
        address, keep, symbol, made = native.machine_code(name, text, constants)
        if made:
            self.store.put(key, symbol, made)
        code = Code(address, keep)
        self._kept.append(code)
        return code

    def kept(self, key: str) -> tuple[str, bytes] | None:
        """Symbol and object code that come with the package or are in the store."""
        return shipped.find(key) or self.store.get(key)

    @property
    def store(self) -> Store:
        if self._store is None or self._store.root != default_folder():
            numba, llvmlite, numpy = (processor.version_of(package) for package in ("numba", "llvmlite", "numpy"))
            self._store = Store(default_folder(), environment(numba, llvmlite, numpy, processor.identity() + vector.identity()))
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
            self._drivers = {}


def register(name: str, text: str) -> str:
    """Let tracebacks and debuggers find the text of a function that Python or Numba has; the name of its file."""
    file = f"<irgrad {name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    return file


def plain_kernel(name: str, source: str) -> Kernel:
    """The kernel as plain Python behind the same native signature: the oracle of the compiled one."""
    space = plain.names()
    text = named(source, name)
    exec(compile(text, register(name, text), "exec"), space)
    function = space[name]

    def run(pointers: int, sizes: int) -> int:
        return plain.run(function, pointers, sizes)

    callback = SIGNATURE(run)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    assert address is not None
    return Kernel(name, source, address, callback)


def _driver_text() -> str:
    return (_HERE / "driver.py").read_text(encoding="utf-8")


_HERE = Path(__file__).parent
_DRIVER = ("driver.py", "layout.py", "callables.py")  # what the driver's code is made of
_LAYOUT = {word: value for word, value in vars(layout).items() if word.isupper()}
LIBRARY = Library()
