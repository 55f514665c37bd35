"""Arguments in the same memory: as views of one array, so that a write into one is seen by the others, as in numpy.

Arrays that share an element form a group. Its *base* is a flat copy of the memory between the first and the last of them; each is
described by the slices, reshapes and transposes that make it of the base. Arrays whose memory is interleaved but has no element in
common stay apart. Limits: one dtype in a group, or a complex one and its parts; strides that nested slices and reshapes give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.exceptions import TooHardError
from numpy.lib.array_utils import byte_bounds

from irgrad.ir.aval import real_dtype
from irgrad.ir.primitive import REGISTRY
from irgrad.pytree import flatten, unflatten

WORK: Any = 100_000  # of the exact test for common elements; beyond, bounds decide
Step = tuple[str, dict[str, Any]]  # a primitive and its params
_Array = np.ndarray[Any, Any]


class Group:
    """Arrays in common memory: which they are, their base, and the steps from it to each."""

    __slots__ = ("base", "members", "steps")

    def __init__(self, members: list[int], base: _Array, steps: list[tuple[Step, ...]]) -> None:
        self.members = members
        self.base = base
        self.steps = steps

    @property
    def key(self) -> Any:
        """What decides the program: the pattern, not the place of the memory."""
        pattern = tuple([tuple([(name, *params.items()) for name, params in steps]) for steps in self.steps])
        return (tuple(self.members), self.base.dtype, self.base.shape, pattern)


def share(a: _Array, b: _Array) -> bool:
    """Have two arrays an element in common?"""
    try:
        return a is b or np.shares_memory(a, b, max_work=WORK)
    except TooHardError:
        return True


def may_share(arrays: Sequence[_Array]) -> bool:
    """False where each of the arrays has memory of its own."""
    if len(arrays) < 2:
        return False
    return any(a.base is not None for a in arrays) or len({id(a) for a in arrays}) < len(arrays)


def pairs(leaves: Sequence[Any]) -> list[tuple[int, int]]:
    """The leaves that are arrays with a common element, two by two."""
    arrays = [i for i, leaf in enumerate(leaves) if type(leaf) is np.ndarray and leaf.size]
    if len(arrays) < 2:
        return []
    if not may_share([leaves[i] for i in arrays]):
        return []
    found: list[tuple[int, int]] = []
    near: list[tuple[int, int]] = []  # arrays that may reach over the start of the next: their ends
    for (low, high), i in sorted((byte_bounds(leaves[i]), i) for i in arrays):
        near = [(end, j) for end, j in near if end > low]
        found += [(min(i, j), max(i, j)) for _, j in near if share(leaves[i], leaves[j])]
        near.append((high, i))
    return found


def find_groups(leaves: Sequence[Any]) -> list[Group]:
    """The groups among the leaves of a call.

    Raises TypeError where the arrays of a group have different dtypes or strides that views of one array do not have.
    """
    owner: dict[int, int] = {}
    for i, j in pairs(leaves):
        new, old = owner.setdefault(i, i), owner.setdefault(j, j)
        owner.update({m: new for m, o in owner.items() if o == old})
    found: dict[int, list[int]] = {}
    for i in sorted(owner):
        found.setdefault(owner[i], []).append(i)
    return [_group(members, [leaves[i] for i in members]) for members in found.values()]


def _group(members: list[int], arrays: list[_Array]) -> Group:
    dtypes = {a.dtype for a in arrays}
    dtype = max(dtypes, key=lambda d: d.itemsize)
    part = real_dtype(dtype)
    if not dtypes <= {dtype, part} or not dtype.isnative:
        names = ", ".join(sorted(d.name for d in dtypes))
        raise TypeError(f"arguments share memory as different dtypes ({names})")
    unit = dtype.itemsize
    bounds = [byte_bounds(a) for a in arrays]
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    anchor = next(b[0] for a, b in zip(arrays, bounds, strict=True) if a.dtype == dtype)
    origin = anchor - -(-(anchor - low) // unit) * unit
    steps: list[tuple[Step, ...]] = []
    size = -(-(high - origin) // unit)
    for array, (start, _) in zip(arrays, bounds, strict=True):
        made = _describe(array, start - origin, unit)
        if made is None:
            raise TypeError(f"arguments share memory in a pattern of strides that is not supported ({array.strides})")
        steps.append(made[0])
        size = max(size, made[1])
    base = np.zeros(size, dtype)
    base.view(np.uint8)[low - origin : high - origin] = np.asarray(_Bytes(low, high - low))
    return Group(members, base, steps)


def detached(tree: Any) -> Any:
    """A copy of all arrays that can be written into; those in common memory stay together."""
    leaves, structure = flatten(tree)
    made = [leaf.copy(order="K") if type(leaf) is np.ndarray and leaf.flags.writeable else leaf for leaf in leaves]
    for group in find_groups(leaves):
        for member, steps in zip(group.members, group.steps, strict=True):
            view = group.base
            for name, params in steps:
                view = getattr(view, name) if not params else REGISTRY[name].evaluate(view, **params)
            made[member] = view
    return unflatten(structure, made)


class _Bytes:
    """Memory that arrays of a group are in."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": (size,), "typestr": "|u1", "version": 3}


def _slice(start: Sequence[int], count: Sequence[int], step: Sequence[int]) -> Step:
    return "slice", {"start": tuple(start), "count": tuple(count), "step": tuple(step), "drop": ()}


def _part_of(shape: Sequence[int], count: int, step: int = 1) -> Step:
    """The first `count` entries along the last axis."""
    inner = (1,) * (len(shape) - 1)
    return _slice([0] * len(shape), [*shape[:-1], count], [*inner, step])


def _describe(array: _Array, offset: int, unit: int) -> tuple[tuple[Step, ...], int] | None:
    """The steps from a flat base to an array whose lowest element is `offset` bytes into it, and how many elements they reach over."""
    part = offset % unit
    if part % array.itemsize or any(s % unit for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        return None
    at, strides = offset // unit, [s // unit for s in array.strides]
    axes = sorted((i for i, n in enumerate(array.shape) if n > 1 and strides[i]), key=lambda i: -abs(strides[i]))
    steps = _frame(at, [(array.shape[i], abs(strides[i])) for i in axes])
    if steps is None:
        return None
    made, reach = steps
    counts = [array.shape[i] for i in axes]
    if any(strides[i] < 0 for i in axes):
        signs = [1 if strides[i] > 0 else -1 for i in axes]
        made.append(_slice([0 if s > 0 else n - 1 for s, n in zip(signs, counts, strict=True)], counts, signs))
    if axes != sorted(axes):
        made.append(("transpose", {"axes": tuple(axes.index(i) for i in sorted(axes))}))
    ones = tuple(n if i in axes else 1 for i, n in enumerate(array.shape))
    if ones != (tuple([array.shape[i] for i in sorted(axes)]) or (1,)):
        made.append(("reshape", {"shape": ones}))
    if ones != array.shape:
        made.append(("broadcast_to", {"shape": array.shape}))
    if array.itemsize != unit:
        made.append(("imag" if part else "real", {}))
    return tuple(made), reach


def _frame(at: int, axes: list[tuple[int, int]]) -> tuple[list[Step], int] | None:
    """Slices and reshapes for axes of (count, stride), by falling strides, from element `at` on; and where they end."""
    if len(axes) < 2:
        count, stride = axes[0] if axes else (1, 1)
        return [_slice([at], [count], [stride])], at + (count - 1) * stride + 1
    count, row = axes[0]
    steps = [_slice([at], [count * row], [1]), ("reshape", {"shape": (count, row)})]
    shape = [count, row]
    for position, (count, stride) in enumerate(axes[1:], 1):
        inner = axes[position + 1 :]
        if (count - 1) * stride + sum((n - 1) * s for n, s in inner) >= row:
            return None
        if not inner:
            steps.append(_part_of(shape, count, stride))
            break
        if count * stride <= row:
            steps.append(_part_of(shape, count * stride))
            shape[-1:] = [count, stride]
            row = stride
            steps.append(("reshape", {"shape": tuple(shape)}))
            continue
        row, before = math.gcd(row, stride), row
        shape[-1:] = [before // row, row]
        steps.append(("reshape", {"shape": tuple(shape)}))
        ones = [1] * len(shape)
        ones[-2], taken = stride // row, [*shape[:-2], count, row]
        steps.append(_slice([0] * len(shape), taken, ones))
        shape = taken
    return steps, at + axes[0][0] * axes[0][1]
