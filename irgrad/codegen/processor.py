"""The processor that code is made for, read without LLVM where the system tells (Linux), and the versions of what makes the code."""

from __future__ import annotations

import platform
import re
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FIELDS = {
    "x86_64": ("vendor_id", "cpu family", "model", "stepping", "flags"),
    "aarch64": ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
}
FLAGS = {"neon": "asimd", "avx512vbmi2": "avx512_vbmi2"}  # Linux's names, where LLVM's differ
_VERSION = re.compile(r"""(?:"version":|version_version =)\s*["']([^"']+)["']""")


@cache
def identity() -> str:
    """What LLVM chooses instructions by: the models of the processors and what they can do."""
    found = _facts()
    if found:
        return "|".join(sorted(";".join(facts) for facts in found))
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name() + llvm.get_host_cpu_features().flatten())


@cache
def has(*features: str) -> bool:
    """Has the processor all of these (by LLVM's names)?"""
    known = [frozenset(facts[-1].split()) for facts in _facts()] or [_features()]
    return all(FLAGS.get(feature, feature) in names or feature in names for names in known for feature in features)


@cache
def _features() -> frozenset[str]:
    import llvmlite.binding as llvm

    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


@cache
def _facts() -> frozenset[tuple[str, ...]]:
    """The fields of /proc/cpuinfo that tell kinds of processors apart, each kind once; nothing where they are not there.

    On x86-64 the first processor stands for all: reading on costs a measurement of each one's clock.
    """
    fields = FIELDS.get(platform.machine())
    if sys.platform != "linux" or fields is None:
        return frozenset()
    try:
        with CPUINFO.open() as file:
            text = file.read(16384) if platform.machine() == "x86_64" else file.read()
    except OSError:
        return frozenset()
    blocks = [block for block in text.split("\n\n") if block.startswith("processor")]
    blocks = blocks[:1] if platform.machine() == "x86_64" else blocks
    found = [{name.strip(): value.strip() for name, _, value in map(_split, block.splitlines())} for block in blocks]
    if not found or any(field not in facts for facts in found for field in fields):
        return frozenset()
    return frozenset(tuple(facts[field] for field in fields) for facts in found)


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


@cache
def version_of(package: str) -> str:
    """Of the package that would be imported, without importing it (importlib.metadata alone takes 30 ms)."""
    module = sys.modules.get(package)
    if module is None:
        spec = find_spec(package)
        file = Path(spec.origin or "").parent / "_version.py" if spec is not None else Path()
        found = _VERSION.search(file.read_text()) if file.is_file() else None
        if found:
            return found.group(1)
        module = import_module(package)
    return str(module.__version__)
