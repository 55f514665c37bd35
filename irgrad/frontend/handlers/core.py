"""What handlers are made of: entries for numpy's functions, and primitives on operands.

A *handler* is written once, ``impl(trace, *numpy's arguments)``, and lowers a numpy function onto primitives. `handles` gives it
three entries: ``__array_function__`` (plain ``import numpy``), the ndarray method, and the public function of `irgrad.numpy`.
Without an open trace, and in eager traces without a traced argument, the public function is numpy's own. While a handler
runs, its trace is *inside*: everything it records is at the user's site.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from irgrad import ops as _ops  # noqa: F401  (declares the primitives)
from irgrad.errors import IrgradError, PlainArrayError, UnsupportedError, translate
from irgrad.frontend.choices import weakened
from irgrad.frontend.context import current
from irgrad.frontend.deferral import postpone
from irgrad.frontend.documented import PLAIN, explain_later
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers.decided import DECIDED, DECISIONS, ONLY_RECORDED, PLAIN_TOO, Decisions
from irgrad.frontend.storage import identity, resolve_tree, write
from irgrad.frontend.trace import Trace, describe, here
from irgrad.frontend.tracer import FUNCTIONS, METHODS, Tracer, is_deferred
from irgrad.ir.aval import dtype_name
from irgrad.ir.primitive import IDENTITY, REGISTRY, VIEW

Shape = tuple[int, ...]
Handler = Callable[..., Any]

PUBLIC: dict[Any, Any] = {}  # numpy function or ufunc -> its public form in irgrad.numpy
NO_VALUE: Any = inspect.signature(np.sum).parameters["keepdims"].default  # what numpy's own signatures say for "not given"
_NUMBERS = (bool, int, float, complex, np.generic)
_SEQUENCES = (list, tuple)

# ---- finding tracers ----


def find_tracer(values: Iterable[Any]) -> Tracer | None:
    """The first tracer among `values` and the lists and tuples in them."""
    for value in values:
        kind = type(value)
        if kind is Tracer:
            return value
        if kind in _SEQUENCES:
            found = find_tracer(value)
            if found is not None:
                return found
    return None


def find_in_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tracer | None:
    """The first tracer among the arguments of a call."""
    found = find_tracer(args)
    return find_tracer(kwargs.values()) if found is None and kwargs else found


def _is_traced(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    return (len(args) > 0 and type(args[0]) is Tracer) or find_in_call(args, kwargs) is not None


def has_data(values: Iterable[Any]) -> bool:
    """Is there an array or a sequence among `values`?"""
    return any(isinstance(value, (np.ndarray, list, tuple)) for value in values)


def _replacing(read: Callable[[Tracer], Any]) -> Callable[[Any], Any]:
    """A function that reads the tracers among a value, or in the lists and tuples in it."""

    def replaced(value: Any) -> Any:
        kind = type(value)
        if kind is Tracer:
            return read(value)
        if kind in _SEQUENCES:
            return kind(replaced(v) for v in value)
        return value

    return replaced


unwrap = _replacing(operator.attrgetter("value"))  # concrete values
form_of = _replacing(operator.attrgetter("form"))  # something of the right type, dtype and shape


def open_trace(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Trace | None:
    """The trace that records a call: the open one, or that of a traced argument; None if numpy itself should run."""
    trace = current()
    if trace is not None and trace.is_graph:
        return trace
    found = find_in_call(args, kwargs)
    return found._trace if found is not None else None


# ---- entries ----


def _into(trace: Trace, out: Tracer, name: str, impl: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A function with ``out=``."""
    args = [resolve_tree(trace, a) for a in args]
    store(trace, out, impl(trace, *args, **{k: resolve_tree(trace, v) for k, v in kwargs.items()}), name)
    return out


def store(trace: Trace, out: Any, made: Any, name: str) -> None:
    """Write a result into the array given as ``out``.

    Raises numpy's errors for one of another shape or of a dtype that does not cast.
    """
    if type(out) is not Tracer:
        made_outside(f"{name}(out=) with")
    if not isinstance(out.form, np.ndarray):
        raise TypeError("return arrays must be of ArrayType")
    if not np.can_cast(dtype_of(made), out.dtype, "same_kind"):
        raise TypeError(f"Cannot cast ufunc {name!r} output from {dtype_of(made)!r} to {out.dtype!r} with casting rule 'same_kind'")
    if np.broadcast_shapes(shape_of(made), out.shape) != out.shape:
        raise ValueError(f"non-broadcastable output operand with shape {out.shape} doesn't match the broadcast shape {shape_of(made)}")
    write(trace, out, None, cast(trace, made, out.dtype))


def fresh(trace: Trace, x: Any, *given: Any) -> Any:
    """`x` as memory of its own, where numpy copies and the recorded value is an operand or a view."""
    if type(x) is not Tracer or not isinstance(x.form, np.ndarray):
        return x
    op = x.op
    if op is None or op.has(VIEW) or op.has(IDENTITY) or not given or any(type(g) is Tracer and g.index == x.index for g in given):
        return identity(trace, x)
    return x


_USER = 3  # frames from `GraphTrace.locate` to the user's: `run`, and the function that was called


def run(trace: Trace, name: str, impl: Handler, args: Sequence[Any], kwargs: Mapping[str, Any], handles: bool = False) -> Any:
    """Run a handler at the user's site; numpy's errors get the call and the user's line.

    `handles` says that it writes into its arguments; others get what these hold now.
    """
    if kwargs and type(kwargs.get("out")) is Tracer:
        kwargs = dict(kwargs)
        out = kwargs.pop("out")
        return run(trace, name, _into, (out, name, impl, args, kwargs), {}, handles=True)
    if trace.inside:
        return impl(trace, *args, **kwargs)
    if isinstance(trace, GraphTrace):
        trace.locate(_USER)
    trace.inside = True
    try:
        if trace.storages and not handles:
            args = [resolve_tree(trace, a) for a in args]
            kwargs = {k: resolve_tree(trace, v) for k, v in kwargs.items()}
        if trace.choices:
            args = weakened(trace, args) or args
        decisions = None if trace.storages else DECISIONS.get(impl)
        return impl(trace, *args, **kwargs) if decisions is None else decisions.run(trace, impl, args, kwargs)
    except IrgradError:
        raise
    except (ValueError, IndexError, TypeError) as error:
        raise translate(error, f"{name}({', '.join(describe(a) for a in args)}): {error} ({here()})") from error
    finally:
        trace.inside = False


def handles(*functions: Any, method: str | None = None, creates: bool = False, buffers: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler for numpy functions; `creates` says that a graph records the call even on plain numbers, `buffers` that an
    eager trace does, where floats come of it: the array may be written into."""

    def register(impl: Handler) -> Handler:
        for function in functions:
            if function in DECIDED:
                DECISIONS[impl] = Decisions(function not in ONLY_RECORDED, function in PLAIN_TOO)
            FUNCTIONS[function] = _protocol_entry(function, impl)
            PUBLIC[function] = public = _public_entry(function, impl, creates, buffers)
            if function is not None:
                explain_later(public, function, impl)
        if method is not None:
            METHODS[method] = _method_entry(method, impl)
        return impl

    return register


def handles_method(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for ndarray methods only."""

    def register(impl: Handler) -> Handler:
        for name in names:
            if getattr(np, name, None) in DECIDED:
                DECISIONS[impl] = Decisions(getattr(np, name) not in ONLY_RECORDED)
            METHODS[name] = _method_entry(name, impl)
        return impl

    return register


def _protocol_entry(function: Any, impl: Handler) -> Callable[..., Any]:
    name = function.__name__

    def entry(*args: Any, **kwargs: Any) -> Any:
        trace = open_trace(args, kwargs)
        if trace is None:
            unsupported(f"{name} on this kind of argument")
        return run(trace, name, impl, args, kwargs)

    return entry


def _method_entry(name: str, impl: Handler) -> Callable[..., Any]:
    def entry(self: Tracer, /, *args: Any, **kwargs: Any) -> Any:
        return run(self._trace, name, impl, (self, *args), kwargs)

    return entry


def _public_entry(function: Any, impl: Handler, creates: bool, buffers: bool = False) -> Callable[..., Any]:
    name = function.__name__

    def public(*args: Any, **kwargs: Any) -> Any:
        trace = current()
        if trace is None:
            return function(*args, **kwargs)
        if trace.is_graph:
            if not (creates or _is_traced(args, kwargs) or has_data(args) or has_data(kwargs.values())):
                return function(*args, **kwargs)
        elif not _is_traced(args, kwargs):
            made = function(*args, **kwargs)
            if type(made) is np.ndarray and not trace.raw and made.dtype.kind in ("biufc" if trace.full else "fc" if buffers else ""):
                made = identity(trace, made)
                if buffers and made.value.dtype.kind in "fc":
                    trace.buffers.add(made.index)
            return made
        result = run(trace, name, impl, args, kwargs)
        if buffers and type(result) is Tracer and not trace.is_graph and dtype_of(result).kind in "fc":
            trace.buffers.add(result.index)
        return result

    public.__name__ = public.__qualname__ = name
    public.__wrapped__ = function  # type: ignore[attr-defined]
    return public


def inspects(*functions: Any) -> None:
    """Functions that ask about shape, dtype or type only: numpy answers for the concrete values, nothing is recorded."""

    def bind(function: Any) -> Callable[..., Any]:
        def public(*args: Any, **kwargs: Any) -> Any:
            return function(*[unwrap(a) for a in args], **{k: unwrap(v) for k, v in kwargs.items()})

        public.__name__ = public.__qualname__ = function.__name__
        explain_later(public, function, more=PLAIN)
        return public

    for function in functions:
        FUNCTIONS[function] = PUBLIC[function] = bind(function)


def unsupported(what: str, instead: str = "", library: str = "numpy") -> NoReturn:
    """Raise the error for something that is not traced."""
    advice = instead or "compute it outside the traced function, or declare it with irgrad.extend.primitive"
    raise UnsupportedError(f"{library}.{what} is not traced yet ({here()}); {advice}")


def refuse(name: str, **options: Any) -> None:
    """Refuse keywords that a handler does not know, where they are given: not None, not numpy's "no value"."""
    for keyword, value in options.items():
        if value is not None and value is not NO_VALUE:
            if keyword == "out":
                unsupported(f"{name}(out=)", "use the returned array")
            unsupported(f"{name}({keyword}=)", f"leave {keyword} out")


def made_outside(what: str) -> NoReturn:
    """Raise the error for a write of a traced value into a plain array."""
    raise PlainArrayError(
        f"numpy.{what} an array made outside the traced function is not traced yet ({here()}); make it inside, with np.empty or np.zeros"
    )


def _unsupported_function(function: Any) -> NoReturn:
    module = getattr(function, "__module__", "numpy") or "numpy"
    prefix = module[len("numpy.") :] + "." if module.startswith("numpy.") and not module.startswith("numpy._") else ""
    unsupported(prefix + getattr(function, "__name__", str(function)))


FUNCTIONS["unsupported"] = _unsupported_function

# ---- operands ----


def operand(trace: Trace, x: Any) -> Any:
    """`x` as something with a shape and a dtype where it is an array or a sequence; numbers stay numbers."""
    kind = type(x)
    if kind is Tracer or kind is float or kind is int:
        return x
    if isinstance(x, _NUMBERS):
        return x
    if isinstance(x, _SEQUENCES):
        return as_array(trace, x)
    return trace.lift(x if isinstance(x, np.ndarray) else np.asarray(x))


def as_array(trace: Trace, x: Any, dtype: Any = None) -> Any:
    """`x` as an array operand, converted to `dtype`; numbers become 0-d arrays, nested sequences of tracers are stacked."""
    if type(x) is Tracer:
        made: Any = x if isinstance(x.form, np.ndarray) else call(trace, "reshape", x, shape=())
    elif isinstance(x, _SEQUENCES) and find_tracer(x) is not None:
        made = _stack_nested(trace, x)
    elif isinstance(x, _NUMBERS):
        target = np.dtype(dtype) if dtype is not None else np.asarray(x).dtype
        return trace.lift(np.asarray(x, target)) if target.kind not in "biufc" else full(trace, (), x, target)
    else:
        made = trace.lift(np.asarray(x))
    return made if dtype is None else cast(trace, made, dtype)


def _stack_nested(trace: Trace, rows: Sequence[Any]) -> Any:
    """An array from nested sequences of tracers, arrays and numbers, as numpy.array makes it.

    Raises ValueError where the nesting is ragged.
    """
    leaves: list[Any] = []
    shape = _nesting(rows, leaves)
    dtype = np.result_type(*[np.asarray(form_of(leaf)).dtype for leaf in leaves])
    inner = {np.shape(form_of(leaf)) for leaf in leaves}
    if shape is None or len(inner) > 1:  # numbers beside arrays of as many axes as the nesting has left
        return _stack_rows(trace, rows, dtype)
    extents = inner.pop()
    parts = [reshape(trace, as_array(trace, leaf, dtype) if extents else _number(trace, leaf, dtype), (1, *extents)) for leaf in leaves]
    return reshape(trace, join(trace, parts, 0), (*shape, *extents))


def _stack_rows(trace: Trace, rows: Any, dtype: np.dtype[Any]) -> Any:
    if type(rows) is Tracer or not isinstance(rows, _SEQUENCES):
        return as_array(trace, rows, dtype)
    parts = [_stack_rows(trace, row, dtype) for row in rows]
    shapes = {shape_of(part) for part in parts}
    if len(shapes) > 1:
        raise ValueError("setting an array element with a sequence: the nested sequences have an inhomogeneous shape")
    return join(trace, [reshape(trace, part, (1, *shape_of(part))) for part in parts], 0)


def _number(trace: Trace, x: Any, dtype: np.dtype[Any]) -> Any:
    """A scalar as an operand of `dtype`; a plain number becomes a recorded constant of extent 1."""
    return cast(trace, x, dtype) if type(x) is Tracer else full(trace, (1,), x, dtype)


def _nesting(rows: Any, leaves: list[Any]) -> Shape | None:
    """Shape of the nesting down to arrays and numbers, which are collected in `leaves`; None if it is uneven."""
    if type(rows) is Tracer or not isinstance(rows, _SEQUENCES):
        leaves.append(rows if type(rows) is Tracer or isinstance(rows, _NUMBERS) else np.asarray(rows))
        return ()
    shapes = {_nesting(row, leaves) for row in rows}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(rows), *(shapes.pop() or () if shapes else ()))


def shape_of(x: Any) -> Shape:
    """Shape of an operand."""
    value = x.form if type(x) is Tracer else x
    return value.shape if isinstance(value, (np.ndarray, np.generic)) else np.shape(value)


def dtype_of(x: Any) -> np.dtype[Any]:
    """Dtype of an operand; Python numbers have their default dtype."""
    value = x.form if type(x) is Tracer else x
    return value.dtype if isinstance(value, (np.ndarray, np.generic)) else np.asarray(value).dtype


def scalar_where(condition: Any, x: Any, y: Any) -> Any:
    """numpy's where, but a scalar for scalars, as the functions that use it answer."""
    made = np.where(condition, x, y)
    return made if made.ndim else made[()]


def weak_of(x: Any) -> Any:
    """What numpy's promotion takes of an operand: a Python number itself, or a dtype."""
    value = x.form if type(x) is Tracer else x
    return value.dtype if isinstance(value, (np.ndarray, np.generic)) else value


def alias(x: Any, value: Any = NO_VALUE) -> Any:
    """Another tracer of the same recorded value, with another concrete form (a scalar for a 0-d array) if one is given."""
    if type(x) is not Tracer:
        return x
    made = Tracer(x._trace, x.form if value is NO_VALUE else value, x.op, x.operands, x.params, x.index)
    if x._trace.defers and is_deferred(x):
        postpone(made)
    if x._trace.is_graph:
        made.segment = x.segment
        made.site = x.site
    return made


# ---- primitives ----


def call(trace: Trace, name: str, *args: Any, **params: Any) -> Any:
    """Record a primitive."""
    return trace.call(REGISTRY[name], args, params)


def apply(trace: Trace, name: str, fn: Callable[..., Any], *args: Any) -> Any:
    """Record an elementwise primitive; `fn` computes its value."""
    return trace.apply(REGISTRY[name], fn, *args)


def cast(trace: Trace, x: Any, dtype: Any) -> Any:
    """`x` with `dtype`; no node where it has it."""
    target = np.dtype(dtype)
    if type(x) is not Tracer and isinstance(x, _NUMBERS):
        return target.type(x)
    value = x.form if type(x) is Tracer else x
    if type(value) is complex and target.kind != "c":
        x = call(trace, "real", x)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype == target:
        return x
    if target.kind not in "biufc":
        unsupported(f"astype({target})", "convert to a bool, integer, float or complex dtype")
    return call(trace, "convert", x, dtype=dtype_name(target))


def real64(trace: Trace, x: Any) -> Any:
    """An operand in float64.

    Raises TypeError, as numpy does, for complex numbers, which would lose a part.
    """
    x = operand(trace, x)
    if dtype_of(x).kind == "c":
        raise TypeError(f"Cannot cast array data from {dtype_of(x)!r} to dtype('float64') according to the rule 'safe': give the parts")
    return cast(trace, x, np.float64)


def reshape(trace: Trace, x: Any, shape: Shape) -> Any:
    """`x` with `shape`, which is complete; no node where it has it."""
    return x if shape_of(x) == shape and _is_array(x) else call(trace, "reshape", x, shape=shape)


def transpose(trace: Trace, x: Any, axes: Sequence[int]) -> Any:
    """`x` with permuted axes; no node for the identity."""
    order = tuple(axes)
    return x if order == tuple(range(len(order))) else call(trace, "transpose", x, axes=order)


def broadcast(trace: Trace, x: Any, shape: Shape) -> Any:
    """`x` broadcast to `shape`; no node where it has it."""
    return x if shape_of(x) == shape and _is_array(x) else call(trace, "broadcast_to", x, shape=shape)


def _is_array(x: Any) -> bool:
    return isinstance(x.form if type(x) is Tracer else x, np.ndarray)


def join(trace: Trace, parts: Sequence[Any], axis: int) -> Any:
    """Arrays of one dtype joined along an axis; one part is itself."""
    return parts[0] if len(parts) == 1 else call(trace, "concatenate", *parts, axis=axis)


def full(trace: Trace, shape: Shape, value: Any, dtype: np.dtype[Any]) -> Any:
    """An array of one value."""
    if type(value) is not Tracer:
        if value == 0 and not np.signbit(np.real(value)):
            return call(trace, "zeros", shape=shape, dtype=dtype_name(dtype))
        value = dtype.type(value) if dtype_name(dtype) not in _WIDE else dtype.type(value).item()
    return call(trace, "full", value, shape=shape, dtype=dtype_name(dtype))


_WIDE = ("int64", "float64")  # literals of these dtypes stay Python numbers


def iota(trace: Trace, n: int, dtype: Any = np.int64) -> Any:
    """0, 1, ..., n-1."""
    return call(trace, "iota", n=n, dtype=dtype_name(np.dtype(dtype)))


def take_slice(trace: Trace, x: Any, axis: int, start: int, count: int, step: int = 1, drop: bool = False) -> Any:
    """`count` entries of one axis from `start`; no node for all of them in order."""
    shape = shape_of(x)
    if not drop and start == 0 and count == shape[axis] and step == 1:
        return x
    n = len(shape)
    starts, steps = [0] * n, [1] * n
    starts[axis], steps[axis] = (start if count else 0), (step if count else 1)
    counts = (*shape[:axis], count, *shape[axis + 1 :])
    return call(trace, "slice", x, start=tuple(starts), count=counts, step=tuple(steps), drop=(axis,) if drop else ())


def opaque(trace: Trace, function: str, *operands: Any, part: int | None = None, **options: Any) -> Any:
    """A host call of numpy's own function, without derivative; a scalar where numpy answers one. Its shape belongs to the path."""
    made = getattr(np, function)(*[unwrap(x) for x in operands], **options)
    made = made if part is None else made[part]
    shape, dtype = np.shape(made), dtype_name(np.asarray(made).dtype)
    found = call(trace, "opaque", *operands, function=function, options=tuple(sorted(options.items())), part=part, shape=shape, dtype=dtype)
    return found if isinstance(made, np.ndarray) else alias(found, made)


class _Forms:
    """The traced forms of a module's functions by name, for handlers that are composed of others."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return PUBLIC[getattr(self._module, name)]


NP: Any = _Forms(np)
LA: Any = _Forms(np.linalg)

# ---- arguments ----


def axis_index(axis: Any, ndim: int) -> int:
    """A single axis in range.

    Raises AxisError, as numpy does.
    """
    index = operator.index(axis)
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(index, ndim)
    return index % ndim if ndim else 0


def whole(number: Any) -> int:
    """An integer; a float without a fraction is one where numpy's function takes it for one.

    Raises TypeError for anything else.
    """
    value = unwrap(number)
    if isinstance(value, (float, np.floating)) and value == np.floor(value) and np.isfinite(value):
        return int(number)
    return operator.index(number)


def exact_axis(axis: Any) -> Any:
    """An axis argument of a function of numpy's that takes no bool and no list for one, where others do.

    Raises TypeError for these.
    """
    if (
        isinstance(axis, (bool, list))
        or (isinstance(axis, np.ndarray) and axis.ndim)
        or (type(axis) is tuple and True in [isinstance(each, bool) for each in axis])
    ):
        raise TypeError(f"an integer is required for the axis, not {type(axis).__name__}")
    return axis


def axis_tuple(axis: Any, ndim: int) -> Shape:
    """Axes in range in the given order; None means all of them.

    Raises ValueError for a repeated axis, AxisError for one out of range.
    """
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, _SEQUENCES) and not (isinstance(axis, np.ndarray) and axis.ndim == 1):
        return (axis_index(axis, ndim),)
    axes = tuple(axis_index(a, ndim) for a in axis)
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    return axes


def shape_tuple(shape: Any) -> Shape:
    """A shape argument as plain integers."""
    if type(shape) is Tracer or not isinstance(shape, (list, tuple, np.ndarray)):
        if type(shape) is Tracer and np.ndim(shape.form) == 1:
            return tuple(operator.index(n) for n in shape)
        return (operator.index(shape),)
    return tuple(operator.index(n) for n in shape)
