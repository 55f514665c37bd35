"""Trees of arguments: leaves, structures, and back."""

from __future__ import annotations

import pickle
import random
import time
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from irgrad.pytree import LEAF, flatten, is_registered, paths, register, register_dataclass, tree_map, unflatten

Pair = namedtuple("Pair", "left right")


class Twins(Pair):
    """A class made from a namedtuple."""


class OwnDict(dict[str, Any]):
    pass


@register_dataclass
@dataclass
class Point:
    x: Any
    y: Any


class Sized:
    def __init__(self, parts: list[Any], unit: str) -> None:
        self.parts = parts
        self.unit = unit


register(Sized, lambda s: (s.parts, s.unit), lambda unit, parts: Sized(list(parts), unit))

# a tree, its leaves, how each is reached, how the structure is written
TREES: list[tuple[Any, list[Any], list[str], str]] = [
    (1.0, [1.0], [""], "*"),
    (None, [], [], "None"),
    ([1, (2, None), []], [1, 2], ["[0]", "[1][0]"], "[*, (*, None), []]"),
    ((1,), [1], ["[0]"], "(*,)"),
    ({"b": 1, "a": [2, 3]}, [2, 3, 1], ["['a'][0]", "['a'][1]", "['b']"], "{'b': *, 'a': [*, *]}"),
    ({2: 1, "a": 2, 1: 3}, [3, 1, 2], ["[1]", "[2]", "['a']"], "{2: *, 'a': *, 1: *}"),
    (OrderedDict(z=1, a=2), [1, 2], ["['z']", "['a']"], "OrderedDict({'z': *, 'a': *})"),
    (defaultdict(list, z=1, a=2), [2, 1], ["['a']", "['z']"], "defaultdict({'z': *, 'a': *})"),
    (deque([1, 2], maxlen=3), [1, 2], ["[0]", "[1]"], "deque([*, *])"),
    (Pair(1, [2]), [1, 2], [".left", ".right[0]"], "Pair(*, [*])"),
    (Twins(1, 2), [1, 2], [".left", ".right"], "Twins(*, *)"),
    (Point([1], 2), [1, 2], [".x[0]", ".y"], "Point([*], *)"),
    (Sized([1, 2], "m"), [1, 2], ["[<child 0>]", "[<child 1>]"], "Sized(*, *)"),
    ("text", ["text"], [""], "*"),
]


def same(one: Any, other: Any) -> bool:
    """Equal trees of the same types, with dicts in the same order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Sized):
        return one.unit == other.unit and same(one.parts, other.parts)
    if isinstance(one, Point):
        return same([one.x, one.y], [other.x, other.y])
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other


@pytest.mark.parametrize(("tree", "leaves", "reached", "written"), TREES, ids=[row[3] for row in TREES])
def test_trees(tree: Any, leaves: list[Any], reached: list[str], written: str) -> None:
    found, structure = flatten(tree)
    assert found == leaves
    assert structure.num_leaves == len(leaves)
    assert same(unflatten(structure, found), tree)
    assert paths(tree) == reached
    assert repr(structure) == written
    assert same(unflatten(pickle.loads(pickle.dumps(structure)), found), tree)
    again = flatten(tree_map(lambda leaf: leaf, tree))[1]
    assert again == structure
    assert hash(again) == hash(structure)


def test_kept_with_containers() -> None:
    made = unflatten(flatten(defaultdict(list, a=1))[1], [2])
    assert made.default_factory is list
    assert unflatten(flatten(deque([1], maxlen=3))[1], [2]).maxlen == 3
    moment = time.gmtime(0)
    assert tree_map(lambda part: part, moment) == moment
    assert paths(moment)[0] == "[0]"


DIFFERENT = [
    ([1], (1,)), ([1], [1, 2]), ([[1], 2], [1, [2]]), ({"a": 1}, {"b": 1}), ({"a": 1}, OrderedDict(a=1)), (None, 1), ([None], []),
    (deque([1]), deque([1], maxlen=2)), (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)), (Pair(1, 2), Twins(1, 2)),
    (defaultdict(list, a=1), defaultdict(dict, a=1)), (Sized([1], "m"), Sized([1], "s")),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=str)
def test_different_structures(one: Any, other: Any) -> None:
    assert flatten(one)[1] != flatten(other)[1]
    with pytest.raises(ValueError, match="expected a tree of the structure"):
        tree_map(lambda a, b: a, one, other)


def test_the_order_of_insertion_belongs_to_a_tree_not_to_its_structure() -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert flatten(one) == flatten(other)
    assert list(unflatten(flatten(other)[1], [3, 4]).items()) == [("b", 4), ("a", 3)]
    assert tree_map(lambda a, b: a - b, one, other) == {"a": 0, "b": 0}


def test_other_objects_are_leaves() -> None:
    class Text(str):
        pass

    for leaf in (np.ones(2), np.float32(1), OwnDict(a=1), Text("a"), {1, 2}, object(), range(3), Pair, True):
        assert flatten(leaf)[0][0] is leaf
        assert flatten(leaf)[1] is LEAF
        assert flatten([leaf])[1].flat
    assert not is_registered(OwnDict)
    assert all(map(is_registered, (list, dict, Pair, Twins, Point, Sized)))


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 2 leaves for the structure \[\*, \*\], got 1"):
        unflatten(flatten([1, 2])[1], [1])
    with pytest.raises(ValueError, match="expected 1 leaves"):
        unflatten(LEAF, [])
    with pytest.raises(ValueError, match="Sized is registered already"):
        register(Sized, lambda s: ((), None), lambda unit, parts: Sized([], ""))
    with pytest.raises(ValueError, match="list is registered already"):
        register(list, lambda s: (s, None), lambda unit, parts: list(parts))
    with pytest.raises(TypeError, match="expects a class"):
        register(3, lambda s: ((), None), lambda unit, parts: 3)  # type: ignore[arg-type, return-value]


def random_tree(rng: random.Random, depth: int) -> Any:
    count = rng.randrange(4)
    kind = rng.randrange(12 if depth else 2)
    if kind < 2:
        return rng.choice([object(), None]) if kind else object()
    parts = [random_tree(rng, depth - 1) for _ in range(count)]
    keys = rng.sample(rng.choice([["b", "a", "c", "d"], [3, 1, 2, 0], [1, "a", 2.5, (1,)]]), count)
    named = dict(zip(keys, parts, strict=True))
    made = [parts, tuple(parts), named, OrderedDict(named), defaultdict(int, named), deque(parts), Sized(parts, "m")]
    pair = [random_tree(rng, depth - 1) for _ in range(2)]
    return rng.choice([*made, Pair(*pair), Point(*pair)])


def test_random_trees_come_back() -> None:
    rng = random.Random(3)
    for _ in range(300):
        tree = random_tree(rng, 4)
        leaves, structure = flatten(tree)
        assert same(unflatten(structure, leaves), tree)
        assert len(paths(tree)) == len(leaves) == structure.num_leaves
        assert unflatten(structure, tuple(range(len(leaves)))) is not None or tree is None
        assert flatten(unflatten(structure, list(range(len(leaves)))))[0] == list(range(len(leaves)))
