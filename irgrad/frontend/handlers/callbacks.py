"""numpy functions that call the user's: apply_along_axis, apply_over_axes, piecewise, fromfunction, vectorize, frompyfunc.

The user's function runs on traced slices, at its own lines: what it does is recorded, entry by entry.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.documented import described
from irgrad.frontend.handlers.core import (
    NP,
    PUBLIC,
    Shape,
    as_array,
    axis_index,
    call,
    cast,
    dtype_of,
    find_in_call,
    form_of,
    full,
    handles,
    iota,
    reshape,
    run,
    shape_of,
    shape_tuple,
    transpose,
    unsupported,
)
from irgrad.frontend.handlers.indexing import mask_positions
from irgrad.frontend.handlers.joining import unstack
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import FUNCTIONS, INDEXING, Tracer


def call_user(trace: Trace, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A call of the user's function, whose operations have its lines."""
    substitution = trace.substitution
    if substitution is not None:
        function = substitution.function(function)
    before, trace.inside = trace.inside, False
    try:
        return function(*args, **kwargs)
    finally:
        trace.inside = before


def _entries(trace: Trace, x: Any, axes: int) -> list[Any]:
    """Every part of an array at its first `axes` axes, in order."""
    if type(x) is not Tracer:
        x = trace.lift(x)
    return [INDEXING["get"](x, place) if type(x) is Tracer else x[place] for place in np.ndindex(*shape_of(x)[:axes])]


@handles(np.apply_along_axis)
def apply_along_axis(trace: Trace, func1d: Callable[..., Any], axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    x = as_array(trace, arr)
    ndim = len(shape_of(x))
    at = axis_index(axis, ndim)
    rows = transpose(trace, x, (*(i for i in range(ndim) if i != at), at))
    lead = shape_of(rows)[:-1]
    if 0 in lead:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    made = [as_array(trace, call_user(trace, func1d, row, *args, **kwargs)) for row in _entries(trace, rows, ndim - 1)]
    dtype, inner = dtype_of(made[0]), shape_of(made[0])  # numpy's buffer is made for the first
    if any(shape_of(m) != inner for m in made):
        raise ValueError(f"could not broadcast input array into shape {inner}: the results differ in shape")
    whole = reshape(trace, NP.stack([cast(trace, m, dtype) for m in made]), (*lead, *inner))
    n = len(lead)
    return transpose(trace, whole, (*range(at), *range(n, n + len(inner)), *range(at, n)))


@handles(np.apply_over_axes)
def apply_over_axes(trace: Trace, func: Callable[..., Any], a: Any, axes: Any) -> Any:
    x = as_array(trace, a)
    ndim = len(shape_of(x))
    for axis in np.atleast_1d(np.asarray(axes)):
        at = axis_index(int(axis), ndim)
        made = as_array(trace, call_user(trace, func, x, at))
        if len(shape_of(made)) != ndim:
            made = NP.expand_dims(made, at)
            if len(shape_of(made)) != ndim:
                raise ValueError("function is not returning an array of the correct shape")
        x = made
    return x


@handles(np.piecewise)
def piecewise(trace: Trace, x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any:
    """Each function sees the entries that its condition selects; how many these are is guarded."""
    values = as_array(trace, x)
    shape = shape_of(values)
    if isinstance(condlist, (list, tuple)):
        conditions = [condlist] if np.ndim(form_of(condlist[0])) == 0 and shape else list(condlist)
    else:
        conditions = [condlist] if np.ndim(form_of(condlist)) < 2 else list(unstack(trace, condlist))
    masks = [NP.broadcast_to(cast(trace, as_array(trace, c), bool), shape) for c in conditions]
    if len(funclist) == len(masks) + 1:
        rest = functools.reduce(NP.logical_or, masks)
        masks.append(NP.logical_not(rest))
    elif len(funclist) != len(masks):
        raise ValueError(f"with {len(masks)} condition(s), either {len(masks)} or {len(masks) + 1} functions are expected")
    dtype = dtype_of(values)
    flat = reshape(trace, values, (size_of(shape),))
    made = full(trace, (size_of(shape),), 0, dtype)
    for mask, function in zip(masks, funclist, strict=True):
        at = mask_positions(trace, as_array(trace, mask))
        if shape_of(at)[0] == 0:
            continue
        part = call_user(trace, function, call(trace, "gather", flat, at), *args, **kw) if callable(function) else function
        part = cast(trace, as_array(trace, part), dtype)
        made = call(trace, "scatter_update", made, part, at)
    return reshape(trace, made, shape)


@handles(np.fromfunction, creates=True)
def fromfunction(trace: Trace, function: Callable[..., Any], shape: Any, *, dtype: Any = float, like: Any = None, **kwargs: Any) -> Any:
    sizes = shape_tuple(shape)
    grids = [
        NP.broadcast_to(reshape(trace, iota(trace, n, dtype), tuple(n if k == i else 1 for k in range(len(sizes)))), sizes)
        for i, n in enumerate(sizes)
    ]
    return call_user(trace, function, *grids, **kwargs)


# ---- vectorize ----


class Vectorize(np.vectorize):
    """`numpy.vectorize` that also calls its function with traced numbers, one call an entry."""

    @classmethod
    def of(cls, plain: np.vectorize) -> Vectorize:
        """The form of one that was made outside the traced function."""
        made = object.__new__(cls)
        made.__dict__.update(plain.__dict__)
        return made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not callable(self.pyfunc):  # a decorator with options: the function comes now
            return super().__call__(*args, **kwargs)
        found = find_in_call(args, kwargs)
        if found is None:
            return super().__call__(*args, **kwargs)
        return run(found._trace, "vectorize", self._traced, args, kwargs)

    def _traced(self, trace: Trace, *args: Any, **kwargs: Any) -> Any:
        names = [k for k in kwargs if k not in self.excluded]
        places = [i for i in range(len(args)) if i not in self.excluded]
        data = [as_array(trace, args[i]) for i in places] + [as_array(trace, kwargs[k]) for k in names]
        inputs, outputs = _signature(self.signature, len(data))
        lead = np.broadcast_shapes(*[shape_of(x)[: len(shape_of(x)) - n] for x, n in zip(data, inputs, strict=True)])
        columns = []
        for x, n in zip(data, inputs, strict=True):
            core = shape_of(x)[len(shape_of(x)) - n :] if n else ()
            columns.append(_entries(trace, NP.broadcast_to(x, (*lead, *core)), len(lead)))
        results: list[Any] = []
        for entry in zip(*columns, strict=True):
            given, named = list(args), dict(kwargs)
            for i, value in zip(places, entry, strict=False):
                given[i] = value
            named.update(zip(names, entry[len(places) :], strict=True))
            results.append(call_user(trace, self.pyfunc, *given, **named))
        if not results:
            if self.otypes is None:
                raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
            made = [NP.zeros(lead, np.dtype(kind)) for kind in self.otypes]
            return tuple(made) if len(made) > 1 else made[0]
        several = isinstance(results[0], tuple)
        parts = list(zip(*results, strict=True)) if several else [results]
        made = [self._joined(trace, part, lead, k, outputs) for k, part in enumerate(parts)]
        return tuple(made) if several else made[0]

    def _joined(self, trace: Trace, part: Sequence[Any], lead: Shape, k: int, outputs: int | None) -> Any:
        arrays = [as_array(trace, p) for p in part]
        if self.otypes is not None:
            dtype = np.dtype(self.otypes[k])
        else:
            dtype = dtype_of(arrays[0]) if outputs is None else np.result_type(*[dtype_of(x) for x in arrays])
        stacked = NP.stack([cast(trace, x, dtype) for x in arrays])
        shape = (*lead, *shape_of(arrays[0]))
        return reshape(trace, stacked, shape)


def _signature(text: str | None, count: int) -> tuple[list[int], int | None]:
    """Core dimensions of each operand, and how many results."""
    if text is None:
        return [0] * count, None
    before, after = text.replace(" ", "").split("->")

    def extents(side: str) -> list[int]:
        return [len([n for n in part.split(",") if n]) for part in side.strip("()").split("),(")]

    inputs = extents(before)
    if len(inputs) != count:
        raise TypeError(f"wrong number of positional arguments: expected {len(inputs)}, got {count}")
    return inputs, len(extents(after))


PUBLIC[np.vectorize] = Vectorize

# ---- frompyfunc ----


class PyUfunc:
    """What `numpy.frompyfunc` makes, which also calls its function with traced numbers: those give arrays of numbers, not of objects."""

    def __init__(self, ufunc: np.ufunc, function: Callable[..., Any]) -> None:
        self.ufunc = ufunc
        self.function = function
        self.__name__ = ufunc.__name__

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance holds as for numpy's
        return np.ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = find_in_call(args, kwargs)
        if found is None:
            return self.ufunc(*args, **kwargs)
        if kwargs or len(args) != self.ufunc.nin:
            unsupported(f"{self.__name__} of frompyfunc with keywords or out", "call it with its operands only")
        return run(found._trace, self.__name__, self._traced, args, {})

    def _traced(self, trace: Trace, *args: Any) -> Any:
        arrays = [as_array(trace, a) for a in args]
        shape = np.broadcast_shapes(*[shape_of(x) for x in arrays])
        columns = [_entries(trace, NP.broadcast_to(x, shape), len(shape)) for x in arrays]
        results = [call_user(trace, self.function, *entry) for entry in zip(*columns, strict=True)]
        if self.ufunc.nout > 1:
            return tuple(self._shaped(trace, [r[k] for r in results], shape) for k in range(self.ufunc.nout))
        return self._shaped(trace, results, shape)

    def _shaped(self, trace: Trace, results: list[Any], shape: Shape) -> Any:
        if not shape:
            return results[0]
        return reshape(trace, as_array(trace, results) if results else NP.zeros(0), shape)

    def __getattr__(self, name: str) -> Any:
        if name in ("reduce", "accumulate", "outer", "reduceat"):
            return functools.partial(self._method, name)
        return getattr(self.ufunc, name)

    def _method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if find_in_call(args, kwargs) is None:
            return getattr(self.ufunc, name)(*args, **kwargs)
        return FUNCTIONS["ufunc"](self.ufunc, name, args, kwargs)


def frompyfunc(func: Callable[..., Any], /, nin: int, nout: int, **kwargs: Any) -> Any:
    """The result also takes traced values, and makes arrays of numbers of them."""
    return PyUfunc(np.frompyfunc(func, nin, nout, **kwargs), func)


def python_function(ufunc: np.ufunc) -> PyUfunc | None:
    """The traced form of what `numpy.frompyfunc` made elsewhere; None for any other ufunc."""
    if not ufunc.__name__.endswith("(vectorized)"):
        return None
    functions = [held for held in gc.get_referents(ufunc) if callable(held)]  # numpy has no name for it
    return PyUfunc(ufunc, functions[0]) if functions else None


frompyfunc.__doc__ = described(np.frompyfunc, frompyfunc)
frompyfunc.__wrapped__ = np.frompyfunc  # type: ignore[attr-defined]
PUBLIC[np.frompyfunc] = frompyfunc
