"""Kernel text to machine code by either way, and calls of it on arrays: what tests of the translator share."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from irgrad.codegen import native, objects, plain, vector
from irgrad.codegen.compile import SIGNATURE
from irgrad.codegen.llvm import machine

BACKENDS = ("llvm", "numba")
_count = itertools.count()
_kept: list[Any] = []


def optimised(source: str, backend: str) -> str:
    """The text of LLVM's language that a kernel becomes, optimised."""
    if backend == "llvm":
        return machine.optimised(*machine.translated("kernel", source))
    from numba import cfunc

    vector.load_for_llvm()
    space = native.names()
    exec(source, space)
    return cfunc("int64(int64,int64)", error_model="numpy")(space["kernel"]).inspect_llvm()


def vector_body(text: str) -> str:
    """The loop over whole vectors in a text of LLVM's, empty where there is none."""
    found = re.search(r"^vector\.body\d*:(.*?)^(?:middle\.block|some)\d*:", text, re.M | re.S)
    return found[1] if found else ""


def function(source: str, backend: str) -> Any:
    """A kernel as a Python function of the addresses of its tables."""
    if backend == "plain":
        space = plain.names()
        exec(source, space)
        return lambda pointers, sizes: plain.run(space["kernel"], pointers, sizes)
    if backend == "numba":
        address, keep, _, _ = native.machine_code("kernel", source, {})
        _kept.append(keep)
        return SIGNATURE(address)
    name = f"kernel_of_tests_{next(_count)}"
    address = objects.load(name, machine.object_code(*machine.translated(name, source.replace("def kernel(", f"def {name}(", 1))))
    assert address
    return SIGNATURE(address)


def run(source: str, arrays: Sequence[np.ndarray[Any, Any]], sizes: Sequence[int] = (), backend: str = "llvm") -> int:
    """Call a kernel on arrays, which it changes; answers its status."""
    pointers = np.array([a.ctypes.data for a in arrays] or [0], np.int64)
    table = np.array([*sizes, 0], np.int64)
    return int(function(source, backend)(pointers.ctypes.data, table.ctypes.data))
