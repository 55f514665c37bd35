"""The results as text: one line a peer, in at most 140 columns, and geometric means at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.case import NOT_WRITTEN

WIDTH = 140
COLUMNS = (
    ("peer", 10), ("call", 9), ("ratio", 8), ("95 %", 17), ("to numpy", 9), ("cold", 8), ("warm", 8),
    ("import", 8), ("memory", 8), ("in all", 8),
)  # fmt: skip
LEGEND = """\
call: steady call, median of interleaved rounds; ratio: to compiled irgrad in the same round, with the interval that holds its median
to numpy: JAX's call with the result converted, where `call` leaves it on the device
cold: all calls up to and including the first that compiled code served, in a fresh process that finds nothing on disk; warm: the same where
  the kernels are there (eager peers: first call)
import: of the peer, before that; memory: peak above what the process held after import, with arguments made, and with that"""


def header(machine: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = "" if machine["load"] is None else f", load {machine['load']:.1f} at the start"
    threads = f"{_many(settings['threads'], 'thread')} for each of irgrad, OpenMP, OpenBLAS, Numba and XLA"
    pinned = f" on {_many(machine['pinned'], 'core')}" if machine["pinned"] else ""
    pinned += ", processor time" if machine["pinned"] == 1 else ", wall time"
    return "\n".join(
        [
            f"{machine['processor']}, {machine['cores']} cores{load}; {machine['system']}; Python {machine['python']}",
            versions,
            f"size {settings['size']}; {threads}{pinned}; fresh processes: least wall time of {settings['runs']}",
            LEGEND,
        ]
    )


def table(results: Iterable[Mapping[str, Any]]) -> str:
    """All cases, each under a line with its name and irgrad's counts."""
    lines = ["".join(name.ljust(width) if k == 0 else name.rjust(width) for k, (name, width) in enumerate(COLUMNS))]
    for result in results:
        lines += ["", *case_lines(result)]
    return "\n".join(lines)


def case_lines(result: Mapping[str, Any]) -> list[str]:
    counts = result.get("counts")
    lines = [result["case"]]
    if counts:
        shown = [_many(counts[f"{noun}s"], noun) for noun in ("trace", "kernel", "row")]
        shown += [_many(counts["host_calls"], "host call")] if counts["host_calls"] else []
        lines = [f"{result['case']}: {', '.join(shown)}"]
    lines += [f"  {where_text(result)}"[:WIDTH]] if result["peers"].get("irgrad", {}).get("where") else []
    for peer, found in result["peers"].items():
        if found.get("skipped") == NOT_WRITTEN:
            continue
        if "skipped" in found or "failed" in found:
            lines.append(f"  {peer.ljust(10)}{found.get('skipped') or 'FAILED: ' + found['failed']}"[:WIDTH])
        elif found:
            lines.append(_peer_line(peer, found))
    return lines


def _peer_line(peer: str, found: Mapping[str, Any]) -> str:
    steady = found.get("steady", {})
    bounds = steady.get("interval")
    cold = found.get("cold", {})
    cells = [
        seconds_text(steady.get("call")),
        ratio_text(steady.get("ratio")),
        f"[{ratio_text(bounds[0])}, {ratio_text(bounds[1])}]" if bounds else "",
        seconds_text(found.get("to_numpy", {}).get("call")),
        *(seconds_text(found.get(kind, {}).get("seconds")) for kind in ("cold", "warm")),
        seconds_text(cold.get("import_seconds")),
        bytes_text(cold.get("peak_bytes")),
        bytes_text(cold.get("total_bytes")),
    ]
    failed = [found[kind]["failed"] for kind in ("cold", "warm") if "failed" in found.get(kind, {})]
    note = f"  fresh process: {failed[0]}" if failed else ""
    line = f"  {peer}".ljust(COLUMNS[0][1]) + "".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS[1:], strict=True))
    return (line + note)[:WIDTH].rstrip()


def where_text(result: Mapping[str, Any]) -> str:
    """Where irgrad's call spends its time, with its data in the caches: entry and driver are what the others leave."""
    ours = result["peers"]["irgrad"]
    where = ours["where"]
    call = where["call"]
    rest = max(0.0, call - where["loops"] - where["library"] - where["host"])
    parts = [
        ("entry and driver", rest),
        ("kernels", where["loops"]),
        ("libraries", where["library"]),
        ("host calls", where["host"]),
    ]
    shown = [f"{name} {seconds_text(seconds)}" for name, seconds in parts if seconds > 0]
    slowest = [f"{seconds_text(k['seconds'])} in {_many(k['rows'], 'row')} of {k['what']}" for k in where["kernels"][:1]]
    return "; ".join([*shown, *slowest])


def summary(results: Sequence[Mapping[str, Any]]) -> str:
    """Geometric means over the cases that a peer has figures in."""
    lines = ["geometric means of ratios to compiled irgrad (above 1: irgrad is faster), over the cases that both have"]
    for peer in dict.fromkeys(name for result in results for name in result["peers"] if name != "irgrad"):
        steady = [r["peers"][peer]["steady"]["ratio"] for r in results if "steady" in r["peers"].get(peer, {})]
        if not steady:
            continue
        text = f"  {peer.ljust(10)}steady call {ratio_text(geometric_mean(steady)).rjust(6)} over {_many(len(steady), 'case')}"
        ratios = _cold_ratios(results, peer) if peer not in ("eager", "autograd") else []
        if ratios:
            text += f"; time to compiled {ratio_text(geometric_mean(ratios))}"
        lines.append(text)
    return "\n".join(lines) if len(lines) > 1 else ""


def _cold_ratios(results: Sequence[Mapping[str, Any]], peer: str) -> list[float]:
    """Seconds to compiled of a peer, which has nothing on disk to find, over irgrad's."""
    theirs = (r["peers"].get(peer, {}).get("cold", {}).get("seconds") for r in results)
    ours = (r["peers"].get("irgrad", {}).get("cold", {}).get("seconds") for r in results)
    return [a / b for a, b in zip(theirs, ours, strict=True) if a is not None and b is not None]


def publish(lines: Iterable[str], found: Any, file: Path | None) -> None:
    """Print a table of results, and write what it was made of to `file`, if there is one."""
    print("\n".join(lines))
    if file:
        file.write_text(json.dumps(found, indent=1))


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def seconds_text(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return ""
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{_digits(seconds)} s"


def ratio_text(ratio: float | None) -> str:
    return "" if ratio is None else _digits(ratio)


def bytes_text(count: float | None) -> str:
    return "" if count is None else f"{_digits(max(count, 0) / 1e6)} MB"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
