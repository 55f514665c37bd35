"""Text in, legalize, text out."""

from __future__ import annotations

import numpy as np

import irgrad
from irgrad.passes.legalize import legalize
from tests.support.passes import check, check_unchanged


def test_operands_get_the_dtype_of_the_result() -> None:
    check(
        legalize,
        """
        graph f(x: i8[9], y: f32[9,9], c: f64[]) -> (i64[], f64[9], f32[9], f64[9])
        primal
          %0: i64[]  = reduce_sum[axes=(0,)] %x
          %1: f64[9] = full[dtype='float64', shape=(9,)] %c
          %2: f32[9] = full[dtype='float32', shape=(9,)] %c
          %3: f64[9] = dot %y %1
        return %0, %1, %2, %3
        """,
        """
        graph f(x: i8[9], y: f32[9,9], c: f64[]) -> (i64[], f64[9], f32[9], f64[9])
        primal
          %0: i64[9]   = convert[dtype='int64'] %x
          %1: i64[]    = reduce_sum[axes=(0,)] %0
          %2: f64[9]   = full[dtype='float64', shape=(9,)] %c
          %3: f32[]    = convert[dtype='float32'] %c
          %4: f32[9]   = full[dtype='float32', shape=(9,)] %3
          %5: f64[9,9] = convert[dtype='float64'] %y
          %6: f64[9]   = dot %5 %2
        return %1, %2, %4, %6
        """,
        {"convert": 3},
    )


def test_concatenation_of_one_dtype() -> None:
    check(
        legalize,
        """
        graph f(x: f64[2,3], y: i64[2,0], z: i64[2,4]) -> (f64[2,7])
        primal
          %0: f64[2,7] = concatenate[axis=1] %x %y %z
        return %0
        """,
        """
        graph f(x: f64[2,3], y: i64[2,0], z: i64[2,4]) -> (f64[2,7])
        primal
          %0: f64[2,0] = convert[dtype='float64'] %y
          %1: f64[2,4] = convert[dtype='float64'] %z
          %2: f64[2,7] = concatenate[axis=1] %x %0 %1
        return %2
        """,
    )


def test_concatenation_without_a_kernel_becomes_updates() -> None:
    check(
        legalize,
        """
        graph f(x: f16[2,3], y: f16[2,4]) -> (f16[2,7])
        primal
          %0: f16[2,7] = concatenate[axis=1] %x %y
        return %0
        """,
        """
        graph f(x: f16[2,3], y: f16[2,4]) -> (f16[2,7])
        primal
          %2: f16[2,7] = empty[dtype='float16', shape=(2, 7)]
          %3: f16[2,7] = slice_update[count=(2, 3), drop=(), start=(0, 0), step=(1, 1)] %2 %x
          %4: f16[2,7] = slice_update[count=(2, 4), drop=(), start=(0, 3), step=(1, 1)] %3 %y
        return %4
        """,
    )


def test_pad_becomes_an_update() -> None:
    check(
        legalize,
        """
        graph f(x: f64[3,3], c: f64[]) -> (f64[4,5])
        primal
          %0: f64[4,5] = pad[high=(0, 2), low=(1, 0)] %x %c
        return %0
        """,
        """
        graph f(x: f64[3,3], c: f64[]) -> (f64[4,5])
        primal
          %0: f64[4,5] = full[dtype='float64', shape=(4, 5)] %c
          %1: f64[4,5] = slice_update[count=(3, 3), drop=(), start=(1, 0), step=(1, 1)] %0 %x
        return %1
        """,
        {"pad": 1},
    )


def test_an_update_reads_no_memory_that_it_changes() -> None:
    check(
        legalize,
        """
        graph f(x: f64[9], i: i64[2]) -> (f64[9], f64[9])
        primal
          %0: f64[9] = sin %x
          %1: f64[3] = slice[count=(3,), drop=(), start=(0,), step=(1,)] %0
          %2: f64[9] = slice_add[count=(3,), drop=(), start=(1,), step=(1,)] %0 %1
          %3: f64[9] = slice_add[count=(9,), drop=(), start=(8,), step=(-1,)] %2 %2
        return %2, %3
        """,
        """
        graph f(x: f64[9], i: i64[2]) -> (f64[9], f64[9])
        primal
          %0: f64[9] = sin %x
          %1: f64[3] = slice[count=(3,), drop=(), start=(0,), step=(1,)] %0
          %2: f64[3] = identity %1
          %3: f64[9] = slice_add[count=(3,), drop=(), start=(1,), step=(1,)] %0 %2
          %4: f64[9] = identity %3
          %5: f64[9] = slice_add[count=(9,), drop=(), start=(8,), step=(-1,)] %3 %4
        return %3, %5
        """,
        {"separate": 2},
    )


def test_left_alone() -> None:
    check_unchanged(
        legalize,
        """
        graph f(x: f64[3], y: f64[2], b: bool[9]) -> (f64[5], f64[5], bool[])
        primal
          %0: f64[5] = concatenate[axis=0] %x %y
          %1: f64[5] = pad[high=(1,), low=(1,)] %x 0.0
          %2: f64[5] = slice_add[count=(3,), drop=(), start=(1,), step=(1,)] %0 %x
          %3: bool[] = reduce_any[axes=(0,)] %b
        return %2, %1, %3
        """,
    )


def test_a_stack_of_products_of_empty_vectors_is_zero() -> None:
    x = np.ones((4, 0))
    made = irgrad.jit(lambda x: np.einsum("ij,ij->i", x * 1.0, x)).compile(x)(x)
    np.testing.assert_array_equal(made, np.zeros(4), strict=True)
