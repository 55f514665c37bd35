"""Text in, cse, text out."""

from __future__ import annotations

from irgrad.passes.cse import cse
from tests.support.passes import check, check_unchanged


def test_equal_expressions_are_one() -> None:
    check(
        cse,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[3])
        primal
          %0: f64[3] = mul %x %y
          %1: f64[3] = sin %0
          %2: f64[3] = mul %x %y
          %3: f64[3] = sin %2
          %4: f64[3] = add %1 %3
        return %4, %3
        """,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[3])
        primal
          %0: f64[3] = mul %x %y
          %1: f64[3] = sin %0
          %2: f64[3] = add %1 %1
        return %2, %1
        """,
        {"merged": 2},
    )


def test_commutative_operands_in_either_order() -> None:
    check(
        cse,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[3], f64[3])
        primal
          %0: f64[3] = add %x %y
          %1: f64[3] = add %y %x
          %2: f64[3] = add %x %x
        return %0, %1, %2
        """,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[3], f64[3])
        primal
          %0: f64[3] = add %x %y
          %1: f64[3] = add %x %x
        return %0, %0, %1
        """,
    )


def test_equal_numbers_of_a_rule_are_one() -> None:
    check(
        cse,
        """
        graph f(x: f64[3]) -> (f64[3], f64[3])
        primal
          %0: f64[3] = mul %x 2.0
          %1: f64[3] = mul %x 2.0
        return %0, %1
        """,
        """
        graph f(x: f64[3]) -> (f64[3], f64[3])
        primal
          %0: f64[3] = mul %x 2.0
        return %0, %0
        """,
    )


def test_differences_are_kept() -> None:
    check_unchanged(
        cse,
        """
        graph f(x: f64[3], m: f64[2,2]) -> (f64[3], f64[3], f64[3], f64[3], f64[3], f64[3], f64[2], f64[2], f64[3], f64[3])
        primal
          %0: f64[3] = sub %x 2.0
          %1: f64[3] = sub 2.0 %x
          %2: f64[3] = mul %x 0.0
          %3: f64[3] = mul %x -0.0
          %4: f64[3] = mul %x 1.0
          %5: f64[3] = mul %x 1.0:f64
          %6: f64[2] = reduce_sum[axes=(0,)] %m
          %7: f64[2] = reduce_sum[axes=(1,)] %m
          %8: f64[3] = maximum %x 0.0
          %9: f64[3] = maximum 0.0 %x
        return %0, %1, %2, %3, %4, %5, %6, %7, %8, %9
        """,
    )


def test_buffers_that_are_changed_stay_their_own() -> None:
    check(
        cse,
        """
        graph f(x: f64[2]) -> (f64[9], f64[9], f64[9], f64[9])
        primal
          %0: f64[9] = zeros[dtype='float64', shape=(9,)]
          %1: f64[9] = slice_add[count=(2,), drop=(), start=(1,), step=(1,)] %0 %x
          %2: f64[9] = zeros[dtype='float64', shape=(9,)]
          %3: f64[9] = slice_add[count=(2,), drop=(), start=(4,), step=(1,)] %2 %x
          %4: f64[9] = zeros[dtype='float64', shape=(9,)]
          %5: f64[9] = zeros[dtype='float64', shape=(9,)]
        return %1, %3, %4, %5
        """,
        """
        graph f(x: f64[2]) -> (f64[9], f64[9], f64[9], f64[9])
        primal
          %0: f64[9] = zeros[dtype='float64', shape=(9,)]
          %1: f64[9] = slice_add[count=(2,), drop=(), start=(1,), step=(1,)] %0 %x
          %2: f64[9] = zeros[dtype='float64', shape=(9,)]
          %3: f64[9] = slice_add[count=(2,), drop=(), start=(4,), step=(1,)] %2 %x
          %4: f64[9] = zeros[dtype='float64', shape=(9,)]
        return %1, %3, %4, %4
        """,
    )


def test_updates_are_never_merged() -> None:
    check_unchanged(
        cse,
        """
        graph f(x: f64[9], y: f64[2]) -> (f64[9], f64[9])
        primal
          %0: f64[9] = slice_add[count=(2,), drop=(), start=(1,), step=(1,)] %x %y
          %1: f64[9] = slice_add[count=(2,), drop=(), start=(1,), step=(1,)] %x %y
        return %0, %1
        """,
    )


def test_host_calls_are_never_merged() -> None:
    check_unchanged(
        cse,
        """
        graph f(m: bool[3]) -> (i64[3], i64[3])
        primal
          %0: bool[3] = equal %m %m
          %1: i64[3] = mask_indices[count=3] %0
          %2: i64[3] = mask_indices[count=3] %0
        return %1, %2
        """,
    )
