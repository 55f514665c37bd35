"""docs/benchmarks.md from results: ``python -m benchmarks.page docs/benchmarks.md S.json M.json``; a plot of each beside it.

Several files of one size are merged, the later ones count: for cases that were measured again.

Reasons for what falls short are written by hand, in `benchmarks/notes.py`; everything else is computed here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import eager, overhead, varying
from benchmarks.notes import GENERAL, NOTES
from benchmarks.report import bytes_text, geometric_mean, ratio_text, seconds_text, where_text

JAX = ("jax", "jax-lax")
LARGE = 1_000_000  # bytes moved, or flops, from which a case has a limit of the machine's beside it
SHARE = 0.02  # of a call, from which a part of it is worth a word

INTRODUCTION = """\
# Benchmarks

Made by `python -m benchmarks --size S --json S.json`, the same for M, and `python -m benchmarks.page docs/benchmarks.md S.json M.json`. A
case is one function of plain numpy (`benchmarks/cases/`); derivatives of all peers agree (relative 1e-8, single precision 1e-3) before
anything is timed.

- **Call**: all peers in turn in one process, 101 rounds (fewer for slow ones), the median. **Ratios** are taken within a round, of the
  peer's time to compiled irgrad's: above 1, irgrad is faster. In brackets the interval that holds the median ratio with 95 %, by order
  statistics: exact for any distribution, where a bootstrap of a median is an approximation of it.
- **JAX**: x64 enabled, arguments and result on the device, `block_until_ready`; the better of `jax.jit(jax.grad(f))` and, marked *lax*, the
  loop rewritten by hand with `lax.scan` and its relatives. **Numba**: the gradient written by hand as explicit loops.
  *Converted*: the same with JAX's result made an array of numpy's, as irgrad's is. **Of the limit**: the time that arguments and results
  take at the measured speed of a large copy, or the products that the derivative cannot do without at that of a large product (the
  longer of them), over irgrad's call; for megabytes only.
- **To compiled**: all calls up to and including the first that compiled code served, in a fresh process: with nothing on disk (*cold*),
  with its kernels there (*warm*). JAX: its first call. The clock on the wall, the least of several processes, none of them pinned: all
  cores of the machine, and each peer's own number of threads. Python's byte code of all packages is there, as it is once a package is
  installed.
- **Memory**: peak of a fresh process above what it held after the import, with the arguments made; **in all**: the peak itself, with
  Python, numpy and what the import takes, which is what a user pays.

A row is of one run.
"""


WHERE = """\
Shares of the shortest of many calls that follow each other, with their data in the caches; between calls of other peers, as above,
large ones wait for memory besides.
"""
VARYING = """\
`python -m benchmarks.varying`: gradients on 1,000 random inputs each: Newton's method for a cubic equation, ten steps of steepest descent
with a backtracking line search, and a recursion with some sixty depths, whose numbers of steps change from call to call. Ratios of
the first table are of the mean over the first 1,000 calls; the line search takes 783 paths in them. The second table has the time of
each call over that of an eager one on the same input, both in turn, by how often the path was taken so far, without the two calls that
compile the function: a call on a new path is to take at most 1.5 times as long as an eager one. Single calls take more, where the work
that a call lets go on comes to a place to stop later than it should. A trace with its linking takes as long as 6 (line search) to 20
(recursion) eager calls, so that 1,000 calls on many paths take longer than eager ones; paths come back too seldom in the line search.
"""


OVERHEAD = """\
`python -m benchmarks.overhead`: gradients of sums of squares of arrays of eight numbers, so that the arithmetic is next to nothing, by the
form of the arguments; all in turn in one process, medians of 201 rounds. Differences are taken within a round.
"""


EAGER = """\
`python -m benchmarks.eager`: `irgrad.grad(f)` without `jit` beside `autograd.grad(f)`, ten programs on small arrays, where time is what an
operation costs besides its arithmetic; both in turn in one process, medians of 41 rounds. Above 1, irgrad is faster, as the mean is to be.
"""


def page(
    runs: Sequence[Mapping[str, Any]],
    plots: Sequence[str],
    varied: Mapping[str, Any] | None = None,
    eagerly: Sequence[dict[str, Any]] | None = None,
    called: Sequence[dict[str, Any]] | None = None,
) -> str:
    """The text; `runs`, `varied`, `eagerly` and `called` as the JSON files hold them."""
    lines = [INTRODUCTION, *_machine(runs[0]), "\n## Against the targets\n", *_targets(runs)]
    for run, plot in zip(runs, plots, strict=True):
        size = run["settings"]["size"]
        lines += [f"\n## Size {size}\n", f"![ratios at size {size}]({plot})\n"]
        lines += [*_steady(run["results"], run["machine"]["limits"]), "", *_first(run["results"])]
        lines += ["\n### Where a call spends its time\n", WHERE, *_where(run["results"])]
    if called is not None:
        lines += ["\n## What a call costs besides its arithmetic\n", OVERHEAD, *overhead.lines(list(called))]
    if varied is not None:
        lines += ["\n## Steps that depend on data, and a long recording\n", VARYING, *varying.lines(dict(varied))]
    if eagerly is not None:
        lines += ["\n## Eager gradients\n", EAGER, *eager.lines(list(eagerly))]
    lines += ["\n## What falls short\n", GENERAL, "", *_short(runs)]
    return "\n".join(lines) + "\n"


def _machine(run: Mapping[str, Any]) -> list[str]:
    machine, settings = run["machine"], run["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = "one thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    clock = "processor time, as others used the machine meanwhile" if machine["pinned"] == 1 else "wall time"
    limits = machine["limits"]
    single = f" ({limits['flops_single'] / 1e9:.0f} in single precision)" if "flops_single" in limits else ""
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}; {versions}. "
        f"Calls: all peers on {threads} (irgrad, OpenMP, OpenBLAS, Numba, XLA), pinned to as many cores; {clock}. "
        f"Measured on one core: {limits['bytes'] / 1e9:.1f} GB/s of a large copy, {limits['flops'] / 1e9:.0f} Gflop/s of a large "
        f"product{single}."
    ]


def _ratio(result: Mapping[str, Any], peers: Iterable[str]) -> tuple[str, Mapping[str, Any]] | None:
    """The fastest of the peers that have a figure."""
    found = [(peer, result["peers"][peer]["steady"]) for peer in peers if "steady" in result["peers"].get(peer, {})]
    return min(found, key=lambda pair: float(pair[1]["ratio"])) if found else None


def _shown(result: Mapping[str, Any], peers: Iterable[str]) -> str:
    best = _ratio(result, peers)
    if best is None:
        return ""
    name, steady = best
    bounds = steady["interval"]
    text = ratio_text(steady["ratio"]) + (f" [{ratio_text(bounds[0])}, {ratio_text(bounds[1])}]" if bounds else "")
    return text + (" *lax*" if name == "jax-lax" else "")


def _converted(result: Mapping[str, Any]) -> str:
    """The ratio to the better JAX form where the result is converted to numpy's arrays too."""
    found = [converted["ratio"] for peer in JAX if (converted := result["peers"].get(peer, {}).get("to_numpy"))]
    return ratio_text(min(found)) if found else ""


def _of_limit(result: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    """How near a call comes to the time that memory or BLAS would need for what cannot be left out; empty for small cases."""
    flops, moved = result.get("flops"), result.get("moved") or 0
    rate = limits.get("flops_single" if result.get("single") else "flops")
    bounds = [(moved / limits["bytes"], "memory")] if moved > LARGE else []
    bounds += [(flops / rate, "BLAS")] if flops and flops > LARGE and rate else []
    if not bounds:
        return ""
    seconds, name = max(bounds)
    return f"{100 * seconds / result['peers']['irgrad']['steady']['call']:.0f} % {name}"


def _steady(results: Sequence[Mapping[str, Any]], limits: Mapping[str, float]) -> list[str]:
    names = ("case", "irgrad", "/ eager", "/ autograd", "/ JAX", "converted", "/ Numba", "of the limit")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for result in results:
        ours = result["peers"].get("irgrad", {})
        if "steady" not in ours:
            reason = ours.get("skipped") or ours.get("failed") or ""
            lines.append(f"| {result['case']} | {reason}{' |' * (len(names) - 1)}")
            continue
        cells = [_shown(result, peers).split(" [")[0] for peers in (("eager",), ("autograd",))]
        cells += [_shown(result, JAX), _converted(result), _shown(result, ("numba",)), _of_limit(result, limits)]
        lines.append(f"| {result['case']} | {seconds_text(ours['steady']['call'])} | {' | '.join(cells)} |")
    return lines


def _first(results: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| case | kernels | to compiled: cold | warm | JAX | memory: irgrad, warm | autograd | JAX "
        "| in all: irgrad, warm | autograd | JAX |",
        "|---" * 11 + "|",
    ]
    for result in results:
        peers = result["peers"]
        ours = peers.get("irgrad", {})
        if "seconds" not in ours.get("cold", {}):
            continue
        times = [seconds_text(ours.get(kind, {}).get("seconds")) for kind in ("cold", "warm")]
        name = _best_first(peers)
        jax = seconds_text(peers[name]["cold"]["seconds"]) + (" *lax*" if name == "jax-lax" else "") if name else ""
        processes = (ours.get("warm", {}), peers.get("autograd", {}).get("cold", {}), peers[name]["cold"] if name else {})
        memory = [bytes_text(process.get(kind)) for kind in ("peak_bytes", "total_bytes") for process in processes]
        lines.append(f"| {result['case']} | {result['counts']['kernels']} | {' | '.join([*times, jax, *memory])} |")
    return lines


def _best_first(peers: Mapping[str, Any]) -> str:
    """The JAX form whose first call is the shorter one."""
    known = [name for name in JAX if "seconds" in peers.get(name, {}).get("cold", {})]
    return min(known, key=lambda name: float(peers[name]["cold"]["seconds"])) if known else ""


def _where(results: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| case | entry, driver | kernels | BLAS, LAPACK | host calls | longest kernel |", "|---|---|---|---|---|---|"]
    for result in results:
        ours = result["peers"].get("irgrad", {})
        where = ours.get("where")
        if not where:
            continue
        call = where["call"]
        rest = max(0.0, call - where["loops"] - where["library"] - where["host"])
        cells = [
            f"{100 * seconds / call:.0f} %" if seconds > SHARE * call else ""
            for seconds in (rest, where["loops"], where["library"], where["host"])
        ]
        longest = where["kernels"][0] if where["kernels"] else None
        text = f"{seconds_text(longest['seconds'])}, {longest['rows']} rows: {longest['what']}" if longest else ""
        lines.append(f"| {result['case']} | {' | '.join(cells)} | {text} |")
    return lines


def _mean(ratios: Sequence[float]) -> str:
    return f"{ratio_text(geometric_mean(ratios))} over {len(ratios)} cases" if ratios else "no figures"


def _targets(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Geometric means beside what they are to be."""
    goals = {"S": {"autograd": 100, JAX: 4}, "M": {"autograd": 30, JAX: 2}}
    lines = ["| what | measured | target |", "|---|---|---|"]
    for run in runs:
        size, results = run["settings"]["size"], run["results"]
        served = [result for result in results if "steady" in result["peers"].get("irgrad", {})]
        for peers, name in ((("autograd",), "eager autograd"), (JAX, "the best JAX form")):
            ratios = [found[1]["ratio"] for result in served if (found := _ratio(result, peers))]
            goal = goals.get(size, {}).get(peers if peers == JAX else peers[0])
            lines.append(f"| size {size}: call, against {name} | {_mean(ratios)} | {f'at least {goal}' if goal else ''} |")
        below = [result["case"] for result in served if _is_below(result, JAX, 1.0)]
        lines.append(f"| size {size}: intervals against JAX wholly below 1 | {len(below)}: {', '.join(below) or 'none'} | none |")
        long = [result for result in served if result["peers"]["irgrad"]["steady"]["call"] > 1e-5]
        ratios = [found[1]["ratio"] for result in long if (found := _ratio(result, ("numba",)))]
        lines.append(f"| size {size}: call, against Numba by hand, calls over 10 us | {_mean(ratios)} | at least 0.9 |")
        below = [result["case"] for result in long if (found := _ratio(result, ("numba",))) and found[1]["ratio"] < 0.7]
        lines.append(f"| size {size}: of these below 0.7 | {len(below)}: {', '.join(below) or 'none'} | none |")
        for kind in ("cold", "warm"):
            ratios = _to_compiled(served, kind)
            lines.append(f"| size {size}: time to compiled ({kind}) over JAX's first call | {_mean(ratios)} | at most 0.5 |")
        lines += _memory(served, size)
    return lines


def _is_below(result: Mapping[str, Any], peers: Sequence[str], bound: float) -> bool:
    found = _ratio(result, peers)
    if found is None:
        return False
    interval = found[1]["interval"]
    return bool((interval[1] if interval else found[1]["ratio"]) < bound)


def _to_compiled(results: Iterable[Mapping[str, Any]], kind: str) -> list[float]:
    pairs = [(r["peers"]["irgrad"].get(kind, {}).get("seconds"), r["peers"], _best_first(r["peers"])) for r in results]
    return [ours / peers[name]["cold"]["seconds"] for ours, peers, name in pairs if ours and name]


def _memory(results: Iterable[Mapping[str, Any]], size: str) -> list[str]:
    """Cases whose peak is above what it may be (the code itself counts), and ratios of whole processes."""
    above: dict[str, list[str]] = {"autograd": [], "jax": []}
    in_all: dict[str, list[float]] = {"autograd": [], "jax": []}
    names = {"autograd": "autograd", "jax": "JAX"}
    num = 0
    for result in results:
        peers = result["peers"]
        ours = peers["irgrad"].get("warm", {}).get("peak_bytes")
        if ours is None:
            continue
        num += 1
        for name, factor in (("autograd", 1.0), ("jax", 1.2)):
            peer = _best_first(peers) if name == "jax" else name
            found = peers.get(peer, {}).get("cold", {})
            theirs = found.get("peak_bytes")
            if theirs is not None and ours > factor * max(theirs, 0):
                above[name].append(result["case"])
            if "total_bytes" in found:
                in_all[name].append(peers["irgrad"]["warm"]["total_bytes"] / found["total_bytes"])
    return [
        f"| size {size}: peak memory (warm) above autograd's | {len(above['autograd'])} of {num} cases | none |",
        f"| size {size}: peak memory (warm) above 1.2 times JAX's | {len(above['jax'])} of {num} cases | none |",
        *[f"| size {size}: peak of the whole process (warm) over {names[peer]}'s | {_mean(in_all[peer])} | |" for peer in above],
    ]


def _short(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Cases slower than JAX beyond doubt, or under 0.7 of Numba where a call is over 10 us: profile and reason."""
    lines: list[str] = []
    for run in runs:
        size = run["settings"]["size"]
        for result in run["results"]:
            if "steady" not in result["peers"].get("irgrad", {}):
                continue
            numba = _ratio(result, ("numba",)) if result["peers"]["irgrad"]["steady"]["call"] > 1e-5 else None
            if not _is_below(result, JAX, 1.0) and (numba is None or numba[1]["ratio"] >= 0.7):
                continue
            shown = ", ".join(
                f"{text} of {name}" for name, text in (("JAX", _shown(result, JAX)), ("Numba", _shown(result, ("numba",)))) if text
            )
            profile = f" {where_text(result)}." if result["peers"]["irgrad"].get("where") else ""
            note = NOTES.get(result["case"], "")
            lines.append(f"- **{result['case']}**, size {size}: {shown}.{profile} {note}".rstrip())
    return lines or ["Nothing."]


def _merged(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One run a size: cases that were measured again replace those of an earlier file."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        known = found.setdefault(run["settings"]["size"], {**run, "results": []})
        cases = {result["case"]: result for result in (*known["results"], *run["results"])}
        known["results"] = list(cases.values())
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description="Results as a page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--varying", type=Path, help="what `python -m benchmarks.varying --json` wrote")
    parser.add_argument("--overhead", type=Path, help="what `python -m benchmarks.overhead --json` wrote")
    parser.add_argument("--eager", type=Path, help="what `python -m benchmarks.eager --json` wrote")
    options = parser.parse_args()
    from benchmarks.plot import draw

    runs = _merged([json.loads(file.read_text()) for file in options.results])
    plots = [f"{options.page.stem}_{run['settings']['size']}.svg" for run in runs]
    for run, plot in zip(runs, plots, strict=True):
        draw(run["results"], options.page.parent / plot)
    varied = json.loads(options.varying.read_text()) if options.varying else None
    eagerly = json.loads(options.eager.read_text()) if options.eager else None
    called = json.loads(options.overhead.read_text()) if options.overhead else None
    options.page.write_text(page(runs, plots, varied, eagerly, called))


if __name__ == "__main__":
    main()
