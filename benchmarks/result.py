"""All figures of one case as plain data: gradients compared, then steady calls, then fresh processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import fresh
from benchmarks.case import Case
from benchmarks.peers import Call, disagreement, load, prepare
from benchmarks.profile import profile
from benchmarks.steady import ROUNDS, Steady, measure

SMOKE_ROUNDS = 7


def case_result(case: Case, peers: list[str], settings: dict[str, Any], named: bool, scratch: Path) -> dict[str, Any]:
    """What the table and the JSON file are made of; a peer that cannot do a case, or disagrees, has a reason instead of figures."""
    size = settings["size"]
    found, calls = _ready(case, peers, size, named)
    moved = _bytes((calls["irgrad"].arguments, calls["irgrad"]())) if "irgrad" in calls else None
    if "irgrad" in calls:
        steady = measure(_with_conversions(calls), "irgrad", SMOKE_ROUNDS if size == "tiny" else ROUNDS)
        found["irgrad"]["where"] = profile(calls["irgrad"].jitted, calls["irgrad"].arguments)
        for peer in calls:
            found[peer]["steady"] = _steady(steady[peer])
            converted = steady.get(f"{peer} to numpy")
            if converted is not None:
                found[peer]["to_numpy"] = _steady(converted)
    if settings["cold"]:
        fresh_peers = [peer for peer in calls if peer != "eager"]  # nothing to compile; its memory is autograd's question
        for peer, kinds in fresh.runs(case.name, fresh_peers, size, scratch, settings["runs"]).items():
            found[peer] |= kinds
    counts = calls["irgrad"].counts() if "irgrad" in calls else None
    single = "irgrad" in calls and _is_single(calls["irgrad"].arguments)
    flops = case.flops(case.size(size)) if case.flops is not None else None
    return {"case": case.name, "size": size, "peers": found, "counts": counts, "moved": moved, "flops": flops, "single": single}


def _bytes(values: Any) -> int:
    """Of all arrays: what a derivative has to read and write at least."""
    if isinstance(values, (list, tuple)):
        return sum(map(_bytes, values))
    return int(getattr(values, "nbytes", 8))


def _is_single(values: Any) -> bool:
    """Whether any array is of single precision."""
    if isinstance(values, (list, tuple)):
        return any(map(_is_single, values))
    return str(getattr(values, "dtype", "")) in ("float32", "complex64")


def _ready(case: Case, peers: list[str], size: str, named: bool) -> tuple[dict[str, dict[str, Any]], dict[str, Call]]:
    """An entry for every peer, and a compiled call for each whose gradient is right."""
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
            call = prepare(peer, case, size)
            for _ in range(3 if peer == "irgrad" else 1):  # the third is compiled code
                gradients[peer] = call()
            calls[peer] = call
        except Exception as error:  # a result like any other
            gradients.pop(peer, None)
            found[peer] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
    for peer, difference in disagreement(gradients).items():
        found[peer] = {"failed": difference}
        del calls[peer]
    return found, calls


def _with_conversions(calls: dict[str, Call]) -> dict[str, Call]:
    """The calls, and beside them those that convert their result to numpy."""
    converting = {f"{peer} to numpy": Call(call.to_numpy, call.arguments) for peer, call in calls.items() if call.to_numpy is not None}
    return calls | converting


def _steady(times: Steady) -> dict[str, Any]:
    return {"call": times.call, "ratio": times.ratio, "interval": times.interval, "samples": times.seconds}
