"""Writes to regions of new memory, and padded values, as concatenations."""

from __future__ import annotations

from typing import Any

import numpy as np

import irgrad
from irgrad.passes.joins import joins
from tests.passes.test_fusion import kept, kinds
from tests.support.passes import check, check_unchanged, plan

X = np.random.default_rng(22).normal(size=(90,))


def test_additions_to_zeros_are_parts() -> None:
    check(
        joins,
        """
        graph f(x: f64[40], y: f64[20]) -> (f64[90])
        primal
          %0: f64[90] = zeros[dtype='float64', shape=(90,)]
          %1: f64[90] = slice_add[count=(20,), drop=(), start=(60,), step=(1,)] %0 %y
          %2: f64[90] = slice_add[count=(40,), drop=(), start=(0,), step=(1,)] %1 %x
        return %2
        """,
        """
        graph f(x: f64[40], y: f64[20]) -> (f64[90])
        primal
          %0: f64[20] = zeros[dtype='float64', shape=(20,)]
          %1: f64[10] = zeros[dtype='float64', shape=(10,)]
          %2: f64[90] = concatenate[axis=0] %x %0 %y %1
        return %2
        """,
        {"joins": 1},
    )


def test_several_additions_to_one_region_are_a_sum() -> None:
    check(
        joins,
        """
        graph f(x: f64[40], y: f64[40], z: f64[40]) -> (f64[40,2])
        primal
          %0: f64[40,2] = zeros[dtype='float64', shape=(40, 2)]
          %1: f64[40,2] = slice_add[count=(40, 1), drop=(1,), start=(0, 0), step=(1, 1)] %0 %x
          %2: f64[40,2] = slice_add[count=(40, 1), drop=(1,), start=(0, 1), step=(1, 1)] %1 %y
          %3: f64[40,2] = slice_add[count=(40, 1), drop=(1,), start=(0, 0), step=(1, 1)] %2 %z
        return %3
        """,
        """
        graph f(x: f64[40], y: f64[40], z: f64[40]) -> (f64[40,2])
        primal
          %0: f64[40]   = add %x %z
          %1: f64[40,1] = reshape[shape=(40, 1)] %0
          %2: f64[40,1] = reshape[shape=(40, 1)] %y
          %3: f64[40,2] = concatenate[axis=1] %1 %2
        return %3
        """,
    )


def test_a_write_replaces_what_was_added_before_it() -> None:
    check(
        joins,
        """
        graph f(x: f64[70], y: f64[30], z: f64[70]) -> (f64[100])
        primal
          %0: f64[100] = zeros[dtype='float64', shape=(100,)]
          %1: f64[100] = slice_add[count=(70,), drop=(), start=(0,), step=(1,)] %0 %x
          %2: f64[100] = slice_update[count=(70,), drop=(), start=(0,), step=(1,)] %1 %z
          %3: f64[100] = slice_add[count=(30,), drop=(), start=(70,), step=(1,)] %2 %y
        return %3
        """,
        """
        graph f(x: f64[70], y: f64[30], z: f64[70]) -> (f64[100])
        primal
          %0: f64[100] = concatenate[axis=0] %z %y
        return %0
        """,
    )


def test_padding_is_parts() -> None:
    check(
        joins,
        """
        graph f(x: f64[70], c: f64) -> (f64[75])
        primal
          %0: f64[75] = pad[high=(4,), low=(1,)] %x %c
        return %0
        """,
        """
        graph f(x: f64[70], c: f64) -> (f64[75])
        primal
          %0: f64[1]  = full[dtype='float64', shape=(1,)] %c
          %1: f64[4]  = full[dtype='float64', shape=(4,)] %c
          %2: f64[75] = concatenate[axis=0] %0 %x %1
        return %2
        """,
        {"pads": 1},
    )


def test_left_alone() -> None:
    """Regions that overlap, memory from outside, memory that is read in between, and what is small."""
    check_unchanged(
        joins,
        """
        graph f(x: f64[80], y: f64[80], z: f64[3], b: f64[90]) -> (f64[90], f64[90], f64[90], f64[90], f64[8])
        primal
          %0: f64[90] = zeros[dtype='float64', shape=(90,)]
          %1: f64[90] = slice_add[count=(80,), drop=(), start=(0,), step=(1,)] %0 %x
          %2: f64[90] = slice_add[count=(80,), drop=(), start=(1,), step=(1,)] %1 %y
          %3: f64[90] = slice_add[count=(80,), drop=(), start=(0,), step=(1,)] %b %x
          %4: f64[90] = empty[dtype='float64', shape=(90,)]
          %5: f64[90] = slice_update[count=(80,), drop=(), start=(0,), step=(1,)] %4 %x
          %6: f64[90] = zeros[dtype='float64', shape=(90,)]
          %7: f64[90] = slice_add[count=(30,), drop=(), start=(0,), step=(3,)] %6 0.5
          %8: f64[8]  = pad[high=(4,), low=(1,)] %z 0.0
        return %2, %3, %5, %7, %8
        """,
    )


def test_cotangents_of_slices_are_written_where_they_belong() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.sin(x[:30])) + np.sum(np.exp(x[30:60])) + np.sum(x[60:] ** 2) + np.sum(x[:30] ** 3)

    made = plan(irgrad.grad(f), X)
    assert kinds(made) == ["nest"]
    assert kept(made) == 0


def test_regions_written_by_the_program() -> None:
    def f(x: Any) -> Any:
        made = np.empty((3, 90))
        made[0] = np.sin(x)
        made[2] = x * 2.0
        made[1] = made[0] * x
        return made

    fast = irgrad.jit(f).compile(X)
    assert np.allclose(fast(X), f(X), rtol=1e-14)
    slope = irgrad.jit(irgrad.grad(lambda x: np.sum(f(x) ** 2))).compile(X)
    assert np.allclose(slope(X), irgrad.grad(lambda x: np.sum(f(x) ** 2))(X), rtol=1e-12)
