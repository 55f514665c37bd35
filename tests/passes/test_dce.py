"""Text in, dce, text out."""

from __future__ import annotations

from irgrad.passes.dce import dce
from tests.support.passes import check, check_unchanged


def test_what_nobody_reads_goes_with_all_that_led_to_it() -> None:
    check(
        dce,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3])
        primal
          %0: f64[3] = sin %x
          %1: f64[3] = cos %0
          %2: f64[3] = mul %1 %y
          %3: f64[3] = add %0 %y
        return %3
        """,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3])
        primal
          %0: f64[3] = sin %x
          %1: f64[3] = add %0 %y
        return %1
        """,
        {"removed": 2},
    )


def test_inputs_stay() -> None:
    check(
        dce,
        "graph f(x: f64[3], y: f64[3]) -> (f64[3])\nprimal\n  %0: f64[3] = sin %x\nreturn %y\n",
        "graph f(x: f64[3], y: f64[3]) -> (f64[3])\nreturn %y\n",
    )


def test_guards_and_what_they_need_stay() -> None:
    check_unchanged(
        dce,
        """
        graph f(x: f64[3]) -> (f64[3])
        primal
          %0: f64[]  = reduce_sum[axes=(0,)] %x
          %1: bool[] = not_equal %0 1e300
          guard %1 is True
        return %x
        """,
    )


def test_all_of_it_is_needed() -> None:
    check_unchanged(
        dce,
        """
        graph f(x: f64[9], y: f64[2]) -> (f64[9], f64[])
        primal
          %0: f64[9] = slice_add[count=(2,), drop=(), start=(1,), step=(1,)] %x %y
          %1: f64[]  = reduce_sum[axes=(0,)] %0
        return %0, %1
        """,
    )
