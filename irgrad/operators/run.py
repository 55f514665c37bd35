"""One run of a function with its differentiated leaves marked, and the accumulation over what it recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from irgrad import ops as _ops  # noqa: F401  (declares the primitives)
from irgrad.elements import BOXES, Element, boxed, held_by, noted, unboxed
from irgrad.errors import DifferentiationError, MissingRuleError
from irgrad.frontend.context import CURRENT, current
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.recorder import RecordBuilder
from irgrad.frontend.storage import identity, resolve, resolve_all, resolve_tree, shared_base
from irgrad.frontend.trace import Trace, describe
from irgrad.frontend.tracer import Tracer
from irgrad.ir.builder import EVAL, Builder
from irgrad.ir.primitive import REGISTRY
from irgrad.operators.arguments import Argnum, as_inexact, find_places, share_memory
from irgrad.operators.messages import located, source_of_function, warn_independent
from irgrad.operators.values import dtype_of, is_numeric, leaves_like, ones, own, seed, settle, settle_recorded
from irgrad.passes.adjoint import reverse
from irgrad.passes.tangent import forward
from irgrad.pytree import flatten, tree_map, unflatten

_MARK = REGISTRY["mark"]
_NO_PARAMS: dict[str, Any] = {}
_float64 = np.float64


class Run:
    """A function run once: its marked leaves, its outputs and the stretch of tape between them."""

    __slots__ = ("aux", "concrete", "fun", "marks", "out_structure", "outs", "start", "stop", "structure", "tape", "trace")

    def __init__(
        self,
        trace: Trace,
        fun: Callable[..., Any],
        argnum: Argnum,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        has_aux: bool = False,
        backwards: bool = True,
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
            places, single, kwargs = find_places(fun, argnum, args, kwargs)
        picked = [args[p] if type(p) is int else kwargs[p] for p in places]  # type: ignore[index]
        leaves, self.structure = flatten(picked[0] if single else tuple(picked))
        leaves = [as_inexact(trace, leaf, fun, places, picked, k) for k, leaf in enumerate(leaves)]
        self.tape = trace.tape
        new_args = list(args)
        shared = self.mark(leaves, places, new_args, kwargs)
        tree = unflatten(self.structure, [boxed(mark) for mark in self.marks] if BOXES else self.marks)
        for place, value in zip(places, (tree,) if single else tree, strict=True):
            if type(place) is int:
                new_args[place] = value
            else:
                kwargs[place] = value  # type: ignore[index]
        trace.marks, trace.saving = trace.marks + 1, trace.saving + backwards
        before = trace.shared
        if shared:
            trace.shared = {**before, **{self.marks[k].index: base for k, base in shared.items()}}
        try:
            out = fun(*new_args, **kwargs)
        finally:
            trace.marks, trace.saving, trace.shared = trace.marks - 1, trace.saving - backwards, before
        if has_aux:
            out, self.aux = _pair(out, fun)
        self.outs, self.out_structure = flatten(out)
        if BOXES:
            self.outs, self.aux = [noted(trace, out) for out in self.outs], tree_map(unboxed, self.aux)
        if trace.storages:
            self.outs, self.aux = resolve_all(trace, self.outs, True), resolve_tree(trace, self.aux)
        self.stop = len(self.tape)
        depends = False
        for out in self.outs:
            if type(out) is Tracer:
                if out._trace is not trace:
                    trace.check(out)
                depends = depends or out.index >= self.start
        if not depends and self.marks:
            warn_independent()

    def mark(self, leaves: Sequence[Any], places: Sequence[int | str], args: list[Any], kwargs: dict[str, Any]) -> dict[int, int]:
        """Put marked leaves on the tape; which of them share memory with others, and its index."""
        trace, tape = self.trace, self.tape
        if self.concrete:
            shared = share_memory(trace, self.fun, leaves, places, args, kwargs)
            self.start = start = len(tape)
            self.marks = [Tracer(trace, leaf, _MARK, (), _NO_PARAMS, start + k) for k, leaf in enumerate(leaves)]
            tape.extend(self.marks)
            return shared
        lifted = [leaf if type(leaf) is Tracer else trace.lift(leaf) for leaf in leaves]
        self.start = len(tape)
        self.marks = [trace.call(_MARK, (leaf,), _NO_PARAMS) for leaf in lifted]
        bases = [shared_base(trace, leaf) for leaf in lifted] if trace.bases else []
        return {k: base for k, base in enumerate(bases) if base is not None}

    def value(self) -> Any:
        """The output as the caller gets it: plain values that own their memory, or tracers inside a trace."""
        return unflatten(self.out_structure, [own(out) for out in self.outs] if self.concrete else [boxed(out) for out in self.outs])

    # -- accumulation ------------------------------------------------------------------------------------------------

    def pull(self, cts: Sequence[Any]) -> list[Any]:
        """Cotangents of the marked leaves (None for zero) from those of the output leaves, on concrete values."""
        seeds: dict[int, Any] = {}
        for out, ct in zip(self.outs, cts, strict=True):
            if type(out) is Tracer and ct is not None and out.index >= self.start:
                seeds[out.index] = ct if out.index not in seeds else seeds[out.index] + ct
        token = CURRENT.set(None)  # as `concretely`, at a third of its cost
        try:
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, EVAL, all_active=self.concrete and not self.trace.full)
        except MissingRuleError as error:
            if not self.concrete:
                raise located(error, self.trace) from None
        finally:
            CURRENT.reset(token)
        with concretely():
            try:  # the rule may be missing for a value that does not depend on the marks
                return reverse(self.tape, self.start, self.stop, seeds, self.marks, EVAL)
            except MissingRuleError as error:
                raise located(error, self.trace) from None

    def pull_recorded(self, b: Builder, cts: Sequence[Any], detached: bool = False, active: bytearray | None = None) -> list[Any]:
        """`pull` through a builder: recorded, or in a batch."""
        seeds: dict[int, Any] = {}
        for out, ct in zip(self.outs, cts, strict=True):
            if type(out) is Tracer and ct is not None and out.index >= self.start:
                seeds[out.index] = ct if out.index not in seeds else b.add(seeds[out.index], ct)
        try:
            return reverse(self.tape, self.start, self.stop, seeds, self.marks, b, detached=detached, active=active)
        except MissingRuleError as error:
            raise located(error, getattr(b, "trace", self.trace)) from None

    def push(self, b: Any, tangents: Sequence[Any], detached: bool = False) -> list[Any]:
        """Tangents of the output leaves (None for zero) from those of the marked leaves."""
        seeds = {mark.index: t for mark, t in zip(self.marks, tangents, strict=True) if t is not None}
        live = [out for out in self.outs if type(out) is Tracer]
        try:
            with concretely() if b is EVAL else nullcontext():
                found = iter(forward(self.tape, self.start, self.stop, seeds, live, b, detached=detached))
        except MissingRuleError as error:
            raise located(error, self.trace) from None
        return [next(found) if type(out) is Tracer else None for out in self.outs]

    def check_scalar(self, name: str, kinds: str = "fiu") -> None:
        """Raise DifferentiationError unless the output is one real number (of a dtype kind in `kinds`)."""
        outs = self.outs
        if len(outs) == 1:
            value = outs[0].form if type(outs[0]) is Tracer else outs[0]
            kind = type(value)
            if (
                kind is _float64
                or kind is float
                or (kind is not Element and is_numeric(value) and np.size(value) == 1 and dtype_of(value).kind in kinds)
            ):
                return
        got = ", ".join(describe(held_by(out)) for out in outs) or "nothing"
        raise DifferentiationError(
            f"{name} only applies to real scalar-output functions. Try jacobian, elementwise_grad or holomorphic_grad. "
            f"The output is {got} ({source_of_function(self.fun)})"
        )

    def check_numeric(self, name: str, kinds: str = "fciu") -> None:
        """Raise DifferentiationError unless every output leaf is a number or an array of a dtype kind in `kinds`."""
        if BOXES and name not in ("make_vjp", "make_jvp"):
            entries = self.outs if name == "Elementwise_grad" else [*self.outs, *self.marks]
            found = next((held_by(x) for x in entries if type(held_by(x)) in BOXES), None)
            if found is not None:
                raise DifferentiationError(
                    f"{name} goes by entries, which a {type(found).__name__} does not have ({source_of_function(self.fun)}); "
                    "use make_vjp or make_jvp"
                )
        for out in self.outs:
            value = out.form if type(out) is Tracer else out
            if not is_numeric(value) or dtype_of(value).kind not in kinds:
                which = "real-output" if "c" not in kinds else "numeric"
                raise DifferentiationError(
                    f"{name} only applies to {which} functions. The output is {describe(value)} ({source_of_function(self.fun)})"
                )

    def gradient(self) -> Any:
        """What a cotangent of ones gives, in the structure of the argument."""
        if self.concrete:
            found = self.pull([ones(None, out) for out in self.outs])
            results = [settle(ct, mark.form) for ct, mark in zip(found, self.marks, strict=True)]
        else:

            def work(b: RecordBuilder) -> tuple[list[Any], list[Any]]:
                raw = self.pull_recorded(b, [ones(b, out) for out in self.outs])
                return raw, [settle_recorded(b, ct, mark) for ct, mark in zip(raw, self.marks, strict=True)]

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
        where = self.writer(cts := leaves_like("cotangent", ct, self.outs, self.out_structure))
        if where is None:
            found = self.pull(cts)
            return unflatten(self.structure, [settle(c, mark.form) for c, mark in zip(found, self.marks, strict=True)])
        trace, detached = where

        def work(b: RecordBuilder) -> list[Any]:
            raw = self.pull_recorded(b, [seed(b, c) for c in cts], detached)
            return [settle_recorded(b, c, mark) for c, mark in zip(raw, self.marks, strict=True)]

        return unflatten(self.structure, write(trace, work))

    def push_like(self, t: Any) -> Any:
        """The tangent of the output, in its structure, from a tangent of the argument."""
        where = self.writer(ts := leaves_like("tangent", t, self.marks, self.structure))
        outs = self.outs
        if where is None:
            values = [out.form if type(out) is Tracer else out for out in outs]
            results = [settle(c, value) for c, value in zip(self.push(EVAL, ts), values, strict=True)]
            return unflatten(self.out_structure, results)
        trace, detached = where

        def work(b: RecordBuilder) -> list[Any]:
            raw = self.push(b, [seed(b, c) for c in ts], detached)
            return [settle_recorded(b, c, out) for c, out in zip(raw, outs, strict=True)]

        return unflatten(self.out_structure, write(trace, work))

    def writer(self, derivatives: Sequence[Any]) -> tuple[Trace, bool] | None:
        """The trace that records an accumulation from these, and whether the tape is finished; None for concrete values."""
        if not self.concrete and self.trace.open:
            return self.trace, False
        traced = next((c for c in derivatives if type(c) is Tracer), None)
        return None if traced is None else (traced._trace, True)


def write(trace: Trace, work: Callable[[RecordBuilder], Any]) -> Any:
    """Let `work` record an accumulation into `trace`, at the user's site and in segments of its own."""
    raw, trace.raw = trace.raw, True
    try:
        return _written(trace, work)
    finally:
        trace.raw = raw


@contextmanager
def concretely() -> Iterator[None]:
    """Derivative rules run on concrete values: what they call, the user's code and operators too, is in no trace."""
    token = CURRENT.set(None)
    try:
        yield
    finally:
        CURRENT.reset(token)


def _written(trace: Trace, work: Callable[[RecordBuilder], Any]) -> Any:
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


def traced_form(trace: Trace, fun: Callable[..., Any]) -> Callable[..., Any]:
    """The copy of a user's function in which numpy's names are traced ones."""
    return fun if trace.substitution is None else trace.substitution.function(fun)


def in_trace(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The form of a user's function that records in the open trace, for library code that calls it."""
    trace = current()
    return fun if trace is None else traced_form(trace, fun)


def call_user(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call code of the user's from a derivative rule: arrays that it writes into are handles again, as in the traced function itself."""
    trace = current()
    if trace is None or not trace.raw or not (trace.is_graph or trace.marks):
        return fun(*args, **kwargs)
    if trace.storages:
        args, kwargs = tree_map(lambda leaf: identity(trace, leaf) if _is_array(leaf) else leaf, (args, kwargs))
    trace.raw = False
    try:
        result = fun(*args, **kwargs)
        return tree_map(lambda leaf: resolve(trace, leaf) if _is_array(leaf) else leaf, result) if trace.storages else result
    finally:
        trace.raw = True


def _is_array(leaf: Any) -> bool:
    return type(leaf) is Tracer and isinstance(leaf.form, np.ndarray)


def _pair(out: Any, fun: Callable[..., Any]) -> tuple[Any, Any]:
    if type(out) not in (tuple, list) or len(out) != 2:
        got = f"{type(out).__name__} ({source_of_function(fun)})"
        raise DifferentiationError(f"grad_and_aux expects a function that returns (value, aux); got {got}")
    return out[0], out[1]
