"""Nested arguments on the fast path: the same leaves as the general walk, and other structures are noticed."""

from __future__ import annotations

from collections import OrderedDict, deque, namedtuple
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.pytree import flatten
from irgrad.runtime.unpack import MAX_LEAVES, unpacker

Pair = namedtuple("Pair", "a b")
A, B, C = np.ones(2), np.ones(3), 2.5

TREES: list[tuple[Any, ...]] = [
    (A, [B, C]),
    ({"w": A, "b": (B, {"x": C})}, A),
    ({"b": A, "a": B}, [], {}, (), None),
    ([None, [[A]], (B,)],),
    ({"it's": A, '"': B},),
]


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_leaves_come_in_the_order_of_the_general_walk(tree: tuple[Any, ...]) -> None:
    unpack = unpacker(tree)
    assert unpack is not None
    found, expected = unpack(tree), flatten((tree, {}))[0]
    assert found is not None
    assert len(found) == len(expected)
    assert all(a is b for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("tree", [(Pair(A, B),), (OrderedDict(a=A),), ({1: A},), ([A] * (MAX_LEAVES + 1),)], ids=range(4))
def test_other_nodes_are_left_to_the_general_walk(tree: tuple[Any, ...]) -> None:
    assert unpacker(tree) is None


def test_another_structure_is_noticed() -> None:
    unpack = unpacker(({"w": A, "b": [B, None]}, C))
    assert unpack is not None
    others: list[tuple[Any, ...]] = [
        ({"w": A, "b": [B, None]},),
        ({"w": A, "b": [B, None]}, C, C),
        ({"w": A, "b": [B]}, C),
        ({"w": A, "b": [B, B]}, C),
        ({"w": A, "b": (B, None)}, C),
        ({"w": A, "c": [B, None]}, C),
        ({"b": [B, None], "w": A}, C),
        (OrderedDict(w=A, b=[B, None]), C),
        (A, C),
    ]
    assert [unpack(other) for other in others] == [None] * len(others)


def test_calls_with_containers_stay_right_when_their_structure_changes() -> None:
    def loss(p: Any, x: Any) -> Any:
        total = 0.0
        for k, name in enumerate(p):
            total = total + (k + 1) * np.sum(p[name] * x)
        return total

    fast = irgrad.jit(irgrad.grad(loss))
    x = np.arange(3.0)
    one, two, three = {"a": x, "b": x}, {"b": x, "a": x}, {"a": x, "b": x, "c": x}
    for p in (one, one, one, one, two, one, three, two, three, two, three, one, {"a": x, "b": 2.0}, {"a": x, "b": x[:, None]}, one):
        eager = irgrad.grad(loss)(p, x)
        compiled = fast(p, x)
        assert list(compiled) == list(eager)
        for name in p:
            np.testing.assert_array_equal(compiled[name], eager[name])
            assert type(compiled[name]) is type(eager[name])
    assert fast.stats().eager_calls < fast.stats().calls


def test_containers_are_served_without_the_general_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = irgrad.jit(irgrad.grad(lambda p, x: np.sum(p[0] * x) + np.sum(p[1]["w"] ** 2)))
    p, x = [A, {"w": B}], np.ones(2)
    for _ in range(4):
        expected = fast(p, x)

    def refuse(*_: Any) -> Any:
        raise AssertionError("the general walk")

    monkeypatch.setattr(fast, "_dispatch", refuse)
    found = fast(p, x)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1]["w"], expected[1]["w"])


def test_python_ints_are_served_fast() -> None:
    """The step number of an optimizer, say: as int64, and only where it is a Python int."""
    unpack = unpacker(([A], 3))
    assert unpack is not None
    found = unpack(([A], 2**62))
    assert found is not None
    assert type(found[1]) is np.int64
    assert found[1] == 2**62
    assert [unpack(([A], other)) for other in (True, 2.0, np.int64(3), 2**63, -(2**63) - 1, "a", None)] == [None] * 7
    f = lambda p, i: np.sum(p[0]) * i + p[1]
    for number in (3, 2**40):
        fast = irgrad.jit(f)
        for other in (number, number, number, 2.5, number, True, np.int64(4), number, np.float32(2), 2**70, -number):
            got, expected = fast(([A, B][0], 1.5), other), f((A, 1.5), other)
            assert got == expected
            assert type(got) is type(expected)
    served = irgrad.jit(f)
    for i in range(5):
        served((A, 1.5), i)
    assert served._last is not None
    assert served._last(((A, 1.5), 7)) == f((A, 1.5), 7)


def test_arguments_that_are_copied_do_not_cost_the_fast_path() -> None:
    """A few strided arrays; contiguous ones, which have the same form then, are still served fast."""
    fast = irgrad.jit(lambda p: np.sum(p[0]) * p[1], compile_after=1)
    wide = np.arange(6.0)
    for _ in range(4):
        assert fast((wide[::2], 2.0)) == 12.0
    assert fast._last is None
    assert fast((np.array([0.0, 2.0, 4.0]), 2.0)) == 12.0
    assert fast._last is not None


def counted(f: Any, calls: list[tuple[tuple[Any, ...], dict[str, Any]]], **options: Any) -> int:
    """How often calls of compiled `f` take the general walk, each checked against `f`."""
    fast = irgrad.jit(f, **options)
    walks = 0
    dispatch = fast._dispatch

    def counting(args: Any, kwargs: Any) -> Any:
        nonlocal walks
        walks += 1
        return dispatch(args, kwargs)

    fast._dispatch = counting  # type: ignore[method-assign]
    for args, kwargs in calls:
        got, expected = fast(*args, **kwargs), f(*args, **kwargs)
        assert type(got) is type(expected)
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    return walks


def scaled(x: Any, scale: Any = 1.0, *, shift: Any = 0, negative: bool = False, kind: str = "sum") -> Any:
    made = (np.sum(x) if kind == "sum" else np.max(x)) * scale + shift
    return -made if negative else made


def test_keywords_are_served_fast() -> None:
    x, y = np.arange(3.0), np.arange(1.0, 4.0)
    assert counted(scaled, [((x,), {"scale": k + 0.5}) for k in range(10)]) == 2  # traced, then linked
    assert counted(scaled, [((), {"x": x, "shift": k}) for k in range(10)]) == 2
    assert counted(scaled, [((x,), {"scale": 2.0, "shift": k, "negative": True, "kind": "max"}) for k in range(10)]) == 2
    mixed = [
        ((v,), options) for v in (x, y, x) for options in ({}, {"scale": 2.0}, {"shift": 3}, {"scale": 2.0, "shift": 1}, {"shift": 2.5})
    ]
    assert counted(scaled, mixed * 4) <= 60


def test_static_values_are_compared() -> None:
    x = np.arange(3.0)
    options = [{"negative": n, "kind": k, "shift": s} for n in (True, False) for k in ("sum", "max") for s in (1, True, 2.5, 2**70)]
    calls = [((x, 2.0), option) for option in options for _ in range(4)]
    counted(scaled, calls)
    counted(scaled, [call for k in range(4) for call in calls[k::4]])
    power = lambda x, n: x**n
    assert counted(power, [((x, n), {}) for n in (2, 3) for _ in range(8)], static_argnums=1) == 4
    assert counted(power, [((x,), {"n": n}) for n in (2, 3) for _ in range(8)], static_argnames="n") == 4
    assert counted(power, [((x, n), {}) for _ in range(8) for n in (2, 2.0, True, 3)], static_argnums=-1) <= 32


def test_static_values_have_types_and_signs() -> None:
    """Python has 1, 1.0 and True as equal, and 0.0 and -0.0: programs differ by them."""
    x = np.arange(3)
    signed = lambda x, s: x + np.copysign(1.0, s[-1] if isinstance(s, tuple) else s)
    times = lambda x, s: x * s[0]
    numbers = (0.0, -0.0, np.float64(0.0), np.float64(-0.0), 1.0, np.nan)
    for values in (numbers, [(value,) for value in numbers], [(1, 0.0), (1, -0.0), (1.0, 0.0)]):
        counted(signed, [((x, s), {}) for _ in range(2) for s in values for _ in range(4)], static_argnums=1)
        counted(signed, [((x,), {"s": s}) for s in values for _ in range(4)], static_argnames="s")
    fast = irgrad.jit(times, static_argnums=1)
    for s in [(1,), (1.0,), (True,), (1,)] * 3:
        assert fast(x, s).dtype == times(x, s).dtype
    by_set = irgrad.jit(lambda x, s: x * next(iter(s)), static_argnums=1)
    by_key = irgrad.jit(lambda d: next(iter(d)) * next(iter(d.values())))
    for number in (1, 1.0, True, 1) * 3:
        assert by_set(x, frozenset({number})).dtype == by_key({number: x}).dtype == (x * number).dtype


def test_functions_and_objects_as_arguments_are_the_same_ones() -> None:
    x = np.arange(3.0)
    apply = lambda f, x: f(x)
    calls = [((f, x), {}) for f in (np.sin, np.cos, lambda x: 2 * x, lambda x: 3 * x) for _ in range(6)]
    assert counted(apply, calls) == 12
    assert counted(apply, [calls[k] for _ in range(3) for k in (0, 6, 12, 18)]) == 12


def test_registered_classes_are_not_compared_as_objects() -> None:
    pair = Pair(1.0, 2.0)
    deques = deque([1.0, 2.0])
    f = irgrad.jit(lambda p: p[0] * 10 + p[1])
    for value in (pair, deques):
        assert [f(value) for _ in range(3)] == [12.0] * 3
    deques[0] = 5.0
    assert [f(deques) for _ in range(3)] == [52.0] * 3


def test_signatures_that_take_turns_are_served_fast() -> None:
    f = lambda p, k=1.0: np.sum(p["w"]) * k + p["b"][0]
    trees = [{"w": np.arange(n), "b": [float(n)]} for n in (2.0, 3.0, 4.0)]
    calls = [((tree,), {}) for _ in range(10) for tree in trees]
    assert counted(f, calls) <= 9  # linking one makes the others look again
    assert counted(f, [(args, {"k": float(n)}) for n, (args, _) in enumerate(calls)]) <= 9
    flat = [((np.arange(float(n)),), {}) for _ in range(10) for n in (2, 5)]
    assert counted(np.sum, flat) <= 5
    many = [((np.arange(float(n)),), {}) for _ in range(6) for n in range(2, 9)]
    counted(np.sum, many)
    branches = lambda x: x.sum() if x[0] > 0 else -x.sum()
    counted(branches, [((np.array([s] * n),), {}) for s in (1.0, -1.0, 1.0, -1.0, 2.0, -2.0) for n in (2, 3) for _ in range(3)])
