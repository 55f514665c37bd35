"""Distributions of `scipy.stats` as compositions: support, location, scale and invalid parameters are handled here, once.

A family gives formulas for its standard form on values inside the support; what they are not defined for never reaches them, so
that derivatives are finite where the value is constant. As in scipy everything is float64, and invalid parameters give nan.
Methods that a family has no formula for are scipy's own and refuse traced values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irgrad.frontend.documented import UNTRACED, with_section
from irgrad.frontend.handlers.core import find_in_call, real64, unsupported, unwrap
from irgrad.frontend.handlers.special import stopped, where
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.numpy import exp, floor, isnan, log, log1p
from irgrad.scipy._wrap import guarded, traced_form

Formula = Callable[..., Any]


@dataclass(frozen=True)
class Family:
    """Formulas of a standard form by name (logpdf or logpmf, cdf, sf, logcdf, logsf, ppf, isf), each ``f(x, *shapes)``.

    `support` gives its ends and a point inside; `valid` what the shapes must satisfy. `fixed` are shapes that are whole numbers.
    """

    name: str
    shapes: tuple[str, ...]
    support: tuple[float, float, float]
    formulas: Mapping[str, Formula]
    valid: Formula = lambda *shapes: True
    discrete: bool = False
    upper: Formula | None = None  # the end of a support that depends on shapes
    fixed: tuple[int, ...] = ()
    open_ends: bool = False  # the density is 0 at the ends


# ---- conditions: plain ones are decided, traced ones recorded ----


def both(a: Any, b: Any) -> Any:
    if a is True or b is True:
        return b if a is True else a
    return a & b


def either(a: Any, b: Any) -> Any:
    if a is False or b is False:
        return b if a is False else a
    return a | b


def decided(condition: Any) -> Any:
    """True or False for a plain condition that holds everywhere or nowhere, itself otherwise."""
    if type(condition) is Tracer:
        return condition
    return bool(np.all(condition)) if np.all(condition) == np.any(condition) else condition


def choose(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition holds, else `y`; no operation where it is decided and the choice has the shape."""
    shape = np.broadcast_shapes(*(np.shape(unwrap(v)) for v in (condition, x, y)))
    known = decided(condition)
    if isinstance(known, bool):
        chosen = x if known else y
        if np.shape(unwrap(chosen)) == shape:
            return chosen
    return where(condition, x, y)


def is_plainly(x: Any, number: float) -> bool:
    """Is `x` a plain number, and this one?"""
    return type(x) is float and x == number


@dataclass
class _Place:
    """A standardized argument: where it is below, above or outside the support, and a copy that is inside everywhere."""

    z: Any
    below: Any
    above: Any
    scale: Any
    loc: Any
    shapes: tuple[Any, ...]
    valid: Any
    inner: float

    def inside(self, outside: Any) -> Any:
        return choose(outside, self.inner, self.z)

    def checked(self, value: Any) -> Any:
        return choose(self.valid, value, math.nan)


class Named:
    """What stands for a distribution of scipy's: a call fixes its parameters, and what is not traced refuses traced values."""

    original: Any
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        return Frozen(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return guarded(getattr(self.original, name), f"stats.{self.name}.{name}")

    def __repr__(self) -> str:
        return f"<irgrad.scipy.stats.{self.name}>"


class Distribution(Named):
    """A distribution of scipy whose methods record on traced values; `dist(...)` freezes its parameters."""

    def __init__(self, original: Any, family: Family) -> None:
        self.original = original
        self.name = family.name
        self._family = family
        for name in self._names():
            self.__dict__[name] = self._method(name)
        self.__doc__ = with_section(original.__doc__, [f"Traced: {', '.join(self._names())}; other methods refuse traced values."])

    def _names(self) -> list[str]:
        density = ["pmf", "logpmf"] if self._family.discrete else ["pdf", "logpdf"]
        return [*density, *(name for name in ("cdf", "sf", "logcdf", "logsf", "ppf", "isf") if self._has(name))]

    def _has(self, name: str) -> bool:
        formulas = self._family.formulas
        return name in formulas or (name.startswith("log") and name[3:] in formulas) or (name == "isf" and "ppf" in formulas)

    def _method(self, name: str) -> Callable[..., Any]:
        original = getattr(self.original, name)
        implement = getattr(self, f"_{name}")

        def impl(trace: Trace, x: Any, *args: Any, **kwargs: Any) -> Any:
            return implement(*self._parameters(trace, name, x, args, kwargs))

        return traced_form(f"stats.{self.name}.{name}", original, impl, self._note(name))

    def _note(self, name: str) -> str:
        """For the documentation of a method: the arguments that it is differentiable by."""
        family = self._family
        moving = [shape for k, shape in enumerate(family.shapes) if k not in family.fixed]
        if not family.discrete:
            moving = ["q" if name in ("ppf", "isf") else "x", *moving, "loc", "scale"]
        return f"Differentiable in reverse and forward mode, to any order, by {', '.join(moving)}. Compiled: every operation has a kernel."

    def _parameters(self, trace: Trace, name: str, x: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The argument, shapes, location and scale as float64 operands, from positions and keywords."""
        order = (*self._family.shapes, "loc", *(() if self._family.discrete else ("scale",)))
        if len(args) > len(order):
            raise TypeError(f"{name}() takes from {1 + len(self._family.shapes)} to {1 + len(order)} positional arguments")
        given = dict(zip(order, args, strict=False))
        for key, value in kwargs.items():
            if key not in order or key in given:
                raise TypeError(f"{name}() got an unexpected or repeated keyword argument {key!r}")
            given[key] = value
        missing = [key for key in self._family.shapes if key not in given]
        if missing:
            raise TypeError(f"{name}() missing required arguments: {', '.join(missing)}")
        values = [_float64(trace, given.get(key, 0.0 if key == "loc" else 1.0)) for key in order]
        shapes = [stopped(v) if i in self._family.fixed else v for i, v in enumerate(values[: len(self._family.shapes)])]
        loc, scale = values[len(shapes)], 1.0 if self._family.discrete else values[-1]
        return _float64(trace, x), tuple(shapes), loc, scale

    # -- places ------------------------------------------------------------------------------------------------------

    def _place(self, x: Any, shapes: tuple[Any, ...], loc: Any, scale: Any) -> _Place:
        family = self._family
        valid = decided(family.valid(*shapes))
        if not family.discrete:
            valid = both(valid, decided(scale > 0))
        low, high, inner = family.support
        z = x if is_plainly(loc, 0.0) else x - loc
        if not is_plainly(scale, 1.0):
            z = z / scale
        below = False if low == -math.inf else z < low
        above: Any = False
        if family.upper is not None:
            above = z > family.upper(*shapes)
        elif high != math.inf:
            above = z > high
        return _Place(z, below, above, scale, loc, shapes, valid, inner)

    # -- methods of continuous distributions -------------------------------------------------------------------------

    def _log_density(self, *parameters: Any) -> tuple[_Place, Any, Any]:
        place = self._place(*parameters)
        outside = either(place.below, place.above)
        low, high, _ = self._family.support
        if self._family.open_ends:
            outside = either(outside, either(place.z == low, place.z == high))
        formula = self._family.formulas["logpdf"]
        value = formula(place.inside(outside), *place.shapes)
        return place, outside, value

    def _logpdf(self, *parameters: Any) -> Any:
        place, outside, value = self._log_density(*parameters)
        if not is_plainly(place.scale, 1.0):
            value = value - log(place.scale)
        return place.checked(choose(outside, -math.inf, value))

    def _pdf(self, *parameters: Any) -> Any:
        place, outside, value = self._log_density(*parameters)
        value = exp(value)
        if not is_plainly(place.scale, 1.0):
            value = value / place.scale
        return place.checked(choose(outside, 0.0, value))

    # -- methods of discrete distributions: constant between whole numbers ------------------------------------------

    def _logpmf(self, *parameters: Any) -> Any:
        return self._mass(parameters, -math.inf, lambda value: value)

    def _pmf(self, *parameters: Any) -> Any:
        return self._mass(parameters, 0.0, exp)

    def _mass(self, parameters: tuple[Any, ...], nowhere: float, finish: Formula) -> Any:
        place = self._place(stopped(parameters[0]), *parameters[1:])
        outside = either(either(place.below, place.above), (place.z != floor(place.z)) & ~isnan(place.z))
        value = finish(self._family.formulas["logpmf"](place.inside(outside), *place.shapes))
        return place.checked(choose(outside, nowhere, value))

    # -- distribution functions --------------------------------------------------------------------------------------

    def _distribution(self, name: str, parameters: tuple[Any, ...], below: float, above: float) -> Any:
        x, *rest = parameters
        place = self._place(stopped(x) if self._family.discrete else x, *rest)
        if self._family.discrete:
            place.z = floor(place.z)
        low, high, inner = self._family.support
        at_low = place.below if self._family.discrete or low == -math.inf else place.z <= low
        if self._family.upper is not None:
            at_high = place.z >= self._family.upper(*place.shapes)
        else:
            at_high = False if high == math.inf else place.z >= high
        z = choose(either(at_low, at_high), inner, place.z)
        formulas = self._family.formulas
        value = formulas[name](z, *place.shapes) if name in formulas else self._logarithm(name[3:], z, place.shapes)
        return place.checked(choose(at_low, below, choose(at_high, above, value)))

    def _logarithm(self, name: str, z: Any, shapes: tuple[Any, ...]) -> Any:
        """The logarithm of a probability; above one half by way of the other tail, which is exact there."""
        formulas = self._family.formulas
        chance, rest = formulas[name](z, *shapes), formulas["sf" if name == "cdf" else "cdf"](z, *shapes)
        low = chance < 0.5
        return where(low, log(where(low, chance, 0.5)), log1p(-where(low, 0.5, rest)))

    def _cdf(self, *parameters: Any) -> Any:
        return self._distribution("cdf", parameters, 0.0, 1.0)

    def _sf(self, *parameters: Any) -> Any:
        return self._distribution("sf", parameters, 1.0, 0.0)

    def _logcdf(self, *parameters: Any) -> Any:
        return self._distribution("logcdf", parameters, -math.inf, 0.0)

    def _logsf(self, *parameters: Any) -> Any:
        return self._distribution("logsf", parameters, 0.0, -math.inf)

    # -- quantiles ---------------------------------------------------------------------------------------------------

    def _quantile(self, name: str, q: Any, shapes: tuple[Any, ...], loc: Any, scale: Any) -> Any:
        place = self._place(0.5, shapes, loc, scale)
        outside = (q < 0.0) | (q > 1.0)
        formulas = self._family.formulas
        inner = choose(outside, 0.5, q)
        value = formulas[name](inner, *shapes) if name in formulas else formulas["ppf"](1.0 - inner, *shapes)
        if not is_plainly(scale, 1.0):
            value = value * scale
        if not is_plainly(loc, 0.0):
            value = value + loc
        return place.checked(choose(outside, math.nan, value))

    def _ppf(self, q: Any, *parameters: Any) -> Any:
        return self._quantile("ppf", q, *parameters)

    def _isf(self, q: Any, *parameters: Any) -> Any:
        return self._quantile("isf", q, *parameters)

    freeze = Named.__call__


class Frozen:
    """A distribution with its parameters."""

    def __init__(self, distribution: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.dist = distribution
        self.args = args
        self.kwds = kwargs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = vars(self.dist).get(name)
        if method is not None:
            return lambda x: method(x, *self.args, **self.kwds)
        full = f"stats.{self.dist.name}.{name}"
        if find_in_call(self.args, self.kwds) is not None:
            unsupported(full, library="scipy")
        return guarded(getattr(self.dist.original(*self.args, **self.kwds), name), full)


class Guarded:
    """A distribution of scipy without formulas here: it refuses traced values, in a call and in its methods."""

    def __init__(self, original: Any, name: str) -> None:
        self.original = original
        self._name = name
        self.__doc__ = with_section(original.__doc__, [UNTRACED])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return guarded(self.original, self._name)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return guarded(getattr(self.original, name), f"{self._name}.{name}")

    def __repr__(self) -> str:
        return repr(self.original)


def _float64(trace: Trace, x: Any) -> Any:
    """A float64 operand; plain numbers are Python floats."""
    made = real64(trace, x)
    return float(made) if type(made) is not Tracer and np.ndim(made) == 0 else made
