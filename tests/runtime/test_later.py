"""New paths that wait to be traced and linked in turns: when, with what arguments and captured values, and what an error leaves."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.config import CONFIG
from irgrad.runtime import later
from irgrad.runtime.explain import explanation
from irgrad.runtime.link import Linker
from irgrad.runtime.turns import Turns
from tests.runtime.test_paths import longer_nest, longer_recursion, longer_vector, longer_writes, series, tolerance

pytestmark = pytest.mark.usefixtures("turns")
FUNCTIONS = [series, longer_vector, longer_writes, longer_recursion, longer_nest]


def known(f: Callable[..., Any], count: int = 5) -> Any:
    """`f` jitted, with the path of one count compiled."""
    jitted = irgrad.jit(irgrad.grad(f))
    for _ in range(3):
        jitted(0.9, tolerance(count))
    return jitted


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_a_new_path_is_eager_until_later_calls_have_linked_it(f: Any) -> None:
    gradient, jitted = irgrad.grad(f), known(f)
    traces, paths = jitted.stats().traces, jitted.stats().paths
    want = gradient(0.9, tolerance(8))
    np.testing.assert_allclose(jitted(0.9, tolerance(8)), want, rtol=1e-11)
    assert jitted.stats().waiting == 0
    np.testing.assert_allclose(jitted(0.9, tolerance(8)), want, rtol=1e-11)
    assert (jitted.stats().waiting, jitted.stats().paths) == (1, paths)
    calls = 0
    while jitted.stats().waiting and calls < 3000:
        before = jitted.stats().eager_calls
        np.testing.assert_allclose(jitted(0.9, tolerance(8)), want, rtol=1e-11)
        assert jitted.stats().eager_calls == before + 1
        calls += 1
    assert calls > 3  # no call did all of it
    assert (jitted.stats().traces, jitted.stats().paths) == (traces + 1, paths + 1)
    before = jitted.stats().eager_calls
    np.testing.assert_allclose(jitted(0.9, tolerance(8)), want, rtol=1e-11)
    assert jitted.stats().eager_calls == before


def test_compiled_calls_give_too_and_then_no_more() -> None:
    jitted = known(series)
    for _ in range(2):
        jitted(0.9, tolerance(9))
    before, calls = jitted.stats().eager_calls, 0
    while jitted.stats().waiting and calls < 3000:
        jitted(0.9, tolerance(5))
        calls += 1
    assert jitted.stats().eager_calls == before and jitted.stats().paths == 2
    turns = jitted._later.num_turns
    assert 1 < turns <= calls + 1
    for _ in range(5):
        jitted(0.9, tolerance(5)), jitted(0.9, tolerance(9))
    assert jitted._later.num_turns == turns and jitted.stats().eager_calls == before


def test_calls_by_keyword_and_of_other_signatures_give_too() -> None:
    def f(x: Any, t: Any) -> Any:
        return np.sum(series(x[0], t) * x)

    jitted = irgrad.jit(irgrad.grad(f))
    forms: list[Callable[[int], Any]] = [
        lambda count: jitted(np.full(2, 0.9), t=tolerance(count)),
        lambda count: jitted(np.full(2, 0.9), tolerance(count)),
        lambda count: jitted(np.full(3, 0.9), tolerance(count)),
    ]
    for form in forms * 3:
        form(5)
    for path, known_ones in ((9, forms[:1]), (12, forms[1:])):
        for _ in range(2):
            known_ones[0](path)
        before, calls = jitted.stats().eager_calls, 0
        assert jitted.stats().waiting == 1
        while jitted.stats().waiting and calls < 3000:
            for form in known_ones:
                form(5)
            calls += 1
        assert jitted.stats().waiting == 0 and jitted.stats().eager_calls == before


def test_settle_does_all_that_waits() -> None:
    jitted = known(series, 20)
    for count in (8, 11, 14):
        for _ in range(2):
            jitted(0.9, tolerance(count))
    assert jitted.stats().waiting >= 2
    assert "wait to be traced" in explanation(jitted)
    assert jitted.settle() is jitted
    assert (jitted.stats().waiting, jitted.stats().paths, jitted.stats().traces) == (0, 4, 4)
    before = jitted.stats().eager_calls
    for count in (8, 11, 14):
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), irgrad.grad(series)(0.9, tolerance(count)), rtol=1e-12)
    assert jitted.stats().eager_calls == before


def test_a_path_waits_once_however_often_it_is_met() -> None:
    jitted = known(series)
    for _ in range(6):
        jitted(0.9, tolerance(8))
        assert jitted.stats().waiting <= 1
    jitted.settle()
    assert jitted.stats().traces == 2


def test_a_call_gives_a_third_less_what_it_cost_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(Turns, "step", lambda self, seconds: given.append(seconds))
    jitted = known(series)
    for _ in range(2):
        jitted(0.9, tolerance(9))
    waiting = jitted._later
    for seconds, want in ((1.0, [0.33 - later.BESIDES]), (3e-4, [0.66e-4]), (6e-5, [])):
        waiting._credit = 0.0
        given.clear()
        waiting.give(seconds)
        np.testing.assert_allclose(given, [each for each in want if each >= later.LEAST])
    waiting._credit = 0.0
    for _ in range(20):  # what was not enough for a turn is kept
        waiting.give(6e-5)
    assert given
    monkeypatch.undo()
    assert jitted.settle().stats().paths == 2


def test_waiting_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "WAITING", 3)
    monkeypatch.setattr(CONFIG, "path_share", 1)
    jitted = known(series, 30)
    for count in range(2, 12):
        for _ in range(2):
            jitted(0.9, tolerance(count))
    assert jitted.stats().waiting == 3


def test_arguments_are_those_of_the_call() -> None:
    """The caller may write into an array between its call and the trace."""
    jitted = irgrad.jit(irgrad.grad(lambda x: np.sum(x * x) if np.sum(x) > 0 else np.sum(np.sin(x))))
    x = np.ones(3)
    for _ in range(3):
        jitted(x)
    for _ in range(2):
        x[:] = -1.0
        jitted(x)
        x[:] = 1.0
    jitted.settle()
    assert jitted.stats().paths == 2
    before = jitted.stats().eager_calls
    x[:] = -2.0
    np.testing.assert_allclose(jitted(x), np.cos(x))
    assert jitted.stats().eager_calls == before


def test_captured_arrays_may_change_between_turns() -> None:
    weights = np.array([1.0, 2.0])

    def f(x: Any) -> Any:
        total, term = 0.0 * x, x
        while abs(term) > 0.1:
            total = total + np.sum(weights) * np.sin(term)
            term = term * 0.5 * weights[0]
        return total

    jitted, gradient = irgrad.jit(irgrad.grad(f)), irgrad.grad(f)
    rng = np.random.default_rng(0)
    for k in range(400):
        weights[:] = rng.uniform(0.5, 1.5, 2)
        x = float(rng.uniform(0.2, 30.0))
        np.testing.assert_allclose(jitted(x), gradient(x), rtol=1e-12, err_msg=f"call {k}")
    jitted.settle()
    assert jitted.stats().paths > 3


power = 2


def with_power(x: Any) -> Any:
    y = x
    while y > 1.0:
        y = y * 0.7
        y = y**power / y ** (power - 1)
    return y**power


def test_a_guarded_value_that_changes_between_turns_leaves_no_mixed_path() -> None:
    global power
    jitted, gradient = irgrad.jit(irgrad.grad(with_power)), irgrad.grad(with_power)
    try:
        for x in (3.0, 3.0, 3.0, 20.0, 20.0):
            jitted(x)
        assert jitted.stats().waiting == 1
        (found,) = jitted.variants
        while jitted.stats().waiting and (jitted._later._turns is None or jitted._later._turns.num_turns < 3):
            jitted(3.0)
        assert jitted.stats().traces == 1  # a trace has begun
        power = 3
        np.testing.assert_allclose(jitted(3.0), gradient(3.0), rtol=1e-12)
        jitted.settle()
        for p in (2, 3, 2):
            power = p
            for x in (3.0, 20.0, 100.0) * 4:
                np.testing.assert_allclose(jitted(x), gradient(x), rtol=1e-12)
        assert found in jitted.variants
    finally:
        power = 2


def test_what_may_have_effects_is_done_once() -> None:
    """A path that changes a captured list, which no other did: eagerly it does so once a call, and no trace repeats it."""
    seen: list[float] = []

    def f(x: Any) -> Any:
        if x > 10.0:
            seen.append(1.0)
        return x * x if x > 0 else -x

    jitted = irgrad.jit(irgrad.grad(f))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(3):
            jitted(2.0)
        for k in range(1, 8):
            assert jitted(20.0) == 40.0
            jitted.settle()
            assert len(seen) == k


def test_an_error_of_a_trace_is_raised_by_a_later_call(monkeypatch: pytest.MonkeyPatch) -> None:
    jitted = known(series)
    monkeypatch.setattr(CONFIG, "max_nodes", 60)
    want = irgrad.grad(series)(0.9, tolerance(40))
    for _ in range(2):
        assert jitted(0.9, tolerance(40)) == want
    jitted.settle()
    assert (jitted.stats().paths, jitted.stats().waiting) == (1, 0)
    with pytest.raises(irgrad.errors.TraceError, match="more than 60 operations"):
        jitted(0.9, tolerance(40))
    before = jitted.stats().eager_calls
    np.testing.assert_allclose(jitted(0.9, tolerance(5)), irgrad.grad(series)(0.9, tolerance(5)), rtol=1e-12)
    assert jitted.stats().eager_calls == before


def test_functions_that_are_not_evidently_pure_are_traced_by_the_call() -> None:
    calls: list[int] = []

    class Model:
        def loss(self, x: Any) -> Any:
            calls.append(1)
            return x * x if x > 0 else -x

    model = Model()
    jitted = irgrad.jit(lambda x: model.loss(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for k in range(12):
            x = 2.0 if k < 4 else -2.0
            jitted(x)
            assert jitted.stats().waiting == 0


def test_linking_that_was_left_halfway_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gradient, jitted = irgrad.grad(longer_nest), known(longer_nest)
    (found,) = jitted.variants
    for _ in range(2):
        jitted(0.9, tolerance(9))
    while not found.linker.is_broken and jitted.stats().waiting:
        jitted(0.9, tolerance(5))
    assert found.linker.is_broken
    linked: list[int] = []
    link = Linker.link
    monkeypatch.setattr(Linker, "link", lambda self, counts: linked.append(1) or link(self, counts))
    jitted._later._turns.drop()
    for _ in range(3):
        for count in (5, 9, 12):
            np.testing.assert_allclose(jitted(0.9, tolerance(count)), gradient(0.9, tolerance(count)), rtol=1e-11)
        jitted.settle()
    assert linked == [1] and not found.linker.is_broken
    before = jitted.stats().eager_calls
    for count in (5, 9, 12):
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), gradient(0.9, tolerance(count)), rtol=1e-11)
    assert jitted.stats().eager_calls == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_begins_anew() -> None:
    gradient, jitted = irgrad.grad(longer_nest), known(longer_nest)
    (found,) = jitted.variants
    for _ in range(2):
        jitted(0.9, tolerance(9))
    while not found.linker.is_broken and jitted.stats().waiting:
        jitted(0.9, tolerance(5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, in newer versions of Python
        child = os.fork()
    if child == 0:
        right = False
        try:
            for _ in range(3):
                for count in (5, 9, 12):
                    np.testing.assert_allclose(jitted(0.9, tolerance(count)), gradient(0.9, tolerance(count)), rtol=1e-11)
                jitted.settle()
            right = jitted.stats().waiting == 0 and not found.linker.is_broken
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    jitted.settle()
    np.testing.assert_allclose(jitted(0.9, tolerance(9)), gradient(0.9, tolerance(9)), rtol=1e-11)


def test_many_threads_call_while_paths_wait() -> None:
    gradient, jitted = irgrad.grad(series), known(series)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(60):
            t = tolerance(int(rng.integers(2, 20)))
            try:
                np.testing.assert_allclose(jitted(0.9, t), gradient(0.9, t), rtol=1e-11)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    jitted.settle()
    assert jitted.stats().waiting == 0 and jitted.stats().paths > 2
    for count in range(2, 20):
        np.testing.assert_allclose(jitted(0.9, tolerance(count)), gradient(0.9, tolerance(count)), rtol=1e-11)


def test_random_paths_in_turns(rng: np.random.Generator) -> None:
    """Thousands of calls on trees of paths, checked one by one, whoever answers."""

    def f(x: Any) -> Any:
        total = x[0] * 1.0
        for k in range(6):
            if total > x[1]:
                total = total * 0.7 + np.sin(x[2])
            elif total < -x[1]:
                total = np.exp(-total * total) + x[k % 3]
            else:
                total = total + x[0] * x[2]
        return total

    jitted, gradient = irgrad.jit(irgrad.grad(f)), irgrad.grad(f)
    points = rng.normal(size=(40, 3))
    for k in range(1500):
        x = points[int(rng.integers(len(points)))] if k % 3 else rng.normal(size=3)
        np.testing.assert_allclose(jitted(x), gradient(x), rtol=1e-9, atol=1e-11)
    stats = jitted.settle().stats()
    assert stats.guard_rounding == 0 and stats.paths > 8


def test_the_path_that_is_met_most_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "path_share", 1)
    jitted = known(series, 20)
    order: list[int] = []
    join = jitted.join

    def joined(variant: Any, recording: Any, structure: Any) -> None:
        order.append(len(recording.guards))
        join(variant, recording, structure)

    monkeypatch.setattr(jitted, "join", joined)
    for count in (8, 11, 14, 8, 11, 14, 11, 14, 14):
        jitted(0.9, tolerance(count))
    assert order == []
    jitted.settle()
    lengths = {count: count + 1 for count in (8, 11, 14)}
    assert order == [lengths[14], lengths[11], lengths[8]] or order == [lengths[8], lengths[14], lengths[11]]  # the first may have begun


def test_paths_that_leave_the_program_at_one_guard_wait_each() -> None:
    """More iterations than any before leave it at the same place; what the eager calls decided tells their paths apart."""
    jitted = known(series)
    for count in (8, 11, 14):
        jitted(0.9, tolerance(count))
    assert jitted.stats().waiting == 0
    for number, count in enumerate((8, 11, 14)):
        jitted(0.9, tolerance(count))
        assert jitted.stats().waiting == number + 1
    jitted.settle()
    assert jitted.stats().paths == 4


PARTS = [1, 2]


def catches_all(x: Any, n: Any) -> Any:
    if n > 2.0:
        return x * 2.0
    try:
        t = x
        for _ in range(600):
            t = np.sin(t) * 1.1 + t * 0.1 + len(PARTS)
    except:  # noqa: E722
        t = x * 77.0
    return t * 2.0


@pytest.mark.parametrize("what", ["changed", "dropped"])
def test_a_trace_whose_end_the_function_caught_is_forgotten(what: str) -> None:
    compiled = irgrad.jit(catches_all)
    for n in (4.0, 4.0, 4.0, 1.0, 1.0):
        compiled(5.0, n)
    assert compiled.stats().waiting == 1
    turns = compiled._later._turns or compiled._later._begin()
    for _ in range(3):
        turns.step(1e-4)
    assert not turns.is_done
    if what == "changed":
        PARTS.append(3)
        turns.step(1e-4)
        PARTS.pop()
        turns.finish()
    else:
        turns.drop()
    for n in (4.0, 1.0) * 3:
        assert abs(compiled(5.0, n) - catches_all(5.0, n)) < 1e-9


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers by signals")
def test_an_interrupted_settle_leaves_nothing_behind() -> None:
    """Ctrl-C while a long path is traced: no thread, no lock, and later calls are right."""
    compiled = known(series, 3)
    long = tolerance(3000)
    for _ in range(2):
        compiled(0.9, long)
    assert compiled.stats().waiting == 1
    threads = set(threading.enumerate())
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(1000):
                compiled.settle()
                time.sleep(0.001)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    compiled.settle()
    assert compiled.stats().waiting == 0
    for each in set(threading.enumerate()) - threads:
        each.join(10.0)
        assert not each.is_alive()
    for count in (3, 3000, 3, 3000):
        assert abs(compiled(0.9, tolerance(count)) - irgrad.grad(series)(0.9, tolerance(count))) < 1e-9
