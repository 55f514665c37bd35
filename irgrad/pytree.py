"""Nested arguments and results as flat lists of leaves.

Nodes are list, tuple, dict, namedtuple, OrderedDict, defaultdict, deque, the tuples of C (`time.struct_time`), None (no leaves) and
registered classes; everything else is a leaf, other subclasses of these included. Dict leaves come in the order of sorted keys, those of an
OrderedDict in its own, and a dict comes back in its own order.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

_T = TypeVar("_T")
_LEAVES: set[type] = {float, int, complex, bool, str, np.ndarray, np.float64, np.float32, np.complex128}  # known without a look
_MAPPINGS = (dict, defaultdict, OrderedDict)


class Structure:
    """What a tree is besides its leaves. Equal trees have equal ones, whatever the order of insertion of their dicts.

    `static` is what nodes of a type are told apart by: keys, a length, what a registered class says; `order` has the keys as they were
    inserted. All children of a `flat` node are leaves.
    """

    __slots__ = ("flat", "kind", "num_leaves", "order", "parts", "static")

    def __init__(
        self, kind: Any, static: Any, parts: tuple[Structure, ...], num_leaves: int, order: Any = None, flat: bool = False
    ) -> None:
        self.flat = flat
        self.kind = kind
        self.static = static
        self.parts = parts
        self.num_leaves = num_leaves
        self.order = order

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not Structure or self.kind is not other.kind or self.num_leaves != other.num_leaves:
            return False
        return bool(self.static == other.static) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash((self.kind, self.static, self.parts))

    def __repr__(self) -> str:
        return _written(self)

    def __reduce__(self) -> Any:
        return "LEAF" if self is LEAF else (Structure, (self.kind, self.static, self.parts, self.num_leaves, self.order, self.flat))


LEAF = Structure(object, None, (), 1)
_NONE = Structure(type(None), None, (), 0)
# registered classes -> (children, static) of an instance, an instance of both, how the children are reached
_NODES: dict[type, tuple[Callable[[Any], tuple[Iterable[Any], Any]], Callable[[Any, Iterable[Any]], Any], tuple[str, ...]]] = {}


def declare_leaf(cls: type) -> None:
    """Say that instances of exactly this class are leaves, whatever they look like: it saves asking."""
    _LEAVES.add(cls)


# ---- to leaves ----


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of `tree` and its structure."""
    if type(tree) in _LEAVES:
        return [tree], LEAF
    leaves: list[Any] = []
    return leaves, _take(tree, leaves)


def _take(node: Any, leaves: list[Any]) -> Structure:
    """The structure of a node, whose leaves are appended."""
    kind = type(node)
    if kind in _LEAVES:
        leaves.append(node)
        return LEAF
    if node is None:
        return _NONE
    first = len(leaves)
    static, order = None, None
    children: Iterable[Any] = node
    if kind in _NODES:
        children, static = _NODES[kind][0](node)
    elif kind is dict or kind is defaultdict:
        order = tuple(node)
        keys = _sorted(order)
        children = [node[key] for key in keys]
        static = keys if kind is dict else (keys, node.default_factory)
    elif kind is OrderedDict:
        children, static = node.values(), tuple(node)
    elif kind is deque:
        static = node.maxlen
    elif kind is not tuple and kind is not list and not is_namedtuple(kind) and not _is_structseq(kind):
        leaves.append(node)
        return LEAF
    parts: list[Structure] = []
    flat = True
    for child in children:
        if type(child) in _LEAVES:
            leaves.append(child)
            parts.append(LEAF)
        else:
            part = _take(child, leaves)
            flat = flat and part is LEAF
            parts.append(part)
    return Structure(kind, static, tuple(parts), len(leaves) - first, order, flat)


def _sorted(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keys in order; those that do not compare by type first, as inserted where that does not help."""
    try:
        return tuple(sorted(keys))
    except TypeError:
        try:
            return tuple(sorted(keys, key=lambda key: (f"{type(key).__module__}.{type(key).__qualname__}", key)))
        except TypeError:
            return keys


def is_namedtuple(cls: type) -> bool:
    """Was a class made by `collections.namedtuple`, or from one?"""
    if not issubclass(cls, tuple):
        return False
    fields = getattr(cls, "_fields", None)
    return isinstance(fields, tuple) and all(type(name) is str for name in fields) and callable(getattr(cls, "_make", None))


def _is_structseq(cls: type) -> bool:
    return cls.__bases__ == (tuple,) and all(
        isinstance(getattr(cls, name, None), int) for name in ("n_fields", "n_sequence_fields", "n_unnamed_fields")
    )


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
        elif kind in _NODES:
            stack.extend(_NODES[kind][0](node)[0])
    return tuple(found)


# ---- and back ----


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The tree of this structure with these leaves.

    Raises ValueError for another number of them.
    """
    if structure is LEAF and len(leaves) == 1:
        return leaves[0]
    if len(leaves) != structure.num_leaves:
        raise ValueError(f"expected {structure.num_leaves} leaves for the structure {structure}, got {len(leaves)}")
    return _made(structure, leaves, 0)


def _made(structure: Structure, leaves: Sequence[Any], at: int) -> Any:
    """A node whose leaves begin at `at`."""
    kind, parts = structure.kind, structure.parts
    if structure is LEAF:
        return leaves[at]
    if kind is type(None):
        return None
    children: Any
    if structure.flat:
        children = leaves[at : at + len(parts)]
    else:
        children = []
        for part in parts:
            children.append(leaves[at] if part is LEAF else _made(part, leaves, at))
            at += part.num_leaves
    if kind is list:
        return list(children)
    if kind is tuple:
        return tuple(children)
    if kind in _NODES:
        return _NODES[kind][1](structure.static, children)
    if kind in _MAPPINGS:
        return _mapping(structure, children)
    if kind is deque:
        return deque(children, structure.static)
    return kind(children) if _is_structseq(kind) else kind._make(children)


def _mapping(structure: Structure, children: Sequence[Any]) -> Any:
    """A dict in the order of its insertions."""
    kind, static = structure.kind, structure.static
    if kind is OrderedDict:
        return OrderedDict(zip(static, children, strict=True))
    keys = static if kind is dict else static[0]
    made = dict(zip(keys, children, strict=True))
    if keys is not structure.order and keys != structure.order:
        made = {key: made[key] for key in structure.order}
    return made if kind is dict else defaultdict(static[1], made)


def tree_map(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`tree` with `f` applied to each leaf (and to the leaves of `others`, which have the same structure).

    Raises ValueError if the structures differ.
    """
    if type(tree) in _LEAVES and not others:
        return f(tree)
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in others:
        given, found = flatten(other)
        if found != structure:
            raise ValueError(f"expected a tree of the structure {structure}, got {found}")
        columns.append(given)
    return unflatten(structure, [f(*row) for row in zip(*columns, strict=True)])


# ---- in words ----


def paths(tree: Any) -> list[str]:
    """How a user would write each leaf of `tree`: ``['w'][0]``; empty for a leaf itself."""
    return _paths(flatten(tree)[1])


def _paths(structure: Structure) -> list[str]:
    if structure is LEAF:
        return [""]
    steps = _steps(structure)
    return [f"{step}{rest}" for step, part in zip(steps, structure.parts, strict=True) for rest in _paths(part)]


def _steps(structure: Structure) -> Sequence[str]:
    """How each child of a node is reached."""
    kind, count = structure.kind, len(structure.parts)
    if kind in _NODES:
        names = _NODES[kind][2]
        return [f".{name}" for name in names] if len(names) == count else [f"[<child {k}>]" for k in range(count)]
    if kind in _MAPPINGS:
        keys = structure.static[0] if kind is defaultdict else structure.static
        return [f"[{key!r}]" for key in keys]
    if kind not in (tuple, list, deque) and hasattr(kind, "_fields"):
        return [f".{name}" for name in kind._fields]
    return [f"[{k}]" for k in range(count)]


def _written(structure: Structure) -> str:
    """A structure as its tree is written, with ``*`` for leaves."""
    kind = structure.kind
    if structure is LEAF:
        return "*"
    if kind is type(None):
        return "None"
    inner = [_written(part) for part in structure.parts]
    if kind is list or kind is deque:
        text = f"[{', '.join(inner)}]"
        return text if kind is list else f"deque({text})"
    if kind is tuple:
        return f"({', '.join(inner)}{',' * (len(inner) == 1)})"
    if kind in _MAPPINGS:
        pairs = dict(zip(structure.static[0] if kind is defaultdict else structure.static, inner, strict=True))
        text = ", ".join(f"{key!r}: {pairs[key]}" for key in (structure.order or pairs))
        return f"{{{text}}}" if kind is dict else f"{kind.__name__}({{{text}}})"
    return f"{kind.__name__}({', '.join(inner)})"


# ---- classes of the user's ----


def register(
    cls: type[_T],
    flatten_node: Callable[[_T], tuple[Iterable[Any], Any]],
    unflatten_node: Callable[[Any, Iterable[Any]], _T],
) -> type[_T]:
    """Make instances of `cls` nodes: ``flatten_node(x) -> (children, static)``, ``unflatten_node(static, children) -> x``.

    Raises TypeError for what is no class, ValueError for one that is registered already or a node by itself.
    """
    return _register(cls, flatten_node, unflatten_node, ())


def _register(cls: type[_T], flatten_node: Any, unflatten_node: Any, names: tuple[str, ...]) -> type[_T]:
    if not isinstance(cls, type):
        raise TypeError(f"register expects a class, got {cls!r}")
    if cls in _NODES or cls in (list, tuple, deque, type(None), *_MAPPINGS):
        raise ValueError(f"{cls.__name__} is registered already")
    _NODES[cls] = (flatten_node, unflatten_node, names)
    return cls


def is_registered(cls: type) -> bool:
    """Are instances of `cls` nodes, whose leaves are traced?"""
    return cls in (list, tuple, deque, *_MAPPINGS) or cls in _NODES or is_namedtuple(cls)


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

    return _register(cls, flatten_node, unflatten_node, kept)
