"""Nested arguments and results as flat lists of leaves.

Nodes are list, tuple, dict, namedtuple, OrderedDict, defaultdict, deque, None (no leaves) and registered classes; everything
else is a leaf. Dict leaves come in the order of sorted keys, and a dict comes back in its own order.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import optree

_NAMESPACE = "irgrad"
_CONTAINERS = (list, tuple, dict, OrderedDict, defaultdict, deque)
_T = TypeVar("_T")

Structure: TypeAlias = optree.PyTreeSpec
LEAF: Structure = optree.tree_structure(cast("Any", 0))
_FLATTEN: dict[type, Callable[[Any], tuple[Iterable[Any], Any]]] = {}  # of registered classes
_LEAVES: set[type] = {float, int, complex, bool, str, np.ndarray, np.float64, np.float32, np.complex128}  # known without a look


def declare_leaf(cls: type) -> None:
    """Say that instances of exactly this class are leaves, whatever they look like: it saves asking."""
    _LEAVES.add(cls)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of `tree` and its structure."""
    if type(tree) in _LEAVES:
        return [tree], LEAF
    leaves, structure = optree.tree_flatten(tree, namespace=_NAMESPACE)
    return leaves, LEAF if structure == LEAF else structure


def dict_orders(tree: Any) -> tuple[tuple[Any, ...], ...]:
    """The keys of every dict of `tree` as they were inserted, and their types: functions may go by them, and equal structures differ."""
    found: list[tuple[Any, ...]] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind in _LEAVES:
            continue
        if isinstance(node, dict):
            if node:
                found.append((*node, *map(type, node)))
                stack.extend(node.values())
        elif isinstance(node, (list, tuple, deque)):
            stack.extend(node)
        elif kind in _FLATTEN:
            stack.extend(_FLATTEN[kind](node)[0])
    return tuple(found)


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The tree of this structure with these leaves."""
    return leaves[0] if structure is LEAF else optree.tree_unflatten(structure, leaves)


def tree_map(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`tree` with `f` applied to each leaf (and to the leaves of `others`, which have the same structure).

    Raises ValueError if the structures differ.
    """
    if type(tree) in _LEAVES and not others:
        return f(tree)
    return optree.tree_map(f, tree, *others, namespace=_NAMESPACE)


def paths(tree: Any) -> list[str]:
    """How a user would write each leaf of `tree`: ``['w'][0]``; empty for a leaf itself."""
    accessors = optree.tree_accessors(tree, namespace=_NAMESPACE)
    return [accessor.codify("") for accessor in accessors]


def register(
    cls: type[_T],
    flatten_node: Callable[[_T], tuple[Iterable[Any], Any]],
    unflatten_node: Callable[[Any, Iterable[Any]], _T],
) -> type[_T]:
    """Make instances of `cls` nodes: ``flatten_node(x) -> (children, static)``, ``unflatten_node(static, children) -> x``.

    Raises ValueError if the class is registered already.
    """
    optree.register_pytree_node(
        cls,  # type: ignore[arg-type]
        lambda x: (tuple((pair := flatten_node(x))[0]), pair[1]),  # type: ignore[arg-type]
        unflatten_node,  # type: ignore[arg-type]
        namespace=_NAMESPACE,
    )
    _FLATTEN[cls] = flatten_node
    return cls


def is_registered(cls: type) -> bool:
    """Are instances of `cls` nodes, whose leaves are traced?"""
    return cls in _CONTAINERS or cls in _FLATTEN or optree.is_namedtuple_class(cls)


def register_dataclass(cls: type[_T], static: Sequence[str] = ()) -> type[_T]:
    """Make instances of a dataclass nodes whose children are its fields, but for those in `static`. A class decorator.

    Raises TypeError if `cls` is no dataclass, ValueError for an unknown field or a class registered already.
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError(f"register_dataclass expects a dataclass, got {cls!r}")
    names = [field.name for field in dataclasses.fields(cls)]
    unknown = set(static) - set(names)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {sorted(unknown)}; its fields are {names}")
    kept = tuple(name for name in names if name not in static)
    fixed = tuple(name for name in names if name in static)

    def flatten_node(x: Any) -> tuple[Iterable[Any], Any]:
        return tuple(getattr(x, name) for name in kept), tuple(getattr(x, name) for name in fixed)

    def unflatten_node(values: Any, children: Iterable[Any]) -> Any:
        made = object.__new__(cls)  # no __init__ or __post_init__: children may be anything
        for name, value in (*zip(kept, children, strict=True), *zip(fixed, values, strict=True)):
            object.__setattr__(made, name, value)
        return made

    return register(cls, flatten_node, unflatten_node)
