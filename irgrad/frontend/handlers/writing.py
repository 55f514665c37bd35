"""Writes into traced arrays: item and augmented assignment, and numpy's functions and methods that change an array.

Each comes to a region of slices (`storage.write`) or to index arrays (`storage.update_all`) of the array or a view of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.frontend.context import current
from irgrad.frontend.documented import explain_later
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers.core import (
    NO_VALUE,
    PUBLIC,
    Shape,
    apply,
    as_array,
    axis_index,
    broadcast,
    call,
    cast,
    dtype_of,
    find_tracer,
    made_outside,
    open_trace,
    operand,
    reshape,
    run,
    shape_of,
    transpose,
    unsupported,
    unwrap,
)
from irgrad.frontend.handlers.indexing import BASIC, PLANS, Plan, basic_plan, expand, item_of, key_of, locate, remember, without_bools
from irgrad.frontend.handlers.ordering import check_kth, is_descending, ordered
from irgrad.frontend.handlers.shaping import flattened, size_of
from irgrad.frontend.storage import advance, identity, present, resolve, resolve_tree, slice_of, update_all, write
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import ATTRIBUTES, FUNCTIONS, INDEXING, METHODS, UFUNCS, Tracer
from irgrad.ir.primitive import PART, REGISTRY

INDEXING["present"] = present
_SLICE_UPDATE = REGISTRY["slice_update"]
_float64 = np.float64
_KINDS = "buifc"
_WIDE = (np.dtype(np.float64), np.dtype(np.int64))

# ---- items ----


def set_(x: Tracer, index: Any, value: Any) -> None:
    """``x[index] = value``."""
    trace = x._trace
    if type(trace) is GraphTrace and type(value) is Tracer and value._trace is trace and _set_element(trace, x, index, value):
        return
    run(trace, "setitem", _set, (x, index, value), {}, handles=True)


def _set_element(trace: GraphTrace, x: Tracer, index: Any, value: Tracer) -> bool:
    """The commonest write: a traced number to one element of an array that was written before. False for any other."""
    storage = trace.storages.get(x.index)
    if storage is None or not storage.number or trace.inside or trace.suspended or trace.shared or trace.defers:
        return False
    number, key = value.value, key_of(index)
    if (type(number) is not _float64 and type(number) is not float) or key is None:
        return False
    buffer = storage.version.value
    plan = PLANS.get((buffer.shape, key))
    if plan is None or plan[2] or plan[0] is None or buffer.dtype != _WIDE[0] or buffer.size == 1:
        return False
    trace.locate(2)
    if storage.read or not storage.owned:
        buffer = buffer.copy(order="K")
        storage.owned, storage.read = True, False
    buffer[index] = number
    advance(trace, storage, trace.record(_SLICE_UPDATE, (storage.version, value), plan[0], buffer))
    return True


setattr(Tracer, "__setitem__", set_)  # the method itself: one call less


INDEXING["set"] = set_


def _set(trace: Trace, x: Tracer, index: Any, value: Any) -> None:
    _must_be_array(x)
    if type(index) is Tracer or type(index) is tuple or type(index) is list:
        index = resolve_tree(trace, index)
    key = key_of(index)
    if key is not None:
        plan = PLANS.get((x.shape, key)) or remember((x.shape, key), x, index if type(index) is tuple else (index,))
        if not _is_repeat(trace, x, plan, value):
            _set_region(trace, x, plan, stored(trace, value, x.dtype))
        return
    given = index if type(index) is tuple else (index,)
    if len(given) == 1 and isinstance(mask := given[0], (Tracer, np.ndarray)) and dtype_of(mask).kind == "b" and shape_of(mask) == x.shape:
        content = stored(trace, value, x.dtype)
        if shape_of(content) == ():
            write(trace, x, None, apply(trace, "where", np.where, mask, content, resolve(trace, x)))
            return
        value = content
    items = [item_of(trace, item) for item in given]
    x, items = without_bools(trace, x, expand(tuple(items), len(x.shape)))
    if all(type(item) in BASIC for item in items):
        _set_region(trace, x, basic_plan(x.shape, items), stored(trace, value, x.dtype))
    else:
        _set_at(trace, x, items, stored(trace, value, x.dtype), "scatter_update")


def _must_be_array(x: Tracer) -> None:
    if not isinstance(x.form, np.ndarray):
        raise TypeError(f"{type(x.form).__name__!r} object does not support item assignment")


def stored(trace: Trace, value: Any, dtype: np.dtype[Any]) -> Any:
    """`value` as an array of `dtype` holds it, with numpy's errors and warnings."""
    made = operand(trace, value)
    if type(made) is not Tracer and not isinstance(made, np.ndarray):
        probe = np.empty((), dtype)
        probe[()] = made
        return probe[()].item() if dtype in _WIDE else probe[()]
    have = dtype_of(made)
    if have == dtype:
        return made
    if have.kind == "c" and dtype.kind not in "cb":
        np.empty(0, dtype)[...] = np.empty(0, have)  # numpy warns of what is lost
        made = PUBLIC[np.real](made) if type(made) is Tracer else made.real
    return cast(trace, made, dtype) if type(made) is Tracer else made.astype(dtype)


def _is_repeat(trace: Trace, x: Tracer, plan: Plan, value: Any) -> bool:
    """Is `value` the view ``x[index]`` itself, as in the last step of ``x[index] += v``?"""
    if type(value) is not Tracer or type(value.form) is not np.ndarray or plan[0] is None or plan[1] is not None:
        return False
    if value.op is not None and value.op is not x.op and value.op.traits & PART:
        return False
    if value.op is not None and value.op is x.op and value.op.traits & PART:  # parts of a view stand for a view of parts
        value, x = value.operands[0], x.operands[0]
    if value.op is None or value.op.name != "slice" or type(x.form) is not np.ndarray:
        return False
    x, params = slice_of(trace, x, plan[0])
    return value.params == params and _same_memory(trace, x, value.operands[0])


def _same_memory(trace: Trace, x: Tracer, base: Tracer) -> bool:
    if base.index == x.index:
        return True
    storage = trace.storages.get(base.index)
    return storage is not None and storage is trace.storages.get(x.index)


def _set_part(x: Tracer, name: str, value: Any) -> None:
    """``x.real = value`` or ``x.imag = value``."""
    run(x._trace, f"set {name}", _assign_part, (x, name, value), {}, handles=True)


INDEXING["part"] = _set_part


def _assign_part(trace: Trace, x: Tracer, name: str, value: Any) -> None:
    if name == "flat":
        put(trace, x, np.arange(x.size), value)
        return
    if name == "shape":
        raise TraceError(f"assigning to the shape of a traced array is not traced ({here()}); write x = x.reshape(shape)")
    if not isinstance(x.form, np.ndarray):
        kind = "numpy.generic" if isinstance(x.form, np.generic) else type(x.form).__name__
        raise AttributeError(f"attribute {name!r} of {kind!r} objects is not writable")  # noqa: TRY004  (numpy's error)
    if x.dtype.kind != "c":
        if name == "imag":
            np.zeros(1).imag = 0.0  # type: ignore[misc]  # numpy's own error, whose text is each version's
        _set(trace, x, ..., value)
        return
    op = REGISTRY[name]
    if type(value) is Tracer and value.op is op and type(value.form) is np.ndarray and _same_memory(trace, x, value.operands[0]):
        return  # the last step of ``x.real += v``
    _set(trace, trace.call(op, (x,), {}), ..., value)


class Flat:
    """``x.flat``: the elements in C order, read and written by place."""

    __slots__ = ("_array", "_next")

    def __init__(self, array: Tracer) -> None:
        self._array = array
        self._next = 0

    def __len__(self) -> int:
        return self._array.size

    def __iter__(self) -> Flat:
        return self

    def __next__(self) -> Any:
        if self._next == len(self):
            raise StopIteration
        self._next += 1
        return self[self._next - 1]

    def __getitem__(self, index: Any) -> Any:
        x = self._array
        if isinstance(index, (int, np.integer)):
            return x[self._place(index)]
        return METHODS["flatten"](x)[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        x = self._array
        if isinstance(index, (int, np.integer)):
            x[self._place(index)] = value
        else:
            METHODS["put"](x, np.arange(x.size)[index], value)

    def _place(self, index: Any) -> tuple[int, ...]:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"index {index} is out of bounds for size {size}")
        return tuple(int(i) for i in np.unravel_index(index % size, self._array.shape))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return METHODS["flatten"](self._array).__array__(dtype, copy)


ATTRIBUTES["flat"] = Flat


def _fitted(trace: Trace, value: Any, shape: Shape) -> Any:
    """`value` without leading axes of 1 that `shape` does not have.

    Raises ValueError, as numpy does, where it does not broadcast.
    """
    have = shape_of(value)
    if not have:
        return value
    given = have
    if len(have) > len(shape):
        extra = len(have) - len(shape)
        if all(n == 1 for n in have[:extra]):
            have = have[extra:]
    if len(have) > len(shape) or any(n not in (1, m) for n, m in zip(reversed(have), reversed(shape), strict=False)):
        raise ValueError(f"could not broadcast input array from shape {_text(given)} into shape {_text(shape)}")
    return value if have == given else reshape(trace, value, have)


def _text(shape: Shape) -> str:
    return "(" + ",".join(str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


def _set_region(trace: Trace, x: Tracer, plan: Plan, value: Any) -> None:
    params, grown, _ = plan
    if params is None:
        region = x.shape
    else:
        region = tuple(n for axis, n in enumerate(params["count"]) if axis not in params["drop"])
    if grown is not None:
        value = _fitted(trace, value, grown)
        if shape_of(value):
            value = reshape(trace, broadcast(trace, value, grown), region)
    value = _fitted(trace, value, region)
    if 0 not in region:
        write(trace, x, params, value)


def _set_at(trace: Trace, x: Tracer, items: list[Any], value: Any, name: str) -> None:
    part, indices, grown, turn = locate(trace, x, items)
    shape = grown if turn is None else tuple(grown[i] for i in turn)
    if shape_of(value):
        value = broadcast(trace, _fitted(trace, value, shape), shape)
        if turn is not None:
            value = transpose(trace, value, tuple(sorted(range(len(turn)), key=turn.__getitem__)))
        gathered = np.broadcast_shapes(*[shape_of(i) for i in indices])
        value = reshape(trace, value, gathered + shape_of(part)[len(indices) :])
    _check_range(part, indices)
    if 0 not in grown:
        update_all(trace, part, REGISTRY[name], value, *indices)


def _check_range(part: Any, indices: list[Any]) -> None:
    """numpy's IndexError before anything is changed."""
    for axis, index in enumerate(indices):
        plain, n = np.asarray(unwrap(index)), shape_of(part)[axis]
        if plain.size and (plain.min() < -n or plain.max() >= n):
            bad = plain[(plain < -n) | (plain >= n)].flat[0]
            raise IndexError(f"index {bad} is out of bounds for axis {axis} with size {n}")


# ---- augmented assignment ----


def _inplace(x: Tracer, name: str, dunder: str, other: Any) -> Any:
    run(x._trace, f"i{dunder}", _augment, (x, getattr(np, name), dunder, other), {}, handles=True)
    return x


INDEXING["inplace"] = _inplace


def _augment(trace: Trace, x: Tracer, ufunc: Any, dunder: str, other: Any) -> None:
    now = resolve(trace, x)
    other = resolve_tree(trace, other)
    if ufunc is np.matmul:
        made = PUBLIC[np.matmul](now, other)
    else:
        made = getattr(operator, dunder if dunder not in ("and", "or") else dunder + "_")(now, other)
    if not np.can_cast(dtype_of(made), x.dtype, "same_kind"):
        plain = unwrap(other)
        sample = np.ones((1,), x.dtype)
        getattr(operator, "i" + dunder)(sample, np.ones((1,), np.asarray(plain).dtype) if np.ndim(plain) else plain)  # numpy's error
        raise TypeError(f"Cannot cast output from {dtype_of(made)!r} to {x.dtype!r} with casting rule 'same_kind'")
    if shape_of(made) != x.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {_text(x.shape)} doesn't match the broadcast shape {_text(shape_of(made))}"
        )
    write(trace, x, None, cast(trace, made, x.dtype))


# ---- functions and methods ----


def writes(*functions: Any, method: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a handler that changes its first argument, which it gets as a handle."""

    def register(impl: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            FUNCTIONS[function] = PUBLIC[function] = _entry(function, impl)
        if method is not None:
            METHODS[method] = lambda self, *args, **kwargs: run(self._trace, method, impl, (self, *args), kwargs, handles=True)
        return impl

    return register


def _entry(function: Any, impl: Callable[..., Any]) -> Callable[..., Any]:
    name = function.__name__

    def public(*args: Any, **kwargs: Any) -> Any:
        trace = open_trace(args, kwargs)
        if current() is None or trace is None or find_tracer((*args, *kwargs.values())) is None:
            return function(*args, **kwargs)
        if type(args[0] if args else kwargs.get("dst")) is not Tracer:
            made_outside(f"{name} into")
        return run(trace, name, impl, args, kwargs, handles=True)

    public.__name__ = public.__qualname__ = name
    explain_later(public, function, impl)
    public.__wrapped__ = function  # type: ignore[attr-defined]
    return public


@writes(method="fill")
def fill(trace: Trace, x: Tracer, value: Any) -> None:
    _must_be_array(x)
    made = operand(trace, value)
    if shape_of(made):
        made = reshape(trace, made, ()) if size_of(shape_of(made)) == 1 else made
        if shape_of(made):
            raise ValueError("could not broadcast input array: fill takes a single value")
    write(trace, x, None, stored(trace, made, x.dtype))


@writes(np.copyto)
def copyto(trace: Trace, dst: Tracer, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    value = operand(trace, src)
    plain = unwrap(value)
    probe = plain if np.ndim(plain) == 0 and not isinstance(plain, (np.ndarray, np.generic)) else np.zeros((), dtype_of(value))
    np.copyto(np.zeros((), dst.dtype), probe, casting=casting)  # numpy's error for a dtype that does not cast
    value = _fitted(trace, stored(trace, value, dst.dtype), dst.shape)
    if where is not True:
        value = apply(trace, "where", np.where, operand(trace, where), value, resolve(trace, dst))
    write(trace, dst, None, value)


@writes(np.putmask)
def putmask(trace: Trace, a: Tracer, mask: Any, values: Any) -> None:
    value = stored(trace, values, a.dtype)
    if shape_of(value) not in ((), a.shape):  # by flat place, repeated
        have = size_of(shape_of(value))
        if not have:
            return
        value = call(trace, "gather", reshape(trace, value, (have,)), trace.lift(np.arange(a.size).reshape(a.shape) % have))
    write(trace, a, None, apply(trace, "where", np.where, operand(trace, mask), value, resolve(trace, a)))


@writes(np.put, method="put")
def put(trace: Trace, a: Tracer, ind: Any, v: Any, mode: str = "raise") -> None:
    index = as_array(trace, ind)
    n = a.size
    if mode == "wrap":
        index = apply(trace, "remainder", np.remainder, index, n)
    elif mode == "clip":
        index = apply(trace, "minimum", np.minimum, apply(trace, "maximum", np.maximum, index, 0), n - 1)
    index = flattened(trace, index)
    count = shape_of(index)[0]
    value = stored(trace, v, a.dtype)
    if shape_of(value):
        have = size_of(shape_of(value))
        value = reshape(trace, value, (have,))
        if have != count and have:
            value = call(trace, "gather", value, trace.lift(np.arange(count) % have))
    if count:
        flat = a if len(a.shape) == 1 else reshape(trace, resolve(trace, a), (n,))
        _check_range(flat, [index])
        if flat is a:
            update_all(trace, a, REGISTRY["scatter_update"], value, index)
        else:
            made = call(trace, "scatter_update", flat, value, index)
            write(trace, a, None, reshape(trace, made, a.shape))


@writes(np.fill_diagonal)
def fill_diagonal(trace: Trace, a: Tracer, val: Any, wrap: bool = False) -> None:
    shape = a.shape
    if len(shape) < 2:
        raise ValueError("array must be at least 2-d")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    end = a.size
    step = 1 + sum(size_of(shape[i + 1 :]) for i in range(len(shape) - 1))
    if len(shape) == 2:
        step = shape[1] + 1
        if not wrap:
            end = shape[1] * shape[1]
    places = np.arange(a.size)[0:end:step]
    index = [trace.lift(i.astype(np.int64)) for i in np.unravel_index(places, shape)]
    value = stored(trace, val, a.dtype)
    if shape_of(value):
        have = size_of(shape_of(value))
        value = reshape(trace, value, (have,))
        if have != places.size:
            value = call(trace, "gather", value, trace.lift(np.arange(places.size) % have))
    if places.size:
        update_all(trace, a, REGISTRY["scatter_update"], value, *index)


@writes(method="sort")
def sort(
    trace: Trace, x: Tracer, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None, descending: Any = NO_VALUE
) -> None:
    if order is not None:
        unsupported("ndarray.sort(order=)", "leave order out")
    write(trace, x, None, ordered(trace, "sort", x, axis_index(axis, len(x.shape)), is_descending("sort", descending)))


@writes(method="partition")
def partition(trace: Trace, x: Tracer, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> None:
    """Sorts, as `np.partition` does."""
    if order is not None:
        unsupported("ndarray.partition(order=)", "leave order out")
    check_kth(x.shape, kth, axis)
    write(trace, x, None, call(trace, "sort", x, axis=axis_index(axis, len(x.shape))))


def add_at(trace: Trace, ufunc: Any, x: Any, index: Any, value: Any) -> None:
    """``np.add.at`` and ``np.subtract.at``."""
    if type(x) is not Tracer:
        made_outside(f"{ufunc.__name__}.at into")
    value = resolve_tree(trace, value)
    if _KINDS.find(dtype_of(value).kind) > _KINDS.find(x.dtype.kind):  # each sum is rounded
        ufunc_at(trace, ufunc, x, index, value)
        return
    content = stored(trace, value, x.dtype)
    if ufunc is np.subtract:
        content = apply(trace, "neg", np.negative, content)
    items = [item_of(trace, item) for item in (resolve_tree(trace, index) if type(index) is tuple else (resolve_tree(trace, index),))]
    x, items = without_bools(trace, x, expand(tuple(items), len(x.shape)))
    if all(type(item) in BASIC for item in items):
        read = INDEXING["get"](x, index)
        _set(trace, x, index, apply(trace, "add", np.add, read, content))
        return
    _set_at(trace, x, items, content, "scatter_add")


def ufunc_at(trace: Trace, ufunc: Any, x: Any, index: Any, *values: Any) -> None:
    """``ufunc.at`` of other ufuncs: a place that is named k times changes k times, in k rounds of places that differ.

    As in numpy, results are cast to the dtype of `x` whatever they are.
    """
    name = f"{ufunc.__name__}.at"
    if type(x) is not Tracer:
        made_outside(f"{name} into")
    where = np.arange(x.size).reshape(x.shape)
    traced = find_tracer(index if type(index) is tuple else (index,)) is not None
    places = as_array(trace, INDEXING["get"](identity(trace, where), resolve_tree(trace, index))) if traced else where[index]
    shape = shape_of(places)
    others = []
    for value in values:
        made = broadcast(trace, _fitted(trace, as_array(trace, resolve_tree(trace, value)), shape), shape)
        others.append(reshape(trace, made, (size_of(shape),)))
    if traced:
        _rounds_traced(trace, ufunc, x, reshape(trace, places, (size_of(shape),)), others)
        return
    for chosen in _rounds(places.ravel()):
        at = trace.lift(places.ravel()[chosen])
        now = call(trace, "gather", reshape(trace, resolve(trace, x), (x.size,)), at)
        made = UFUNCS[ufunc](now, *[call(trace, "gather", other, trace.lift(chosen)) for other in others])
        put(trace, x, places.ravel()[chosen], cast(trace, made, x.dtype))


def _rounds_traced(trace: Trace, ufunc: Any, x: Tracer, places: Any, others: list[Any]) -> None:
    """As many rounds as the place named most often is named, which is guarded. What is not of a round goes to a place behind the end."""
    count = shape_of(places)[0]
    if not count:
        return
    order = call(trace, "argsort", places, axis=0)
    ranked = call(trace, "gather", places, order)
    rank = PUBLIC[np.subtract](np.arange(count), PUBLIC[np.searchsorted](ranked, ranked))  # mentions before, in sorted order
    rank = call(trace, "gather", rank, call(trace, "argsort", order, axis=0))
    held = PUBLIC[np.concatenate]([reshape(trace, resolve(trace, x), (x.size,)), np.zeros(1, x.dtype)])
    for k in range(int(PUBLIC[np.max](rank)) + 1):
        mine = PUBLIC[np.equal](rank, k)
        now = call(trace, "gather", held, places)
        made = PUBLIC[np.where](mine, cast(trace, UFUNCS[ufunc](now, *others), x.dtype), now)
        held = call(trace, "scatter_update", held, made, PUBLIC[np.where](mine, places, x.size))
    write(trace, x, None, reshape(trace, held[: x.size], x.shape))


def _rounds(places: Any) -> list[Any]:
    """Positions of first, second, ... mentions of each place."""
    order = np.argsort(places, kind="stable")
    ranked = places[order]
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if places.size else np.zeros(0, np.int64)
    rank = np.empty(places.size, np.int64)
    rank[order] = np.arange(places.size) - np.repeat(first, np.diff([*first, places.size]))
    return [np.flatnonzero(rank == k) for k in range(int(rank.max(initial=-1)) + 1)]
