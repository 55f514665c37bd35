"""Time to compiled and peak memory: one case and peer in a process of its own.

Times are those of the clock on the wall, in processes with all cores of the machine: what a user waits for. As others may be using
them, the least of several processes counts, for all peers alike.

``python -m benchmarks.fresh CASE PEER SIZE`` prints a line of JSON; `run` starts it with the caches it is to find. Importing the peer and
making the arguments are the baseline, not part of the figures. Memory is the process's own peak (VmHWM, set back before the first call,
where the system has it: ru_maxrss of a child begins at its parent's).
"""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import thread_settings

MAX_CALLS = 10  # to compiled
EXTRA_CALLS = 2  # with memory still watched
TIMEOUT = 900
MEDIANS = ("peak_bytes", "total_bytes")
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # of this process at its start, before it is pinned


def compile_python() -> None:
    """Byte code of irgrad, as installing a package makes it."""
    compileall.compile_dir(Path(__file__).parent.parent / "irgrad", quiet=2)


def runs(case: str, peers: Sequence[str], size: str, scratch: Path, count: int) -> dict[str, dict[str, Any]]:
    """Figures of each peer, by what a process finds on disk: of `count` processes each, all peers in turn.

    Others than irgrad keep nothing there. `cold` finds nothing, `warm` the kernels. `scratch` is the benchmark's own folder.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {peer: {} for peer in peers}
    for _ in range(count):
        for peer in peers:
            empty, kinds = Path(tempfile.mkdtemp(dir=scratch)), found[peer]
            kinds.setdefault("cold", []).append(run(case, peer, size, empty / "store"))
            if peer == "irgrad":
                kinds.setdefault("warm", []).append(run(case, peer, size, empty / "store"))
    return {peer: {kind: _of_several(several) for kind, several in kinds.items()} for peer, kinds in found.items()}


def _of_several(several: list[dict[str, Any]]) -> dict[str, Any]:
    """The process that took least, with medians of memory and the times of all; the first that failed, where one did."""
    for figures in several:
        if "failed" in figures:
            return figures
    middles = {name: median(figures[name] for figures in several) for name in MEDIANS}
    least = min(several, key=lambda figures: float(figures["seconds"]))
    return {**least, **middles, "all_seconds": [figures["seconds"] for figures in several]}


def run(case: str, peer: str, size: str, store: Path) -> dict[str, Any]:
    """Figures of a fresh process, or `{"failed": why}`.

    It has the machine's cores, and every peer the threads that it takes by itself, whatever this process was given.
    """
    environment = {name: value for name, value in os.environ.items() if name not in thread_settings(1)}
    environment["IRGRAD_STORE"] = str(store)
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "benchmarks.fresh", case, peer, size, *map(str, CORES)]
    try:
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {TIMEOUT} s"}
    if done.returncode != 0:
        return {"failed": (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1][:200]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(case: str, peer: str, size: str) -> dict[str, Any]:
    """What `run` returns, measured in this process."""
    from benchmarks import peers
    from benchmarks.cases import CASES

    start = time.perf_counter()
    peers.load(peer)
    import_seconds = time.perf_counter() - start
    call = peers.prepare(peer, CASES[case], size)
    baseline = _peak_bytes(reset=True)
    seconds: list[float] = []
    begin = time.process_time()
    for _ in range(MAX_CALLS):
        before = call.num_eager
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        if call.num_eager == before:
            break
    else:
        raise RuntimeError(f"no call of {MAX_CALLS} was served by compiled code")
    processor_seconds = time.process_time() - begin
    for _ in range(EXTRA_CALLS if seconds[-1] < 5.0 else 0):
        call()
    peak = _peak_bytes()
    return {
        "import_seconds": import_seconds,
        "seconds": sum(seconds),
        "processor_seconds": processor_seconds,
        "calls": seconds,
        "peak_bytes": peak - baseline,
        "total_bytes": peak,
        "counts": call.counts(),
    }


def _peak_bytes(reset: bool = False) -> int:
    """Peak resident bytes of this process so far; with `reset`, from now on."""
    status = Path("/proc/self/status")
    if status.exists():
        if reset:
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    if sys.argv[4:]:
        os.sched_setaffinity(0, map(int, sys.argv[4:]))
    print(json.dumps(measure(*sys.argv[1:4])))
