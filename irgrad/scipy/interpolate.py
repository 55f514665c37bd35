"""`scipy.interpolate` for traced code: linear `interp1d`, `RegularGridInterpolator` and `interpn`.

Linear in the values, piecewise linear in the places and in the grid: at a grid point the slope is that of the cell above, at the
last one that of the cell below. Which cell a place is in is data, not derivative. Other methods, and interpolators that were
made by scipy outside a trace, are scipy's own and refuse traced values.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import interpolate as _interpolate

import irgrad.numpy as inp
from irgrad.extend import concrete_of
from irgrad.frontend.context import current
from irgrad.frontend.handlers.core import as_array, cast, dtype_of, find_in_call, open_trace, run, shape_of, unsupported, unwrap
from irgrad.frontend.handlers.special import floating, stopped, where
from irgrad.frontend.trace import Trace
from irgrad.scipy._wrap import module_names

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...

# ---- cells of a grid ----


def _ascending(name: str, grid: Any, values: Any, axis: int) -> tuple[Any, Any]:
    """Grid and values in ascending order. Raises ValueError for a grid that is not strictly monotonic."""
    steps = np.diff(np.asarray(concrete_of(grid)))
    if np.all(steps > 0):
        return grid, values
    if np.all(steps < 0):
        return inp.flip(grid), inp.flip(values, axis)
    raise ValueError(f"{name}: The points in dimension {axis} must be strictly ascending or descending")


def _cell(grid: Any, x: Any) -> tuple[Any, Any]:
    """The index of the cell of each place, the outer ones reaching to infinity, and the fraction of it."""
    n = shape_of(grid)[0]
    index = inp.clip(inp.searchsorted(stopped(grid), stopped(x), side="right") - 1, 0, n - 2)
    trace = current()
    if trace is None or not trace.is_graph:  # whole numbers, which eager derivatives do not see
        index = unwrap(index)
    low = grid[index]
    return index, (x - low) / (grid[index + 1] - low)


def _multilinear(grids: list[Any], values: Any, places: list[Any]) -> Any:
    """The weighted sum over the corners of each place's cell; `values` may have axes behind those of the grid."""
    cells = [_cell(grid, x) for grid, x in zip(grids, places, strict=True)]
    rest = len(shape_of(values)) - len(grids)
    total: Any = None
    for corner in itertools.product((0, 1), repeat=len(grids)):
        weight: Any = None
        for upper, (_, fraction) in zip(corner, cells, strict=True):
            part = fraction if upper else 1.0 - fraction
            weight = part if weight is None else weight * part
        found = values[tuple(index + upper for upper, (index, _) in zip(corner, cells, strict=True))]
        if rest:
            weight = inp.reshape(weight, (*shape_of(weight), *(1,) * rest))
        term = weight * found
        total = term if total is None else total + term
    return total


def _outside(grid: Any, x: Any) -> tuple[Any, Any]:
    """Where places are below and above a grid."""
    grid = stopped(grid)
    x = stopped(x)
    return x < grid[0], x > grid[-1]


# ---- on a grid ----


class RegularGridInterpolator:
    """Interpolation on a rectilinear grid, with scipy's signature; linear where anything is traced."""

    def __init__(
        self, points: Any, values: Any, method: str = "linear", bounds_error: bool = True, fill_value: Any = np.nan, **more: Any
    ) -> None:
        self._traced = find_in_call((tuple(points), values, fill_value), {}) is not None
        self._plain = (
            None if self._traced else _interpolate.RegularGridInterpolator(points, values, method, bounds_error, fill_value, **more)
        )
        self.grid, self.values = tuple(points), values
        self.method, self.bounds_error, self.fill_value = method, bounds_error, fill_value

    def __call__(self, xi: Any, method: str | None = None, *, nu: Any = None) -> Any:
        traced = self._traced or find_in_call((xi,), {}) is not None
        if not traced or current() is None:
            assert self._plain is not None
            return self._plain(xi, method, nu=nu)
        trace = open_trace((xi, self.values, *self.grid), {})
        assert trace is not None
        return run(trace, "interpolate.RegularGridInterpolator", self._evaluate, (xi, method or self.method, nu), {})

    def _evaluate(self, trace: Trace, xi: Any, method: str, nu: Any) -> Any:
        if method != "linear" or nu is not None:
            unsupported(f"interpolate.RegularGridInterpolator(method={method!r})", "use method='linear'", "scipy")
        values = floating(trace, as_array(trace, self.values))
        grids = [floating(trace, as_array(trace, grid), np.float64) for grid in self.grid]
        if len(grids) > len(shape_of(values)):
            raise ValueError(f"There are {len(grids)} point arrays, but values has {len(shape_of(values))} dimensions")
        for axis, grid in enumerate(grids):
            if shape_of(grid) != (shape_of(values)[axis],):
                raise ValueError(f"There are {shape_of(grid)[0]} points and {shape_of(values)[axis]} values along dimension {axis}")
            grids[axis], values = _ascending("RegularGridInterpolator", grid, values, axis)
        places = _places(trace, xi, len(grids))
        shape = shape_of(places[0])
        flat = [inp.reshape(x, (-1,)) for x in places]
        made = _multilinear(grids, values, flat)
        sides = [side for grid, x in zip(grids, flat, strict=True) for side in _outside(grid, x)]
        if self.bounds_error:
            for axis in range(len(grids)):
                if bool(inp.any(sides[2 * axis] | sides[2 * axis + 1])):
                    raise ValueError(f"One of the requested xi is out of bounds in dimension {axis}")
        elif self.fill_value is not None:
            anywhere = sides[0]
            for side in sides[1:]:
                anywhere = anywhere | side
            rest = len(shape_of(made)) - 1
            made = where(inp.reshape(anywhere, (-1, *(1,) * rest)), self.fill_value, made)
        return inp.reshape(made, (*shape, *shape_of(made)[1:]))


def _places(trace: Trace, xi: Any, count: int) -> list[Any]:
    """Coordinates by dimension: from a tuple of arrays that broadcast, or from an array with coordinates along its last axis."""
    if isinstance(xi, tuple):
        parts = [floating(trace, as_array(trace, x), np.float64) for x in xi]
        if len(parts) != count:
            raise ValueError(
                f"The requested sample points xi have dimension {len(parts)} but this RegularGridInterpolator has dimension {count}"
            )
        shape = np.broadcast_shapes(*map(shape_of, parts))
        return [inp.broadcast_to(x, shape) for x in parts]
    x = floating(trace, as_array(trace, xi), np.float64)
    if len(shape_of(x)) == 1:
        x = inp.reshape(x, (-1, 1) if count == 1 else (1, -1))
    if not shape_of(x):
        x = inp.reshape(x, (1, 1))
    if shape_of(x)[-1] != count:
        raise ValueError(
            f"The requested sample points xi have dimension {shape_of(x)[-1]} but this RegularGridInterpolator has dimension {count}"
        )
    return [x[..., k] for k in range(count)]


# ---- on a line ----


class interp1d:
    """Linear interpolation of samples along an axis, with scipy's signature."""

    def __init__(
        self, x: Any, y: Any, kind: Any = "linear", axis: int = -1, copy: bool = True, bounds_error: bool | None = None,
        fill_value: Any = np.nan, assume_sorted: bool = False,
    ) -> None:  # fmt: skip
        self._traced = find_in_call((x, y, fill_value), {}) is not None
        self._plain = None
        if not self._traced:
            self._plain = _interpolate.interp1d(x, y, kind, axis, copy, bounds_error, fill_value, assume_sorted)
        self.x, self.y, self.kind, self.axis, self.fill_value = x, y, kind, axis, fill_value
        self.extrapolates = isinstance(fill_value, str) and fill_value == "extrapolate"
        self.bounds_error = not self.extrapolates if bounds_error is None else bounds_error
        self.assume_sorted = assume_sorted

    def __call__(self, x: Any) -> Any:
        traced = self._traced or find_in_call((x,), {}) is not None
        if not traced or current() is None:
            assert self._plain is not None
            return self._plain(x)
        trace = open_trace((x, self.x, self.y), {})
        assert trace is not None
        return run(trace, "interpolate.interp1d", self._evaluate, (x,), {})

    def _evaluate(self, trace: Trace, x: Any) -> Any:
        if self.kind not in ("linear", 1):
            unsupported(f"interpolate.interp1d(kind={self.kind!r})", "use kind='linear'", "scipy")
        grid, values = as_array(trace, self.x, np.float64), floating(trace, as_array(trace, self.y))
        axis = self.axis % len(shape_of(values))
        values = inp.moveaxis(values, axis, 0)
        if shape_of(grid) != shape_of(values)[:1]:
            raise ValueError("x and y arrays must be equal in length along interpolation axis.")
        if not self.assume_sorted:
            order = np.argsort(unwrap(grid), kind="mergesort")
            if np.any(order != np.arange(len(order))):
                grid, values = grid[order], values[order]
        place = floating(trace, as_array(trace, x), np.float64)
        shape = shape_of(place)
        flat = inp.reshape(place, (-1,))
        made = _multilinear([grid], values, [flat])
        made = self._filled(made, *_outside(grid, flat))
        made = cast(trace, inp.reshape(made, (*shape, *shape_of(values)[1:])), dtype_of(values))
        return inp.moveaxis(made, tuple(range(len(shape))), tuple(range(axis, axis + len(shape))))

    def _filled(self, made: Any, below: Any, above: Any) -> Any:
        if self.bounds_error:
            if bool(inp.any(below)):
                raise ValueError("A value in x_new is below the interpolation range.")
            if bool(inp.any(above)):
                raise ValueError("A value in x_new is above the interpolation range.")
        elif not self.extrapolates:
            low, high = self.fill_value if isinstance(self.fill_value, tuple) else (self.fill_value, self.fill_value)
            column = (-1, *(1,) * (len(shape_of(made)) - 1))
            made = where(inp.reshape(below, column), low, where(inp.reshape(above, column), high, made))
        return made


# ---- names ----


def _interpn(
    trace: Trace, points: Any, values: Any, xi: Any, method: str = "linear", bounds_error: bool = True, fill_value: Any = np.nan
) -> Any:
    return RegularGridInterpolator(points, values, method, bounds_error, fill_value)(xi)


globals().update(
    {
        name: item
        for name, item in module_names(_interpolate, interpn=_interpn).items()
        if name not in ("RegularGridInterpolator", "interp1d")
    }
)
