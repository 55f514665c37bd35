"""Memory of results is used again when, and only when, nobody can see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.pool import KEPT, LARGE, Pool, maker
from tests.support.threads import together

SHAPE = (LARGE // 8 + 1,)
HOLDERS = {
    "array": lambda a: a,
    "view": lambda a: a[5:6],
    "reshaped view of a view": lambda a: a[1:].reshape(2, -1).T,
    "memoryview": memoryview,
    "object that exports it": lambda a: np.asarray(memoryview(a)),
    "iterator": lambda a: a.flat,
    "other dtype": lambda a: a.view(np.int64),
    "base": lambda a: a.base,
}


def address(a: Any) -> int:
    return int(a.ctypes.data)


def test_dropped_memory_is_used_again() -> None:
    pool = Pool(SHAPE, np.dtype(float))
    a = pool.take()
    first = address(a)
    assert first % 64 == 0
    assert (a.shape, a.dtype, a.flags.writeable, a.flags.c_contiguous) == (SHAPE, np.dtype(float), True, True)
    del a
    assert address(pool.take()) == first


@pytest.mark.parametrize("name", HOLDERS)
def test_memory_that_is_seen_is_not(name: str) -> None:
    pool = Pool(SHAPE, np.dtype(float))
    a = pool.take()
    first = address(a)
    held = HOLDERS[name](a)
    del a
    others = [pool.take() for _ in range(KEPT + 2)]
    assert all(abs(address(other) - first) >= other.nbytes for other in others)
    del held, others
    assert len(pool.blocks) <= KEPT


def test_results_that_are_held_for_good_do_not_stand_in_the_way() -> None:
    pool = Pool(SHAPE, np.dtype(float))
    held = [pool.take() for _ in range(KEPT + 2)]
    a = pool.take()
    assert any(block is a.base for block in pool.blocks)
    first = address(a)
    del a
    assert address(pool.take()) == first
    assert len(pool.blocks) <= KEPT
    assert len({address(each) for each in held}) == len(held)


def test_of_two_the_last_one_is_taken() -> None:
    pool = Pool(SHAPE, np.dtype(float))
    a, b = pool.take(), pool.take()
    first, last = address(a), address(b)
    del a, b
    assert [address(pool.take()) for _ in range(3)] == [last] * 3
    assert first != last


def test_small_results_are_numpys_own() -> None:
    assert maker((3,), np.dtype(float))().base is None


def test_threads_never_share() -> None:
    pool = Pool(SHAPE, np.dtype(float))
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(300):
            a = pool.take()
            a[:4] = number
            if not np.all(a[:4] == number):
                wrong.append(number)

    together(work, 4)
    assert not wrong


def test_results_of_calls_live_as_long_as_they_are_held() -> None:
    f = irgrad.jit(lambda x: (x + 1.0, x[::2] * 2.0), compile_after=1)
    x = np.arange(2.0 * SHAPE[0])
    kept = [f(x * k) for k in range(5)]
    for k, (a, b) in enumerate(kept):
        np.testing.assert_array_equal(a, x * k + 1.0)
        np.testing.assert_array_equal(b, x[::2] * k * 2.0)
    place = {address(a) for a, _ in kept[1:]}
    del kept, a, b
    assert {address(f(x)[0]) for _ in range(4)} & place
