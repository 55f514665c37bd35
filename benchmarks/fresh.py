"""Time to compiled and peak memory: one case and peer in a process of its own.

``python -m benchmarks.fresh CASE PEER SIZE`` prints a line of JSON; `run` starts it with the caches it is to find. Importing the peer and
making the arguments are the baseline, not part of the figures. Memory is the process's own peak (VmHWM, set back before the first call,
where the system has it: ru_maxrss of a child begins at its parent's).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

MAX_CALLS = 10  # to compiled
EXTRA_CALLS = 2  # with memory still watched
TIMEOUT = 900
MEDIANS = ("import_seconds", "seconds", "wall_seconds", "peak_bytes", "total_bytes")


def compile_driver(scratch: Path) -> None:
    """Compile irgrad's driver for the processes that are to find it."""
    code = "from irgrad.codegen.entry import native; driver = native(); driver.enter, driver.enter_released, driver.drive\n"
    code += "from irgrad.codegen.team import prepare\n"
    code += "from irgrad.codegen.compile import LIBRARY, Counts; LIBRARY.settle(prepare(), Counts())"
    environment = {**os.environ, "IRGRAD_STORE": str(scratch / "driver")}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=Path(__file__).parent.parent, timeout=TIMEOUT, check=True)


def runs(case: str, peer: str, size: str, scratch: Path, count: int) -> dict[str, Any]:
    """Figures by what a process finds on disk, each the median of `count` processes; peers that keep nothing there have one kind.

    `cold` finds nothing, `new` irgrad's driver but no kernel, `warm` both. `scratch` is the benchmark's own folder.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(count):
        empty = Path(tempfile.mkdtemp(dir=scratch))
        found.setdefault("cold", []).append(run(case, peer, size, empty / "store"))
        if peer == "irgrad":
            shutil.copytree(scratch / "driver", empty / "other")
            found.setdefault("new", []).append(run(case, peer, size, empty / "other"))
            found.setdefault("warm", []).append(run(case, peer, size, empty / "store"))
    return {kind: _middle(several) for kind, several in found.items()}


def _middle(several: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, with the calls and counts of the run in the middle and the times of all; the first that failed, where one did."""
    for figures in several:
        if "failed" in figures:
            return figures
    ranked = sorted(several, key=lambda figures: float(figures["seconds"]))
    middles = {name: median(figures[name] for figures in several) for name in MEDIANS}
    return {**ranked[(len(several) - 1) // 2], **middles, "all_seconds": [figures["seconds"] for figures in several]}


def run(case: str, peer: str, size: str, store: Path) -> dict[str, Any]:
    """Figures of a fresh process, or `{"failed": why}`; the environment has the thread settings."""
    environment = {**os.environ, "IRGRAD_STORE": str(store)}
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "benchmarks.fresh", case, peer, size]
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
    from benchmarks.machine import clock

    now = clock()
    start = now()
    peers.load(peer)
    import_seconds = now() - start
    call = peers.prepare(peer, CASES[case], size)
    baseline = _peak_bytes(reset=True)
    seconds: list[float] = []
    begin = time.perf_counter()
    for _ in range(MAX_CALLS):
        before = call.num_eager
        start = now()
        call()
        seconds.append(now() - start)
        if call.num_eager == before:
            break
    else:
        raise RuntimeError(f"no call of {MAX_CALLS} was served by compiled code")
    wall_seconds = time.perf_counter() - begin
    for _ in range(EXTRA_CALLS if seconds[-1] < 5.0 else 0):
        call()
    peak = _peak_bytes()
    return {
        "import_seconds": import_seconds,
        "seconds": sum(seconds),
        "wall_seconds": wall_seconds,
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
    print(json.dumps(measure(*sys.argv[1:4])))
