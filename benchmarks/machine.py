"""The machine and the settings a table was made with; thread settings have to be made before numpy is imported."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("irgrad", "numpy", "numba", "llvmlite", "scipy", "autograd", "jax")


def thread_settings(threads: int) -> dict[str, str]:
    """The environment that gives every peer the same number of threads."""
    count = str(threads)
    names = ("IRGRAD_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")  # NPROC: XLA's
    flags = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={threads}"
    return {**dict.fromkeys(names, count), "XLA_FLAGS": flags}


def pin(threads: int) -> int:
    """Keep this process and its children to that many cores, where the system can: the cores kept to, 0 where it cannot.

    Waking a thread on another, idle core costs up to 0.1 ms on a virtual machine, and JAX hands work to a thread of its own.
    """
    if not hasattr(os, "sched_setaffinity"):
        return 0
    chosen = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def clock() -> Callable[[], float]:
    """The clock of all figures: processor time on one core, where what others take of it does not count; on several, wall time."""
    alone = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1
    return time.process_time if alone else time.perf_counter


def facts() -> dict[str, Any]:
    """Processor, cores, load and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def limits() -> dict[str, float]:
    """What this process gets of the machine now: bytes a second that a large copy moves, flops a second of a large product.

    `flops` is of double precision, `flops_single` of single.
    """
    import numpy as np

    source, target = np.ones(8_000_000), np.ones(8_000_000)
    copying = _best(lambda: np.copyto(target, source))
    found = {"bytes": 3 * source.nbytes / copying}  # a line is read before it is written
    for name, dtype in (("flops", np.float64), ("flops_single", np.float32)):
        a, out = np.ones((700, 700), dtype), np.empty((700, 700), dtype)
        multiplying = _best(lambda a=a, out=out: np.matmul(a, a, out=out))  # type: ignore[misc]
        found[name] = 2 * 700**3 / multiplying
    return found


def _best(work: Callable[[], object]) -> float:
    now, seconds = clock(), []
    for _ in range(7):
        start = now()
        work()
        seconds.append(now() - start)
    return min(seconds)


def _version(name: str) -> str:
    if name == "irgrad":
        from irgrad.version import __version__

        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
