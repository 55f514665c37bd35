"""Machine code into this process: object files by our own linker, and by llvmlite where that one does not know what it sees.

Importing Numba and filling its registries takes a third of a second, importing llvmlite 60 MB: a process whose kernels are all in the store
needs neither. The two helpers of Numba that raising code refers to are stood in for here; code that needs another one is not taken
from the store.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from irgrad.codegen import elf, linker, vector
from irgrad.codegen.locks import Lock

HELPER = re.compile(rb"(?:numba|NRT)_\w+")
NONE: Mapping[str, int] = MappingProxyType({})
_lock = Lock()
_kept: list[Any] = []  # engines hold the code that they linked


def load(symbol: str, code: bytes, names: Mapping[str, int] = NONE) -> int:
    """Address of `symbol` in an object file, 0 where it cannot be linked; `names` are addresses of what it calls, first of all."""
    try:
        return linker.link(elf.parse(code), symbol, _resolver(names))
    except elf.MalformedObject:
        return 0
    except elf.UnsupportedObject:
        return by_llvm(symbol, code, names)


def _resolver(names: Mapping[str, int]) -> Callable[[str], int]:
    def resolve(name: str) -> int:
        return names.get(name) or _HELPERS.get(name) or vector.address(name) or linker.process_symbol(name)

    return resolve


def by_llvm(symbol: str, code: bytes, names: Mapping[str, int] = NONE) -> int:
    """The same by LLVM, which ends the process at bytes that are no object file and at names that it does not find: check first."""
    import llvmlite.binding as llvm

    with _lock:
        engine = _new_engine() if names else _engine()
        for name, address in names.items():
            llvm.add_symbol(name, address)
        if any(llvm.address_of_symbol(name) is None for name in _wanted(code)):
            return 0
        try:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            engine.finalize_object()
            return int(engine.get_function_address(symbol))
        except (RuntimeError, AttributeError, ValueError):
            return 0


def _wanted(code: bytes) -> set[str]:
    """Names that an object file needs from elsewhere: of a format not known here, those of Numba's helpers."""
    try:
        return elf.parse(code).undefined()
    except ValueError:
        return {name.decode() for name in HELPER.findall(code)}


@cache
def _engine() -> Any:
    """The engine of all code whose names are its own."""
    return _new_engine()


def _new_engine() -> Any:
    """An engine that knows the helpers that raising wrappers of Numba refer to."""
    import llvmlite.binding as llvm

    vector.load_for_llvm()
    for name, address in _HELPERS.items():
        if llvm.address_of_symbol(name) is None:  # Numba is not there
            llvm.add_symbol(name, address)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    _kept.append(engine)
    return engine


def _ensure(state: Any) -> None:
    state[0] = ctypes.pythonapi.PyGILState_Ensure()


def _release(state: Any) -> None:
    ctypes.pythonapi.PyGILState_Release(state[0])


_HELPER_TYPE = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int))
_gil_ensure, _gil_release = _HELPER_TYPE(_ensure), _HELPER_TYPE(_release)
_HELPERS = {
    name: ctypes.cast(function, ctypes.c_void_p).value or 0
    for name, function in (("numba_gil_ensure", _gil_ensure), ("numba_gil_release", _gil_release))
}
