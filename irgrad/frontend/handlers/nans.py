"""Functions that skip nan: the entries that are nan are replaced by the neutral element, or sorted last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    NP,
    alias,
    apply,
    as_array,
    cast,
    dtype_of,
    handles,
    operand,
    refuse,
    reshape,
    shape_of,
    take_slice,
    unwrap,
)
from irgrad.frontend.handlers.quantiles import ENTRIES, Rows, in_percent, levels_of, place_of, shaped, stacked, weighted
from irgrad.frontend.handlers.reduction import freedom, keeps, mean, prod, reduce, std, sum_, total, var
from irgrad.frontend.trace import Trace


def _without_nan(trace: Trace, a: Any, neutral: complex) -> tuple[Any, Any]:
    """`a` with `neutral` for nan, and the mask of numbers (None if its dtype has no nan)."""
    x = operand(trace, a)
    if dtype_of(x).kind not in "fc":
        return x, None
    missing = apply(trace, "isnan", np.isnan, x)
    return apply(trace, "where", np.where, missing, dtype_of(x).type(neutral), x), apply(trace, "logical_not", np.logical_not, missing)


def _chosen(mask: Any, where: Any) -> Any:
    return mask if where is NO_VALUE or where is True else NP.logical_and(mask, where)


# ---- sums and products ----


def _folding(function: Callable[..., Any], fold: Callable[..., Any], neutral: float) -> None:
    @handles(function)
    def folded(
        trace: Trace,
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE,
        where: Any = NO_VALUE,
    ) -> Any:
        refuse(function.__name__, out=out)
        return fold(trace, _without_nan(trace, a, neutral)[0], axis, dtype, None, keepdims, initial, where)


_folding(np.nansum, sum_, 0)
_folding(np.nanprod, prod, 1)


def _scanning(function: Callable[..., Any], name: str, neutral: float) -> None:
    @handles(function)
    def scanned(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        refuse(function.__name__, out=out)
        return getattr(NP, name)(_without_nan(trace, a, neutral)[0], axis=axis, dtype=dtype)


_scanning(np.nancumsum, "cumsum", 0)
_scanning(np.nancumprod, "cumprod", 1)

# ---- moments ----


@handles(np.nanmean)
def nanmean(
    trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Any:
    refuse("nanmean", out=out)
    x, mask = _without_nan(trace, a, 0)
    if mask is None:
        return mean(trace, x, axis, dtype, None, keepdims, where=where)
    made = sum_(trace, x, axis, dtype, None, keepdims, NO_VALUE, where)
    count = total(trace, NP.broadcast_to(_chosen(mask, where), shape_of(x)), axis, keepdims)
    return cast(trace, apply(trace, "div", np.true_divide, made, count), dtype_of(made))


def _spreading(function: Callable[..., Any], spread: Callable[..., Any]) -> None:
    @handles(function)
    def spreading(
        trace: Trace,
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        ddof: Any = 0,
        keepdims: Any = NO_VALUE,
        *,
        where: Any = NO_VALUE,
        mean: Any = NO_VALUE,
        correction: Any = NO_VALUE,
    ) -> Any:
        refuse(function.__name__, out=out)
        ddof = freedom(ddof, correction)
        x, mask = _without_nan(trace, a, 0)
        if mask is None:
            return spread(trace, x, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
        mask = NP.broadcast_to(_chosen(mask, where), shape_of(x))
        made = spread(trace, x, axis, dtype, None, ddof, keepdims, where=mask, mean=mean)
        enough = NP.greater(total(trace, mask, axis, keepdims), ddof)
        return _either(trace, enough, made, dtype_of(made).type(np.nan))


_spreading(np.nanvar, var)
_spreading(np.nanstd, std)


def _either(trace: Trace, condition: Any, yes: Any, no: Any) -> Any:
    """numpy's where, a scalar where `yes` is one."""
    made = apply(trace, "where", np.where, condition, yes, no)
    return made if isinstance(unwrap(yes), np.ndarray) else alias(made, unwrap(made)[()])


# ---- extremes ----


def _extreme(name: str, pick: str, neutral: float, function: Any) -> None:
    @handles(function)
    def extreme(
        trace: Trace, a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
    ) -> Any:
        refuse(name, out=out)
        is_complex = dtype_of(operand(trace, a)).kind == "c"
        x, mask = _without_nan(trace, a, complex(neutral, neutral) if is_complex else neutral)
        if initial is not NO_VALUE or where is not NO_VALUE:
            return _bounded_extreme(trace, pick, x, mask, neutral, axis, keepdims, initial, where)
        made = reduce(trace, pick, x, axis, keepdims)
        if mask is None:
            return made
        found = reduce(trace, "reduce_any", mask, axis, keepdims)
        out_value = apply(trace, "where", np.where, found, made, dtype_of(made).type(complex(np.nan, np.nan) if is_complex else np.nan))
        return out_value if shape_of(x) and (shape_of(made) or keeps(keepdims)) else alias(out_value, unwrap(out_value)[()])


def _bounded_extreme(trace: Trace, pick: str, x: Any, mask: Any, neutral: float, axis: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    """With a start value, and a mask of what takes part; what is nan does not."""
    if initial is NO_VALUE:
        raise ValueError("reduction operation does not have an identity, so to use a where mask one has to specify 'initial'")
    if where is not NO_VALUE:
        x = NP.where(where, x, initial)
    function = NP.max if pick == "reduce_max" else NP.min
    made = function(x, axis=axis, keepdims=keeps(keepdims), initial=initial)
    if mask is None:
        return made
    nothing = NP.logical_not(NP.any(mask, axis=axis, keepdims=keeps(keepdims)))
    return _either(trace, nothing, made, made)


_extreme("nanmax", "reduce_max", -np.inf, np.nanmax)
_extreme("nanmin", "reduce_min", np.inf, np.nanmin)


def _place(function: Callable[..., Any], pick: str, neutral: float) -> None:
    @handles(function)
    def place(trace: Trace, a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Any:
        refuse(function.__name__, out=out)
        x, mask = _without_nan(trace, a, neutral)
        if mask is not None and not bool(NP.all(NP.any(mask, axis=axis))):
            raise ValueError("All-NaN slice encountered")
        return getattr(NP, pick)(x, axis=axis, keepdims=keeps(keepdims))


_place(np.nanargmax, "argmax", -np.inf)
_place(np.nanargmin, "argmin", np.inf)

# ---- quantiles ----


@handles(np.nanmedian)
def nanmedian(trace: Trace, a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = NO_VALUE) -> Any:
    refuse("nanmedian", out=out)
    rows = Rows(trace, a, axis, real=False)
    if rows.size == 0:
        return nanmean(trace, a, axis, keepdims=keepdims)
    count = _numbers(trace, rows)
    low = _entry(trace, rows, NP.floor_divide(NP.subtract(count, 1), 2))
    high = _entry(trace, rows, NP.floor_divide(count, 2))
    half = cast(trace, NP.divide(NP.add(low, high), 2.0), dtype_of(low))
    return shaped(trace, rows, _either(trace, NP.equal(low, high), low, half), keeps(keepdims))  # equal ones may be infinite


def _numbers(trace: Trace, rows: Rows) -> Any:
    """How many entries of each row are numbers."""
    if dtype_of(rows.ordered).kind not in "fc":
        return NP.full(shape_of(rows.ordered)[:-1], rows.size)
    return NP.sum(NP.logical_not(NP.isnan(rows.ordered)), axis=-1)


def _entry(trace: Trace, rows: Rows, place: Any) -> Any:
    """One entry of each sorted row; of a row without numbers its first, which is nan."""
    place = NP.clip(place, 0, rows.size - 1)
    column = reshape(trace, NP.asarray(place), (*shape_of(place), 1))
    picked = NP.take_along_axis(rows.ordered, column, axis=-1)
    return take_slice(trace, picked, len(shape_of(picked)) - 1, 0, 1, drop=True)


@handles(np.nanquantile)
def nanquantile(
    trace: Trace,
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = NO_VALUE,
    *,
    weights: Any = None,
) -> Any:
    """As `quantile`, of the entries that are numbers; nan where there are none."""
    refuse("nanquantile", out=out)
    rows = Rows(trace, a, axis, method not in ENTRIES)
    levels = levels_of(trace, q)
    if rows.size == 0:
        return nanmean(trace, a, axis, keepdims=keepdims)
    if weights is not None:
        missing = NP.isnan(rows.rows) if dtype_of(rows.rows).kind == "f" else None
        made = weighted(trace, rows, as_array(trace, weights), levels, axis, method, q, missing)
    else:
        count = _numbers(trace, rows)
        made = [_between(trace, rows, place_of(method, level, count), method) for level in levels]
    return stacked(trace, rows, q, made, keeps(keepdims), method)


def _between(trace: Trace, rows: Rows, place: Any, method: str) -> Any:
    """Each sorted row at a place that need not be whole."""
    below = NP.floor(place)
    low = _entry(trace, rows, cast(trace, below, np.int64))
    if method in ENTRIES:
        return low
    high = _entry(trace, rows, cast(trace, NP.ceil(place), np.int64))
    rise, weight = NP.subtract(high, low), NP.subtract(place, below)
    near = NP.add(low, NP.multiply(rise, weight))
    far = NP.subtract(high, NP.multiply(rise, NP.subtract(1, weight)))  # numpy's lerp
    return _either(trace, NP.equal(low, high), low, _either(trace, NP.less(weight, 0.5), near, far))


in_percent(np.nanpercentile, nanquantile)
