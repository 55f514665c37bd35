"""``python -m benchmarks``: cases, peers and sizes by name, results as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import fresh, report
from benchmarks.machine import facts, thread_settings

DEFAULT_PEERS = "autograd,jax,jax-lax,numba"
SMOKE_ROUNDS = 7
SMOKE_CASES = ("rosenbrock_2", "rk4_10", "small_loss")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Gradients of numpy functions: irgrad and its peers.")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="these cases only; 'list' prints their names")
    parser.add_argument("--peers", metavar="A,B", help=f"besides irgrad (default {DEFAULT_PEERS}); slow ones run where named")
    parser.add_argument("--size", choices=("S", "M"), default="S", help="kilobytes or megabytes of data")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads for every peer (default 1)")
    parser.add_argument("--cold", action=argparse.BooleanOptionalAction, help="fresh processes for time to compiled and memory (default on)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="fresh processes of each kind, of which the median counts (default 3)")
    parser.add_argument("--smoke", action="store_true", help="three small cases in this process: does everything run and agree")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """0, or 1 where a peer failed or disagreed, 2 for names that are not known."""
    options = arguments(argv)
    os.environ.update(thread_settings(options.threads))
    with tempfile.TemporaryDirectory(prefix="irgrad-benchmarks-") as scratch:
        os.environ["IRGRAD_STORE"] = str(Path(scratch) / "store")
        return run(options, Path(scratch))


def run(options: argparse.Namespace, scratch: Path) -> int:
    """Measure and print case by case; numpy is imported from here on."""
    from benchmarks.cases import CASES
    from benchmarks.peers import MEANING, OTHERS, OURS, is_installed

    names = options.case or (list(SMOKE_CASES) if options.smoke else list(CASES))
    if names == ["list"]:
        print("\n".join(CASES))
        return 0
    peers = [name.strip() for name in (options.peers or DEFAULT_PEERS).split(",") if name.strip()]
    unknown = [f"case {name!r}" for name in names if name not in CASES] + [f"peer {name!r}" for name in peers if name not in OTHERS]
    if unknown:
        print(f"no {', no '.join(unknown)}; cases: {', '.join(CASES)}; peers: {', '.join(OTHERS)}", file=sys.stderr)
        return 2
    cold = not options.smoke if options.cold is None else options.cold
    machine, settings = facts(), {"size": "tiny" if options.smoke else options.size, "threads": options.threads, "cold": cold, "runs": options.runs}
    print(report.header(machine, settings))
    for name in (*OURS, *peers):
        print(f"{name}: {MEANING[name]}" + ("" if is_installed(name) else " (not installed)"))
    installed = [name for name in (*OURS, *peers) if is_installed(name)]
    print(f"\n{report.table([])}", flush=True)
    if cold:  # the driver is compiled by whatever comes first
        fresh.run("rosenbrock_2", "irgrad", "S", scratch / "driver", scratch / "numba")
    results: list[dict[str, Any]] = []
    for name in names:
        results.append(case_result(CASES[name], installed, settings, options.peers is not None, scratch))
        print("\n" + "\n".join(report.case_lines(results[-1])), flush=True)
    print(f"\n{report.summary(results)}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "settings": settings, "results": results}, indent=1))
    return int(any("failed" in found for result in results for found in result["peers"].values()))


def case_result(case: Any, peers: list[str], settings: dict[str, Any], named: bool, scratch: Path) -> dict[str, Any]:
    """All figures of one case as plain data."""
    from benchmarks.peers import Call, disagreement, load, prepare
    from benchmarks.steady import ROUNDS, measure

    size = settings["size"]
    found: dict[str, dict[str, Any]] = {}
    calls: dict[str, Call] = {}
    gradients: dict[str, Any] = {}
    for peer in peers:
        reason = case.why_not(peer, size, named)
        found[peer] = {"skipped": reason} if reason else {}
        if reason:
            continue
        try:
            load(peer)
            call = calls[peer] = prepare(peer, case, size)
            for _ in range(3 if peer == "irgrad" else 1):  # the third is compiled code
                gradients[peer] = call()
        except Exception as error:  # a peer that cannot do a case is a result, not the end of the table
            calls.pop(peer, None)
            gradients.pop(peer, None)
            found[peer] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
    for peer, difference in disagreement(gradients).items():
        found[peer] = {"failed": difference}
        del calls[peer]
    if "irgrad" in calls:
        timed = dict(calls)
        for peer, call in calls.items():
            if call.to_numpy is not None:
                timed[f"{peer} to numpy"] = Call(call.to_numpy, call.arguments)
        steady = measure(timed, "irgrad", SMOKE_ROUNDS if size == "tiny" else ROUNDS)
        for peer in calls:
            times = steady[peer]
            found[peer]["steady"] = {"call": times.call, "ratio": times.ratio, "interval": times.interval, "samples": times.seconds}
            converted = steady.get(f"{peer} to numpy")
            if converted is not None:
                found[peer]["steady"] |= {"to_numpy": converted.call, "to_numpy_ratio": converted.ratio, "to_numpy_interval": converted.interval}
    if settings["cold"]:
        for peer in calls:
            found[peer] |= fresh.runs(case.name, peer, size, scratch, settings["runs"])
    return {"case": case.name, "size": size, "peers": found, "counts": calls["irgrad"].counts() if "irgrad" in calls else None}


if __name__ == "__main__":
    sys.exit(main())
