"""The differential operators: functions of functions.

An operator returns a callable of the same arguments as its function. Called outside any trace it opens an eager trace, marks
the leaves it differentiates, runs the function once and accumulates on concrete values. Called inside a trace (a derivative
of a derivative, or a function under `jit`) it marks fresh nodes on that trace's tape and records the accumulation there, so
perturbation confusion cannot arise: differentiation is with respect to a node.

Conventions are autograd's: the gradient with respect to a complex z = x + iy is du/dx - i du/dy; tangents are plain dz.
Results own their memory.
"""

from __future__ import annotations

import inspect
import operator
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from irgrad import ops as _ops  # noqa: F401  (declares the primitives)
from irgrad.errors import DifferentiationError, MissingRuleError
from irgrad.frontend.context import CURRENT, current
from irgrad.frontend.sites import code_info, source_of
from irgrad.frontend.trace import EagerTrace, GraphTrace, RecordBuilder, Trace, describe, here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.builder import EVAL
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.source import Source
from irgrad.ir.value import Static
from irgrad.passes.adjoint import forward, reverse
from irgrad.pytree import LEAF, Structure, flatten, paths, tree_map, unflatten

Argnum = int | str | Sequence[int | str]
_MARK = REGISTRY["mark"]
_STOP = REGISTRY["stop_gradient"]
_NO_PARAMS: dict[str, Any] = {}
_ndarray = np.ndarray
_float64 = np.float64

# ---- one run of a function with its differentiated leaves marked ----


class Run:
    """A function run once: its marked leaves, its outputs and the stretch of tape between them."""

    __slots__ = ("concrete", "fun", "marks", "out_structure", "outs", "start", "stop", "structure", "tape", "trace")

    def __init__(self, trace: Trace, fun: Callable[..., Any], argnum: Argnum, args: tuple[Any, ...], kwargs: dict[str, Any], aux: bool = False) -> None:
        self.trace = trace
        self.fun = fun
        self.concrete = not trace.is_graph and trace.marks == 0
        if type(argnum) is int and 0 <= argnum < len(args):
            places: list[int | str] = [argnum]
            single = True
        else:
            places, single, kwargs = _places(fun, argnum, args, kwargs)
        picked = [args[p] if type(p) is int else kwargs[p] for p in places]  # type: ignore[index, call-overload]
        leaves, self.structure = flatten(picked[0] if single else tuple(picked))
        leaves = [_inexact(trace, leaf, fun, places, picked, k) for k, leaf in enumerate(leaves)]
        self.tape = tape = trace.tape
        if self.concrete:
            self.start = start = len(tape)
            self.marks = [Tracer(trace, leaf, _MARK, (), _NO_PARAMS, start + k) for k, leaf in enumerate(leaves)]
            tape.extend(self.marks)
        else:
            lifted = [leaf if type(leaf) is Tracer else trace.lift(leaf) for leaf in leaves]
            self.start = len(tape)
            self.marks = [trace.call(_MARK, (leaf,), _NO_PARAMS) for leaf in lifted]
        tree = unflatten(self.structure, self.marks)
        new_args = list(args)
        for place, value in zip(places, (tree,) if single else tree, strict=True):
            if type(place) is int:
                new_args[place] = value
            else:
                kwargs[place] = value  # type: ignore[index]
        trace.marks += 1
        try:
            out = fun(*new_args, **kwargs)
        finally:
            trace.marks -= 1
        rest = None
        if aux:
            out, rest = _pair(out, fun)
        self.outs, self.out_structure = flatten(out)
        self.stop = len(tape)
        if aux:
            self.outs.append(rest)
            return
        self.inspect(self.outs)

    def inspect(self, outs: Sequence[Any]) -> None:
        """Refuse tracers of other traces; warn where no output depends on a marked leaf."""
        depends = False
        for out in outs:
            if type(out) is Tracer:
                if out.trace is not self.trace:
                    self.trace.check(out)
                depends = depends or out.index >= self.start
        if not depends and self.marks:
            warn_independent()

    def values(self) -> list[Any]:
        """The outputs as the caller gets them: plain values that own their memory, or tracers inside a trace."""
        return [_own(out) for out in self.outs] if self.concrete else list(self.outs)

    # -- accumulation ----------------------------------------------------------------------------------------------------

    def pull(self, cts: Sequence[Any]) -> list[Any]:
        """Cotangents of the marked leaves (None for zero) from those of the output leaves, on concrete values."""
        seeds: dict[int, Any] = {}
        for out, ct in zip(self.outs, cts, strict=True):
            if type(out) is Tracer and ct is not None:
                seeds[out.index] = ct if out.index not in seeds else seeds[out.index] + ct
        try:
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, EVAL, all_active=self.concrete)
        except MissingRuleError as error:
            if not self.concrete:
                raise _located(error, self.trace) from None
        try:
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, EVAL)
        except MissingRuleError as error:
            raise _located(error, self.trace) from None

    def pull_recorded(self, b: RecordBuilder, cts: Sequence[Any], detached: bool = False) -> list[Any]:
        """`pull`, recorded through `b`."""
        seeds: dict[int, Any] = {}
        for out, ct in zip(self.outs, cts, strict=True):
            if type(out) is Tracer and ct is not None and self.start <= out.index:
                seeds[out.index] = ct if out.index not in seeds else b.add(seeds[out.index], ct)
        try:
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, b, detached=detached)
        except MissingRuleError as error:
            raise _located(error, b.trace) from None

    def push(self, b: Any, tangents: Sequence[Any], detached: bool = False) -> list[Any]:
        """Tangents of the output leaves (None for zero) from those of the marked leaves."""
        seeds = {mark.index: t for mark, t in zip(self.marks, tangents, strict=True)}
        outs = [out if type(out) is Tracer else None for out in self.outs]
        live = [out for out in outs if out is not None]
        try:
            found = iter(forward(self.tape, self.start, self.stop, seeds, live, b, detached=detached))
        except MissingRuleError as error:
            raise _located(error, self.trace) from None
        return [None if out is None else next(found) for out in outs]

    def scalar(self, operator_name: str) -> Any:
        """The output leaf of a real size-1 result. Raises DifferentiationError for any other."""
        outs = self.outs
        if len(outs) == 1:
            out = outs[0]
            value = out.value if type(out) is Tracer else out
            kind = type(value)
            if kind is _float64 or kind is float or (_is_numeric(value) and np.size(value) == 1 and _dtype(value).kind in "fiu"):
                return out
        got = ", ".join(describe(out) for out in outs) or "nothing"
        raise DifferentiationError(
            f"{operator_name} only applies to real scalar-output functions. Try jacobian, elementwise_grad or holomorphic_grad. "
            f"The output is {got} ({_source_of_function(self.fun)})"
        )

    def gradient(self, operator_name: str, cts: Callable[[Any, Any], Any]) -> list[Any]:
        """Settled cotangents of the marked leaves for seeds ``cts(builder, output leaf)``."""
        if self.concrete:
            found = self.pull([cts(None, out) for out in self.outs])
            results = [_settle(ct, mark.value) for ct, mark in zip(found, self.marks, strict=True)]
        else:

            def work(b: RecordBuilder) -> tuple[list[Any], list[Any]]:
                raw = self.pull_recorded(b, [cts(b, out) for out in self.outs])
                return raw, [_settle_recorded(b, ct, mark) for ct, mark in zip(raw, self.marks, strict=True)]

            found, results = write(self.trace, work)
        if found and all(c is None for c in found) and any(type(o) is Tracer and o.index >= self.start for o in self.outs):
            warn_independent()
        return results


def write(trace: Trace, work: Callable[[RecordBuilder], Any]) -> Any:
    """Let `work` record an accumulation into `trace`, at the user's site and in segments of its own."""
    if not isinstance(trace, GraphTrace):
        return work(RecordBuilder(trace))
    if not trace.inside:
        trace.locate()
    inside, site, before = trace.inside, trace.site, trace.segment
    b = RecordBuilder(trace)
    trace.inside = True
    try:
        return work(b)
    finally:
        trace.inside, trace.site = inside, site
        if trace.segment != before:
            trace.pending = True


# ---- arguments ----


def _places(
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
        names = _parameters(fun)
        if argnum in names and names.index(argnum) < len(args):
            return names.index(argnum)
        return _default(fun, argnum, argnum, args, kwargs)
    position = operator.index(argnum)
    if 0 <= position < len(args):
        return position
    names = _parameters(fun)
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


def _parameters(fun: Callable[..., Any]) -> list[str]:
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
    names = ", ".join(_parameters(fun))
    return DifferentiationError(f"argnum {argnum!r} names no argument of {_name(fun)}({names}), which was called with {given} ({here()})")


def _inexact(trace: Trace, leaf: Any, fun: Callable[..., Any], places: Sequence[int | str], picked: Sequence[Any], k: int) -> Any:
    """A leaf as something that has a derivative: integers become floats. Raises DifferentiationError for the rest."""
    kind = type(leaf)
    if kind is float or kind is _float64:
        return leaf
    if kind is _ndarray or isinstance(leaf, np.generic):
        value = leaf.value if kind is Tracer else leaf
        category = value.dtype.kind
        if category in "fc":
            return leaf
        if category in "iu":
            return trace.call(REGISTRY["convert"], (leaf,), {"dtype": "float64"}) if kind is Tracer else leaf.astype(_float64)
    elif kind is Tracer:
        value = leaf.value
        if isinstance(value, _ndarray) and value.dtype.kind in "biufc" and value.dtype.kind != "b":
            return leaf if value.dtype.kind in "fc" else trace.call(REGISTRY["convert"], (leaf,), {"dtype": "float64"})
        if isinstance(value, (float, complex)):
            return leaf
        if isinstance(value, int) and not isinstance(value, bool):
            return trace.call(REGISTRY["convert"], (leaf,), {"dtype": "float64"})
    elif kind is complex:
        return leaf
    elif isinstance(leaf, int) and not isinstance(leaf, bool):
        return float(leaf)
    elif isinstance(leaf, (float, complex)):
        return complex(leaf) if isinstance(leaf, complex) else float(leaf)
    elif isinstance(leaf, np.memmap):
        return _inexact(trace, np.asarray(leaf), fun, places, picked, k)
    _refuse(leaf, fun, places, picked, k)


def _refuse(leaf: Any, fun: Callable[..., Any], places: Sequence[int | str], picked: Sequence[Any], k: int) -> NoReturn:
    """Name the leaf that has no derivative."""
    value = leaf.value if type(leaf) is Tracer else leaf
    written: list[str] = []
    for place, tree in zip(places, picked, strict=True):
        names = _parameters(fun)
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
    raise DifferentiationError(f"Can't differentiate w.r.t. type {what}: {where} of {_name(fun)} ({here()}); {step}")


# ---- results ----


def _own(out: Any) -> Any:
    """A plain value that shares no memory with the tape."""
    if type(out) is not Tracer:
        return out
    value = out.value
    return value.copy() if isinstance(value, _ndarray) else value


def _settle(ct: Any, value: Any) -> Any:
    """A concrete derivative with shape, dtype and kind of `value`, in memory of its own."""
    kind = type(value)
    if kind is _ndarray:
        return np.zeros(value.shape, value.dtype) if ct is None else np.array(ct, value.dtype)
    if type(ct) is _float64 and (kind is float or kind is _float64):
        return ct
    dtype = _dtype(value)
    return dtype.type(0 if ct is None else ct)


def _settle_recorded(b: RecordBuilder, ct: Any, like: Any) -> Any:
    """A recorded derivative with shape, dtype and kind of the value of the tracer `like`."""
    value = like.value if type(like) is Tracer else like
    dense = isinstance(value, _ndarray)
    if ct is None:
        return b.zeros_like(like) if dense else _dtype(value).type(0)
    if type(ct) is Static:
        return b.full(ct, shape=value.shape, dtype=value.dtype.name) if dense else _dtype(value).type(ct.value)
    if type(ct) is not Tracer:
        return _settle(ct, value)
    if dense and not isinstance(ct.value, _ndarray):
        return b.reshape(ct, shape=value.shape)
    if not dense and isinstance(ct.value, _ndarray):
        return b.slice(ct, start=(), count=(), step=(), drop=())
    return ct


def _ones(b: RecordBuilder | None, out: Any) -> Any:
    """A cotangent or tangent of ones for a leaf."""
    value = out.value if type(out) is Tracer else out
    dtype = _dtype(value)
    if dtype.kind not in "fc":
        return None
    one = dtype.type(1)
    shape = np.shape(value)
    if b is None or not isinstance(b.trace, GraphTrace):
        return np.ones(shape, dtype) if shape else one
    return b.full(Static(one), shape=shape, dtype=dtype.name) if shape else Static(one)


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, float, int, complex)) and not isinstance(value, (bool, np.bool_))


def _dtype(value: Any) -> np.dtype[Any]:
    return value.dtype if isinstance(value, (np.ndarray, np.generic)) else np.result_type(value)


def _pair(out: Any, fun: Callable[..., Any]) -> tuple[Any, Any]:
    if type(out) not in (tuple, list) or len(out) != 2:
        raise DifferentiationError(f"grad_and_aux expects a function that returns (value, aux); got {type(out).__name__} ({_source_of_function(fun)})")
    return out[0], out[1]


# ---- messages ----


def warn_independent() -> None:
    """autograd's warning, at the user's line."""
    level = 1
    frame = sys._getframe(0)
    while frame.f_back is not None and code_info(frame.f_code).internal:
        frame = frame.f_back
        level += 1
    warnings.warn("Output seems independent of input.", UserWarning, stacklevel=level)


def _name(fun: Any) -> str:
    return getattr(fun, "__name__", "[unknown name]")


def _source_of_function(fun: Any) -> str:
    """Where a function was written, for a message."""
    code = getattr(inspect.unwrap(fun), "__code__", None)
    return f"{_name(fun)}, {Source(code.co_filename, code.co_firstlineno, code.co_qualname)}" if code is not None else _name(fun)


def _located(error: MissingRuleError, trace: Trace) -> MissingRuleError:
    source = source_of(trace.site) if isinstance(trace, GraphTrace) else None
    return MissingRuleError(f"{error} ({source or here()})")


# ---- the operators ----


class Operator:
    """A derivative of `fun` as a function of the same arguments. Picklable where `fun` is."""

    __irgrad__ = True

    def __init__(self, kind: str, fun: Callable[..., Any], argnum: Argnum = 0) -> None:
        if not callable(fun):
            raise TypeError(f"{kind} expects a function, got {type(fun).__name__} ({here()})")
        self.kind = kind
        self.fun = fun
        self.argnum = argnum
        self.__wrapped__ = fun
        name = _name(fun)
        self.__name__ = self.__qualname__ = f"{kind}_of_{name}_wrt_argnum_{argnum}"
        self.__module__ = getattr(fun, "__module__", __name__)
        self.__doc__ = (
            f"    {kind} of function {name} with respect to argument number {argnum}. Takes the\n"
            f"    same arguments as {name} but returns the {kind}.\n    "
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current()
        if trace is not None:
            return _KINDS[self.kind](self, trace, args, kwargs)
        outermost = _substituted(self)
        trace = EagerTrace()
        token = CURRENT.set(trace)
        try:
            return _KINDS[self.kind](outermost, trace, args, kwargs)
        finally:
            CURRENT.reset(token)
            trace.close()

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


def _substituted(op: Operator) -> Operator:
    """The operator over a copy of its function whose names reach traced forms."""
    return op


Kind = Callable[[Operator, Trace, tuple[Any, ...], dict[str, Any]], Any]


def _grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.scalar("Grad")
    return unflatten(run.structure, run.gradient("Grad", _ones))


def _value_and_grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.scalar("value_and_grad")
    results = run.gradient("value_and_grad", _ones)
    return unflatten(run.out_structure, run.values()), unflatten(run.structure, results)


_KINDS: dict[str, Kind] = {"grad": _grad, "value_and_grad": _value_and_grad}


def grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The gradient of a function with a real output of size 1.

    `argnum` is a position (negative ones count from the end), a parameter name, or a tuple of those, for which a tuple comes
    back. The argument is any pytree of floats, complex numbers and arrays (integers are taken as floats) and the gradient
    has its structure, shapes and dtypes. Raises DifferentiationError for another output or argument, MissingRuleError
    where an operation has no rule.
    """
    return Operator("grad", fun, argnum)


def value_and_grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The pair (value, gradient); as `grad`."""
    return Operator("value_and_grad", fun, argnum)
