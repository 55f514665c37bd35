"""Every IRGRAD_* setting, read once at import and validated.

| setting | meaning |
|---|---|
| IRGRAD_DUMP | print graphs: a pass's name, `all`, `source` for kernels, or `llvm` for their text in LLVM's language |
| IRGRAD_CHECK | 1: verify graphs after tracing and after every pass |
| IRGRAD_EXPLAIN | 1: say why a call was traced or compiled |
| IRGRAD_TIME | 1: print seconds per phase |
| IRGRAD_EVALUATE | 1: run programs with kernels as plain Python, without Numba |
| IRGRAD_BACKEND | what compiles kernels: `llvm` (the default; Numba where a text is refused) or `numba` |
| IRGRAD_BLAS | whose BLAS and LAPACK compiled code calls: `numpy` or `scipy` (default: numpy's where its library is found, else SciPy's) |
| IRGRAD_FUEL | stop rewriting graphs after so many rewrites, to bisect a wrong answer |
| IRGRAD_STORE | folder of compiled kernels (default: $XDG_CACHE_HOME/irgrad) |
| IRGRAD_THREADS | threads that work on one large kernel, or compile; 1: only the caller's (default: its cores, up to 16) |
| IRGRAD_MAX_NODES | hard limit of recorded operations in one trace |
| IRGRAD_MAX_PATHS | compiled paths per signature before a function stays eager on new ones |
| IRGRAD_PATH_SHARE | percent of an eager call that each call gives to new paths; 0: the second call on a path does all at once |
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def _flag(name: str) -> bool:
    text = os.environ.get(name, "0")
    if text not in ("", "0", "1"):
        raise ValueError(f"{name} is 0 or 1, not {text!r}")
    return text == "1"


def _count(name: str, default: int | None) -> int | None:
    text = os.environ.get(name)
    if text is None or text == "":
        return default
    if not text.isdigit():
        raise ValueError(f"{name} is a whole number, not {text!r}")
    return int(text)


def _backend() -> str:
    text = os.environ.get("IRGRAD_BACKEND") or "llvm"
    if text not in ("llvm", "numba"):
        raise ValueError(f"IRGRAD_BACKEND is llvm or numba, not {text!r}")
    return text


def _blas() -> str:
    text = os.environ.get("IRGRAD_BLAS") or ""
    if text not in ("", "numpy", "scipy"):
        raise ValueError(f"IRGRAD_BLAS is numpy or scipy, not {text!r}")
    return text


def _store() -> Path:
    chosen = os.environ.get("IRGRAD_STORE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irgrad"


def _threads() -> int:
    asked = _count("IRGRAD_THREADS", None)
    if asked is not None:
        return max(asked, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16)


def _path_share() -> int:
    share = _count("IRGRAD_PATH_SHARE", 33)
    return 33 if share is None else share


@dataclass
class Config:
    """The settings in force; tests change fields, users set the environment."""

    dump: str = field(default_factory=lambda: os.environ.get("IRGRAD_DUMP", ""))
    check: bool = field(default_factory=lambda: _flag("IRGRAD_CHECK"))
    explain: bool = field(default_factory=lambda: _flag("IRGRAD_EXPLAIN"))
    time: bool = field(default_factory=lambda: _flag("IRGRAD_TIME"))
    evaluate: bool = field(default_factory=lambda: _flag("IRGRAD_EVALUATE"))
    backend: str = field(default_factory=_backend)
    blas: str = field(default_factory=_blas)
    fuel: int | None = field(default_factory=lambda: _count("IRGRAD_FUEL", None))
    store: Path = field(default_factory=_store)
    threads: int = field(default_factory=_threads)
    max_nodes: int = field(default_factory=lambda: _count("IRGRAD_MAX_NODES", 5_000_000) or 5_000_000)
    max_paths: int = field(default_factory=lambda: _count("IRGRAD_MAX_PATHS", 1000) or 1000)
    path_share: int = field(default_factory=_path_share)


CONFIG = Config()
