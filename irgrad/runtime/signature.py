"""Arguments of a call: flattened, put into a form that programs read in place, and described for look-up.

Arrays in C or Fortran order are read where they are; others (strided, byte-swapped, misaligned) are copied. Python floats and
complex numbers are data, Python ints data too (as int64); bools, strings, None and other objects are static.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irgrad.codegen.layout import ARRAY, NUMBER
from irgrad.codegen.program import Argument
from irgrad.frontend.captured import same
from irgrad.frontend.overlaps import Step, find_groups
from irgrad.frontend.storage import memory_order
from irgrad.pytree import dict_orders, flatten

_NATIVE = {np.dtype(name): np.dtype(name) for name in (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "complex64",
    "complex128")}  # fmt: skip


class StaticLeaf:
    """A leaf that is part of the signature: equal values, in type and bits, equal programs.

    An object with attributes of its own is equal to itself only: what it holds is read again at each call.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def has_state(self) -> bool:
        return hasattr(self.value, "__dict__") or isinstance(self.value, np.ndarray)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticLeaf):
            return False
        if self.value is other.value or self.has_state:
            return self.value is other.value
        try:
            return same(self.value, other.value)
        except Exception:  # an object whose comparison fails is itself only
            return self.value is other.value

    def __hash__(self) -> int:
        if self.has_state:
            return id(self.value)
        try:
            return _hash(self.value)
        except TypeError:
            return id(self.value)


def _hash(value: Any) -> int:
    """Equal for what `same` finds equal: a nan has a hash by identity."""
    if isinstance(value, tuple):
        return hash((type(value), *map(_hash, value)))
    if isinstance(value, (float, complex, np.inexact)) and value != value:
        return hash(type(value))
    return hash((type(value), value))


def normalise(leaf: Any) -> Any:
    """The leaf as a program reads it, or a StaticLeaf."""
    kind = type(leaf)
    if kind is float or kind is np.float64:
        return leaf
    if isinstance(leaf, np.ndarray):
        native = _NATIVE.get(leaf.dtype)
        if native is None:
            if leaf.dtype.kind in "biufc" and leaf.dtype.newbyteorder("=") in _NATIVE:
                return np.ascontiguousarray(leaf, leaf.dtype.newbyteorder("="))
            return StaticLeaf(leaf)
        if type(leaf) is not np.ndarray:
            return StaticLeaf(leaf)
        if leaf.dtype is not native:
            leaf = leaf.view(native)
        flags = leaf.flags
        if flags.aligned and (flags.c_contiguous or flags.f_contiguous):
            return leaf
        return _copied(leaf)
    if isinstance(leaf, np.generic):
        return leaf if leaf.dtype in _NATIVE else StaticLeaf(leaf)
    if isinstance(leaf, bool):
        return StaticLeaf(leaf)
    if isinstance(leaf, int):
        return np.int64(leaf) if -(2**63) <= leaf < 2**63 else StaticLeaf(leaf)
    if isinstance(leaf, (float, complex)):
        return complex(leaf) if isinstance(leaf, complex) else float(leaf)
    return StaticLeaf(leaf)


def _copied(leaf: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy with its axes in the order that they have in memory, in Fortran's order with a gap: ravel and reshape may ask for either."""
    axes = memory_order(leaf.strides)
    if leaf.ndim > 1 and axes == tuple(range(leaf.ndim))[::-1]:
        made = np.empty((leaf.shape[0] + 1, *leaf.shape[1:]), leaf.dtype, order="F")[:-1]
    else:
        made = np.empty([leaf.shape[i] for i in axes], leaf.dtype).transpose(np.argsort(axes))
    made[...] = leaf
    return made


def leaf_key(leaf: Any) -> Any:
    """What of a normalised leaf decides the program."""
    if type(leaf) is StaticLeaf:
        return leaf
    if isinstance(leaf, np.ndarray):
        return (leaf.dtype, leaf.shape, leaf.strides)
    return type(leaf)


def argument(leaf: Any) -> Argument:
    """What the entry checks of this leaf."""
    if isinstance(leaf, np.ndarray):
        return Argument(ARRAY, np.ndarray, _NATIVE[leaf.dtype], leaf.shape, leaf.strides)
    dtype = leaf.dtype if isinstance(leaf, np.generic) else np.dtype(type(leaf))
    return Argument(NUMBER, type(leaf), dtype, (), ())


@dataclass(slots=True)
class CallForm:
    """A call's arguments: data leaves as programs read them and as the function sees them, static leaves by position, look-up key."""

    key: Any
    leaves: list[Any]
    values: list[Any]  # a Python int stays one: promotion differs by it
    statics: dict[int, Any]
    structure: Any
    size: int = 0  # positions in all
    given: list[Any] = field(default_factory=list)  # the caller's object for each data leaf
    members: dict[int, tuple[int, tuple[Step, ...]]] = field(default_factory=dict)  # positions of arrays that are views of a data leaf


class _Static:
    """An argument that the user declared static."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def call_form(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    static_argnums: tuple[int, ...] = (),
    static_argnames: tuple[str, ...] = (),
    grouped: bool = False,
) -> CallForm:
    """Flatten a call and sort its leaves into data and statics; `grouped` makes arrays in common memory views of one data leaf.

    Raises TypeError where these are no views of one array.
    """
    tree: Any = (args, kwargs)
    if static_argnums or static_argnames:
        chosen = {n + len(args) if n < 0 else n for n in static_argnums}
        named = {k: _Static(v) if k in static_argnames else v for k, v in kwargs.items()}
        tree = (tuple([_Static(a) if i in chosen else a for i, a in enumerate(args)]), named)
    flat, structure = flatten(tree)
    form = CallForm(None, [], [], {}, structure, len(flat))
    keys: list[Any] = []
    groups = find_groups(flat) if grouped else []
    taken = {position for group in groups for position in group.members}
    for position, leaf in enumerate(flat):
        if position in taken:
            continue
        ready = StaticLeaf(leaf.value) if type(leaf) is _Static else normalise(leaf)
        if type(ready) is StaticLeaf:
            form.statics[position] = ready.value
            keys.append(ready)
            continue
        is_int = isinstance(leaf, int) and not isinstance(leaf, np.generic)
        form.leaves.append(ready)
        form.given.append(leaf)
        form.values.append(int(leaf) if is_int else ready)
        keys.append(int if is_int else leaf_key(ready))
    for group in groups:
        form.members.update((position, (len(form.leaves), steps)) for position, steps in zip(group.members, group.steps, strict=True))
        form.leaves.append(group.base)
        form.given.append(group.base)
        form.values.append(group.base)
        keys.append(group.key)
    form.key = (structure, dict_orders(tree), tuple(keys))
    return form
