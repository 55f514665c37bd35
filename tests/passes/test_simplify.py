"""Text in, simplify, text out."""

from __future__ import annotations

import pytest

from irgrad.config import CONFIG
from irgrad.passes.simplify import simplify
from tests.support.passes import check, check_unchanged

REWRITES = {
    "times one": ("mul %x 1.0", "", "%x"),
    "one times": ("mul 1.0 %x", "", "%x"),
    "over one": ("div %x 1.0", "", "%x"),
    "minus zero": ("sub %x 0.0", "", "%x"),
    "times minus one": ("mul %x -1.0", "%0: f64[3] = neg %x", "%0"),
    "identity": ("identity %x", "", "%x"),
    "mark": ("mark %x", "", "%x"),
    "stop_gradient": ("stop_gradient %x", "", "%x"),
    "same dtype": ("convert[dtype='float64'] %x", "", "%x"),
    "same shape": ("reshape[shape=(3,)] %x", "", "%x"),
    "broadcast to itself": ("broadcast_to[shape=(3,)] %x", "", "%x"),
    "transpose of a vector": ("transpose[axes=(0,)] %x", "", "%x"),
    "whole slice": ("slice[count=(3,), drop=(), start=(0,), step=(1,)] %x", "", "%x"),
    "write of everything": ("slice_update[count=(3,), drop=(), start=(0,), step=(1,)] %x %y", "", "%y"),
    "add to everything": ("slice_add[count=(3,), drop=(), start=(0,), step=(1,)] %x %y", "%0: f64[3] = add %x %y", "%0"),
}


@pytest.mark.parametrize("name", REWRITES)
def test_one_node(name: str) -> None:
    right, lines, result = REWRITES[name]
    head = "graph f(x: f64[3], y: f64[3]) -> (f64[3])"
    body = f"primal\n  {lines}\n" if lines else ""
    check(simplify, f"{head}\nprimal\n  %0: f64[3] = {right}\nreturn %0\n", f"{head}\n{body}return {result}\n")


SAME_ELEMENTS = {
    "an axis of one entry dropped": (
        "f64[3,1], y: f64[3]", "f64[3]",
        "slice[count=(3, 1), drop=(1,), start=(0, 0), step=(1, -1)] %x", "reshape[shape=(3,)] %x",
    ),
    "a write to it": (
        "f64[3,1], y: f64[3]", "f64[3,1]",
        "slice_update[count=(3, 1), drop=(1,), start=(0, 0), step=(1, 1)] %x %y", "reshape[shape=(3, 1)] %y",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME_ELEMENTS)
def test_regions_of_everything_in_another_shape(name: str) -> None:
    inputs, aval, before, after = SAME_ELEMENTS[name]
    head = f"graph f(x: {inputs}) -> ({aval})\nprimal\n  %0: {aval} = "
    check(simplify, f"{head}{before}\nreturn %0\n", f"{head}{after}\nreturn %0\n")


def test_what_is_added_to_zeros_is_the_sum() -> None:
    region = "count=(3, 1), drop=(1,), start=(0, 0), step=(1, 1)"
    check(
        simplify,
        f"""
        graph f(x: f64[3,1], y: f64[3], z: f64[1,3]) -> (f64[3,1], f64[3,1], f64[3,1], f64[3,1])
        primal
          %0: f64[3,1] = zeros[dtype='float64', shape=(3, 1)]
          %1: f64[3,1] = slice_add[{region}] %0 %y
          %2: f64[3] = broadcast_to[shape=(3,)] 1.0
          %3: f64[3,1] = slice_add[{region}] %0 %2
          %4: f64[3,1] = slice_add[{region}] %x %y
          %5: f64[3,1] = slice_add[{region}] %0 1.0
        return %1, %3, %4, %5
        """,
        f"""
        graph f(x: f64[3,1], y: f64[3], z: f64[1,3]) -> (f64[3,1], f64[3,1], f64[3,1], f64[3,1])
        primal
          %0: f64[3,1] = zeros[dtype='float64', shape=(3, 1)]
          %1: f64[3,1] = reshape[shape=(3, 1)] %y
          %2: f64[3]   = broadcast_to[shape=(3,)] 1.0
          %3: f64[3,1] = broadcast_to[shape=(3, 1)] 1.0
          %4: f64[3,1] = reshape[shape=(3, 1)] %y
          %5: f64[3,1] = add %x %4
          %6: f64[3,1] = slice_add[{region}] %0 1.0
        return %1, %3, %5, %6
        """,
    )


def test_negations_cancel() -> None:
    check(
        simplify,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[3], f64[3], f64[3])
        primal
          %0: f64[3] = neg %x
          %1: f64[3] = neg %0
          %2: f64[3] = add %y %0
          %3: f64[3] = add %0 %y
          %4: f64[3] = sub %y %0
        return %1, %2, %3, %4
        """,
        """
        graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[3], f64[3], f64[3])
        primal
          %0: f64[3] = neg %x
          %1: f64[3] = sub %y %x
          %2: f64[3] = sub %y %x
          %3: f64[3] = add %y %x
        return %x, %1, %2, %3
        """,
        {"neg": 1, "add": 2, "sub": 1},
    )


def test_chains_of_views_are_one_view() -> None:
    check(
        simplify,
        """
        graph f(x: f64[2,3,4]) -> (f64[6,4], f64[4,2,3], f64[2,3,4])
        primal
          %0: f64[24]    = reshape[shape=(24,)] %x
          %1: f64[6,4]   = reshape[shape=(6, 4)] %0
          %2: f64[3,4,2] = transpose[axes=(1, 2, 0)] %x
          %3: f64[4,2,3] = transpose[axes=(1, 2, 0)] %2
          %4: f64[2,3,4] = transpose[axes=(2, 0, 1)] %2
        return %1, %3, %4
        """,
        """
        graph f(x: f64[2,3,4]) -> (f64[6,4], f64[4,2,3], f64[2,3,4])
        primal
          %0: f64[24]    = reshape[shape=(24,)] %x
          %1: f64[6,4]   = reshape[shape=(6, 4)] %x
          %2: f64[3,4,2] = transpose[axes=(1, 2, 0)] %x
          %3: f64[4,2,3] = transpose[axes=(2, 0, 1)] %x
        return %1, %3, %x
        """,
    )


def test_elementwise_reads_through_broadcasts() -> None:
    check(
        simplify,
        """
        graph f(x: f64[2,3], s: f64[], r: f64[3]) -> (f64[2,3], f64[2,3])
        primal
          %0: f64[2,3] = broadcast_to[shape=(2, 3)] %s
          %1: f64[2,3] = full[dtype='float64', shape=(2, 3)] %s
          %2: f64[2,3] = broadcast_to[shape=(2, 3)] %r
          %3: f64[2,3] = mul %x %0
          %4: f64[2,3] = add %1 %2
        return %3, %4
        """,
        """
        graph f(x: f64[2,3], s: f64[], r: f64[3]) -> (f64[2,3], f64[2,3])
        primal
          %0: f64[2,3] = broadcast_to[shape=(2, 3)] %s
          %1: f64[2,3] = full[dtype='float64', shape=(2, 3)] %s
          %2: f64[2,3] = broadcast_to[shape=(2, 3)] %r
          %3: f64[2,3] = mul %x %s
          %4: f64[2,3] = add %s %2
        return %3, %4
        """,
        {"skip_broadcast": 2},
    )


def test_static_numbers_are_folded() -> None:
    check(
        simplify,
        """
        graph f(x: f64[3]) -> (f64[3], f64)
        primal
          %0: f64    = mul 2.0!f64 3.0!f64
          %1: f64    = sub %0 5.0!f64
          %2: f64[3] = mul %x %1
          %3: f64    = exp %0
        return %2, %3
        """,
        """
        graph f(x: f64[3]) -> (f64[3], f64)
        return %x, 403.4287934927351!f64
        """,
    )


def test_numbers_are_broadcast_last() -> None:
    """And the ones of derivative rules are numbers again."""
    check(
        simplify,
        """
        graph f(x: f64[3]) -> (f64[3], f64[3])
        primal
          %0: f64[]  = reduce_sum[axes=(0,)] %x
          %1: f64[3] = broadcast_to[shape=(3,)] %0
          %2: f64[3] = exp %1
          %3: f64[]  = full[dtype='float64', shape=()] 1.0!f64
          %4: f64[3] = broadcast_to[shape=(3,)] %3
          %5: f64[3] = neg %4
          %6: f64[3] = mul %5 %x
        return %2, %6
        """,
        """
        graph f(x: f64[3]) -> (f64[3], f64[3])
        primal
          %0: f64[]  = reduce_sum[axes=(0,)] %x
          %1: f64[3] = broadcast_to[shape=(3,)] %0
          %2: f64[]  = exp %0
          %3: f64[3] = broadcast_to[shape=(3,)] %2
          %4: f64[3] = broadcast_to[shape=(3,)] 1.0!f64
          %5: f64[]  = neg 1.0!f64
          %6: f64[3] = broadcast_to[shape=(3,)] %5
          %7: f64[3] = mul %5 %x
        return %3, %7
        """,
    )


UNTOUCHED = {
    "numbers of the user are data": ("f64[3]", "%0: f64[3] = mul %x 1.0:f64", "%1: f64[3] = sub %0 0.0:float"),
    "zero times nan is nan": ("f64[3]", "%0: f64[3] = mul %x 0.0", "%1: f64[3] = add %x 0.0"),
    "one over": ("f64[3]", "%0: f64[3] = div 1.0 %x", "%1: f64[3] = sub 0.0 %0"),
    "another dtype": ("f64[3]", "%0: f32[3] = convert[dtype='float32'] %x", "%1: f64[3] = convert[dtype='float64'] %0"),
    "part of a vector": ("f64[2]", "%0: f64[2] = slice[count=(2,), drop=(), start=(1,), step=(1,)] %x"),
    "reversed": ("f64[3]", "%0: f64[3] = slice[count=(3,), drop=(), start=(2,), step=(-1,)] %x"),
    "a broadcast product": ("f64[3]", "%0: f64[] = reduce_sum[axes=(0,)] %x", "%1: f64[3] = broadcast_to[shape=(3,)] %0"),
    "a broadcast that gives the shape": (
        "f64[2,3]",
        "%0: f64[3] = exp %x",
        "%1: f64[2,3] = broadcast_to[shape=(2, 3)] %0",
        "%2: f64[2,3] = exp %1",
    ),
    "a reversed write": ("f64[3]", "%0: f64[3] = slice_update[count=(3,), drop=(), start=(2,), step=(-1,)] %x %x"),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_left_alone(name: str) -> None:
    aval, *lines = UNTOUCHED[name]
    body = "".join(f"  {line}\n" for line in lines)
    check_unchanged(simplify, f"graph f(x: f64[3]) -> ({aval})\nprimal\n{body}return %{len(lines) - 1}\n")


def test_fuel_bounds_the_rewrites(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "graph f(x: f64[3]) -> (f64[3])\nprimal\n  %0: f64[3] = mul %x 1.0\n  %1: f64[3] = mul %0 1.0\nreturn %1\n"
    monkeypatch.setattr(CONFIG, "fuel", 1)
    check(simplify, text, "graph f(x: f64[3]) -> (f64[3])\nprimal\n  %0: f64[3] = mul %x 1.0\nreturn %0\n", {"mul": 1})
