"""The benchmarks compute what they claim, at the smallest size, and print what fits; no time is asserted."""

from __future__ import annotations

import importlib.util
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import irgrad
from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.case import SIZES, Case
from benchmarks.cases import CASES
from benchmarks.machine import facts, thread_settings
from benchmarks.peers import disagreement, flat, prepare
from benchmarks.steady import interval, measure

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def moved(arguments: tuple[Any, ...], argnum: int | tuple[int, ...], by: float, rng: np.random.Generator) -> tuple[tuple[Any, ...], Any]:
    """`arguments` with the differentiated ones moved along a random direction, and that direction as a flat vector."""
    parts: list[np.ndarray[Any, Any]] = []

    def move(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(move(part) for part in value)
        direction = rng.normal(size=np.shape(value))
        parts.append(np.ravel(direction))
        return value + by * direction

    chosen = (argnum,) if isinstance(argnum, int) else argnum
    result = tuple(move(value) if k in chosen else value for k, value in enumerate(arguments))
    return result, np.concatenate(parts)


@cases
def test_irgrad_computes_the_gradient_of_every_case(case: Case) -> None:
    """Eager against central differences along one direction; compiled, autograd and the explicit loops against eager."""
    size = case.size("tiny")
    arguments, loss = case.inputs(size), case.make(np, size)
    eager = irgrad.grad(loss, case.argnum)
    expected = eager(*arguments)
    values = []
    for by in (1e-5, -1e-5):
        there, direction = moved(arguments, case.argnum, by, np.random.default_rng(1))
        values.append(loss(*there))
    np.testing.assert_allclose(direction @ flat(expected), (values[0] - values[1]) / 2e-5, rtol=1e-5, atol=1e-8)
    call = prepare("irgrad", case, "tiny")
    found = {"eager": expected, "irgrad": [call() for _ in range(3)][-1]}
    counts = call.counts()
    assert (counts["eager_calls"], counts["host_calls"]) == (2, 0)
    if case.numba is not None:
        found["numba"] = case.numba(size)(*arguments)
    if importlib.util.find_spec("autograd") is not None:
        found["autograd"] = prepare("autograd", case, "tiny")()
    assert disagreement(found) == {}


@cases
def test_cases_are_well_formed(case: Case) -> None:
    assert "S" in case.sizes
    assert set(case.sizes) <= set(SIZES)
    assert len(case.name) < 30
    assert case.why_not("irgrad", "S") == case.why_not("autograd", "S") == ""
    assert bool(case.why_not("jax-lax", "S")) == (case.lax is None)


def test_a_slow_peer_runs_where_it_is_asked_for() -> None:
    case = CASES["rk4_10"]
    assert case.why_not("jax", "S").endswith("only with --size M or --peers jax")
    assert case.why_not("jax", "S", named=True) == case.why_not("jax", "M") == ""


def test_a_wrong_gradient_is_found() -> None:
    right = np.array([1.0, 2.0])
    found = disagreement({"eager": right, "same": right * (1 + 1e-9), "wrong": right + 1e-6, "nan": right * np.nan, "short": right[:1]})
    assert found == {
        "wrong": "its gradient differs by 1.00e-06",
        "nan": "its gradient differs by nan",
        "short": "a gradient of 1 elements, not 2",
    }


def test_intervals_hold_the_median_and_no_more_than_needed() -> None:
    assert interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert interval([6.0, 1.0, 4.0, 2.0, 3.0, 5.0]) == (1.0, 6.0)
    count = 1001
    found = interval([float(k) for k in range(count)])
    assert found is not None
    half = NormalDist().inv_cdf(0.975) * count**0.5 / 2
    assert abs((found[1] - found[0]) / 2 - half) < 2
    assert found[0] + found[1] == count - 1


def test_measuring_takes_every_peer_and_ratios_by_round() -> None:
    calls = {peer: prepare(peer, CASES["rosenbrock_2"], "S") for peer in ("irgrad", "eager")}
    found = measure(calls, "irgrad", 6)
    assert [len(found[peer].seconds) for peer in ("irgrad", "eager")] == [6, 6]
    assert found["irgrad"].ratio == 1.0
    assert found["irgrad"].interval is None
    bounds = found["eager"].interval
    assert bounds is not None
    assert bounds[0] <= found["eager"].ratio <= bounds[1]


COLD = {"import_seconds": 1.0, "seconds": 0.5, "wall_seconds": 0.6, "peak_bytes": 70_200_000, "total_bytes": 1e9}
RESULT: dict[str, Any] = {
    "case": "some_case",
    "size": "S",
    "counts": {"traces": 2, "kernels": 1, "rows": 2002, "host_calls": 1},
    "peers": {
        "irgrad": {
            "steady": {"call": 1.5e-6, "ratio": 1.0, "interval": None},
            **{kind: {**COLD, "seconds": 0.25} for kind in ("cold", "new", "warm")},
        },
        "jax-lax": {
            "steady": {"call": 12.5, "ratio": 123456.0, "interval": (99999.0, 234567.0)},
            "to_numpy": {"call": 0.9999},
            "cold": {**COLD, "peak_bytes": -5},
        },
        "jax": {"skipped": "cannot be traced"},
        "numba": {"failed": "its gradient differs by 1.00e-06" + " and more" * 40},
        "autograd": {},
    },
}


def test_the_table_shows_one_line_a_peer() -> None:
    text = report.table([RESULT])
    assert max(map(len, text.splitlines())) <= report.WIDTH
    head, _, about, *lines = text.splitlines()
    assert head.split() == ["peer", "call", "ratio", "95", "%", "to", "numpy", "cold", "new", "warm", "import", "memory", "in", "all"]
    assert about == "some_case: 2 traces, 1 kernel, 2,002 rows, 1 host call"
    assert len(lines[0]) == len(head)
    assert lines[0].split() == ["irgrad", "1.50", "us", "1.00", *["250", "ms"] * 3, "1.00", "s", "70.2", "MB", "1000", "MB"]
    assert "12.5 s  123456  [99999, 234567]   1.00 s  500 ms" in lines[1]
    assert lines[2] == "  jax       cannot be traced"
    assert lines[3].startswith("  numba     FAILED: its gradient differs by 1.00e-06")
    assert len(lines) == 4  # none for a peer without figures or reason


def test_the_summary_takes_geometric_means_over_common_cases() -> None:
    figures = {"steady": {"ratio": 123456.0 / 4}, "cold": {"seconds": 8.0, "wall_seconds": 9.0}}
    other = {"case": "other", "size": "S", "counts": None, "peers": {"jax-lax": figures}}
    (line,) = report.summary([RESULT, other]).splitlines()[1:]
    times = "; ".join(f"time to compiled against {kind} 2.00" for kind in ("cold", "new"))
    assert line == f"  jax-lax   steady call  61728 over 2 cases; {times}"
    assert report.summary([]) == ""


def test_the_header_states_machine_and_threads() -> None:
    text = report.header({**facts(), "pinned": 1}, {"size": "S", "threads": 1, "runs": 3})
    assert f"numpy {np.__version__}" in text
    assert "1 thread for each of OpenMP, OpenBLAS, Numba and XLA on 1 core, processor time; fresh processes: median of 3" in text
    assert max(map(len, text.splitlines())) <= report.WIDTH
    assert thread_settings(2)["OPENBLAS_NUM_THREADS"] == "2"


def test_an_unknown_name_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IRGRAD_STORE", *thread_settings(1)):
        monkeypatch.setenv(name, "1")  # the command sets them for its process: put back after the test
    assert command.main(["--case", "rosenbrock_2", "nonsense", "--peers", "torch"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("no case 'nonsense', no peer 'torch'; cases: taylor_sine, rosenbrock_2, ")
    assert error.endswith("peers: autograd, jax, jax-lax, numba\n")
