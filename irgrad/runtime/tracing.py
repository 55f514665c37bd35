"""One trace of a function on the arguments of a call: the right result, and what a program is built from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.frontend.captured import SelfOrigin
from irgrad.frontend.choices import decided
from irgrad.frontend.context import CURRENT
from irgrad.frontend.draws import fingerprint, watch
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.names import default_names
from irgrad.frontend.origins import Finder
from irgrad.frontend.ownership import is_user_file
from irgrad.frontend.purity import doubt_of_arguments
from irgrad.frontend.storage import check_written, resolve_all, view_of
from irgrad.frontend.substitute import ATOMS, Substitution
from irgrad.frontend.tracer import Tracer, is_deferred
from irgrad.ir.effects import Effects
from irgrad.ir.source import Source
from irgrad.pytree import flatten, unflatten
from irgrad.runtime.signature import CallForm, StaticLeaf, normalise


class Traced:
    """What one trace gave: the result for the caller, and what is needed to build a program of it."""

    def __init__(
        self,
        trace: GraphTrace,
        outputs: list[Any],
        structure: Any,
        guards: list[Any],
        captured: dict[Any, Any],
        impure: list[str],
        doubt: str,
    ) -> None:
        self.trace = trace
        self.outputs = outputs
        self.structure = structure
        self.guards = guards
        self.captured = captured
        self.impure = impure
        self.doubt = doubt  # why one trace does not show that the function is pure; empty if it does
        self._values = None if self.is_deferred else [_fresh(o) for o in outputs]

    @property
    def is_deferred(self) -> bool:
        """Is there an output that has not been computed?"""
        return any(type(o) is Tracer and is_deferred(o) for o in self.outputs)

    @property
    def result(self) -> Any:
        """What the function returned on the arguments of the call; computes what was deferred."""
        if self._values is None:
            self._values = [_fresh(o) for o in self.outputs]
        return unflatten(self.structure, self._values)


def trace_call(
    fun: Callable[..., Any],
    form: CallForm,
    effects: Effects | None = None,
    annotate: bool = False,
    defer: bool = False,
    begun: Callable[[GraphTrace, Substitution], None] | None = None,
) -> Traced:
    """Run `fun` on tracers of a call's data leaves; `effects` has what the interrupted run that this one repeats has drawn.

    `defer` says that large values may be computed later (`frontend.deferral`). `begun` sees the trace before the first operation.
    Raises SharedArguments where an argument is written in whose memory another one is.
    """
    trace = GraphTrace(sys._getframe(0))
    if effects is not None:
        trace.effects = effects.repeated()
    trace.drawn = fingerprint()
    if annotate:
        trace.primals = {}
    trace.may_defer = defer and not annotate
    token = CURRENT.set(trace)
    captured: dict[Any, Any] = {}

    def wrap(value: Any, origin: Any) -> Any:
        ready = normalise(value)
        if type(ready) is StaticLeaf:
            return value
        captured[origin] = value
        return trace.input(ready, origin)

    substitution = Substitution(wrap, default_names())
    trace.substitution = substitution
    substitution.on_doubt = trace.settle
    trace.finder = finder = Finder(trace.sites.base, captured.__setitem__)
    try:
        if begun is not None:
            begun(trace, substitution)
        args, kwargs = _arguments(trace, substitution, form)
        substitution.question(doubt_of_arguments, (args, kwargs))
        result = substitution.function(fun)(*args, **kwargs)
        if isinstance(result, (GeneratorType, CoroutineType, AsyncGeneratorType)):
            name, kind = getattr(fun, "__qualname__", repr(fun)), type(result).__name__
            raise TraceError(f"{name} returns a {kind}, which runs after its trace has ended; return a list or an array")
        outputs, out_structure = _outputs(trace, result)
        if begun is None:  # others may draw while a trace in turns stands still
            watch(trace)
        impure = substitution.finish()
        trace.sites.leave_all()
        finder.forget_made(captured)
        guards = [*substitution.guards, *substitution.class_guards(captured), *finder.guards]
        return Traced(trace, outputs, out_structure, guards, captured, impure, substitution.doubt)
    except BaseException as error:
        substitution.finish()  # writes to globals and cells up to here are the user's
        trace.close()
        if isinstance(error, RecursionError):
            name = getattr(fun, "__qualname__", repr(fun))
            error.add_note(f"irgrad was tracing {name}, which called itself at {_last_line(error)}: does the recursion end?")
        raise
    finally:
        CURRENT.reset(token)


def _outputs(trace: GraphTrace, result: Any) -> tuple[list[Any], Any]:
    """The leaves of what the function returned, as they are now."""
    outputs, structure = flatten(result)
    if trace.choices:
        outputs = [decided(trace, output) for output in outputs]
    if trace.storages:
        outputs = resolve_all(trace, outputs, True)
        check_written(trace, outputs)
    return outputs, structure


def _arguments(trace: GraphTrace, substitution: Substitution, form: CallForm) -> Any:
    """The arguments that a trace of a call gives to the function: tracers of its data leaves."""
    inputs = [trace.input(value, number) for number, value in enumerate(form.values)]
    trace.given = form.given
    placed = {p: v if type(v) in ATOMS else substitution.value(v, SelfOrigin(v)) for p, v in form.statics.items()}
    placed.update((p, view_of(trace, inputs[number], steps)) for p, (number, steps) in form.members.items())
    data = iter(inputs)
    return unflatten(form.structure, [placed[position] if position in placed else next(data) for position in range(form.size)])


def _last_line(error: BaseException) -> Source | None:
    """The innermost line of the user's that an error went through."""
    step, found = error.__traceback__, None
    while step is not None:
        code = step.tb_frame.f_code
        if is_user_file(code.co_filename):
            found = Source(code.co_filename, step.tb_lineno, code.co_qualname)
        step = step.tb_next
    return found


def _fresh(output: Any) -> Any:
    """A result that owns its memory."""
    value = output.value if type(output) is Tracer else output
    if isinstance(value, np.ndarray) and type(output) is Tracer:
        return np.array(value)
    return value
