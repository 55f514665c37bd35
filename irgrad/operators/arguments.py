"""Which arguments are differentiated, by position or name, and their leaves as something that has a derivative."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.elements import BOXES, element, unboxed
from irgrad.errors import DifferentiationError, TraceError
from irgrad.frontend.overlaps import find_groups, pairs
from irgrad.frontend.storage import SharedArguments, view_of
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY
from irgrad.operators.messages import name_of
from irgrad.operators.values import dtype_of
from irgrad.pytree import flatten, paths, unflatten

Argnum = int | str | Sequence[int | str]
_ndarray = np.ndarray
_float64 = np.float64


def find_places(
    fun: Callable[..., Any], argnum: Argnum, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[int | str], bool, dict[str, Any]]:
    """Where the differentiated arguments are: positions in `args`, names in the returned keywords."""
    single = not isinstance(argnum, (tuple, list))
    wanted: Sequence[Any] = (argnum,) if single else argnum  # type: ignore[assignment]
    kwargs = dict(kwargs)
    places = [_place(fun, each, args, kwargs) for each in wanted]
    if len(set(places)) != len(places):
        raise DifferentiationError(f"argnum {argnum!r} names an argument twice ({here()})")
    return places, single, kwargs


def _place(fun: Callable[..., Any], argnum: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | str:
    if isinstance(argnum, bool) or not (isinstance(argnum, str) or hasattr(argnum, "__index__")):
        raise DifferentiationError(f"argnum is an int, a parameter name, or a tuple of those; got {argnum!r} ({here()})")
    if isinstance(argnum, str):
        if argnum in kwargs:
            return argnum
        names = parameter_names(fun)
        if argnum in names and names.index(argnum) < len(args):
            return names.index(argnum)
        return _default(fun, argnum, argnum, args, kwargs)
    position = operator.index(argnum)
    if 0 <= position < len(args):
        return position
    names = parameter_names(fun)
    if position < 0:
        given = [name for name in names[len(args) :] if name in kwargs]
        if position + len(args) + len(given) >= 0:
            position += len(args) + len(given)
            return position if position < len(args) else given[position - len(args)]
    elif position < len(names):
        name = names[position]
        return name if name in kwargs else _default(fun, argnum, name, args, kwargs)
    raise _no_argument(fun, argnum, args, kwargs)


def _default(fun: Callable[..., Any], argnum: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The name of a parameter left at its default value, which enters `kwargs`."""
    try:
        parameter = inspect.signature(fun).parameters[name]
    except (TypeError, ValueError, KeyError):
        raise _no_argument(fun, argnum, args, kwargs) from None
    if parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
        raise _no_argument(fun, argnum, args, kwargs)
    kwargs[name] = parameter.default
    return name


def parameter_names(fun: Callable[..., Any]) -> list[str]:
    """Names of the positional parameters, then of the keyword-only ones."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _no_argument(fun: Callable[..., Any], argnum: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> DifferentiationError:
    given = f"{len(args)} positional argument{'s' * (len(args) != 1)}"
    if kwargs:
        given += f" and the keywords {', '.join(kwargs)}"
    names = ", ".join(parameter_names(fun))
    return DifferentiationError(f"argnum {argnum!r} names no argument of {name_of(fun)}({names}), which was called with {given} ({here()})")


def as_inexact(trace: Trace, leaf: Any, fun: Callable[..., Any], places: Sequence[int | str], picked: Sequence[Any], k: int) -> Any:
    """A leaf as something that has a derivative: integers become floats. Raises DifferentiationError for the rest."""
    kind = type(leaf)
    if kind is float or kind is _float64 or kind is complex:
        return leaf
    if kind is Tracer:
        category = dtype_of(leaf.form).kind
        if category in "fc":
            return leaf
        if category in "iu":
            return trace.call(REGISTRY["convert"], (leaf,), {"dtype": "float64"})
    elif kind is _ndarray or isinstance(leaf, np.generic):
        category = leaf.dtype.kind
        if category in "fc":
            return leaf
        if category in "iu":
            return leaf.astype(_float64)
    elif isinstance(leaf, (float, int)) and not isinstance(leaf, bool):
        return float(leaf)
    elif isinstance(leaf, complex):
        return complex(leaf)
    elif isinstance(leaf, np.memmap):
        return as_inexact(trace, np.asarray(leaf), fun, places, picked, k)
    elif type(held := unboxed(leaf)) in BOXES:
        return element(trace, held)
    elif type(held) is Tracer:
        return held
    raise _refused(leaf, fun, places, picked, k)


def _refused(leaf: Any, fun: Callable[..., Any], places: Sequence[int | str], picked: Sequence[Any], k: int) -> DifferentiationError:
    """The error that names a leaf without a derivative."""
    value = leaf.form if type(leaf) is Tracer else leaf
    written: list[str] = []
    for place, tree in zip(places, picked, strict=True):
        names = parameter_names(fun)
        name = place if isinstance(place, str) else names[place] if place < len(names) else f"argument {place}"
        written += [f"{name}{path}" for path in paths(tree)]
    where = written[k] if k < len(written) else "an argument"
    what = f"{type(value)}"
    if isinstance(value, np.ndarray) and type(value) is _ndarray:
        what += f" of dtype {value.dtype}"
    if isinstance(value, np.ndarray) and type(value) is not _ndarray:
        step = "pass np.asarray of it"
    elif isinstance(value, (bool, np.bool_)) or (isinstance(value, np.ndarray) and value.dtype.kind == "b"):
        step = "convert it with .astype(float), or differentiate with respect to another argument (argnum)"
    else:
        step = "differentiate with respect to another argument (argnum) or pass this one by closure"
    return DifferentiationError(f"Can't differentiate w.r.t. type {what}: {where} of {name_of(fun)} ({here()}); {step}")


def share_memory(
    trace: Trace, fun: Callable[..., Any], leaves: Sequence[Any], places: Sequence[int | str], args: list[Any], kwargs: dict[str, Any]
) -> dict[int, int]:
    """Differentiated leaves that share memory with other arguments, with the index of that memory; in a full trace, the other
    arguments become traced arrays in `args` and `kwargs`.

    Raises SharedArguments where a plain array would be in the memory of a differentiated one.
    """
    if not trace.near:
        return {}
    others: list[int | str] = [k for k in range(len(args)) if k not in places]
    others += [k for k in kwargs if k not in places]
    if not others and len(leaves) < 2:
        return {}
    values = [args[k] if type(k) is int else kwargs[k] for k in others]  # type: ignore[index]
    plain, structure = flatten(values)
    count = len(leaves)
    if not trace.full:
        found = pairs([*leaves, *plain])
        if any(i < count <= j for i, j in found):
            raise SharedArguments(f"{name_of(fun)} has arguments that share memory ({here()}); pass copies")
        return {k: -1 for pair in found if pair[1] < count for k in pair}
    try:
        groups = find_groups([*leaves, *plain])
    except TypeError as error:
        raise TraceError(f"{name_of(fun)}: {error} ({here()}); pass copies") from None
    shared: dict[int, int] = {}
    for group in groups:
        base = trace.input(group.base, len(trace.tape))
        for member, steps in zip(group.members, group.steps, strict=True):
            if member < count:
                shared[member] = base.index
            else:
                plain[member - count] = view_of(trace, base, steps)
    made = [trace.input(leaf, len(trace.tape)) if is_data(leaf) else leaf for leaf in plain]
    for place, value in zip(others, unflatten(structure, made), strict=True):
        if type(place) is int:
            args[place] = value
        else:
            kwargs[place] = value  # type: ignore[index]
    return shared


def is_data(leaf: Any) -> bool:
    """Is it a plain array of numbers?"""
    return type(leaf) is _ndarray and leaf.dtype.kind in "biufc"
