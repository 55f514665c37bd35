"""Where the time of one compiled call goes: entry, driver, kernels by name, library routines, host calls.

The rows of a program run one by one in the order of the program, with the processor's time-stamp counter read between them, and the
shortest time of a row counts, as others may use the machine; what the counter itself takes is subtracted. Rows of some ten nanoseconds
overlap in the processor, so that their times are rough. What a call takes besides is seen against calls that follow each other like that:
between calls of other peers it takes longer, as its data have left the caches. Only for x86-64, where that counter is of constant rate
and may be read.
"""

from __future__ import annotations

import platform
import re
import time
import timeit
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.machine import clock

SECONDS = 0.1  # spent on each profile
MIN_CALLS = 3
BATCH = 0.0002
LIBRARY = "BLAS, LAPACK or FFT"
NEVER = 1 << 60
FUNCTION = re.compile(r"\b(exp|expm1|log|log1p|sin|cos|tan|tanh|sqrt|pow|erf|greatest|least|select)\(")
OPERATION = re.compile(r"^ *v\d+ = (?!load|size)", re.MULTILINE)


def profile(jitted: Any, arguments: tuple[Any, ...]) -> dict[str, Any] | None:
    """Seconds a call by part; None for a program that did not serve the call, and on other processors."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    from irgrad.runtime import run as runtime
    from irgrad.runtime.signature import normalise

    variants = [variant for variant in jitted.variants if variant.program is not None]
    if len(variants) != 1:
        return None
    (variant,) = variants
    leaves = jitted._form(arguments, {}).leaves  # noqa: SLF001
    objects = (*leaves, *map(normalise, variant.read())) if variant.origins else tuple(leaves)
    timed = _Timed(variant.program)
    kept, runtime._native = runtime._native, timed  # type: ignore[assignment]  # noqa: SLF001
    host, runtime.host = runtime.host, timed.host_with(runtime.host)
    try:
        runtime.run(variant, objects, jitted.stats())  # compiles the timed driver
        timed.clear()
        begin, count = time.perf_counter(), 0
        while count < MIN_CALLS or time.perf_counter() - begin < SECONDS:
            done, _ = runtime.run(variant, objects, jitted.stats())
            if not done:
                return None
            count += 1
    finally:
        runtime._native, runtime.host = kept, host  # noqa: SLF001
    return timed.parts(count) | {"call": _least(jitted, arguments)}


def _least(jitted: Any, arguments: tuple[Any, ...]) -> float:
    """The shortest time of a call, as rows have theirs: one call after the other, so that caches hold what they can."""
    timer = timeit.Timer(lambda: jitted(*arguments))
    number = max(1, int(BATCH / max(timer.timeit(3) / 3, 1e-9)))
    begin, least = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < SECONDS or least == float("inf"):
        least = min(least, timer.timeit(number) / number)
    return least


class _Timed:
    """Stands in for the driver module in `irgrad.runtime.run`."""

    def __init__(self, program: Any) -> None:
        from irgrad.codegen.entry import native
        from irgrad.codegen.layout import OP_HOST, ROWS

        self.program, self.real = program, native()
        self.stop = np.array([OP_HOST, 0, 0, 0], np.int64)
        self.header = program.header.copy()
        self.header[ROWS] = self.stop.ctypes.data  # the entry checks the arguments and comes back at once
        self.ticks = np.full(program.num_rows, NEVER, np.int64)
        self.calls = np.zeros(program.num_rows, np.int64)
        self.host_seconds = 0.0
        self.enter_released = self.enter

    def clear(self) -> None:
        self.ticks[:] = NEVER
        self.calls[:] = 0
        self.host_seconds = 0.0

    def enter(self, header: int, bases: int, objects: tuple[Any, ...]) -> int:
        code = self.real.enter(self.header.ctypes.data, bases, objects)
        return self.drive(header, bases, 0) if code & 15 == 3 else code

    def drive(self, header: int, bases: int, row: int) -> int:
        return int(_drive()(header, bases, row, self.ticks.ctypes.data, self.calls.ctypes.data))

    def host_with(self, host: Callable[..., None]) -> Callable[..., None]:
        now = clock()

        def timed(call: Any, context: Any) -> None:
            start = now()
            host(call, context)
            self.host_seconds += now() - start

        return timed

    def parts(self, calls: int) -> dict[str, Any]:
        """Seconds a call of each kernel, of all that are loops, of BLAS, LAPACK and FFT, of host calls; entry and driver take the rest."""
        from irgrad.codegen.compile import Kernel

        rate, empty = _calibration()
        runners = {each.address for each in self.program.keep if isinstance(each, Kernel)}
        names = {kernel.address: kernel for kernel in self.program.kernels}
        found: dict[str, dict[str, Any]] = {}
        for row in np.flatnonzero(self.calls):
            address = int(self.program.rows[4 * row])
            if address in runners:  # what runs in chunks has its address in the table of sizes
                table = (int(self.program.rows[4 * row + 3]) - self.program.sizes.ctypes.data) // 8
                address = int(self.program.sizes[table + 2])
            kernel = names.get(address)
            if kernel is None:
                continue
            seconds = max(0.0, float(self.ticks[row]) - empty) * float(self.calls[row]) / rate / calls
            entry = found.setdefault(kernel.name, {"name": kernel.name, "what": describe(kernel.source), "rows": 0, "seconds": 0.0})
            entry["rows"] += round(int(self.calls[row]) / calls)
            entry["seconds"] += seconds
        kernels = sorted(found.values(), key=lambda entry: -entry["seconds"])
        library = sum(entry["seconds"] for entry in kernels if entry["what"] == LIBRARY)
        return {
            "kernels": kernels,
            "loops": sum(entry["seconds"] for entry in kernels) - library,
            "library": library,
            "host": self.host_seconds / calls,
        }


def describe(source: str) -> str:
    """What a kernel does, in a few words from its text."""
    if "call_blas" in source:
        return LIBRARY
    words = [f"{len(OPERATION.findall(source))} operations"]
    functions = sorted(set(FUNCTION.findall(source)))
    words += [", ".join(functions)] if functions else []
    depth = max((len(line) - len(line.lstrip()) for line in source.splitlines() if line.lstrip().startswith("for ")), default=0) // 4
    sums = " with sums" if "add_any_order" in source else ""
    words.append(("no loop" if depth == 0 else f"{depth} loop{'s' * (depth > 1)} deep") + sums)
    return "; ".join(words)


@cache
def _counter() -> Any:
    """An intrinsic that reads the time-stamp counter."""
    import llvmlite.ir as ll
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def ticks(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ll.FunctionType(ll.IntType(64), ())
            return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), kind), ())

        return types.int64(), codegen

    return ticks


@cache
def _drive() -> Any:
    """`irgrad.codegen.driver.drive` with the counter read around every kernel: fewest ticks, and calls, by row."""
    from numba import njit

    from irgrad.codegen.layout import DONE, FAILED, HOST, LAST_ROW, NEW_PATH, OP_GUARD, OP_HOST, REFS, ROWS
    from irgrad.codegen.native import byte_at, call_kernel, put, size, stack

    now = _counter()

    @njit
    def drive(header: int, bases: int, start: int, ticks: int, calls: int) -> int:
        rows, refs, slots = size(header, ROWS), size(header, REFS), stack(512)
        row, code = start, -1
        while code < 0:
            at = rows + row * 32
            kernel = size(at, 0)
            if kernel > 15:
                first = refs + 8 * size(at, 1)
                for j in range(size(at, 2)):
                    ref = size(first, j)
                    put(slots, j, size(bases, ref & 65535) + (ref >> 16))
                before = now()
                status = call_kernel(kernel, slots, size(at, 3))
                put(ticks, row, min(size(ticks, row), now() - before))
                put(calls, row, size(calls, row) + 1)
                if status != 0:
                    code = FAILED + 16 * row
                row += 1
            elif kernel == OP_GUARD:
                ref = size(at, 1)
                address = size(bases, ref & 65535) + (ref >> 16)
                value = byte_at(address) if size(at, 2) == 1 else size(address, 0)
                table = size(at, 3)
                target = -1
                for k in range(size(table, 0)):
                    if size(table, 1 + 2 * k) == value:
                        target = size(table, 2 + 2 * k)
                        break
                if target < 0:
                    code = NEW_PATH + 16 * row
                row = target
            elif kernel == OP_HOST:
                code = HOST + 16 * row
            else:
                put(header, LAST_ROW, row)
                code = DONE + 16 * row
        return code

    return drive


@cache
def _calibration() -> tuple[float, float]:
    """Ticks a second, and ticks that reading the counter twice takes."""
    from numba import njit

    now = _counter()

    @njit
    def twice(count: int) -> int:
        total = 0
        for _ in range(count):
            before = now()
            total += now() - before
        return total

    @njit
    def read() -> int:
        return now()  # type: ignore[no-any-return]

    twice(10), read()
    first, start = read(), time.perf_counter()
    while time.perf_counter() - start < 0.05:
        pass
    rate = (read() - first) / (time.perf_counter() - start)
    return rate, min(twice(100) / 100 for _ in range(100))
