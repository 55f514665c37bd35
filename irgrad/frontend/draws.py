"""Draws of random numbers in a trace: recorded in program order, and done again by each run of the program.

A draw is one node with the effect trait. Its param `Draw` says from what and how; parameters that are data are operands. A draw
whose distribution has parameters by a formula (`handlers.random`) is a node for the standard draw, and that formula.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.errors import DifferentiationError
from irgrad.frontend.context import CURRENT
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import Tracer, depends_on_mark
from irgrad.ir.aval import Aval, as_kind, aval_of
from irgrad.ir.effects import Effects
from irgrad.ir.primitive import EFFECT, Primitive, nondiff
from irgrad.ops.routines import address_in
from irgrad.pytree import Structure, flatten, unflatten

_numpy_random: Any = np.random  # numpy does not declare all that it exports
_NUMPY = (np.random.RandomState, np.random.Generator)


class Standard:
    """Says that a draw with these parameters is made from `method` with `args` and this shape (None: one number)."""

    __slots__ = ("args", "method", "shape")

    def __init__(self, method: str, args: tuple[Any, ...], shape: tuple[int, ...] | None) -> None:
        self.method = method
        self.args = args
        self.shape = shape

    def key(self) -> tuple[Any, ...]:
        return self.method, self.args, self.shape


class Draw:
    """One call of a generator's method. `number` counts the generators that a run makes; None for one that is there before it."""

    __slots__ = ("_key", "_ready", "aval", "generator", "kinds", "method", "number", "standard", "stream", "structure")

    def __init__(
        self,
        generator: Any,
        number: int | None,
        method: str,
        structure: Structure,
        kinds: tuple[Any, ...],
        standard: Standard | None = None,
    ) -> None:
        self.generator = generator
        self.number = number
        self.method = method
        self.structure = structure
        self.kinds = kinds  # of each argument's leaves: "array", "scalar", "python", or a `_Static`
        self.standard = standard
        self.aval: Aval | None = None
        written = None if standard is None else standard.key()
        self.stream: Any = id(generator) if number is None else (number, type(generator))  # an id of what this object keeps alive
        self._key = (self.stream, method, structure, kinds, written)
        self._ready: Callable[[], Any] | None = None  # the whole call, where nothing of it is data: most draws
        if number is None and standard is None and method != "seed" and not any(type(kind) is str for kind in kinds):
            args, kwargs = self.arguments(())
            self._ready = functools.partial(numpys(generator, method), generator, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Draw) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        made = "" if self.number is None else f"{self.number}"
        texts = [_Text(repr(k.value) if type(k) is _Static else ".") for k in self.kinds]
        args, kwargs = unflatten(self.structure, texts)
        inner = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
        return f"{type(self.generator).__name__}{made}.{self.method}({inner})"

    def arguments(self, operands: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        data = iter(operands)
        return unflatten(self.structure, [k.value if type(k) is _Static else as_kind(next(data), k) for k in self.kinds])

    def perform(self, effects: Effects, operands: tuple[Any, ...]) -> Any:
        """Draw. Raises what numpy raises for bad parameters."""
        if self._ready is not None:
            return self._ready()
        args, kwargs = self.arguments(operands)
        if self.method == MAKE:
            effects.generators[self.number or 0] = type(self.generator).__irgrad_make__(*args, **kwargs)
            return 0.0
        generator = self.generator if self.number is None else effects.generators[self.number]
        function = numpys(generator, self.method)
        if self.standard is None:
            drawn = function(generator, *args, **kwargs)
            return 0.0 if drawn is None else drawn
        shape = self.standard.shape
        function(generator, *args, size=(0, *(shape or ())))  # numpy's own look at the parameters; draws nothing
        return numpys(generator, self.standard.method)(generator, *self.standard.args, size=shape)


MAKE = "made"


class _Text(str):
    """A string that is written as it is."""

    __slots__ = ()
    __repr__ = str.__str__


class _Static:
    """An argument that is part of what is drawn: equal type and value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            return hash(type(self.value))


def numpys(generator: Any, method: str) -> Callable[..., Any]:
    """numpy's own method of a generator, past the one that records."""
    return getattr(next(cls for cls in _NUMPY if isinstance(generator, cls)), method)


def _evaluate(*operands: Any, draw: Draw, effects: Effects) -> Any:
    return (effects.restart if draw.method in (MAKE, "seed") else effects.draw)(draw, operands)


def _aval(*operands: Aval, draw: Draw) -> Aval:
    assert draw.aval is not None
    return draw.aval


_NONE = nondiff("a draw is a constant of the derivatives around it")
DRAW = Primitive("draw", _evaluate, _aval, _NONE, _NONE, traits=EFFECT, host=True)


def record_draw(
    trace: Trace, generator: Any, method: str, args: Sequence[Any], kwargs: Mapping[str, Any], standard: Standard | None = None
) -> Any:
    """Draw within a trace. In eager traces nothing is recorded: what is drawn is a constant.

    Raises DifferentiationError where the distribution depends on what is being differentiated and no formula says how.
    """
    leaves, structure = flatten((tuple(args), dict(kwargs)))
    if standard is None:
        _refuse_derivative(method, leaves)
    values = [leaf.value if type(leaf) is Tracer else leaf for leaf in leaves]
    if not isinstance(trace, GraphTrace):
        kinds = tuple([aval_of(value).kind if _is_data(value) else _Static(value) for value in values])
        draw = Draw(generator, None, method, structure, kinds, standard)
        return _outside_trace(lambda: draw.perform(Effects(), tuple([value for value in values if _is_data(value)])))
    kinds = _kinds(leaves, values)
    operands = [leaf for leaf, kind in zip(leaves, kinds, strict=True) if type(kind) is str]
    draw = Draw(generator, _number_of(trace, generator), method, structure, kinds, standard)
    concrete = tuple([o.value if type(o) is Tracer else o for o in operands])
    watch(trace)
    value = _outside_trace(lambda: _evaluate(*concrete, draw=draw, effects=trace.effects))
    trace.drawn = fingerprint()
    draw.aval = aval_of(value).with_kind("array")
    return trace.record(DRAW, tuple([o if type(o) is Tracer else trace.lift(o) for o in operands]), {"draw": draw}, value)


def _kinds(leaves: Sequence[Any], values: Sequence[Any]) -> tuple[Any, ...]:
    """Traced values and arrays are data; other arguments belong to the draw."""
    pairs = zip(leaves, values, strict=True)
    return tuple([aval_of(v).kind if type(x) is Tracer or isinstance(v, np.ndarray) else _Static(v) for x, v in pairs])


def make_generator(trace: GraphTrace, made: Any, args: Sequence[Any], /, **kwargs: Any) -> Any:
    """Record that the program makes a generator, `made` on this run, from these arguments."""
    leaves, structure = flatten((tuple(args), dict(kwargs)))
    values = [leaf.value if type(leaf) is Tracer else leaf for leaf in leaves]
    kinds = _kinds(leaves, values)
    number = len(trace.generators)
    trace.generators.append(made)
    draw = Draw(made, number, MAKE, structure, kinds)
    draw.aval = Aval((), np.dtype(np.float64))
    trace.effects.restarted.add(draw.stream)
    trace.effects.generators[number] = made
    operands = [leaf for leaf, kind in zip(leaves, kinds, strict=True) if type(kind) is str]
    trace.record(DRAW, tuple([o if type(o) is Tracer else trace.lift(o) for o in operands]), {"draw": draw}, 0.0)
    return made


def _number_of(trace: GraphTrace, generator: Any) -> int | None:
    return next((k for k, made in enumerate(trace.generators) if made is generator), None)


def note_effect(trace: Trace | None, what: str, advice: str = "") -> None:
    """The open trace does something that a program cannot repeat: it is impure."""
    if isinstance(trace, GraphTrace) and trace.substitution is not None:
        reason = f"{what} ({here()}){advice and '; '}{advice}"
        if reason not in trace.substitution.effects:
            trace.substitution.effects.append(reason)


def _refuse_derivative(method: str, leaves: Sequence[Any]) -> None:
    for leaf in leaves:
        if type(leaf) is Tracer and leaf._trace.marks and depends_on_mark(leaf):
            raise DifferentiationError(
                f"numpy.random.{method}: the derivative of a draw with respect to a parameter of its distribution is not defined "
                f"({here()}); draw from one that shifts and scales (normal, uniform, exponential, ...), or use irgrad.stop_gradient "
                "on the parameter"
            )


def fingerprint() -> bytes | None:
    """The state of numpy's global generator, but for a normal number that it may have kept; None where it is not to be seen."""
    generator = _numpy_random.get_bit_generator()
    if type(generator) is not np.random.MT19937:
        return None
    known = ctypes.c_void_p.from_address(address_in(generator.capsule))  # a bitgen_t, which begins with the address of the state
    return ctypes.string_at(known.value or 0, 625 * 4)


def watch(trace: GraphTrace) -> None:
    """Has someone drawn from numpy's global generator unseen, since the trace last looked?"""
    if trace.drawn != (now := fingerprint()):
        trace.drawn = now
        note_effect(trace, "a library draws from numpy's global generator")


def _outside_trace(call: Callable[[], Any]) -> Any:
    token = CURRENT.set(None)
    try:
        return call()
    finally:
        CURRENT.reset(token)


def _is_data(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, float, int, complex)) and not isinstance(value, bool)
