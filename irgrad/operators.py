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
from typing import Any

import numpy as np

from irgrad import ops as _ops  # noqa: F401  (declares the primitives)
from irgrad.errors import DifferentiationError, MissingRuleError
from irgrad.frontend.context import CURRENT, current
from irgrad.frontend.names import default_names
from irgrad.frontend.sites import code_info, source_of
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import EagerTrace, GraphTrace, RecordBuilder, Trace, describe, here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.builder import EVAL
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.source import Source
from irgrad.ir.value import Number, Static
from irgrad.passes.adjoint import find_active, forward, reverse
from irgrad.pytree import LEAF, Structure, flatten, paths, tree_map, unflatten

__all__ = [
    "deriv",
    "elementwise_grad",
    "grad",
    "grad_and_aux",
    "grad_named",
    "hessian",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "jacobian",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_vjp",
    "multigrad",
    "multigrad_dict",
    "stop_gradient",
    "tensor_jacobian_product",
    "value_and_grad",
    "value_and_multigrad",
    "vector_jacobian_product",
]

Argnum = int | str | Sequence[int | str]
_MARK = REGISTRY["mark"]
_STOP = REGISTRY["stop_gradient"]
_NO_PARAMS: dict[str, Any] = {}
_ndarray = np.ndarray
_float64 = np.float64
_ONE = np.float64(1.0)

# ---- one run of a function with its differentiated leaves marked ----


class Run:
    """A function run once: its marked leaves, its outputs and the stretch of tape between them."""

    __slots__ = ("aux", "concrete", "fun", "marks", "out_structure", "outs", "start", "stop", "structure", "tape", "trace")

    def __init__(
        self, trace: Trace, fun: Callable[..., Any], argnum: Argnum, args: tuple[Any, ...], kwargs: dict[str, Any], has_aux: bool = False
    ) -> None:
        fun = traced_form(trace, fun)
        self.trace = trace
        self.fun = fun
        self.aux: Any = None
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
        if has_aux:
            out, self.aux = _pair(out, fun)
        self.outs, self.out_structure = flatten(out)
        self.stop = len(tape)
        depends = False
        for out in self.outs:
            if type(out) is Tracer:
                if out._trace is not trace:
                    trace.check(out)
                depends = depends or out.index >= self.start
        if not depends and self.marks:
            warn_independent()

    def value(self) -> Any:
        """The output as the caller gets it: plain values that own their memory, or tracers inside a trace."""
        return unflatten(self.out_structure, [_own(out) for out in self.outs] if self.concrete else self.outs)

    # -- accumulation ------------------------------------------------------------------------------------------------

    def pull(self, cts: Sequence[Any]) -> list[Any]:
        """Cotangents of the marked leaves (None for zero) from those of the output leaves, on concrete values."""
        seeds: dict[int, Any] = {}
        for out, ct in zip(self.outs, cts, strict=True):
            if type(out) is Tracer and ct is not None and out.index >= self.start:
                seeds[out.index] = ct if out.index not in seeds else seeds[out.index] + ct
        try:
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, EVAL, all_active=self.concrete)
        except MissingRuleError as error:
            if not self.concrete:
                raise _located(error, self.trace) from None
        try:  # the rule may be missing for a value that does not depend on the marks
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, EVAL)
        except MissingRuleError as error:
            raise _located(error, self.trace) from None

    def pull_recorded(self, b: RecordBuilder, cts: Sequence[Any], detached: bool = False, active: bytearray | None = None) -> list[Any]:
        """`pull`, recorded through `b`."""
        seeds: dict[int, Any] = {}
        for out, ct in zip(self.outs, cts, strict=True):
            if type(out) is Tracer and ct is not None and out.index >= self.start:
                seeds[out.index] = ct if out.index not in seeds else b.add(seeds[out.index], ct)
        try:
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, b, detached=detached, active=active)
        except MissingRuleError as error:
            raise _located(error, b.trace) from None

    def push(self, b: Any, tangents: Sequence[Any], detached: bool = False) -> list[Any]:
        """Tangents of the output leaves (None for zero) from those of the marked leaves."""
        seeds = {mark.index: t for mark, t in zip(self.marks, tangents, strict=True) if t is not None}
        live = [out for out in self.outs if type(out) is Tracer]
        try:
            found = iter(forward(self.tape, self.start, self.stop, seeds, live, b, detached=detached))
        except MissingRuleError as error:
            raise _located(error, self.trace) from None
        return [next(found) if type(out) is Tracer else None for out in self.outs]

    def check_scalar(self, name: str, kinds: str = "fiu") -> None:
        """Raise DifferentiationError unless the output is one real number (of a dtype kind in `kinds`)."""
        outs = self.outs
        if len(outs) == 1:
            value = outs[0].value if type(outs[0]) is Tracer else outs[0]
            if type(value) is _float64 or (_is_numeric(value) and np.size(value) == 1 and _dtype(value).kind in kinds):
                return
        got = ", ".join(describe(out) for out in outs) or "nothing"
        raise DifferentiationError(
            f"{name} only applies to real scalar-output functions. Try jacobian, elementwise_grad or holomorphic_grad. "
            f"The output is {got} ({_source_of_function(self.fun)})"
        )

    def check_numeric(self, name: str, kinds: str = "fciu") -> None:
        """Raise DifferentiationError unless every output leaf is a number or an array of a dtype kind in `kinds`."""
        for out in self.outs:
            value = out.value if type(out) is Tracer else out
            if not _is_numeric(value) or _dtype(value).kind not in kinds:
                which = "real-output" if "c" not in kinds else "numeric"
                raise DifferentiationError(
                    f"{name} only applies to {which} functions. The output is {describe(value)} ({_source_of_function(self.fun)})"
                )

    def gradient(self) -> Any:
        """What a cotangent of ones gives, in the structure of the argument."""
        if self.concrete:
            found = self.pull([_ones(None, out) for out in self.outs])
            results = [_settle(ct, mark.value) for ct, mark in zip(found, self.marks, strict=True)]
        else:

            def work(b: RecordBuilder) -> tuple[list[Any], list[Any]]:
                raw = self.pull_recorded(b, [_ones(b, out) for out in self.outs])
                return raw, [_settle_recorded(b, ct, mark) for ct, mark in zip(raw, self.marks, strict=True)]

            found, results = write(self.trace, work)
        self.note_zeros(found)
        return unflatten(self.structure, results)

    def note_zeros(self, found: Sequence[Any]) -> None:
        """Warn where an output was recorded and yet nothing of it depends on a marked leaf."""
        for c in found:
            if c is not None:
                return
        if found and any(type(out) is Tracer and out.index >= self.start for out in self.outs):
            warn_independent()

    def pull_like(self, ct: Any) -> Any:
        """The cotangent of the argument, in its structure, from a cotangent of the output."""
        where = self.writer(cts := _leaves_like("cotangent", ct, self.outs, self.out_structure))
        if where is None:
            found = self.pull(cts)
            return unflatten(self.structure, [_settle(c, mark.value) for c, mark in zip(found, self.marks, strict=True)])
        trace, detached = where

        def work(b: RecordBuilder) -> list[Any]:
            raw = self.pull_recorded(b, [_seed(b, c) for c in cts], detached)
            return [_settle_recorded(b, c, mark) for c, mark in zip(raw, self.marks, strict=True)]

        return unflatten(self.structure, write(trace, work))

    def push_like(self, t: Any) -> Any:
        """The tangent of the output, in its structure, from a tangent of the argument."""
        where = self.writer(ts := _leaves_like("tangent", t, self.marks, self.structure))
        outs = self.outs
        if where is None:
            values = [out.value if type(out) is Tracer else out for out in outs]
            results = [_settle(c, value) for c, value in zip(self.push(EVAL, ts), values, strict=True)]
            return unflatten(self.out_structure, results)
        trace, detached = where

        def work(b: RecordBuilder) -> list[Any]:
            raw = self.push(b, [_seed(b, c) for c in ts], detached)
            return [_settle_recorded(b, c, out) for c, out in zip(raw, outs, strict=True)]

        return unflatten(self.out_structure, write(trace, work))

    def writer(self, derivatives: Sequence[Any]) -> tuple[Trace, bool] | None:
        """The trace that records an accumulation from these, and whether the tape is finished; None for concrete values."""
        if not self.concrete and self.trace.open:
            return self.trace, False
        traced = next((c for c in derivatives if type(c) is Tracer), None)
        return None if traced is None else (traced._trace, True)


def write(trace: Trace, work: Callable[[RecordBuilder], Any]) -> Any:
    """Let `work` record an accumulation into `trace`, at the user's site and in segments of its own."""
    if not isinstance(trace, GraphTrace):
        return work(RecordBuilder(trace))
    if not trace.inside:
        trace.locate()
    inside, site, before = trace.inside, trace.site, trace.segment
    b = RecordBuilder(trace)
    trace.inside, start = True, len(trace.tape)
    try:
        return work(b)
    finally:
        trace.inside, trace.site, trace.primal = inside, site, None
        trace.written.add(start, len(trace.tape))
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
    if kind is float or kind is _float64 or kind is complex:
        return leaf
    if kind is Tracer:
        category = _dtype(leaf.value).kind
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
        return _inexact(trace, np.asarray(leaf), fun, places, picked, k)
    raise _refused(leaf, fun, places, picked, k)


def _refused(leaf: Any, fun: Callable[..., Any], places: Sequence[int | str], picked: Sequence[Any], k: int) -> DifferentiationError:
    """The error that names a leaf without a derivative."""
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
    return DifferentiationError(f"Can't differentiate w.r.t. type {what}: {where} of {_name(fun)} ({here()}); {step}")


# ---- results ----


def traced_form(trace: Trace, fun: Callable[..., Any]) -> Callable[..., Any]:
    """The copy of a user's function in which numpy's names are traced ones."""
    return fun if trace.substitution is None else trace.substitution.function(fun)


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
        return _settle(ct.value if type(ct) is Number else ct, value)
    if dense and not isinstance(ct.value, _ndarray):
        return b.reshape(ct, shape=value.shape)
    if not dense and isinstance(ct.value, _ndarray):
        return b.slice(ct, start=(), count=(), step=(), drop=())
    return ct


def _ones(b: RecordBuilder | None, out: Any) -> Any:
    """A cotangent or tangent of ones for a leaf."""
    value = out.value if type(out) is Tracer else out
    if b is None and (type(value) is _float64 or type(value) is float):
        return _ONE
    dtype = _dtype(value)
    if dtype.kind not in "fc":
        return None
    one = dtype.type(1)
    shape = np.shape(value)
    if b is None or not isinstance(b.trace, GraphTrace):
        return np.ones(shape, dtype) if shape else one
    return b.full(Static(one), shape=shape, dtype=dtype.name) if shape else Static(one)


def _seed(b: RecordBuilder, derivative: Any) -> Any:
    """A derivative that the user gave as an operand of rules."""
    if derivative is None or type(derivative) is Tracer:
        return derivative
    if isinstance(derivative, _ndarray):
        return b.trace.lift(derivative)
    return b.number(derivative)


def _leaves_like(what: str, given: Any, likes: Sequence[Any], structure: Structure) -> list[Any]:
    """The leaves of a cotangent or tangent, with the shapes and dtypes of `likes`.

    Raises DifferentiationError where structure, shape or kind differ.
    """
    leaves, have = flatten(given)
    if have != structure:
        raise DifferentiationError(f"expected a {what} of the structure {structure}, got {have} ({here()})")
    made: list[Any] = []
    for leaf, like in zip(leaves, likes, strict=True):
        value = like.value if type(like) is Tracer else like
        if not _is_numeric(value) or _dtype(value).kind not in "fc":
            made.append(None)  # an integer output: no derivative flows
            continue
        bits = leaf.value if type(leaf) is Tracer else leaf
        bits = bits if isinstance(bits, (np.ndarray, np.generic)) else np.asarray(bits)
        shape, dtype = np.shape(value), _dtype(value)
        if bits.dtype.kind not in "biufc" or (bits.shape and bits.shape != shape) or (bits.dtype.kind == "c" and dtype.kind != "c"):
            raise DifferentiationError(f"expected a {what} like {describe(value)}, got {describe(leaf)} ({here()})")
        if type(leaf) is Tracer:
            if bits.shape != shape:
                leaf = leaf._trace.call(REGISTRY["broadcast_to"], (leaf,), {"shape": shape})
            made.append(leaf if bits.dtype == dtype else leaf._trace.call(REGISTRY["convert"], (leaf,), {"dtype": dtype.name}))
        else:
            made.append(np.broadcast_to(bits, shape).astype(dtype)[()])
    return made


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, float, int, complex)) and not isinstance(value, (bool, np.bool_))


def _dtype(value: Any) -> np.dtype[Any]:
    return value.dtype if isinstance(value, (np.ndarray, np.generic)) else np.result_type(value)


def _pair(out: Any, fun: Callable[..., Any]) -> tuple[Any, Any]:
    if type(out) not in (tuple, list) or len(out) != 2:
        got = f"{type(out).__name__} ({_source_of_function(fun)})"
        raise DifferentiationError(f"grad_and_aux expects a function that returns (value, aux); got {got}")
    return out[0], out[1]


# ---- messages ----


def warn_independent() -> None:
    warn("Output seems independent of input.")


def warn(text: str) -> None:
    """A UserWarning at the user's line."""
    level = 1
    frame = sys._getframe(0)  # noqa: SLF001
    while frame.f_back is not None and code_info(frame.f_code).internal:
        frame = frame.f_back
        level += 1
    warnings.warn(text, UserWarning, stacklevel=level)


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

    def __init__(self, kind: str, fun: Callable[..., Any], argnum: Argnum = 0, extra: Any = None) -> None:
        if not callable(fun):
            raise TypeError(f"{kind} expects a function, got {type(fun).__name__} ({here()})")
        self.kind = kind
        self.fun = fun
        self.argnum = argnum
        self.extra = extra
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
        compute = _KINDS[self.kind]
        if trace is not None:
            return compute(self, trace, args, kwargs)
        trace = EagerTrace()
        substitution = trace.substitution = Substitution(None, default_names())
        token = CURRENT.set(trace)
        try:
            return compute(self, trace, args, kwargs)
        finally:
            CURRENT.reset(token)
            trace.close()
            substitution.finish()

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


Kind = Callable[[Operator, Trace, tuple[Any, ...], dict[str, Any]], Any]


def _grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_scalar("Grad")
    return run.gradient()


def _value_and_grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_scalar("value_and_grad")
    results = run.gradient()
    return run.value(), results


def _grad_and_aux(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs, has_aux=True)
    run.check_scalar("grad_and_aux")
    results = run.gradient()
    return results, tree_map(_own, run.aux) if run.concrete else run.aux


def _elementwise_grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("Elementwise_grad", "fiu")
    return run.gradient()


def _holomorphic_grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_scalar("holomorphic_grad", "fciu")
    if not any(_dtype(mark.value).kind == "c" for mark in run.marks):
        warn("Input to holomorphic_grad is not complex")
    return run.gradient()


def _deriv(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("deriv")
    return run.push_like(unflatten(run.structure, [np.ones(np.shape(m.value), _dtype(m.value)) for m in run.marks]))


def _make_vjp(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("make_vjp")
    return run.pull_like, run.value()


def _make_jvp(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("make_jvp")
    return lambda tangent: (run.value(), run.push_like(tangent))


def _make_hvp(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _make_vjp(Operator("make_vjp", Operator("grad", d.fun, d.argnum), d.argnum), trace, args, kwargs)


def _hessian_tensor_product(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    *rest, tensor = args
    return _make_hvp(d, trace, tuple(rest), kwargs)[0](tensor)


def _tensor_jacobian_product(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    *rest, tensor = args
    fun = traced_form(trace, d.fun)
    run = Run(trace, fun, d.argnum, tuple(rest), kwargs)
    run.check_numeric("tensor_jacobian_product")
    if run.out_structure is not LEAF or np.shape(tensor) == np.shape(run.outs[0]):
        return run.pull_like(tensor)
    contracted = Operator("jacobian", lambda *a, **k: np.tensordot(tensor, fun(*a, **k), np.ndim(tensor)), d.argnum)
    contracted.__wrapped__ = d.fun
    return _jacobian(contracted, trace, tuple(rest), kwargs)


def _half_square(x: Any) -> Any:
    return 0.5 * (x * x).sum(axis=-1)


def _make_ggnvp(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("make_ggnvp")
    outer = Run(trace, Operator("grad", d.extra or _half_square), 0, (run.value(),), {})
    return lambda v: run.pull_like(outer.pull_like(run.push_like(v)))


def _multigrad_dict(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fun = traced_form(trace, d.fun)
    bound = inspect.signature(d.fun).bind(*args, **kwargs)
    bound.apply_defaults()
    names = list(bound.arguments)

    def call(arguments: dict[str, Any]) -> Any:
        bound.arguments.update(arguments)
        return fun(*bound.args, **bound.kwargs)

    run = Run(trace, call, 0, (dict(bound.arguments),), {})
    run.check_scalar("multigrad_dict")
    found = run.gradient()
    return OrderedDict((name, found[name]) for name in names)


# ---- Jacobians ----


def _jacobian(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("jacobian")
    blocks = _concrete_blocks(run) if run.concrete else write(trace, lambda b: _recorded_blocks(b, run))
    return unflatten(run.out_structure, [unflatten(run.structure, row) for row in blocks])


def _hessian(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _jacobian(Operator("jacobian", Operator("jacobian", d.fun, d.argnum), d.argnum), trace, args, kwargs)


def _block_dtype(out: Any, mark: Any) -> np.dtype[Any]:
    """Of one block: complex where output or argument is. A real argument of a complex output takes two walks a row."""
    return np.result_type(_dtype(mark.value), np.complex64) if _dtype(out).kind == "c" else _dtype(mark.value)


def _concrete_blocks(run: Run) -> list[list[Any]]:
    blocks: list[list[Any]] = []
    zeros: list[Any] = []  # None for every cotangent of a row that is zero
    for k, out in enumerate(run.outs):
        value = out.value if type(out) is Tracer else out
        shape, size, dtype = np.shape(value), int(np.size(value)), _dtype(value)
        row = [np.zeros((size, *np.shape(mark.value)), _block_dtype(value, mark)) for mark in run.marks]
        if type(out) is Tracer and dtype.kind in "fc":
            cts: list[Any] = [None] * len(run.outs)
            twice = dtype.kind == "c" and any(_dtype(mark.value).kind != "c" for mark in run.marks)
            for j in range(size):
                basis = np.zeros(size, dtype)
                basis[j] = 1
                cts[k] = basis.reshape(shape)[()]
                for block, c in zip(row, run.pull(cts), strict=True):
                    zeros.append(None if c is None else False)
                    if c is not None:
                        block[j] = c
                if twice:  # dv/dx is minus what a cotangent of i gives
                    cts[k] = (basis * 1j).reshape(shape)[()]
                    for block, c, mark in zip(row, run.pull(cts), run.marks, strict=True):
                        if c is not None and _dtype(mark.value).kind != "c":
                            block[j] -= 1j * c
        blocks.append([_shaped(block, value, mark.value) for block, mark in zip(row, run.marks, strict=True)])
    run.note_zeros(zeros)
    return blocks


def _shaped(block: Any, value: Any, argument: Any) -> Any:
    block = block.reshape(np.shape(value) + np.shape(argument))
    return block if isinstance(value, _ndarray) or isinstance(argument, _ndarray) else block[()]


def _recorded_blocks(b: RecordBuilder, run: Run) -> list[list[Any]]:
    marks, trace = run.marks, b.trace
    active = find_active(run.tape, run.start, run.stop, marks)
    blocks: list[list[Any]] = []
    for k, out in enumerate(run.outs):
        value = out.value if type(out) is Tracer else out
        shape, size, dtype = np.shape(value), int(np.size(value)), _dtype(value)
        if type(out) is not Tracer or dtype.kind not in "fc" or size == 0 or out.index < run.start or not active[out.index - run.start]:
            blocks.append([_shaped(np.zeros(shape + np.shape(m.value), _block_dtype(value, m)), value, m.value) for m in marks])
            continue
        cts: list[Any] = [None] * len(run.outs)
        twice = dtype.kind == "c" and any(_dtype(mark.value).kind != "c" for mark in marks)
        rows: list[list[Any]] = [[] for _ in marks]
        for j in range(size):
            b.row()
            cts[k] = _basis(b, dtype.type(1), shape, size, j)
            found = run.pull_recorded(b, cts, active=active)
            imaginary: list[Any] = [None] * len(marks)
            if twice:
                b.row()
                cts[k] = _basis(b, dtype.type(1j), shape, size, j)
                imaginary = run.pull_recorded(b, cts, active=active)
            for row, c, i, mark in zip(rows, found, imaginary, marks, strict=True):
                row.append(_row(b, c, i, mark, _block_dtype(value, mark)))
        if isinstance(trace, GraphTrace):
            trace.new_segment(trace.sites.depth)
        blocks.append([_stacked(b, row, value, mark.value) for row, mark in zip(rows, marks, strict=True)])
    return blocks


def _basis(b: RecordBuilder, one: Any, shape: tuple[int, ...], size: int, j: int) -> Any:
    """The cotangent that picks entry `j`."""
    if not isinstance(b.trace, GraphTrace):
        basis = np.zeros(size, one.dtype)
        basis[j] = one
        return basis.reshape(shape)[()]
    if not shape:
        return Static(one)
    basis = b.slice_update(b.zeros(shape=(size,), dtype=one.dtype.name), Static(one), start=(j,), count=(1,), step=(1,), drop=())
    return basis if shape == (size,) else b.reshape(basis, shape=shape)


def _row(b: RecordBuilder, c: Any, imaginary: Any, mark: Any, dtype: np.dtype[Any]) -> Any:
    """One row of a block, of shape (1, ...)."""
    shape = np.shape(mark.value)
    if c is None and imaginary is None:
        return b.zeros(shape=(1, *shape), dtype=dtype.name)
    if imaginary is not None and _dtype(mark.value).kind != "c":
        zero = b.zeros_like(mark)
        c = b.complex_of(zero if c is None else c, b.neg(imaginary))
    if type(c) is Static or not isinstance(c, (Tracer, np.ndarray, np.generic)):
        return b.full(c, shape=(1, *shape), dtype=dtype.name)
    if b.dtype(c) != dtype:
        c = b.convert(c, dtype=dtype.name)
    return b.reshape(c, shape=(1, *shape))


def _stacked(b: RecordBuilder, rows: list[Any], value: Any, argument: Any) -> Any:
    shape = np.shape(value) + np.shape(argument)
    whole = rows[0] if len(rows) == 1 else b.concatenate(*rows, axis=0)
    if b.shape(whole) != shape:
        whole = b.reshape(whole, shape=shape)
    if not shape and not isinstance(value, _ndarray) and not isinstance(argument, _ndarray):
        whole = b.slice(whole, start=(), count=(), step=(), drop=())
    return whole


_KINDS: dict[str, Kind] = {
    "grad": _grad,
    "value_and_grad": _value_and_grad,
    "grad_and_aux": _grad_and_aux,
    "elementwise_grad": _elementwise_grad,
    "holomorphic_grad": _holomorphic_grad,
    "deriv": _deriv,
    "jacobian": _jacobian,
    "hessian": _hessian,
    "make_vjp": _make_vjp,
    "make_jvp": _make_jvp,
    "make_hvp": _make_hvp,
    "hessian_tensor_product": _hessian_tensor_product,
    "tensor_jacobian_product": _tensor_jacobian_product,
    "make_ggnvp": _make_ggnvp,
    "multigrad_dict": _multigrad_dict,
}

# ---- public ----


def grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The gradient of a function with a real output of size 1.

    `argnum` is a position (negative ones count from the end), a parameter name, or a tuple of those, for which a tuple comes
    back. The argument is any pytree of floats, complex numbers and arrays (integers are taken as floats) and the gradient
    has its structure, shapes and dtypes. Raises DifferentiationError for another output or argument, MissingRuleError
    where an operation has no rule. Warns where the output does not depend on the argument: the gradient is zero.
    """
    return Operator("grad", fun, argnum)


def value_and_grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The pair (value, gradient), as for ``scipy.optimize.minimize(..., jac=True)``; otherwise as `grad`."""
    return Operator("value_and_grad", fun, argnum)


def grad_and_aux(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """For a function that returns (value, aux): the pair (gradient of the value, aux); aux is any pytree."""
    return Operator("grad_and_aux", fun, argnum)


def grad_named(fun: Callable[..., Any], argname: str) -> Operator:
    """The gradient with respect to the parameter of this name."""
    return Operator("grad", fun, argname)


def multigrad(fun: Callable[..., Any], argnums: Sequence[int | str] = (0,)) -> Operator:
    """The tuple of gradients with respect to several arguments."""
    return Operator("grad", fun, tuple(argnums))


def value_and_multigrad(fun: Callable[..., Any], argnums: Sequence[int | str] = (0,)) -> Operator:
    """The value and the tuple of gradients with respect to several arguments."""
    return Operator("value_and_grad", fun, tuple(argnums))


def multigrad_dict(fun: Callable[..., Any]) -> Operator:
    """Gradients with respect to all arguments, as an OrderedDict by parameter name."""
    return Operator("multigrad_dict", fun)


def elementwise_grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The gradient of the sum of a real output: the derivative of each entry where the function works entry by entry."""
    return Operator("elementwise_grad", fun, argnum)


def holomorphic_grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The complex derivative of a holomorphic function with an output of size 1."""
    return Operator("holomorphic_grad", fun, argnum)


def deriv(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The derivative along a tangent of ones, in forward mode; it has the structure and shapes of the output."""
    return Operator("deriv", fun, argnum)


def jacobian(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The Jacobian, of shape output + input, by one reverse walk per output entry.

    For pytrees: the output's structure, with the argument's structure in place of each leaf. A complex output of a real
    argument has a complex Jacobian; for a complex argument it is the derivative of a holomorphic function.
    """
    return Operator("jacobian", fun, argnum)


def hessian(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The Jacobian of the Jacobian: of shape output + input + input."""
    return Operator("hessian", fun, argnum)


def make_vjp(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """``make_vjp(f)(x) -> (vjp, value)``: `vjp` takes a cotangent like the output to one like the argument."""
    return Operator("make_vjp", fun, argnum)


def make_jvp(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """``make_jvp(f)(x)(v) -> (value, tangent)``: `v` is like the argument, the tangent like the output."""
    return Operator("make_jvp", fun, argnum)


def make_hvp(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """``make_hvp(f)(x) -> (hvp, gradient)``: `hvp` multiplies the Hessian with what is like the argument."""
    return Operator("make_hvp", fun, argnum)


def make_ggnvp(f: Callable[..., Any], g: Callable[[Any], Any] | None = None, f_argnum: Argnum = 0) -> Operator:
    """``make_ggnvp(f, g)(x) -> product``: multiplies with the generalised Gauss-Newton matrix J^T H J of ``g(f(x))``.

    `g` is half the sum of squares unless given.
    """
    return Operator("make_ggnvp", f, f_argnum, g)


def hessian_tensor_product(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """A function of ``(*args, tensor)``: the Hessian times a tensor like the argument."""
    return Operator("hessian_tensor_product", fun, argnum)


def tensor_jacobian_product(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """A function of ``(*args, tensor)``: the tensor times the Jacobian, summed over the axes of the tensor."""
    return Operator("tensor_jacobian_product", fun, argnum)


hessian_vector_product = hessian_tensor_product
vector_jacobian_product = tensor_jacobian_product


def stop_gradient(x: Any) -> Any:
    """`x`, any pytree, as a constant of the derivatives around it."""
    return tree_map(lambda leaf: leaf._trace.call(_STOP, (leaf,), _NO_PARAMS) if type(leaf) is Tracer else leaf, x)
