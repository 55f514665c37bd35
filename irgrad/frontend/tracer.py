"""Tracers: what a traced function holds in place of an array or a number.

A tracer is a value on a trace's tape: the concrete value, the primitive that made it and its operands. It behaves as the value
does (attributes, operators, methods, `isinstance`), and records what is done to it. It is no ndarray subclass, which
`np.asarray` would strip silently.

Concretisation: `bool`, `int` and use as an index see the concrete value and leave a guard on the trace. Where a float or an
array would lose a derivative, an error says what to write instead.
"""

from __future__ import annotations

import dis
import functools
import operator
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad import ops as _ops  # noqa: F401  (declares the primitives)
from irgrad.errors import ConcretizationError, TraceError
from irgrad.ir.aval import Aval, aval_of
from irgrad.ir.primitive import IDENTITY, REGISTRY, NonDiff, Primitive
from irgrad.ir.value import Value
from irgrad.pytree import declare_leaf

if TYPE_CHECKING:
    from irgrad.frontend.sites import Site
    from irgrad.frontend.trace import Trace

UFUNCS: dict[Any, Callable[..., Any]] = {}  # numpy ufunc -> handler, filled by frontend.handlers
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # numpy function -> handler
METHODS: dict[str, Callable[..., Any]] = {}  # ndarray method name -> handler(tracer, ...)
ATTRIBUTES: dict[str, Callable[..., Any]] = {}  # ndarray attribute name -> handler(tracer)
COMPUTE: list[Callable[..., Any]] = []  # gives a deferred value (`frontend.deferral`)
INDEXING: dict[str, Callable[..., Any]] = {}  # "get", "set", "part" (``z.real = v``), "inplace" (``x += v``), "present" (what it holds)


class Tracer(Value):
    """A traced value. Made by traces only.

    `form` has the type, dtype and shape of `value`: the value itself, but where that is deferred (`frontend.deferral`).
    """

    __slots__ = ("__weakref__", "_trace", "form", "index", "op", "operands", "params", "segment", "site", "value")
    __array_priority__ = 1000.0
    segment: int  # of a value in a graph: which one it is in, and where the user's code is
    site: Site | None

    def __init__(
        self, trace: Trace, value: Any, op: Primitive | None, operands: tuple[Any, ...], params: dict[str, Any], index: int
    ) -> None:
        self._trace = trace
        self.value = self.form = value
        self.op = op
        self.operands = operands
        self.params = params
        self.index = index

    # -- what it looks like ------------------------------------------------------------------------------------------

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance holds as for the value
        return type(self.form)

    @property
    def aval(self) -> Aval:
        return aval_of(self.form)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.form.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        INDEXING["part"](self, "shape", shape)

    @property
    def flat(self) -> Any:
        return ATTRIBUTES["flat"](self)

    @flat.setter
    def flat(self, value: Any) -> None:
        INDEXING["part"](self, "flat", value)

    @property
    def ndim(self) -> int:
        return self.form.ndim

    @property
    def size(self) -> int:
        return self.form.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.form.dtype

    @property
    def itemsize(self) -> int:
        return self.form.itemsize

    @property
    def nbytes(self) -> int:
        return self.form.size * self.form.itemsize

    @property
    def real(self) -> Any:
        return ATTRIBUTES["real"](self)

    @real.setter
    def real(self, value: Any) -> None:
        INDEXING["part"](self, "real", value)

    @property
    def imag(self) -> Any:
        return ATTRIBUTES["imag"](self)

    @imag.setter
    def imag(self, value: Any) -> None:
        INDEXING["part"](self, "imag", value)

    def __len__(self) -> int:
        return len(self.form)

    def __repr__(self) -> str:
        return f"<traced {self.aval}: {_shown(self)!r}>"

    def __str__(self) -> str:
        return str(_shown(self))

    def __format__(self, spec: str) -> str:
        return format(_shown(self), spec)

    def __getattr__(self, name: str) -> Any:
        if name == "value":  # deferred so far
            return COMPUTE[0](self)
        if name in METHODS:
            if not hasattr(self.form, name):
                raise AttributeError(f"{type(self.form).__name__!r} object has no attribute {name!r}")
            return MethodType(METHODS[name], self)
        if name in ATTRIBUTES:
            if not hasattr(self.form, name):
                raise AttributeError(f"{type(self.form).__name__!r} object has no attribute {name!r}")
            return ATTRIBUTES[name](self)
        hint = f"; irgrad does not trace .{name} yet" if hasattr(self.form, name) else ""
        raise AttributeError(f"a traced {self.aval} has no attribute {name!r}{hint}")

    # -- concretisation ----------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        self = _present(self)
        outcome = bool(self.value)
        self._decide("bool", outcome)
        return outcome

    def __int__(self) -> int:
        self = _present(self)
        outcome = int(self.value)
        self._decide("int", outcome)
        return outcome

    def __index__(self) -> int:
        self = _present(self)
        outcome = operator.index(self.value)
        self._decide("int", outcome)
        return outcome

    def __round__(self, ndigits: Any = None) -> Any:
        form = self.form
        if isinstance(form, (np.ndarray, complex, np.complexfloating)):
            kind = type(form)
            raise TypeError(f"type {'' if kind is complex else 'numpy.'}{kind.__name__} doesn't define __round__ method")
        if type(form) is bool:
            return round(int(self), ndigits)
        if ndigits is None:
            return int(METHODS["round"](self))
        if type(form) is float:  # decimal digits of which Python rounds exactly, and numpy does not
            raise TraceError(f"round(t, {ndigits}) of a traced Python float ({self._here()}); use np.round(t, {ndigits})")
        return METHODS["round"](self, ndigits)

    def _decide(self, kind: str, outcome: int) -> None:
        """The program's course relies on this outcome: a guard, or an error after the trace's end."""
        trace = self._trace
        if trace.is_graph:
            trace.guard(self, kind, outcome)
        elif trace.open:
            trace.course = hash((trace.course, outcome))
        else:
            trace.check(self)

    def __hash__(self) -> int:
        value = self.form
        if isinstance(value, (int, np.integer, np.bool_)):
            return hash(int(self))
        if isinstance(value, np.ndarray):
            raise TypeError("unhashable type: 'numpy.ndarray'")
        raise TraceError(
            f"a traced {self.aval} is no dictionary key or set member ({self._here()}); use float(irgrad.stop_gradient(t)) or an integer"
        )

    def __float__(self) -> float:
        if _is_text(sys._getframe(1)):
            return float(_shown(self))
        self._refuse("float(t)", "np.exp(t) for math.exp(t), irgrad.numpy.zeros for an array to write into")
        self = _present(self)
        outcome = float(self.value)
        self._guard_value()
        return outcome

    def __complex__(self) -> complex:
        self._refuse("complex(t)", "t + 0j")
        self = _present(self)
        outcome = complex(self.value)
        self._guard_value()
        return outcome

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self = _present(self)
        self._refuse(
            "a plain numpy array of t",
            "irgrad.numpy in place of numpy, np.dot(a, t) for a.dot(t) of a plain array, np.array(u) for the array u that t is written to",
        )
        if np.ndim(self.form) and not self._trace.is_graph and self._trace.open:
            return np.array(self.value, dtype=dtype)  # indices and masks, mostly; a copy, as the memory may be written
        if np.ndim(self.form):
            raise TraceError(
                f"a traced array cannot become a plain numpy array ({self._here()}); use irgrad.numpy, np.dot(a, t) for a.dot(t) of "
                "a plain array, or irgrad.stop_gradient outside jit"
            )
        self._guard_value()
        return np.asarray(self.value, dtype=dtype)

    def _guard_value(self) -> None:
        """Guard the number itself: a whole one by its value, a real one by its bits, a complex one by those of both parts."""
        trace = self._trace
        if not trace.is_graph:
            if not trace.open:
                trace.check(self)
            return
        kind = np.result_type(self.form).kind
        if kind == "c":
            for name, part in (("real", np.real), ("imag", np.imag)):
                number = trace.apply(REGISTRY[name], part, self)
                trace.guard(number, "bits", float(number.value))
        elif kind == "f":
            trace.guard(self, "bits", float(self.value))
        else:
            trace.guard(self, "bool" if kind == "b" else "int", self.value.item() if hasattr(self.value, "item") else self.value)

    def _refuse(self, what: str, instead: str) -> None:
        if self._trace.marks and depends_on_mark(self):
            raise ConcretizationError(
                f"{what} would lose the derivative of a traced value ({self._here()}); use {instead}, "
                "or irgrad.stop_gradient(t) to say that none is wanted"
            )

    def _here(self) -> Any:
        from irgrad.frontend.trace import here

        return here()

    def __iter__(self) -> Iterator[Any]:
        if not isinstance(self.form, np.ndarray) or self.form.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return iter([self[i] for i in range(len(self.form))])

    def __contains__(self, item: Any) -> bool:
        return bool((self == item).any())

    # -- items -------------------------------------------------------------------------------------------------------

    if TYPE_CHECKING:

        def __getitem__(self, index: Any) -> Any: ...  # both are set by frontend.handlers

        def __setitem__(self, index: Any, value: Any) -> None: ...

    # -- numpy's protocols -------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handler = UFUNCS.get(ufunc)
        if handler is not None and method == "__call__":
            return handler(*inputs, **kwargs)
        return FUNCTIONS["ufunc"](ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        handler = FUNCTIONS.get(func)
        if handler is None:
            return FUNCTIONS["unsupported"](func)
        return handler(*args, **kwargs)


declare_leaf(Tracer)


_slot: Any = vars(Tracer)["value"]  # unset while a value is deferred


def is_deferred(tracer: Tracer) -> bool:
    """Is a value not computed yet?"""
    try:
        _slot.__get__(tracer)
    except AttributeError:
        return True
    return False


def depends_on_mark(tracer: Tracer) -> bool:
    """Does the value depend on an input that is being differentiated?"""
    seen: set[int] = set()
    stack = [tracer]
    while stack:
        node = stack.pop()
        if node.index in seen:
            continue
        seen.add(node.index)
        op = node.op
        if op is None:
            continue
        if op.name == "mark" and op.has(IDENTITY):
            return True
        rules = op.vjp
        if isinstance(rules, NonDiff):
            continue
        blocked: tuple[Any, ...] = rules if isinstance(rules, tuple) else ()
        stack.extend(o for k, o in enumerate(node.operands) if type(o) is Tracer and not (k < len(blocked) and blocked[k] is None))
    return False


def _present(tracer: Tracer) -> Tracer:
    """What a handle holds now: arrays change in place."""
    return INDEXING["present"](tracer) if tracer._trace.storages else tracer


@functools.lru_cache(maxsize=1)
def _remainders() -> frozenset[tuple[int, int]]:
    """Instruction and argument of ``a % b`` and ``a %= b``."""
    codes = (compile(text, "", "exec") for text in ("a % b", "a %= b"))
    return frozenset((i.opcode, i.arg or 0) for code in codes for i in dis.get_instructions(code) if i.opname == "BINARY_OP")


@functools.lru_cache(maxsize=4096)
def _instruction(code: CodeType, at: int) -> tuple[int, int]:
    return code.co_code[at], code.co_code[at + 1]


def _is_text(frame: FrameType) -> bool:
    """Is a frame in ``"%.3f" % t``, which asks for a float? Numbers know no remainder of traced values."""
    return _instruction(frame.f_code, frame.f_lasti) in _remainders()


def _shown(tracer: Tracer) -> Any:
    """The value as text is made of it; what becomes of the text is not seen, so that one trace is no evidence."""
    substitution = tracer._trace.substitution
    if substitution is not None:
        substitution.doubt = substitution.doubt or "the text of a traced value"
    return _present(tracer).value


def counted(x: Tracer, other: Any = True) -> Tracer:
    """A bool of Python's, alone or beside another one, as the integer that it is in arithmetic; anything else as it is."""
    if type(x.form) is not bool or type(other.form if type(other) is Tracer else other) is not bool:
        return x
    made: Tracer = x._trace.apply(REGISTRY["add"], operator.add, x, 0)
    return made


def _binary(name: str, fn: Callable[..., Any], dunder: str) -> None:
    op = REGISTRY[name]
    counts = not name.startswith("bitwise")

    def forward(self: Tracer, other: Any) -> Any:
        if counts and type(self.form) is bool:
            self = counted(self, other)
        return self._trace.apply(op, fn, self, other)

    def backward(self: Tracer, other: Any) -> Any:
        if counts and type(self.form) is bool:
            self = counted(self, other)
        return self._trace.apply(op, fn, other, self)

    setattr(Tracer, f"__{dunder}__", forward)
    setattr(Tracer, f"__r{dunder}__", backward)


def _compare(name: str, fn: Callable[..., Any], dunder: str) -> None:
    op = REGISTRY[name]

    def compare(self: Tracer, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return fn(_present(self).value, other)
        return self._trace.apply(op, fn, self, other)

    setattr(Tracer, f"__{dunder}__", compare)


def _unary(name: str, fn: Callable[..., Any], dunder: str) -> None:
    op = REGISTRY[name]
    setattr(Tracer, f"__{dunder}__", lambda self: self._trace.apply(op, fn, counted(self)))


_fn: Callable[..., Any]
for _name, _fn, _dunder in (
    ("add", operator.add, "add"), ("sub", operator.sub, "sub"), ("mul", operator.mul, "mul"), ("div", operator.truediv, "truediv"),
    ("floor_divide", operator.floordiv, "floordiv"), ("remainder", operator.mod, "mod"), ("bitwise_and", operator.and_, "and"),
    ("bitwise_or", operator.or_, "or"), ("bitwise_xor", operator.xor, "xor"), ("left_shift", operator.lshift, "lshift"),
    ("right_shift", operator.rshift, "rshift"),
):  # fmt: skip
    _binary(_name, _fn, _dunder)
for _name, _fn, _dunder in (
    ("greater", operator.gt, "gt"), ("greater_equal", operator.ge, "ge"), ("less", operator.lt, "lt"), ("less_equal", operator.le, "le"),
    ("equal", operator.eq, "eq"), ("not_equal", operator.ne, "ne"),
):  # fmt: skip
    _compare(_name, _fn, _dunder)
for _name, _fn, _dunder in (("neg", operator.neg, "neg"), ("abs", operator.abs, "abs"), ("invert", operator.invert, "invert")):
    _unary(_name, _fn, _dunder)


def _inplace(name: str, dunder: str) -> None:
    def update(self: Tracer, other: Any) -> Any:
        if not isinstance(self.form, np.ndarray):
            return NotImplemented  # Python rebinds the name
        return INDEXING["inplace"](self, name, dunder, other)

    setattr(Tracer, f"__i{dunder}__", update)


for _name, _dunder in (
    ("add", "add"), ("subtract", "sub"), ("multiply", "mul"), ("true_divide", "truediv"), ("floor_divide", "floordiv"),
    ("remainder", "mod"), ("power", "pow"), ("matmul", "matmul"), ("bitwise_and", "and"), ("bitwise_or", "or"),
    ("bitwise_xor", "xor"), ("left_shift", "lshift"), ("right_shift", "rshift"),
):  # fmt: skip
    _inplace(_name, _dunder)
