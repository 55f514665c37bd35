"""Path trees that grow: what a new path costs, and that it answers as numpy does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.runtime import lowering, run, variant
from irgrad.runtime.explain import explanation
from irgrad.runtime.link import Linker
from irgrad.runtime.variant import FREE, RARE, WORTH


def series(x: Any, tolerance: Any) -> Any:
    total, term = 0.0 * x, x
    while abs(term) > tolerance:
        total = total + term * np.sin(term)
        term = term * x
    return total


def tolerance(count: int) -> float:
    """For `count` iterations of `series` at 0.9."""
    return 0.9 ** (count + 0.5)


def descent(x: Any) -> Any:
    """Steepest descent with backtracking: the trip counts of its inner loop are as good as random."""
    f = lambda v: (1 - v[0]) ** 2 + 10 * (v[1] - v[0] ** 2) ** 2
    for _ in range(3):
        slope = np.array([-2 * (1 - x[0]) - 40 * x[0] * (x[1] - x[0] ** 2), 20 * (x[1] - x[0] ** 2)])
        step, now = 1.0, f(x)
        while f(x - step * slope) > now - 1e-4 * step * np.dot(slope, slope):
            step *= 0.5
        x = x - step * slope
    return f(x)


@pytest.fixture
def num_links(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A count of programs that were built as a whole."""
    found = [0]
    link = Linker.link

    def counted(self: Linker, counts: Any) -> Any:
        found[0] += 1
        return link(self, counts)

    monkeypatch.setattr(Linker, "link", counted)
    return found


@pytest.fixture
def traces_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every path that is met twice is traced, however often it is met then."""
    monkeypatch.setattr(variant, "FREE", 1000)


@pytest.mark.usefixtures("traces_are_free")
def test_a_new_trip_count_costs_one_trace_and_rebuilds_nothing(num_links: list[int]) -> None:
    eager = irgrad.grad(series)
    jitted = irgrad.jit(eager)
    for count in (3, 12, 5, 40, 8):  # known twice each
        for _ in range(2):
            jitted(0.9, tolerance(count))
    traces, links, kernels = jitted.stats().traces, num_links[0], jitted.stats().kernels
    new = [n for n in range(4, 40) if n not in (12, 5, 8)][:10]
    for count in new:
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), eager(0.9, tolerance(count)), rtol=1e-13)
    assert jitted.stats().traces == traces  # the first call is an eager one
    for count in new:
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), eager(0.9, tolerance(count)), rtol=1e-13)
    assert jitted.stats().traces == traces + len(new)
    assert num_links[0] == links
    assert jitted.stats().kernels == kernels
    before = jitted.stats().eager_calls
    for count in [*new, 3, 12, 5, 40, 8]:
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), eager(0.9, tolerance(count)), rtol=1e-13)
    assert jitted.stats().eager_calls == before


@pytest.mark.usefixtures("traces_are_free")
def test_more_iterations_than_ever_join_the_tree() -> None:
    eager = irgrad.grad(series)
    jitted = irgrad.jit(eager)
    for count in (2, 2, 4, 4, 6, 6, 8, 8):
        jitted(0.9, tolerance(count))
    kernels = jitted.stats().kernels
    for count in range(9, 17):
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), eager(0.9, tolerance(count)), rtol=1e-13)
        jitted(0.9, tolerance(count))
    assert jitted.stats().paths == 4 + 8
    assert jitted.stats().kernels == kernels
    before = jitted.stats().eager_calls
    for count in range(9, 17):
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), eager(0.9, tolerance(count)), rtol=1e-13)
    assert jitted.stats().eager_calls == before


def test_paths_that_are_seen_once_are_mostly_not_traced(rng: np.random.Generator) -> None:
    eager = irgrad.grad(descent)
    jitted = irgrad.jit(eager)
    points = rng.normal(size=(150, 2)) * 2
    for x in points:
        np.testing.assert_allclose(jitted(x), eager(x), rtol=1e-9, atol=1e-12)
    stats = jitted.stats()
    assert stats.traces <= 2 + FREE + stats.eager_calls / RARE + stats.calls / WORTH
    assert stats.traces < stats.eager_calls / 4
    for x in points:  # compiled and not
        np.testing.assert_allclose(jitted(x), eager(x), rtol=1e-9, atol=1e-12)


def test_exits_seen_once_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is traced at the second call that leaves the program where it does, unless too many others came between."""
    monkeypatch.setattr(variant, "SEEN_EXITS", 4)
    jitted = irgrad.jit(irgrad.grad(series))
    for count in (30, 30):
        jitted(0.9, tolerance(count))
    (found,) = jitted.variants
    for count in range(2, 12):
        jitted(0.9, tolerance(count))
        assert len(found.exits) <= 4
    assert jitted.stats().traces == 1
    jitted(0.9, tolerance(2))  # forgotten
    assert jitted.stats().traces == 1
    jitted(0.9, tolerance(11))
    jitted(0.9, tolerance(2))
    assert jitted.stats().traces == jitted.stats().paths == 3
    assert len(found.exits) <= 4


def test_outcomes_of_one_guard_are_exits_of_their_own() -> None:
    jitted = irgrad.jit(lambda x, n: x * float(int(np.floor(x))) + n)
    for x in (1.5, 1.5, 2.5, 3.5, 4.5, 5.5):
        assert jitted(x, 1.0) == x * np.floor(x) + 1.0
    assert (jitted.stats().traces, jitted.stats().eager_calls) == (1, 5)
    for x in (2.5, 3.5, 2.5, 3.5):
        assert jitted(x, 1.0) == x * np.floor(x) + 1.0
    assert (jitted.stats().traces, jitted.stats().eager_calls) == (3, 7)


def test_a_new_path_runs_what_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that leaves the program is not run natively a second time to find that out."""
    runs: list[bool] = []
    jitted = irgrad.jit(irgrad.grad(series))
    for count in (5, 5, 9, 9, 9):
        jitted(0.9, tolerance(count))
    (found,) = jitted.variants
    inner = run._note_exit
    monkeypatch.setattr(run, "_note_exit", lambda left, *rest: runs.append(left is found) or inner(left, *rest))
    jitted(0.9, tolerance(7))
    assert runs == [True]


def test_a_path_that_needs_more_than_is_kept_starts_from_the_arguments(num_links: list[int]) -> None:
    def f(x: Any) -> Any:
        parts = [np.sin(x * k) for k in range(1, 6)]
        total = parts[0] * 1.0
        for k in range(4):
            if total > 0.5:
                total = total * 0.8
            elif x > k:
                return np.exp(parts[k] * parts[k + 1]) + total
            else:
                total = total + 0.1 * x
        return total

    jitted = irgrad.jit(irgrad.grad(f))
    points = np.linspace(-3.0, 4.0, 57)
    for _ in range(4):
        for x in points:
            np.testing.assert_allclose(jitted(float(x)), irgrad.grad(f)(float(x)), rtol=1e-12, atol=1e-13)
    stats = jitted.stats()
    (found,) = jitted.variants
    assert sum(limb.is_restarted for limb in found.tree.limbs) >= 2
    assert stats.paths >= 6
    assert num_links == [1]
    before = stats.eager_calls
    for x in points:
        np.testing.assert_allclose(jitted(float(x)), irgrad.grad(f)(float(x)), rtol=1e-12, atol=1e-13)
    assert jitted.stats().eager_calls == before
    assert "path 0" in explanation(jitted)


def test_draws_before_a_branch_are_not_repeated(num_links: list[int]) -> None:
    """A path behind a draw does not start from the arguments."""

    def f(x: Any) -> Any:
        noise = irgrad.numpy.random.normal(0.0, 1.0)
        parts = [np.sin(x * k) for k in range(1, 4)]
        total = parts[0] + 0.0 * noise
        for k in range(2):
            if total < 0.0:
                return parts[k] * parts[k + 1] + noise
            total = total - 0.5
        return total + noise

    jitted = irgrad.jit(f)
    rng = np.random.default_rng(0)
    for x in rng.uniform(-3, 3, 60):
        irgrad.numpy.random.seed(5)
        found = jitted(float(x)), irgrad.numpy.random.normal()
        irgrad.numpy.random.seed(5)
        np.testing.assert_allclose(found, (f(float(x)), irgrad.numpy.random.normal()), rtol=1e-13)
    assert not jitted.impure
    assert not any(limb.is_restarted for v in jitted.variants for limb in v.tree.limbs)


def test_a_long_chain_of_guards_is_no_recursion() -> None:
    eager = irgrad.grad(series)
    jitted = irgrad.jit(eager)
    long = 0.999 ** (1500 + 0.5)
    for _ in range(3):
        np.testing.assert_allclose(jitted(0.999, long), eager(0.999, long), rtol=1e-12)
    assert jitted.stats().calls == 3
    assert "path 0" in explanation(jitted)


def test_a_full_tree_warns_once_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(irgrad.config.CONFIG, "max_paths", 4)
    jitted = irgrad.jit(irgrad.grad(series))
    with pytest.warns(RuntimeWarning, match=r"more than 4 paths.*test_paths.py:\d+") as caught:
        for count in range(1, 12):
            for _ in range(2):
                want = irgrad.grad(series)(0.9, tolerance(count))
                np.testing.assert_allclose(jitted(0.9, tolerance(count)), want, rtol=1e-13)
    assert len(caught) == 1


def longer_series(x, tolerance):
    total, term = 0.0 * x, x
    while abs(term) > tolerance:
        total, term = total + term * np.sin(term), term * x
    return total


def longer_vector(x, tolerance):
    z, n = np.array([x, 1.0, 2.0]), 0
    while np.sum(z * z) > 6.0 * tolerance:
        z, n = z * 0.95 - 0.01 * np.sin(z), n + 1
    return np.sum(z) * n


def longer_writes(x, tolerance):
    a, i = np.zeros(60), 0
    a[0] = x
    while a[i] > tolerance:
        a[i + 1] = a[i] * 0.9
        i += 1
    return np.sum(a * a)


def longer_recursion(x, tolerance):
    return x if x < tolerance else longer_recursion(x * 0.9, tolerance) * x + np.sin(x)


def longer_nest(x, tolerance):
    total, outer = 0.0 * x, x
    while outer > tolerance:
        inner = outer
        while inner > 2 * tolerance:
            inner = inner * 0.7
            total = total + np.sin(inner) * x
        if total > 3:
            total = total * 0.9
        outer = outer * 0.9
    return total


@pytest.mark.usefixtures("traces_are_free")
@pytest.mark.parametrize("f", [longer_series, longer_vector, longer_writes, longer_recursion, longer_nest], ids=lambda f: f.__name__)
def test_more_iterations_than_ever_leave_the_rest_of_the_program(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with more iterations than any before adds rows of its own: the tree is linked once."""
    linked: list[int] = []
    link = Linker.link
    monkeypatch.setattr(Linker, "link", lambda self, counts: linked.append(self.tree.num_paths) or link(self, counts))
    gradient = irgrad.grad(f)
    compiled = irgrad.jit(gradient)
    x = 1.0 if f is not longer_series else 0.9
    for count in (3, 4, 5, 4, 7, 12, 6, 13, 20, 30, 31):
        for _ in range(2):
            tolerance = 0.9 ** (count + 0.5)
            np.testing.assert_allclose(compiled(x, tolerance), gradient(x, tolerance), rtol=1e-11, atol=1e-13)
    assert compiled.stats().paths >= 9
    assert linked == [1] or (f is longer_nest and len(linked) <= 4)  # loops that are left and entered again have more to learn
    assert compiled.stats().kernels_compiled + compiled.stats().kernels_loaded < 30


@pytest.mark.usefixtures("traces_are_free")
def test_a_new_depth_of_a_recursion_needs_no_pass() -> None:
    gradient = irgrad.grad(longer_recursion)
    jitted = irgrad.jit(gradient)
    for count in (10, 10, 20, 20, 12, 12, 26, 26):
        jitted(1.0, tolerance(count))
    before = len(lowering._lowered)
    for count in (14, 14, 30, 30, 18, 18, 41, 41):
        np.testing.assert_allclose(jitted(1.0, tolerance(count)), gradient(1.0, tolerance(count)), rtol=1e-11)
    assert jitted.stats().paths == 8
    assert len(lowering._lowered) == before


def test_a_new_path_is_not_followed_from_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where values are is known behind the guards where other paths began."""
    jitted = irgrad.jit(irgrad.grad(series))
    for count in (60, 60, 57, 57):
        jitted(0.9, tolerance(count))
    followed: list[Any] = []
    node = Linker.node
    monkeypatch.setattr(Linker, "node", lambda self, *args: followed.append(args[0]) or node(self, *args))
    for count in (58, 58):
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), irgrad.grad(series)(0.9, tolerance(count)), rtol=1e-12)
    assert jitted.stats().paths == 3
    assert len(followed) < 10
    np.testing.assert_allclose(jitted(0.9, tolerance(58)), irgrad.grad(series)(0.9, tolerance(58)), rtol=1e-12)
