"""Item access with numpy's rules.

Integers, slices, Ellipsis and newaxis become one `slice` node, whose params are cached by (shape, index). Index arrays, and
traced integers, become one `gather` over the leading axes; transposes put its axes where numpy puts them: in the place of
the first advanced index where all of them (plain integers included) are adjacent, in front otherwise. A mask is its flat
indices; their count is guarded.
"""

from __future__ import annotations

import operator
from types import EllipsisType
from typing import Any, NoReturn

import numpy as np

from irgrad.errors import translate
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers.core import (
    Shape,
    alias,
    as_array,
    call,
    cast,
    dtype_of,
    find_tracer,
    form_of,
    reshape,
    run,
    shape_of,
    transpose,
    unwrap,
)
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.storage import SHARES, present
from irgrad.frontend.trace import Trace, describe, here
from irgrad.frontend.tracer import INDEXING, Tracer
from irgrad.ir.primitive import PART, REGISTRY
from irgrad.ops.index import region

Plan = tuple[dict[str, Shape] | None, Shape | None, bool]  # params of the slice node, shape with new axes, is the result an array
PLANS: dict[tuple[Any, ...], Plan] = {}
_tuples: dict[Shape, Shape] = {}
_SLICE = REGISTRY["slice"]
_LIMIT = 4096
_ndarray = np.ndarray
_USER = 2  # frames from `GraphTrace.locate` to the user's
BASIC = (int, slice, type(None), EllipsisType)
_ARRAYS = (np.ndarray, Tracer, list)

# ---- reading ----


def get(x: Tracer, index: Any) -> Any:
    """``x[index]``."""
    value = x.form
    kind = type(index)
    if type(value) is not _ndarray and not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(f"{type(value).__name__!r} object is not subscriptable")
    if kind is int or (kind is tuple and len(index) == 2 and type(index[0]) is int is type(index[1])):
        key = index
    else:
        key = key_of(index)
    if key is not None:
        plan = PLANS.get((value.shape, key))
        if plan is None:
            plan = remember((value.shape, key), x, index if type(index) is tuple else (index,))
        trace = x._trace
        params, grown, is_array = plan
        if type(trace) is GraphTrace and params is not None and grown is None and not (trace.inside or trace.suspended or trace.defers):
            storage = trace.storages.get(x.index)
            base = storage.version if storage is not None else holder_of(trace, x)
            if base is not None:
                found = base.value[region(**params)] if is_array else base.value[index]
                if not is_array or type(found) is _ndarray:
                    trace.locate(_USER)
                    return trace.record(_SLICE, (base,), params, found)
        return read(present(x) if params is None and trace.storages else x, plan)
    return run(x._trace, "getitem", _general, (x, index), {})


def holder_of(trace: GraphTrace, x: Tracer) -> Tracer | None:
    """The value that a part of `x` is read from; None where `x` is a view of written memory, or of parts of numbers."""
    if trace.storages:
        storage = trace.storages.get(x.index)
        if storage is not None:
            version: Tracer = storage.version
            return version
    op = x.op
    return None if op is not None and op.traits & (SHARES if trace.storages else PART) else x


INDEXING["get"] = get
setattr(Tracer, "__getitem__", get)  # the method itself: one call less


def key_of(index: Any) -> Any:
    """A hashable form of a basic index of plain integers; None if it is something else."""
    kind = type(index)
    if kind is int or index is None or index is Ellipsis:
        return index
    if kind is slice:
        return _slice_key(index)
    if kind is not tuple:
        return None
    if len(index) == 2 and type(index[0]) is int is type(index[1]):
        return index
    key = []
    for item in index:
        kind = type(item)
        if kind is int or item is None or item is Ellipsis:
            key.append(item)
        elif kind is slice:
            part = _slice_key(item)
            if part is None:
                return None
            key.append(part)
        else:
            return None
    return tuple(key)


def _slice_key(item: slice) -> tuple[Any, ...] | None:
    start, stop, step = item.start, item.stop, item.step
    if (start is None or type(start) is int) and (stop is None or type(stop) is int) and (step is None or type(step) is int):
        return (slice, start, stop, step)
    return None


def remember(key: tuple[Any, ...], x: Tracer, items: tuple[Any, ...]) -> Plan:
    try:
        plan = basic_plan(x.shape, expand(items, len(x.shape)))
    except (IndexError, ValueError, TypeError) as error:
        _fail(x, error)
    if len(PLANS) >= _LIMIT:
        PLANS.clear()
    PLANS[key] = plan
    return plan


def _fail(x: Any, error: Exception) -> NoReturn:
    raise translate(error, f"index of {describe(x)}: {error} ({here()})") from error


def read(x: Any, plan: Plan) -> Any:
    params, shape, is_array = plan
    made = x
    if params is not None:
        made = x._trace.call(_SLICE, (x,), params)
        if is_array and shape is None and not isinstance(made.form, np.ndarray):
            made = alias(made, np.asarray(made.form))
    if shape is not None:
        return _again(made, shape)
    if made is not x:
        return made
    if is_array:
        return alias(x) if isinstance(x.form, np.ndarray) else alias(x, np.asarray(x.form))
    return alias(x, x.form[()])


def _again(x: Any, shape: Shape) -> Any:
    """A reshape at the site of the record before it."""
    trace = x._trace
    before, trace.inside = trace.inside, True
    try:
        return trace.call(REGISTRY["reshape"], (x,), {"shape": shape})
    finally:
        trace.inside = before


def expand(items: tuple[Any, ...], ndim: int) -> list[Any]:
    """One item per axis (a mask stands for as many as it has) and None for new axes; Ellipsis stays, as a list of slices.

    Raises IndexError for too many indices or two ellipses.
    """
    used = sum(_axes_of(item) for item in items)
    if used > ndim:
        raise IndexError(f"too many indices for array: array is {ndim}-dimensional, but {used} were indexed")
    rest = [slice(None)] * (ndim - used)
    out: list[Any] = []
    seen = False
    for item in items:
        if item is Ellipsis:
            if seen:
                raise IndexError("an index can only have a single ellipsis ('...')")
            seen = True
            out.append(Ellipsis)
            out.extend(rest)
        else:
            out.append(item)
    return out if seen else out + rest


def _axes_of(item: Any) -> int:
    if item is None or item is Ellipsis or type(item) is bool:
        return 0
    if type(item) is Tracer or isinstance(item, np.ndarray):
        return np.ndim(form_of(item)) if dtype_of(item).kind == "b" else 1
    return 1


def basic_plan(shape: Shape, items: list[Any]) -> Plan:
    """The slice node and the reshape that an expanded basic index comes to.

    Raises IndexError for an integer out of range.
    """
    start: list[int] = []
    count: list[int] = []
    step: list[int] = []
    drop: list[int] = []
    new: list[int] = []
    has_ellipsis = False
    for item in items:
        if item is None:
            new.append(1)
            continue
        if item is Ellipsis:
            has_ellipsis = True
            continue
        axis = len(start)
        n = shape[axis]
        if isinstance(item, slice):
            first, stop, by = item.indices(n)
            m = len(range(first, stop, by))
            start.append(first if m else 0)
            count.append(m)
            step.append(by if m > 1 else 1)
            new.append(m)
        else:
            if not -n <= item < n:
                raise IndexError(f"index {item} is out of bounds for axis {axis} with size {n}")
            start.append(item % n)
            count.append(1)
            step.append(1)
            drop.append(axis)
    untouched = not drop and tuple(count) == shape and not any(start) and all(s == 1 for s in step)
    params = None if untouched else {"start": tuple(start), "count": one(count), "step": one(step), "drop": one(drop)}
    grown = tuple(new) if any(item is None for item in items) else None
    return params, grown, has_ellipsis or bool(new)


def one(numbers: list[int]) -> Shape:
    """A tuple, the same object for equal ones: iterations of a loop are compared."""
    made = tuple(numbers)
    return _tuples.setdefault(made, made) if len(_tuples) < _LIMIT else made


# ---- the general case ----


def _general(trace: Trace, x: Tracer, index: Any) -> Any:
    if type(index) in _ARRAYS and x.shape:  # one array on the first axis, or one mask of it
        item = item_of(trace, index)
        if type(item) is not bool and len(shape_of(item)) == 1:
            _check_mask(item, x.shape[:1], 0)
            return call(trace, "gather", x, _positions(trace, item))
        index = item
    items = [item_of(trace, item) for item in (index if type(index) is tuple else (index,))]
    x, items = without_bools(trace, x, expand(tuple(items), len(x.shape)))
    if all(type(item) in BASIC for item in items):
        return read(x, basic_plan(x.shape, items))
    return _advanced(trace, x, items)


def item_of(trace: Trace, item: Any) -> Any:
    """One item of an index: a plain integer, a slice of plain integers, None, Ellipsis, a bool, or an index or mask array."""
    kind = type(item)
    if item is None or item is Ellipsis or kind is int:
        return item
    if kind is slice:
        return slice(*[part if part is None else operator.index(part) for part in (item.start, item.stop, item.step)])
    if isinstance(item, (bool, np.bool_)):
        return bool(item)
    if kind is range:
        item, kind = list(item), list
    if kind is not Tracer and not isinstance(item, (list, tuple, np.ndarray)):
        return operator.index(item)
    made = as_array(trace, item) if kind is not Tracer else item
    if dtype_of(made).kind not in "biu":
        if np.size(form_of(made)) == 0 and find_tracer((item,)) is None:
            return trace.lift(np.zeros(np.shape(form_of(made)), np.int64))
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    return made if shape_of(made) or dtype_of(made).kind != "b" else bool(made)


def without_bools(trace: Trace, x: Any, items: list[Any]) -> tuple[Any, list[Any]]:
    """For each single bool of an expanded index a new axis of `x`, of which the index takes one entry or none, as numpy does."""
    if not any(type(item) is bool for item in items):
        return x, items
    grown: list[Any] = []
    for item in items:
        grown += [None] if type(item) is bool else [slice(None)] * _axes_of(item)
    chosen = [trace.lift(np.zeros(int(item), np.int64)) if type(item) is bool else item for item in items]
    return read(x, basic_plan(x.shape, grown)), chosen


def _advanced(trace: Trace, x: Any, items: list[Any]) -> Any:
    part, indices, grown, turn = locate(trace, x, items)
    made = call(trace, "gather", part, *indices)
    made = made if len(grown) == len(shape_of(made)) else reshape(trace, made, grown)
    return transpose(trace, made, turn) if turn is not None else made


def locate(trace: Trace, x: Any, items: list[Any]) -> tuple[Any, list[Any], Shape, Shape | None]:
    """What an index with arrays reads: a view of `x`, the indices of its leading axes, the shape of the result and its last transpose."""
    shape = shape_of(x)
    arrays = [i for i, item in enumerate(items) if type(item) not in BASIC]
    gathers = any(shape_of(items[i]) for i in arrays)  # traced scalars only: plain integers beside them stay basic
    places = [i for i, item in enumerate(items) if i in arrays or (type(item) is int and gathers)]
    adjacent = places[-1] - places[0] == len(places) - 1
    basic: list[Any] = []
    front: list[tuple[int, int, Any]] = []  # axis after the basic part, axes taken, index
    new: list[int] = []  # extents of the other axes of the result
    before = axis = left = 0
    for i, item in enumerate(items):
        if item is None or item is Ellipsis:
            new.extend([1] if item is None else [])
        elif i in arrays:
            taken = _axes_of(item)
            _check_mask(item, shape[axis : axis + taken], axis)
            basic.extend([slice(None)] * taken)
            front.append((left, taken, item))
            axis += taken
            left += taken
        else:
            basic.append(item)
            if isinstance(item, slice):
                new.append(len(range(*item.indices(shape[axis]))))
                left += 1
            axis += 1
        if i < places[0]:
            before = len(new)
    part = read(x, basic_plan(shape, basic))
    indices = [_positions(trace, item) for _, _, item in front]
    taken_axes = [a for at, taken, _ in front for a in range(at, at + taken)]
    rest = [a for a in range(left) if a not in taken_axes]
    part = transpose(trace, part, (*taken_axes, *rest))
    have = shape_of(part)
    if len(taken_axes) != len(front):  # a mask's axes as one
        flat, at = [], 0
        for _, taken, _ in front:
            flat.append(size_of(have[at : at + taken]))
            at += taken
        part = reshape(trace, part, (*flat, *have[at:]))
    gathered = np.broadcast_shapes(*[shape_of(i) for i in indices])
    inner = len(gathered)
    grown = (*gathered, *new)
    turn = (*range(inner, inner + before), *range(inner), *range(inner + before, len(grown))) if adjacent and before else None
    return part, indices, grown, turn


def _check_mask(item: Any, covered: Shape, axis: int) -> None:
    if dtype_of(item).kind == "b":
        for i, (have, n) in enumerate(zip(shape_of(item), covered, strict=True)):
            if have != n:
                raise IndexError(
                    f"boolean index did not match indexed array along axis {axis + i}; size of axis is {n} "
                    f"but size of corresponding boolean axis is {have}"
                )


def _positions(trace: Trace, item: Any) -> Any:
    return mask_positions(trace, item) if dtype_of(item).kind == "b" else item


def mask_positions(trace: Trace, mask: Any) -> Any:
    """Flat indices of the true entries of a mask; in a graph their number is guarded."""
    if type(mask) is not Tracer:
        return np.flatnonzero(mask)
    count = int(np.count_nonzero(mask.value))
    if isinstance(trace, GraphTrace):
        found = call(trace, "reduce_sum", cast(trace, mask, np.int64), axes=tuple(range(len(mask.shape))))
        trace.guard(found, "int", count)
    return call(trace, "mask_indices", mask, count=count)


def plain_places(trace: Trace, places: Any) -> Any:
    """Places that an algorithm depends on, as plain integers: constants as they are, traced ones guarded one by one."""
    if type(places) is not Tracer:
        return unwrap(places)
    if places.op is None and places.params["origin"] is None:
        return places.value
    if dtype_of(places).kind == "b" and shape_of(places):
        places = mask_positions(trace, places)
    return np.array([operator.index(i) for i in places], np.int64) if shape_of(places) else operator.index(places)
