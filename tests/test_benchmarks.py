"""The benchmarks compute what they claim, at the smallest size, and print what fits; no time is asserted."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import irgrad
from benchmarks import __main__ as command
from benchmarks import eager, overhead, page, report, varying
from benchmarks.case import DERIVATIVES, SIZES, Case
from benchmarks.cases import CASES
from benchmarks.machine import facts, thread_settings
from benchmarks.peers import disagreement, flat, prepare
from benchmarks.profile import describe, profile
from benchmarks.steady import interval, measure

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def moved(
    arguments: tuple[Any, ...], argnum: int | tuple[int, ...], by: float, rng: np.random.Generator, along: Any = None
) -> tuple[tuple[Any, ...], Any]:
    """`arguments` with the differentiated ones moved along a direction, random unless given, and that direction as a flat vector."""
    parts: list[np.ndarray[Any, Any]] = []

    def move(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(move(part) for part in value)
        direction = rng.normal(size=np.shape(value)) if along is None else along
        parts.append(np.ravel(direction))
        return value + by * direction

    chosen = (argnum,) if isinstance(argnum, int) else argnum
    result = tuple(move(value) if k in chosen else value for k, value in enumerate(arguments))
    return result, np.concatenate(parts)


def along(case: Case, loss: Any, arguments: tuple[Any, ...], direction: Any) -> Any:
    """What the derivative of a case gives along a direction, by differences: of the function, or of its gradient for a Hessian."""
    function = irgrad.grad(loss, case.argnum) if case.derivative in ("hvp", "hessian") else loss
    values = []
    for by in (1e-5, -1e-5):
        there, _ = moved(arguments, case.argnum, by, np.random.default_rng(1), direction)
        values.append(flat(function(*there)).astype(np.complex128 if case.name in COMPLEX else np.float64))
    return (values[0] - values[1]) / 2e-5


def is_single(arguments: Any) -> bool:
    if isinstance(arguments, (list, tuple)):
        return any(map(is_single, arguments))
    return getattr(arguments, "dtype", None) == np.float32


COMPLEX = ("phase_fit",)


@cases
def test_irgrad_computes_the_derivative_of_every_case(case: Case) -> None:
    """Eager against central differences along one direction; compiled, autograd and the explicit loops against eager."""
    size = case.size("tiny")
    arguments, loss = case.inputs(size), case.make(np, size)
    expected = prepare("eager", case, "tiny")()
    if case.derivative == "hvp":
        *point, direction = arguments
        np.testing.assert_allclose(flat(expected), along(case, loss, tuple(point), direction), rtol=1e-5, atol=1e-8)
    elif not is_single(arguments):
        _, direction = moved(arguments, case.argnum, 1.0, np.random.default_rng(1))
        product = flat(expected) @ direction if case.derivative == "grad" else np.asarray(expected) @ direction
        np.testing.assert_allclose(np.ravel(product).real, along(case, loss, arguments, None).real, rtol=1e-5, atol=1e-8)
    call = prepare("irgrad", case, "tiny")
    found = {"eager": expected, "irgrad": [call() for _ in range(3)][-1]}
    counts = call.counts()
    assert counts["eager_calls"] <= 2
    assert counts["host_calls"] == 0
    if case.numba is not None:
        found["numba"] = case.numba(size)(*arguments)
    if importlib.util.find_spec("autograd") is not None:
        found["autograd"] = prepare("autograd", case, "tiny")()
    assert disagreement(found) == {}


@cases
def test_cases_are_well_formed(case: Case) -> None:
    assert "S" in case.sizes
    assert set(case.sizes) <= set(SIZES)
    assert case.derivative in DERIVATIVES
    assert len(case.name) < 30
    assert case.why_not("irgrad", "S") == ""
    assert case.why_not("autograd", "S") == case.skip.get("autograd", "")
    assert bool(case.why_not("jax-lax", "S")) == (case.lax is None)


def test_there_are_enough_cases_and_the_limits_are_written() -> None:
    assert len(CASES) >= 40
    by_hand = ("rosenbrock_2", "rosenbrock_100", "black_scholes", "logsumexp_rows", "softmax_cross_entropy", "k_means", "jacobi_128")
    for name in (*by_hand, "rk4_1000", "n_body_100", "segment_sums"):
        assert CASES[name].numba is not None


def test_a_size_that_a_case_does_not_have_is_the_next_smaller_one() -> None:
    case = CASES["mlp"]
    assert case.size("L") == case.size("M") == (128, 784, 256, 10)
    assert case.has_size("M")
    assert not case.has_size("L")
    assert CASES["rosenbrock_2"].size("tiny") is None


def test_what_irgrad_cannot_do_yet_is_said() -> None:
    case = replace(CASES["huber"], pending="not yet")
    assert case.why_not("irgrad", "S") == case.why_not("eager", "S") == "not yet"
    assert case.why_not("autograd", "S") == ""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the time-stamp counter of x86-64")
def test_a_profile_runs_the_program_and_accounts_for_kernels_libraries_and_host_calls() -> None:
    cases = {name: CASES[name] for name in ("mlp", "deconvolution", "huber")}
    cases["sort"] = replace(
        CASES["huber"], make=lambda np, size: lambda x: np.sum(np.sort(x) * x), inputs=lambda size: (np.cos(np.arange(99)),)
    )
    for name, case in cases.items():
        call = prepare("irgrad", case, "S")
        before = [call() for _ in range(3)][-1]
        where = profile(call.jitted, call.arguments)
        assert where is not None
        assert np.array_equal(flat(call()), flat(before))  # the driver is back, and nothing has changed
        hosted = sum(len(variant.program.hosts) for variant in call.jitted.variants)
        assert sum(kernel["rows"] for kernel in where["kernels"]) == call.counts()["rows"] - 1 - hosted
        assert len({kernel["name"] for kernel in where["kernels"]}) == call.counts()["kernels"]
        assert where["loops"] > 0
        assert (where["library"] > 0) == (name in ("mlp", "deconvolution"))
        assert (where["host"] > 0) == (name == "sort")
        assert 0 < where["call"] < 1


def test_a_kernel_is_described_by_its_text() -> None:
    source = (
        "def kernel(p, n):\n    for i in range(n0):\n        v1 = load(p0, i)\n        v2 = exp(v1)\n        a0 = add_any_order(a0, v2)\n"
    )
    assert describe(source) == "1 operations; exp; 1 loop deep with sums"
    assert describe("call_blas(size(p, 3), t)") == "BLAS, LAPACK or FFT"


def test_a_slow_peer_runs_where_it_is_asked_for() -> None:
    case = CASES["rk4_10"]
    assert case.why_not("jax", "S").endswith("only from --size M on or with --peers jax")
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


COLD = {"import_seconds": 1.0, "seconds": 0.5, "processor_seconds": 0.6, "peak_bytes": 70_200_000, "total_bytes": 1e9}
RESULT: dict[str, Any] = {
    "case": "some_case",
    "size": "S",
    "counts": {"traces": 2, "kernels": 1, "rows": 2002, "host_calls": 1},
    "peers": {
        "irgrad": {
            "steady": {"call": 1.5e-6, "ratio": 1.0, "interval": None},
            **{kind: {**COLD, "seconds": 0.25} for kind in ("cold", "warm")},
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
    assert head.split() == ["peer", "call", "ratio", "95", "%", "to", "numpy", "cold", "warm", "import", "memory", "in", "all"]
    assert about == "some_case: 2 traces, 1 kernel, 2,002 rows, 1 host call"
    assert len(lines[0]) == len(head)
    assert lines[0].split() == ["irgrad", "1.50", "us", "1.00", *["250", "ms"] * 2, "1.00", "s", "70.2", "MB", "1000", "MB"]
    assert "12.5 s  123456  [99999, 234567]   1.00 s  500 ms" in lines[1]
    assert lines[2] == "  jax       cannot be traced"
    assert lines[3].startswith("  numba     FAILED: its gradient differs by 1.00e-06")
    assert len(lines) == 4  # none for a peer without figures or reason


def test_the_summary_takes_geometric_means_over_common_cases() -> None:
    figures = {"steady": {"ratio": 123456.0 / 4}, "cold": {"seconds": 8.0, "processor_seconds": 9.0}}
    other = {"case": "other", "size": "S", "counts": None, "peers": {"jax-lax": figures}}
    (line,) = report.summary([RESULT, other]).splitlines()[1:]
    assert line == "  jax-lax   steady call  61728 over 2 cases; time to compiled 2.00"
    assert report.summary([]) == ""


def test_the_header_states_machine_and_threads() -> None:
    text = report.header({**facts(), "pinned": 1}, {"size": "S", "threads": 1, "runs": 3})
    assert f"numpy {np.__version__}" in text
    assert (
        "1 thread for each of irgrad, OpenMP, OpenBLAS, Numba and XLA on 1 core, processor time; fresh processes: least wall time of 3"
        in text
    )
    assert max(map(len, text.splitlines())) <= report.WIDTH
    assert {thread_settings(2)[name] for name in ("IRGRAD_THREADS", "OPENBLAS_NUM_THREADS")} == {"2"}


def test_an_unknown_name_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IRGRAD_STORE", *thread_settings(1)):
        monkeypatch.setenv(name, "1")  # the command sets them for its process: put back after the test
    assert command.main(["--case", "rosenbrock_2", "nonsense", "--peers", "chainer"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("no case 'nonsense', no peer 'chainer'; cases: taylor_sine, rosenbrock_2, ")
    assert error.endswith("peers: autograd, jax, jax-lax, numba, torch\n")


def test_the_page_names_the_machine_the_targets_and_what_falls_short() -> None:
    where = {
        "kernels": [{"name": "kernel_1", "what": "2 operations", "rows": 3, "seconds": 1e-6}],
        "loops": 1e-6,
        "library": 0.0,
        "host": 0.0,
        "call": 1.5e-5,
    }
    slow = {
        "case": "slow_case",
        "size": "S",
        "moved": 2_000_000,
        "flops": 1_200_000,
        "single": True,
        "counts": {"kernels": 1},
        "peers": {
            "irgrad": {"steady": {"call": 2e-5, "ratio": 1.0, "interval": None}, "where": where, "cold": COLD, "warm": COLD},
            "autograd": {"steady": {"call": 1e-3, "ratio": 50.0, "interval": (49.0, 51.0)}, "cold": COLD},
            "jax": {"steady": {"call": 1e-5, "ratio": 0.5, "interval": (0.4, 0.6)}, "cold": {**COLD, "seconds": 2.0, "total_bytes": 5e8}},
            "jax-lax": {"steady": {"call": 2e-5, "ratio": 0.9, "interval": (0.8, 1.1)}, "to_numpy": {"ratio": 0.45}},
        },
    }
    machine = {**facts(), "pinned": 1, "limits": {"bytes": 2e11, "flops": 3e10, "flops_single": 1e11}}
    text = page.page([{"machine": machine, "settings": {"size": "S", "threads": 1}, "results": [slow]}], ["plot_S.svg"])
    assert "200.0 GB/s of a large copy, 30 Gflop/s of a large product (100 in single precision)." in text
    assert "| size S: call, against eager autograd | 50.0 over 1 cases | at least 100 |" in text
    assert "| size S: intervals against JAX wholly below 1 | 1: slow_case | none |" in text
    assert "| size S: time to compiled (cold) over JAX's first call | 0.25 over 1 cases | at most 0.5 |" in text
    assert "| slow_case | 1 | 500 ms | 500 ms | 2.00 s | 70.2 MB | 70.2 MB | 70.2 MB | 1000 MB | 1000 MB | 500 MB |" in text
    assert "| size S: peak of the whole process (warm) over autograd's | 1.00 over 1 cases | |" in text
    assert "| size S: peak of the whole process (warm) over JAX's | 2.00 over 1 cases | |" in text
    assert "| slow_case | 20.0 us |  | 50.0 | 0.50 [0.40, 0.60] | 0.45 |  | 60 % BLAS |" in text
    slow |= {"moved": 3_000_000, "flops": 900_000}
    assert page._of_limit(slow, machine["limits"]) == "75 % memory"
    assert page._of_limit(slow | {"moved": 8}, machine["limits"]) == ""
    assert "- **slow_case**, size S: 0.50 [0.40, 0.60] of JAX. entry and driver 14.0 us; kernels 1.00 us;" in text


@pytest.mark.parametrize("name", varying.FUNCTIONS)
def test_functions_whose_steps_vary_are_differentiated_right(name: str) -> None:
    function = varying.FUNCTIONS[name](np)
    for point in varying.inputs(name)[:3]:
        direction = np.cos(np.arange(np.size(point))).reshape(np.shape(point))
        expected = (function(point + 1e-6 * direction) - function(point - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose(np.sum(irgrad.grad(function)(point) * direction), expected, rtol=1e-5)


def test_a_long_loop_is_accounted_for_by_operation() -> None:
    found = varying.long_loop(400)
    assert found["operations"] > 400
    assert found["kernels"] < 8
    assert found["trace"] > 0
    assert found["bytes"] > 0


@pytest.mark.parametrize("name", eager.programs())
def test_eager_programs_agree_with_autograd(name: str) -> None:
    pytest.importorskip("autograd")
    found = eager.compare(name, eager.programs()[name], rounds=1)  # compares the gradients first
    assert found["ratio"] > 0.0
    assert eager.lines([found])[-2].startswith(f"| {name} |")
    assert len(eager.programs()) == 10


def test_the_eager_page() -> None:
    found = [
        {"case": "one", "irgrad": 1e-4, "autograd": 4e-4, "ratio": 4.0},
        {"case": "two", "irgrad": 1e-4, "autograd": 1e-4, "ratio": 1.0},
    ]
    assert eager.lines(found)[-1] == "| geometric mean | | | 2.00 |"


@pytest.mark.parametrize("form", overhead.forms(), ids=lambda form: form.name)
def test_what_a_call_costs_is_measured_for_every_form(form: overhead.Form) -> None:
    found = overhead.measure(form, {}, rounds=1, calls=1)  # compares the gradients first
    assert found["calls"]["irgrad"] > 0.0
    (line,) = overhead.lines([found])[2:]
    assert line.startswith(f"| {form.name} |")
