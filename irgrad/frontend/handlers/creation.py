"""Making arrays: constants are recorded (zeros, full, iota) or lifted; nested sequences of traced values are stacked."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    NP,
    PUBLIC,
    alias,
    apply,
    as_array,
    broadcast,
    call,
    cast,
    dtype_of,
    find_tracer,
    form_of,
    fresh,
    full,
    handles,
    handles_method,
    iota,
    join,
    operand,
    reshape,
    shape_of,
    shape_tuple,
    take_slice,
    transpose,
    unsupported,
    unwrap,
    whole,
)
from irgrad.frontend.handlers.decided import form_array
from irgrad.frontend.storage import laid_out
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer, is_deferred

_SMALL = 2048  # entries of masks and numbers that eager traces keep


def _wanted(dtype: Any) -> np.dtype[Any] | None:
    return None if dtype is None else np.dtype(dtype)


def _numeric(dtype: np.dtype[Any] | None) -> bool:
    return dtype is None or dtype.kind in "biufc"


# ---- arrays from data ----


def _converter(function: Callable[..., Any]) -> None:
    @handles(function, creates=True)
    def convert(
        trace: Trace,
        a: Any,
        dtype: Any = None,
        order: Any = None,
        *,
        copy: Any = None,
        subok: bool = False,
        ndmin: int = 0,
        device: Any = None,
        like: Any = None,
    ) -> Any:
        return array_of(trace, function, a, dtype, max(ndmin, int(function is not np.asanyarray)))  # the others have no 0-d result


def _in_order(trace: Trace, x: Tracer, function: Callable[..., Any]) -> bool:
    """Does numpy's function leave an array of these strides as it is?"""
    if function not in (np.ascontiguousarray, np.asfortranarray) or not isinstance(x.form, np.ndarray):
        return True
    flags = laid_out(trace, x)[0].flags
    return bool(flags.c_contiguous if function is np.ascontiguousarray else flags.f_contiguous)


def array_of(trace: Trace, function: Callable[..., Any], a: Any, dtype: Any = None, ndmin: int = 0) -> Any:
    """What numpy's array, asarray and their like answer."""
    target = _wanted(dtype)
    if find_tracer((a,)) is None:
        plain = a if isinstance(a, np.ndarray) and function is not np.array else np.asarray(a)
        if plain.dtype.kind not in "biufc" or not _numeric(target):
            return function(a) if dtype is None else function(a, dtype=dtype)  # strings, objects: none of a trace's business
    if not _numeric(target):
        unsupported(f"{function.__name__}(dtype={target})", "use a bool, integer, float or complex dtype")
    made = as_array(trace, a, target)
    if made is a and (type(made) is not Tracer or _in_order(trace, made, function)):
        made = alias(made)
    elif made is a:
        made = ordered(fresh(trace, made), "C" if function is np.ascontiguousarray else "F")
    elif isinstance(a, (list, tuple)):
        made = fresh(trace, made, a)
    missing = ndmin - len(shape_of(made))
    return reshape(trace, made, (1,) * missing + shape_of(made)) if missing > 0 else made


_function: Callable[..., Any]
for _function in (np.asanyarray, np.ascontiguousarray, np.asfortranarray):
    _converter(_function)


@handles(np.array, creates=True, buffers=True)
def array(
    trace: Trace,
    object: Any,
    dtype: Any = None,
    *,
    copy: Any = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    like: Any = None,
) -> Any:
    made = array_of(trace, np.array, object, dtype, ndmin)
    if copy is not None and not copy:
        return made
    return ordered(fresh(trace, made, object), order)


@handles(np.asarray, creates=True)
def asarray(trace: Trace, a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None, like: Any = None) -> Any:
    return array_of(trace, np.asarray, a, dtype)


@handles(np.copy, buffers=True)
def copy(trace: Trace, a: Any, order: Any = "K", subok: bool = False) -> Any:
    return ordered(fresh(trace, as_array(trace, a)), order)


@handles_method("copy")
def copy_method(trace: Trace, a: Any, order: Any = "C") -> Any:
    return copy(trace, a, order)


def ordered(made: Any, order: Any) -> Any:
    """A new array `made`, its elements in memory as numpy's `order` has them: ravel and reshape may ask for that."""
    if type(made) is Tracer and isinstance(made.form, np.ndarray) and made.form.ndim > 1 and not is_deferred(made):
        flags = made.value.flags
        if not (flags.c_contiguous if order == "C" else flags.f_contiguous if order == "F" else flags.forc):
            made.value = made.form = np.array(made.value, order=order)
    return made


@handles(np.asarray_chkfinite, creates=True)
def asarray_chkfinite(trace: Trace, a: Any, dtype: Any = None, order: Any = None) -> Any:
    made = array_of(trace, np.asarray, a, dtype)
    if dtype_of(made).kind in "fc":
        finite = call(trace, "reduce_all", apply(trace, "isfinite", np.isfinite, made), axes=tuple(range(len(shape_of(made)))))
        if not bool(finite):
            raise ValueError("array must not contain infs or NaNs")
    return made


# ---- constants ----


@handles(np.zeros, creates=True, buffers=True)
def zeros(trace: Trace, shape: Any, dtype: Any = float, order: Any = "C", *, device: Any = None, like: Any = None) -> Any:
    return _constant(trace, np.zeros, shape, 0, dtype)


@handles(np.empty, creates=True, buffers=True)
def empty(trace: Trace, shape: Any, dtype: Any = float, order: Any = "C", *, device: Any = None, like: Any = None) -> Any:
    return _constant(trace, np.zeros, shape, 0, dtype)


@handles(np.ones, creates=True, buffers=True)
def ones(trace: Trace, shape: Any, dtype: Any = None, order: Any = "C", *, device: Any = None, like: Any = None) -> Any:
    return _constant(trace, np.ones, shape, 1, float if dtype is None else dtype)


def _constant(trace: Trace, function: Callable[..., Any], shape: Any, value: Any, dtype: Any) -> Any:
    target = np.dtype(float if dtype is None else dtype)
    if target.kind not in "biufc":
        return function(shape_tuple(shape), dtype)
    return full(trace, shape_tuple(shape), value, target)


@handles(np.full, creates=True, buffers=True)
def full_(trace: Trace, shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: Any = None, like: Any = None) -> Any:
    return _filled(trace, shape_tuple(shape), operand(trace, fill_value), _wanted(dtype))


def _filled(trace: Trace, shape: tuple[int, ...], value: Any, dtype: np.dtype[Any] | None) -> Any:
    target = dtype_of(value) if dtype is None else dtype
    if target.kind not in "biufc":
        return np.full(shape, unwrap(value), target)
    if target.kind != "c" and isinstance(unwrap(value), (complex, np.complexfloating)):
        value = NP.real(value)  # numpy casts, and warns
    if type(value) is Tracer or isinstance(value, np.ndarray):
        value = cast(trace, value, target)
        return (
            call(trace, "full", value, shape=shape, dtype=target.name)
            if shape_of(value) == ()
            else fresh(trace, broadcast(trace, value, shape))
        )
    return full(trace, shape, value, target)


def _like(function: Callable[..., Any], value: Any) -> None:
    @handles(function, buffers=True)
    def like(
        trace: Trace, a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: Any = None
    ) -> Any:
        plain = np.asarray(unwrap(a))
        target = plain.dtype if dtype is None else np.dtype(dtype)
        return _constant(trace, np.zeros if value == 0 else np.ones, plain.shape if shape is None else shape, value, target)


_like(np.zeros_like, 0)
_like(np.empty_like, 0)
_like(np.ones_like, 1)


@handles(np.full_like, buffers=True)
def full_like(
    trace: Trace, a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    plain = np.asarray(unwrap(a))
    target = plain.dtype if dtype is None else np.dtype(dtype)
    return _filled(trace, plain.shape if shape is None else shape_tuple(shape), operand(trace, fill_value), target)


# ---- ranges ----


@handles(np.arange, creates=True)
def arange(
    trace: Trace,
    start: Any = NO_VALUE,
    stop: Any = NO_VALUE,
    step: Any = NO_VALUE,
    dtype: Any = None,
    *,
    device: Any = None,
    like: Any = None,
) -> Any:
    if start is NO_VALUE and stop is NO_VALUE:
        raise TypeError("arange() requires stop to be specified.")
    if start is NO_VALUE or stop is NO_VALUE or stop is None:
        start, stop = 0, (stop if start is NO_VALUE else start)
    step = 1 if step is NO_VALUE or step is None else step
    start, stop, step = (_whole_number(v) for v in (start, stop, step))
    if find_tracer((start, stop, step)) is None:
        plain = np.arange(*(start, stop, step), dtype=dtype)
        if type(start) is int and start == 0 and type(step) is int and step == 1 and plain.dtype.kind in "iuf":
            return iota(trace, plain.size, plain.dtype)
        return fresh(trace, trace.lift(plain))
    target = np.dtype(dtype) if dtype is not None else np.result_type(*[np.asarray(form_of(v)).dtype for v in (start, stop, step)])
    span = apply(trace, "div", np.divide, apply(trace, "sub", np.subtract, stop, start), step)
    count = max(0, int(apply(trace, "ceil", np.ceil, span)))
    places = iota(trace, count, target)
    made = apply(trace, "add", np.add, cast(trace, start, target), apply(trace, "mul", np.multiply, places, cast(trace, step, target)))
    return cast(trace, made, target)


def _whole_number(value: Any) -> Any:
    """A traced integer as a plain one, guarded: the length of the range depends on it."""
    return operator.index(value) if type(value) is Tracer and dtype_of(value).kind in "iu" else value


@handles(np.linspace, creates=True)
def linspace(
    trace: Trace,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    count = operator.index(num)
    if find_tracer((start, stop)) is None:
        made = np.linspace(start, stop, count, endpoint, retstep, dtype, axis)  # type: ignore[call-overload]
        return (fresh(trace, trace.lift(made[0])), made[1]) if retstep else fresh(trace, trace.lift(made))
    if count < 0:
        raise ValueError(f"Number of samples, {count}, must be non-negative.")
    first, last = operand(trace, start), operand(trace, stop)
    found = np.result_type(form_of(first), form_of(last), 0.0)
    target = found if dtype is None else np.dtype(dtype)
    pieces = count - 1 if endpoint else count
    first, last = cast(trace, first, found), cast(trace, last, found)
    between_numbers = endpoint and not retstep and not shape_of(first) and not shape_of(last)
    if not trace.is_graph and between_numbers and 1 < count <= _SMALL and target == found == np.float64:
        return _between(trace, first, last, count)
    delta = apply(trace, "sub", np.subtract, last, first)
    ndim = len(shape_of(delta))
    places = reshape(trace, iota(trace, count, found), (count,) + (1,) * ndim)
    step: Any = np.nan
    if pieces > 0:
        step = apply(trace, "div", np.divide, delta, pieces)
        made = apply(trace, "mul", np.multiply, places, step)
    else:
        made = apply(trace, "mul", np.multiply, places, delta)
    made = apply(trace, "add", np.add, made, first)
    if endpoint and count > 1:
        end = broadcast(trace, last, (1, *shape_of(made)[1:]))
        made = join(trace, [take_slice(trace, made, 0, 0, count - 1), end], 0)
    if axis != 0 and ndim:
        order = list(range(1, ndim + 1))
        order.insert(axis % (ndim + 1), 0)
        made = transpose(trace, made, order)
    if target.kind in "iu":
        made = apply(trace, "floor", np.floor, made)
    made = cast(trace, made, target)
    return (made, step) if retstep else made


def _between(trace: Trace, first: Any, last: Any, count: int) -> Any:
    """numpy's values; the derivatives are shares of both ends."""
    of_first, of_last = _shares(count)
    made = np.linspace(unwrap(first), unwrap(last), count)
    return apply(
        trace,
        "add",
        lambda *_: made,
        apply(trace, "mul", np.multiply, first, of_first) if type(first) is Tracer else 0.0,
        apply(trace, "mul", np.multiply, last, of_last) if type(last) is Tracer else 0.0,
    )


@functools.lru_cache(maxsize=256)
def _shares(count: int) -> tuple[Any, Any]:
    """Of both ends, in what is evenly spaced between them."""
    last = np.linspace(0.0, 1.0, count)
    first = 1.0 - last
    first.flags.writeable = last.flags.writeable = False
    return first, last


@handles(np.logspace, creates=True)
def logspace(
    trace: Trace, start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    if np.ndim(form_of(base)):
        shape = np.broadcast_shapes(*[np.shape(form_of(v)) for v in (start, stop, base)])
        start, stop, base = (NP.broadcast_to(v, shape) for v in (start, stop, base))
        base = NP.expand_dims(base, axis)
    made = NP.power(base, linspace(trace, start, stop, num, endpoint, axis=axis))
    return made if dtype is None else cast(trace, made, dtype)


@handles(np.geomspace, creates=True)
def geomspace(trace: Trace, start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Real ends of one sign, or complex ones; the ends themselves are exact."""
    first, last = operand(trace, start), operand(trace, stop)
    if bool(NP.any(NP.logical_or(NP.equal(first, 0), NP.equal(last, 0)))):
        raise ValueError("Geometric sequence cannot include zero")
    is_complex = np.result_type(unwrap(first), unwrap(last)).kind == "c"
    if not is_complex and bool(NP.any(NP.not_equal(NP.sign(first), NP.sign(last)))):
        unsupported("geomspace of real ends of two signs", "make one of them complex")
    count = operator.index(num)
    found = np.result_type(form_of(first), form_of(last), np.float64)
    shape = np.broadcast_shapes(shape_of(first), shape_of(last))
    first, last = (NP.broadcast_to(cast(trace, v, found), shape) for v in (first, last))
    sign = NP.divide(first, NP.absolute(first)) if is_complex else NP.sign(first)
    turned = [NP.divide(v, sign) if is_complex else NP.multiply(sign, v) for v in (first, last)]
    made = logspace(trace, NP.log10(turned[0]), NP.log10(turned[1]), count, endpoint)
    if count:
        middle = take_slice(trace, made, 0, 1, count - 1)
        ends = [reshape(trace, v, (1, *shape)) for v in turned]
        if endpoint and count > 1:
            made = join(trace, [ends[0], take_slice(trace, made, 0, 1, count - 2), ends[1]], 0)
        else:
            made = join(trace, [ends[0], middle], 0)
    made = NP.moveaxis(NP.multiply(made, sign), 0, axis)
    return cast(trace, made, found if dtype is None else dtype)


@handles(np.kaiser, creates=True)
def kaiser(trace: Trace, M: Any, beta: Any) -> Any:
    if find_tracer((M, beta)) is None:
        return fresh(trace, trace.lift(np.kaiser(M, beta)))
    count = operator.index(M)
    if count <= 1:
        return np.kaiser(count, 1.0)
    half = (count - 1) / 2.0
    arc = trace.lift(np.sqrt(1 - ((np.arange(count) - half) / half) ** 2.0))
    return NP.divide(NP.i0(NP.multiply(beta, arc)), NP.i0(beta))


def _delegated(function: Callable[..., Any]) -> None:
    """A maker of constant arrays from plain numbers: numpy's result is lifted."""

    @handles(function, creates=True)
    def constant(trace: Trace, *args: Any, **kwargs: Any) -> Any:
        if find_tracer(args) is not None or find_tracer(kwargs.values()) is not None:
            args = tuple(_whole_number(a) for a in args)
            kwargs = {k: _whole_number(v) for k, v in kwargs.items()}
            if find_tracer(args) is not None or find_tracer(kwargs.values()) is not None:
                unsupported(function.__name__, "use irgrad.numpy.linspace or arange and exp")
        made = function(*args, **kwargs)
        return fresh(trace, trace.lift(made)) if isinstance(made, np.ndarray) and made.dtype.kind in "biufc" else made


for _function in (
    np.hamming,
    np.hanning,
    np.blackman,
    np.bartlett,
    np.indices,
    np.fromiter,
    np.frombuffer,
):
    _delegated(_function)


_from_plain = PUBLIC[np.fromiter]


@functools.wraps(np.fromiter)
def fromiter(iter: Any, dtype: Any, count: int = -1, *, like: Any = None) -> Any:
    items = list(iter if count < 0 else itertools.islice(iter, count))
    if find_tracer(items) is None:
        return _from_plain(items, dtype, count)
    if len(items) < count:
        raise ValueError(f"iterator too short: Expected {count} but iterator had only {len(items)} items.")
    return PUBLIC[np.array](items, dtype=dtype)


PUBLIC[np.fromiter] = fromiter


# ---- matrices ----


def band(trace: Trace, n: int, m: int, k: int, name: str, fn: np.ufunc) -> Any:
    """The mask ``fn(j - i, k)`` of an n by m matrix."""
    rows = reshape(trace, iota(trace, n), (n, 1))
    columns = iota(trace, m)
    return apply(trace, name, fn, apply(trace, "sub", np.subtract, columns, rows), k)


@functools.lru_cache(maxsize=256)
def _small_band(n: int, m: int, k: int, fn: np.ufunc) -> Any:
    return form_array(fn(np.arange(m) - np.arange(n)[:, None], k))


@handles(np.eye, creates=True, buffers=True)
def eye(
    trace: Trace, N: Any, M: Any = None, k: Any = 0, dtype: Any = float, order: Any = "C", *, device: Any = None, like: Any = None
) -> Any:
    n = operator.index(N)
    mask = band(trace, n, n if M is None else operator.index(M), operator.index(k), "equal", np.equal)
    return cast(trace, mask, float if dtype is None else dtype)


@handles(np.identity, creates=True, buffers=True)
def identity(trace: Trace, n: Any, dtype: Any = None, *, like: Any = None) -> Any:
    return eye(trace, n, dtype=dtype)


@handles(np.tri, creates=True)
def tri(trace: Trace, N: Any, M: Any = None, k: Any = 0, dtype: Any = float, *, like: Any = None) -> Any:
    n = operator.index(N)
    mask = band(trace, n, n if M is None else operator.index(M), whole(k), "less_equal", np.less_equal)
    return cast(trace, mask, dtype)


def _triangle(function: Callable[..., Any], name: str, fn: np.ufunc, shift: int) -> None:
    @handles(function)
    def triangle(trace: Trace, m: Any, k: Any = 0) -> Any:
        x = as_array(trace, m)
        shape = shape_of(x)
        if len(shape) == 1:
            x = broadcast(trace, x, shape * 2)
            shape = shape * 2
        n, m, k = shape[-2], shape[-1], whole(k) + shift
        mask = band(trace, n, m, k, name, fn) if trace.is_graph or n * m > _SMALL else _small_band(n, m, k, fn)
        return apply(trace, "where", np.where, mask, x, dtype_of(x).type(0))


_triangle(np.tril, "less_equal", np.less_equal, 0)
_triangle(np.triu, "greater_equal", np.greater_equal, 0)


@handles(np.meshgrid)
def meshgrid(trace: Trace, *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    ndim = len(xi)
    places = list(range(ndim))
    if indexing == "xy" and ndim > 1:
        places[0], places[1] = 1, 0
    grids = []
    for x, place in zip(xi, places, strict=True):
        flat = as_array(trace, x)
        n = int(np.prod(shape_of(flat)))
        grids.append(reshape(trace, flat, tuple(n if i == place else 1 for i in range(ndim))))
    if sparse:
        return tuple(grids)
    shape = np.broadcast_shapes(*[shape_of(g) for g in grids])
    grids = [broadcast(trace, g, shape) for g in grids]
    return tuple([fresh(trace, g) for g in grids] if copy else grids)


@handles(np.vander)
def vander(trace: Trace, x: Any, N: Any = None, increasing: bool = False) -> Any:
    base = as_array(trace, x)
    n = len(form_of(base)) if N is None else operator.index(N)
    dtype = np.promote_types(dtype_of(base), int)
    base = cast(trace, base, dtype)
    powers: list[Any] = [full(trace, (shape_of(base)[0],), 1, dtype)]
    for _ in range(n - 1):
        powers.append(apply(trace, "mul", np.multiply, powers[-1], base))
    columns = powers[:n] if increasing else powers[:n][::-1]
    return PUBLIC[np.stack](columns, axis=-1) if columns else full(trace, (shape_of(base)[0], 0), 0, dtype)
