"""The native driver and the entry: one compiled loop over a program's rows, and one compiled check of a call's arguments.

Both are compiled once per user and shared by every program, from the text of this module with the names of kernels around it; as it
stands it runs as plain Python. A program is tables of int64; see `irgrad.codegen.program`. The entry reads argument objects itself: type,
dtype, dimensions, strides and data address sit at fixed places of CPython's and numpy's public object layouts, which
`irgrad.codegen.entry.probe` verifies at start; where they differ, Python checks instead. This needs no compile per signature, and no
boxing.
"""

from __future__ import annotations

from irgrad.codegen.layout import (
    ARG_TABLE,
    ARG_WORDS,
    DONE,
    FAILED,
    FIRST_ARG_BASE,
    HOST,
    LAST_ROW,
    MISMATCH,
    NEW_PATH,
    NUM_ARGS,
    NUM_OUTS,
    NUMBER,
    OP_GUARD,
    OP_HOST,
    REFS,
    ROWS,
)  # fmt: skip
from irgrad.codegen.plain import byte_at, call_kernel, half_at, put, size, stack


def drive(header: int, bases: int, start: int) -> int:
    """Run rows from `start` until a return, a host call, an unknown guard outcome or a failed kernel."""
    rows = size(header, ROWS)
    refs = size(header, REFS)
    slots = stack(512)
    row = start
    while True:
        at = rows + row * 32
        kernel = size(at, 0)
        if kernel > 15:
            first = refs + 8 * size(at, 1)
            for j in range(size(at, 2)):
                ref = size(first, j)
                put(slots, j, size(bases, ref & 65535) + (ref >> 16))
            if call_kernel(kernel, slots, size(at, 3)) != 0:
                return FAILED + 16 * row
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
                return NEW_PATH + 16 * row
            row = target
        elif kernel == OP_HOST:
            return HOST + 16 * row
        else:
            calls = size(at, 3)
            put(calls, 0, size(calls, 0) + 1)
            put(header, LAST_ROW, row)
            return DONE + 16 * row


def enter(header: int, bases: int, objects: int) -> int:
    """Check the objects of a call against the program's signature, take their addresses, and run.

    `objects` is the address of a tuple: arguments, then fresh result arrays.
    """
    table = size(header, ARG_TABLE)
    count = size(header, NUM_ARGS)
    first = bases + 8 * size(header, FIRST_ARG_BASE)
    for k in range(count):
        obj = size(objects + 24, k)
        want = table + 8 * ARG_WORDS * k
        if size(obj, 1) != size(want, 1):
            return MISMATCH
        if size(want, 0) == NUMBER:
            put(first, k, obj + 16)
            continue
        if size(obj, 7) != size(want, 2):
            return MISMATCH
        ndim = size(want, 3)
        if half_at(obj + 24) != ndim:
            return MISMATCH
        dims = size(obj, 4)
        strides = size(obj, 5)
        known = size(want, 4)
        for d in range(ndim):
            if size(dims, d) != size(known, d):
                return MISMATCH
            if size(strides, d) != size(known, ndim + d) and size(dims, d) != 1:
                return MISMATCH
        if (half_at(obj + 64) & 256) == 0:
            return MISMATCH
        put(first, k, size(obj, 2))
    for k in range(count, count + size(header, NUM_OUTS)):
        put(first, k, size(size(objects + 24, k), 2))
    return drive(header, bases, 0)
