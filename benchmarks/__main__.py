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
from benchmarks.machine import facts, limits, pin, thread_settings

DEFAULT_PEERS = "autograd,jax,jax-lax,numba"
SMOKE_CASES = ("rosenbrock_2", "rk4_10", "small_loss")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Gradients of numpy functions: irgrad and its peers.")
    add = parser.add_argument
    add("--case", nargs="+", metavar="NAME", help="these cases only; 'list' prints their names")
    add("--peers", metavar="A,B", help=f"besides irgrad (default {DEFAULT_PEERS}); slow ones run where named")
    add(
        "--size",
        choices=("S", "M", "L"),
        default="S",
        help="kilobytes or megabytes of data, or more; cases without a size of their own there are left out",
    )
    add("--threads", type=int, default=1, metavar="N", help="threads for every peer (default 1)")
    add("--cold", action=argparse.BooleanOptionalAction, help="fresh processes for time to compiled and memory (on without --smoke)")
    add("--runs", type=int, default=3, metavar="N", help="fresh processes of each kind, the fastest counts (default 3)")
    add("--smoke", action="store_true", help="three small cases in this process: does everything run and agree")
    add("--json", type=Path, metavar="FILE", help="write everything there, case by case")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the ratios (needs matplotlib)")
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
    from benchmarks.result import case_result

    sized = [name for name, case in CASES.items() if case.has_size(options.size)]
    names = options.case or (list(SMOKE_CASES) if options.smoke else sized)
    if names == ["list"]:
        print("\n".join(CASES))
        return 0
    peers = [name.strip() for name in (options.peers or DEFAULT_PEERS).split(",") if name.strip()]
    unknown = [f"case {name!r}" for name in names if name not in CASES] + [f"peer {name!r}" for name in peers if name not in OTHERS]
    if unknown:
        print(f"no {', no '.join(unknown)}; cases: {', '.join(CASES)}; peers: {', '.join(OTHERS)}", file=sys.stderr)
        return 2
    machine = {**facts(), "pinned": pin(options.threads), "limits": limits()}
    settings = {
        "size": "tiny" if options.smoke else options.size,
        "threads": options.threads,
        "cold": not options.smoke if options.cold is None else options.cold,
        "runs": options.runs,
    }
    print(report.header(machine, settings))
    for name in (*OURS, *peers):
        print(f"{name}: {MEANING[name]}" + ("" if is_installed(name) else " (not installed)"))
    installed = [name for name in (*OURS, *peers) if is_installed(name)]
    print(f"\n{report.table([])}", flush=True)
    if settings["cold"]:
        fresh.compile_python()
    results: list[dict[str, Any]] = []
    for name in names:
        results.append(case_result(CASES[name], installed, settings, options.peers is not None, scratch))
        print("\n" + "\n".join(report.case_lines(results[-1])), flush=True)
        if options.json:
            options.json.write_text(json.dumps({"machine": machine, "settings": settings, "results": results}, indent=1))
    print(f"\n{report.summary(results)}")
    if options.plot:
        from benchmarks.plot import draw

        draw(results, options.plot)
    return int(any("failed" in found for result in results for found in result["peers"].values()))


if __name__ == "__main__":
    sys.exit(main())
