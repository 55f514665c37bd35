"""Origins read again what a function captured; guards say whether it still is what the trace relied on."""

from __future__ import annotations

import gc
import timeit
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from types import CellType
from typing import Any

import numpy as np
import pytest

from irgrad.frontend.captured import (
    MISSING,
    AttributeOrigin,
    CellOrigin,
    DefaultOrigin,
    GlobalOrigin,
    Guard,
    ItemOrigin,
    Origin,
    SelfOrigin,
    compile_checks,
    same,
    structure_of,
)


class Holder:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def with_defaults(a: Any = 1.5, *, key: Any = 2.5) -> Any:
    return a, key


PLACES: list[tuple[str, Callable[[], tuple[Origin, Any, str]]]] = [
    ("global", lambda: (GlobalOrigin({"W": 1.5, "__file__": "/tmp/model.py"}, "W"), 1.5, "W (global of model.py)")),
    ("global of a session", lambda: (GlobalOrigin({"W": 1.5, "__name__": "__main__"}, "W"), 1.5, "W (global of __main__)")),
    ("cell", lambda: (CellOrigin(CellType(3), "rate", "make.<locals>.f"), 3, "rate (closure of make.<locals>.f)")),
    ("default", lambda: (DefaultOrigin(with_defaults, 0), 1.5, "a (default of with_defaults)")),
    ("keyword default", lambda: (DefaultOrigin(with_defaults, "key"), 2.5, "key (default of with_defaults)")),
    ("item", lambda: (ItemOrigin(GlobalOrigin({"p": {"W": [7]}}, "p"), "W"), [7], "p['W'] (global of unknown)")),
    ("odd key", lambda: (ItemOrigin(GlobalOrigin({"p": {(1, None): 4}}, "p"), (1, None)), 4, "p[(1, None)] (global of unknown)")),
    ("attribute", lambda: (AttributeOrigin(SelfOrigin(Holder(lr=0.1)), "lr"), 0.1, "self.lr (attribute of Holder)")),
    (
        "labelled",
        lambda: (AttributeOrigin(SelfOrigin(Holder(lr=0.1), GlobalOrigin({}, "model")), "lr"), 0.1, "model.lr (global of unknown)"),
    ),
    ("odd name", lambda: (AttributeOrigin(SelfOrigin(Holder(**{"a b": 5})), "a b"), 5, "self.a b (attribute of Holder)")),
]


@pytest.mark.parametrize("make", [make for _, make in PLACES], ids=[name for name, _ in PLACES])
def test_a_place_reads_describes_and_compiles(make: Callable[[], tuple[Origin, Any, str]]) -> None:
    origin, value, text = make()
    assert origin.read() == value
    assert origin.describe() == text
    names: dict[str, object] = {}
    assert eval(origin.expression(names), names) == value


def gone() -> list[Origin]:
    return [
        GlobalOrigin({}, "W"),
        CellOrigin(CellType()),
        DefaultOrigin(lambda: None, 0),  # type: ignore[arg-type]
        DefaultOrigin(with_defaults, "other"),
        ItemOrigin(GlobalOrigin({"p": []}, "p"), 3),
        ItemOrigin(GlobalOrigin({"p": None}, "p"), 3),
        AttributeOrigin(SelfOrigin(Holder()), "lr"),
    ]


@pytest.mark.parametrize("place", range(len(gone())))
def test_a_vanished_place_is_missing_and_fails_its_check(place: int) -> None:
    origin = gone()[place]
    assert origin.read() is MISSING
    check, read = compile_checks([Guard(origin, 1, "value")], [origin])
    assert check() is False
    assert read() == (MISSING,)
    assert compile_checks([Guard(origin, MISSING, "missing")], [])[0]() is True


def test_origins_compare_by_root_and_path() -> None:
    space: dict[str, Any] = {"p": [1]}
    assert ItemOrigin(GlobalOrigin(space, "p"), 0) == ItemOrigin(GlobalOrigin(space, "p"), 0)
    assert len({ItemOrigin(GlobalOrigin(space, "p"), 0), ItemOrigin(GlobalOrigin(space, "p"), 0)}) == 1
    assert GlobalOrigin(space, "p") != GlobalOrigin(dict(space), "p")
    assert ItemOrigin(GlobalOrigin(space, "p"), 0) != ItemOrigin(GlobalOrigin(space, "p"), False)
    assert GlobalOrigin(space, "p") != CellOrigin(CellType(1))


Point = namedtuple("Point", "x y")
ARRAY = np.ones(2)
CHANGES = [  # how, before, expected to hold for, expected to fail for
    ("value", 3, [3], [4, True, 3.0, None, "3"]),
    ("value", True, [True], [1, False]),
    ("value", 1.5, [1.5, float("1.5")], [2.5, np.float64(1.5)]),
    ("value", 0.0, [0.0], [-0.0]),
    ("value", float("nan"), [float("nan")], [0.0]),
    ("value", 1j, [1j, 0 + 1j], [complex(-0.0, 1), 1.0]),
    ("value", "relu", ["relu", "".join(["re", "lu"])], ["tanh", b"relu"]),
    ("value", (1, 2), [(1, 2)], [(1, 3), (1, 2.0), [1, 2], (1,), (True, 2)]),
    ("value", [1, 2], [[1, 2]], [[1, 3], [1], (1, 2)]),
    ("value", {1, 2}, [{2, 1}], [{1}, {1, 2, 3}]),
    ("value", {"a": 1}, [{"a": 1}], [{"a": 2}, {"b": 1}, {}]),
    ("value", np.int64(3), [np.int64(3)], [np.int32(3), 3, np.int64(4)]),
    ("identity", None, [None], [0]),
    ("identity", ARRAY, [ARRAY], [ARRAY.copy()]),
    ("structure", structure_of([1.0, 2.0]), [[3, 4]], [[1], (1, 2), None]),
    ("structure", structure_of((1.0,)), [(2,)], [(1, 2), [1]]),
    ("structure", structure_of(Point(1, 2)), [Point(3, 4)], [(1, 2)]),
    ("structure", structure_of({"a": 1, "b": 2}), [{"a": 5, "b": 6}], [{"b": 2, "a": 1}, {"a": 1}, OrderedDict(a=1, b=2)]),
    ("structure", structure_of({}), [{}], [{"a": 1}]),
]


@pytest.mark.parametrize(("how", "expected", "good", "bad"), CHANGES, ids=[f"{row[0]}-{row[1]!r}" for row in CHANGES])
def test_guards_hold_for_equal_state_only(how: str, expected: Any, good: list[Any], bad: list[Any]) -> None:
    space: dict[str, Any] = {"v": None}
    guard = Guard(GlobalOrigin(space, "v"), expected, how)
    check, _ = compile_checks([guard], [])
    for holds, values in ((True, good), (False, bad)):
        for value in values:
            space["v"] = value
            assert check() is holds, value
            assert guard.holds() is holds, value
    assert guard.describe()


def test_a_function_is_guarded_with_its_code() -> None:
    def f() -> int:
        return 1

    def other() -> int:
        return 2

    guard = Guard(GlobalOrigin({"f": f}, "f"), f, "identity")
    check, _ = compile_checks([guard], [])
    assert check()
    f.__code__ = other.__code__
    assert not check()
    assert not guard.holds()


def test_an_alias_must_stay_the_same_object() -> None:
    space: dict[str, Any] = {"a": [1], "b": None}
    space["b"] = space["a"]
    guard = Guard(GlobalOrigin(space, "b"), GlobalOrigin(space, "a"), "alias")
    check, _ = compile_checks([guard], [])
    assert check() and guard.holds()
    space["a"] = space["b"] = [1]
    assert check()
    space["b"] = [1]
    assert not check() and not guard.holds()
    del space["a"], space["b"]
    assert not check() and not guard.holds()


def test_distinct_objects_must_stay_distinct() -> None:
    space: dict[str, Any] = {"a": [1], "b": [1], "c": [1]}
    guard = Guard(GlobalOrigin(space, "a"), (GlobalOrigin(space, "b"), GlobalOrigin(space, "c")), "distinct")
    check, _ = compile_checks([guard], [])
    assert check() and guard.holds() and guard.describe().endswith("is not b nor c")
    space["c"] = [1]
    assert check() and guard.holds()
    space["c"] = space["b"]
    assert not check() and not guard.holds()
    del space["b"]
    assert not check()


def test_a_value_whose_comparison_raises_fails_the_check() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise OSError

        __hash__ = None  # type: ignore[assignment]

    check, _ = compile_checks([Guard(GlobalOrigin({"v": Odd()}, "v"), Odd(), "value")], [])
    assert check() is False


def test_reading_gives_the_present_values_in_order() -> None:
    space: dict[str, Any] = {"W": 1.0, "p": {"b": [2.0, 3.0]}}
    items = ItemOrigin(GlobalOrigin(space, "p"), "b")
    check, read = compile_checks([], [GlobalOrigin(space, "W"), ItemOrigin(items, 0), ItemOrigin(items, 1)])
    assert check() is True
    assert read() == (1.0, 2.0, 3.0)
    space["W"] = 5.0
    space["p"] = {"b": [6.0, 7.0]}
    assert read() == (5.0, 6.0, 7.0)
    del space["p"]
    assert read() == (5.0, MISSING, MISSING)


def test_many_places_compile() -> None:
    space: dict[str, Any] = {"p": list(range(5000))}
    places = [ItemOrigin(GlobalOrigin(space, "p"), i) for i in range(5000)]
    check, read = compile_checks([Guard(place, i, "value") for i, place in enumerate(places)], places)
    assert check()
    assert read() == tuple(range(5000))


def test_a_check_costs_little() -> None:
    space: dict[str, Any] = {f"v{i}": i for i in range(20)}
    check, _ = compile_checks([Guard(GlobalOrigin(space, name), i, "value") for i, name in enumerate(space)], [])
    assert min(timeit.repeat(check, number=1000, repeat=5)) / 1000 / 20 < 500e-9  # about 20 ns; the bound is for a busy machine


def test_same_is_strict() -> None:
    assert same([1, {"a": (2.0, None)}], [1, {"a": (2.0, None)}])
    assert not same([1, {"a": (2.0, None)}], [1, {"a": (2, None)}])
    assert not same({1: 0}, {True: 0})


def test_checks_keep_no_more_alive_than_they_read() -> None:
    holder = Holder(lr=0.1)
    ref = weakref.ref(holder)
    pair = compile_checks([Guard(AttributeOrigin(SelfOrigin(holder), "lr"), 0.1, "value")], [])
    del holder
    assert ref() is not None
    del pair
    gc.collect()
    assert ref() is None
