"""Independent rows side by side: what goes together, the same bits by one thread and by several, and values whatever the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import beside
from irgrad.codegen.lowered import Ref, Row
from irgrad.codegen.team import ENTRY, PATIENT, PENALTY, SKIP, TEAM
from irgrad.config import CONFIG
from irgrad.runtime import lowering
from tests.codegen.test_split import HAS_THREADS, both, leaves
from tests.runtime import test_fuzz, test_fuzz_writes
from tests.support.programs import generate

LONG, SHORT = np.linspace(-1.0, 1.0, 90_000), np.linspace(-1.0, 1.0, 2_000)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(CONFIG, "threads", 2)
    TEAM.start()
    TEAM.table[[SKIP, PENALTY, PATIENT]] = 0, 0, 1
    yield
    TEAM.table[PATIENT] = 0
    monkeypatch.undo()
    TEAM.start()


@pytest.fixture
def any_order(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """All rows that may be side by side are, the last one first; how many there are."""
    together = beside._together
    found: list[int] = []

    def reversed_(rows: Sequence[Any], work: beside.Home, buffers: list[int]) -> Row:
        found.append(len(rows))
        return together(rows[::-1], work, buffers)

    monkeypatch.setattr(lowering, "_lowered", {})
    monkeypatch.setattr(beside, "ENOUGH", -1.0)
    monkeypatch.setattr(beside, "_together", reversed_)
    return found


def definite(n: int) -> Any:
    a = np.random.default_rng(n).normal(size=(n, n))
    return a @ a.T + n * np.eye(n)


def scan(x: Any) -> Any:
    return irgrad.scan(lambda c, t: (np.tanh(c * 0.9 + t), c), 0.1, x)[1]


CASES: list[tuple[Any, tuple[Any, ...], int]] = [
    (lambda a, b: (np.cumsum(a), np.cumsum(b)), (LONG, LONG[::-1].copy()), 1),
    (lambda a, b: (np.cumsum(a), np.sin(a[:10]), np.cumprod(b)), (LONG, LONG), 1),
    (lambda a, b: np.cumsum(a)[-1] * np.cumsum(b)[-1], (LONG, LONG), 1),
    (lambda a: np.cumsum(np.cumsum(a)), (LONG,), 0),
    (lambda a, b: (np.cumsum(a), np.cumsum(b)), (SHORT, SHORT), 0),
    (lambda a, b: (np.cumsum(a), np.cumsum(b)), (LONG, SHORT), 0),
    (lambda a, b: (np.linalg.svd(a)[1], np.linalg.inv(b)), (definite(90), definite(100)), 1),
    (lambda a, b: (np.linalg.eigh(a)[0], np.linalg.eigh(b)[0]), (definite(70), definite(60)), 1),
    (lambda a, b: (scan(a), scan(b)), (LONG[:20_000], LONG[20_000:40_000]), 1),
]


@pytest.mark.parametrize(("f", "arguments", "rows"), CASES)
def test_large_rows_that_have_nothing_to_do_with_each_other(threads: None, f: Any, arguments: tuple[Any, ...], rows: int) -> None:
    jitted = irgrad.jit(f).compile(*arguments)
    before = TEAM.entered
    for got, want in zip(both(jitted, *arguments), leaves(f(*arguments)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    stats = jitted.stats()
    assert stats.parallel_rows == rows
    if HAS_THREADS:
        assert stats.parallel_entries == TEAM.entered - before == rows


def test_without_threads_the_team_is_not_entered(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    f, (a, b) = CASES[0][0], CASES[0][1]
    together = leaves(irgrad.jit(f).compile(a, b)(a, b))
    monkeypatch.setattr(CONFIG, "threads", 1)
    before = TEAM.entered
    jitted = irgrad.jit(f).compile(a, b)
    assert TEAM.table[ENTRY] == 0
    assert [x.tobytes() for x in leaves(jitted(a, b))] == [x.tobytes() for x in together]
    assert (jitted.stats().parallel_rows, jitted.stats().parallel_entries, TEAM.entered) == (1, 0, before)


def test_derivatives_of_independent_loops(threads: None) -> None:
    f = irgrad.grad(lambda a, b: np.sum(scan(a)) * np.sum(scan(b)), (0, 1))
    a, b = LONG[:20_000], LONG[20_000:40_000]
    jitted = irgrad.jit(f).compile(a, b)
    for got, want in zip(both(jitted, a, b), f(a, b), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    assert jitted.stats().parallel_rows >= 2


def test_a_part_that_fails(threads: None) -> None:
    jitted = irgrad.jit(lambda a, b: (np.linalg.inv(a), np.linalg.inv(b))).compile(definite(100), definite(101))
    assert jitted.stats().parallel_rows == 1
    bad = np.zeros((101, 101))
    for pair in ((definite(100), bad), (bad[:100, :100], definite(101))):
        with pytest.raises(np.linalg.LinAlgError, match=r"Singular matrix.*test_beside\.py"):
            jitted(*pair)
    np.testing.assert_allclose(jitted(definite(100), definite(101))[1] @ definite(101), np.eye(101), atol=1e-8)


def row(cost: float, *homes: tuple[str, int]) -> Row:
    return Row("", [Ref(home) for home in homes], [], "row", cost=cost)


def test_which_rows_go_together() -> None:
    work, x, y = ("buffer", 0), ("slot", 0), ("slot", 1)
    a, b, c, d = (("buffer", k) for k in (1, 2, 3, 4))
    rows = [row(1e5, x, a, work), row(0.0, y, c), row(0.0, a, y), row(1e5, x, b, work), row(1e5, a, d), row(1e5, c, x)]
    buffers = [64, 8, 8, 8, 8]
    made = beside.grouped(rows, [{a}, {c}, {y}, {b}, {d}, {x}], 0, buffers)
    first, second, third, last = made
    assert first is rows[1]  # what the group does not need, and does not need the group
    assert isinstance(second, Row)
    assert second.pointers == [Ref(x), Ref(a), Ref(work), Ref(x), Ref(b), Ref(("buffer", 5))]  # work space of its own
    assert buffers == [64, 8, 8, 8, 8, 64]
    assert third is rows[2]
    assert isinstance(last, Row)
    assert last.pointers == [Ref(a), Ref(d), Ref(c), Ref(x)]


@pytest.mark.parametrize("seed", range(200))
def test_an_order_of_rows_that_keeps_what_depends_on_what(seed: int) -> None:
    """Rows that add up what they read: the contents of memory are the same in the order that is made, whichever part is first."""
    rng = np.random.default_rng(seed)
    homes = [("buffer", k) for k in range(int(rng.integers(3, 12)))]
    rows, written = [], []
    for _ in range(int(rng.integers(2, 30))):
        named = [homes[k] for k in rng.integers(len(homes), size=int(rng.integers(1, 4)))]
        rows.append(row(float(rng.choice([0.0, 1e6])), *named))
        written.append({named[-1]})

    def run(order: Sequence[Any]) -> dict[Any, int]:
        memory = {home: k + 1 for k, home in enumerate(homes)}
        for each in order:
            *_, to = refs = [ref.home for ref in each.pointers]
            memory[to] = hash((to, *[memory[home] for home in refs]))
        return memory

    made = beside.grouped(rows, written, None, [])
    flat = [each for group in made for each in (group.parts or [group] if isinstance(group, Row) else [])]
    back = [each for group in made for each in (group.parts or [group] if isinstance(group, Row) else [])[::-1]]
    assert run(flat) == run(back) == run(rows)
    assert len(flat) == len(rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("start", range(7000, 7040, 10))
def test_random_programs_in_any_order(any_order: list[int], start: int) -> None:
    with np.errstate(all="ignore"):
        test_fuzz.check(test_fuzz.values_differ, range(start, start + 10), length=(10, 30))
        test_fuzz.check(test_fuzz.values_differ, range(start + 1000, start + 1010), writes=True)
        test_fuzz.check(test_fuzz.gradients_differ, range(start + 2000, start + 2004), smooth=True, writes=True)
        for seed in range(start, start + 3):
            test_fuzz_writes.check(seed)
    assert len(any_order) > 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("plain")
def test_a_planted_fault_is_found(any_order: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that depend on each other."""
    monkeypatch.setattr(beside, "written", lambda cluster, homes: set())
    with np.errstate(all="ignore"):
        assert any(test_fuzz.failure(test_fuzz.values_differ, generate(seed)) for seed in range(20))
