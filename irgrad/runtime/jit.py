"""`jit`: a function that traces while paths are new and runs programs once they are known.

A call looks for a program of its signature and runs it. Where there is none, or a guard goes a way that no recorded path went,
the function is traced on the call's own arguments: that gives the right answer and a recording. A recording that agrees with
an earlier one of the same path is attached to the signature's path tree and linked; one that does not shows an impure
function, which keeps running eagerly. Where it is evident that a second trace would be the same (`frontend.purity`), the first call
is traced and the next one links its recording, and calls that leave the program at some guard run eagerly, until the path of
the second of them has been traced and linked, a little with each call (`runtime.later`). A trace that left large values for later
(`frontend.deferral`) is linked at once, and its program answers the call.
"""

from __future__ import annotations

import functools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from irgrad.codegen.entry import prepare
from irgrad.codegen.layout import FAILED, LAST_ROW, NEW_PATH
from irgrad.codegen.marks import note
from irgrad.config import CONFIG
from irgrad.errors import NotCompiledError, TraceError
from irgrad.frontend.captured import MISSING
from irgrad.frontend.context import COURSE, current
from irgrad.frontend.names import default_names
from irgrad.frontend.overlaps import detached
from irgrad.frontend.record import freeze
from irgrad.frontend.sites import source_of
from irgrad.frontend.storage import SharedArguments
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import here
from irgrad.ir.effects import Effects
from irgrad.ir.recording import Recording
from irgrad.ir.template import TemplateTable
from irgrad.runtime.float_errors import USUAL_ERRORS, error_state, raises_on_float_errors
from irgrad.runtime.forks import lock_of
from irgrad.runtime.garbage import paused_gc
from irgrad.runtime.later import Later, may_wait
from irgrad.runtime.run import direct, interrupted, left, run
from irgrad.runtime.serving import MISS, giving, indirect, note_served, same_leaf, served_before
from irgrad.runtime.sightings import contradiction_of, differ, known_leaf
from irgrad.runtime.signature import CallForm, call_form, normalise
from irgrad.runtime.stats import Stats
from irgrad.runtime.tracing import Traced, trace_call
from irgrad.runtime.tree import PathNode
from irgrad.runtime.turns import clock
from irgrad.runtime.unpack import unpacked, unpacker
from irgrad.runtime.variant import Variant

SEEN_PATHS = 64  # recordings of paths seen once that are kept to be compared with a second sighting
SEEN_RECORDS = 2_000_000
MAX_RECORDS = 3_000_000  # of all compiled paths of a signature
MAX_SIGNATURES = 512  # shapes, dtypes and static values that a function keeps programs for; the oldest goes first
ODD_CALLS = 8  # calls with arguments that had to be copied, after which the fast path is not tried for again
MAX_VARIANTS = 32  # sets of captured values of one signature that programs are kept for


class Jitted:
    """The result of `jit`: call it as the function. See `compile`, `stats`, `kernels` and `irgrad.explain`."""

    __irgrad__ = True

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: tuple[int, ...] = (),
        static_argnames: tuple[str, ...] = (),
        compile_after: int = 2,
        memory_budget: int | None = None,
        exact: bool = False,
    ) -> None:
        functools.update_wrapper(self, fun)
        if not hasattr(self, "__name__"):  # a partial, or an object that is called
            self.__name__ = self.__qualname__ = getattr(getattr(fun, "func", None), "__name__", type(fun).__name__)
        self.fun = fun
        self.static_argnums = static_argnums
        self.static_argnames = static_argnames
        self.compile_after = compile_after
        self.memory_budget = memory_budget
        self.exact = exact
        self.impure = ""
        self._stats = Stats()
        self._signatures: dict[Any, list[Variant]] = {}
        self._last: Any = None  # what positional arguments are tried with first
        self._named: Any = None  # and those with keywords
        self._served: tuple[dict[Variant, Any], dict[Variant, Any]] = ({}, {})  # what served lately, the same two kinds
        self._warned_variants = False
        self._writes = False  # into arguments: those that share memory are to be seen as views of it
        self._retired = 0  # compiled calls of programs that made room for others
        self._recent: Variant | None = None  # whose program ran last
        self._lock = lock_of(self)
        self._table = TemplateTable()
        self._later = Later(self)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return (Jitted, (self.fun, self.static_argnums, self.static_argnames, self.compile_after, self.memory_budget, self.exact))

    def __repr__(self) -> str:
        return f"<irgrad.jit of {getattr(self.fun, '__qualname__', self.fun)!s}: {self._stats.paths} paths, {self.stats().calls} calls>"

    # -- calls -------------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._named if kwargs else self._last
        if last is not None and error_state() is USUAL_ERRORS and current() is None:
            result = last(args, kwargs) if kwargs else last(args)
            if result is MISS:
                last, result = served_before(self._served[bool(kwargs)], last, args, kwargs)
                if result is MISS:
                    pass
                elif kwargs:
                    self._named = last
                else:
                    self._last = last
            if result is not MISS:
                return result
        return self._dispatch(args, kwargs)

    def _dispatch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        effects = interrupted()
        alone, tried, answer = left()
        trace = current()
        if trace is not None:
            fun = self.fun if trace.substitution is None else trace.substitution.function(self.fun)
            return fun(*args, **kwargs)
        if self.impure or raises_on_float_errors():
            self._stats.eager_calls += 1
            return self._eager(args, kwargs)
        if alone is not None and len(alone.siblings) == 1 and not (effects.log or CONFIG.explain) and self._waits(alone):
            return self._beside(alone, args, kwargs)
        form = self._form(args, kwargs)
        leaves = form.leaves
        variants = self._variants(form)
        reasons: list[str] = []
        new: Variant | None = None  # whose program was left on a path of its own
        for variant in variants:
            if not variant.check():
                if CONFIG.explain:
                    reasons += [f"{g.describe()} no longer holds" for g in variant.guards if not g.holds()]
                continue
            if variant.program is None and not self._link_believed(variant):
                new, variant.exit = variant, None
                reasons.append("the path was seen once")
                continue
            if not all(form.given[n].flags.writeable for n in variant.written):
                continue  # a trace raises numpy's error
            if variant.program is tried:
                done, result = False, answer
            else:
                captured = variant.read()
                objects = (*leaves, *map(normalise, captured)) if captured else leaves
                done, result = run(variant, tuple(objects), self._stats, effects)
            if done:
                self._recent = variant
                if not form.members:
                    self._install(variant, args, kwargs, leaves)
                return result
            if result & 15 == NEW_PATH:
                new = variant
            if CONFIG.explain:
                reasons.append(reason_of(variant, result))
        if new is not None and not effects.log and (self._waits(new) or not new.may_trace(self.compile_after)):
            return self._beside(new, args, kwargs)
        self._stats.eager_calls += 1
        if CONFIG.explain:
            report(f"{self.__name__} is traced: {'; '.join(reasons) or 'a new signature'}")
        try:
            return self._answer(*self._first(args, kwargs, form, self.compile_after, effects))
        except NotCompiledError as error:
            self.impure = str(error)
            warnings.warn(f"irgrad.jit({self.__name__}) keeps running eagerly: {error}", RuntimeWarning, stacklevel=3)
            return self._eager(args, kwargs)

    def _waits(self, variant: Variant) -> bool:
        """Is the path of a call that has left the program to be traced later, if it is to be traced?"""
        return self.compile_after == 2 and not self._writes and variant.program is not None and may_wait(variant)

    def _beside(self, variant: Variant, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run eagerly, beside a program that does not know the path, and let the path wait to be traced if it was met before."""
        self._stats.eager_calls += 1
        COURSE.value = 0
        start = time.thread_time()
        with paused_gc():
            result = self._eager(args, kwargs)
        variant.eager_seconds = time.thread_time() - start
        name = COURSE.value or variant.exit
        if self._waits(variant) and variant.wants(name) and self._lock.acquire(blocking=False):  # others may be tracing
            try:
                if not self._is_full(variant):
                    self._later.add(variant, name, self._form(args, kwargs))
            finally:
                self._lock.release()
        else:
            self._later.give(variant.eager_seconds, variant.waiting.get(name, 0))
        return result

    def _form(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallForm:
        try:
            return call_form(args, kwargs, self.static_argnums, self.static_argnames, self._writes)
        except TypeError as error:
            raise TraceError(f"{self.__name__} writes into an argument, and {error} ({here()}); pass copies") from None

    def _first(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], form: CallForm, needed: int, effects: Effects | None = None
    ) -> tuple[Traced, Variant, CallForm]:
        """Trace a call; where it is seen only then that a written argument is not alone in its memory, once more."""
        try:
            return (*self._trace(self._variants(form), form, needed, effects), form)
        except SharedArguments:
            form = self._form(args, kwargs)
            return (*self._trace(self._variants(form), form, needed, effects), form)

    def _answer(self, traced: Traced, variant: Variant, form: CallForm) -> Any:
        """What a traced call returns: what the trace computed, or the program where it left that for later."""
        if traced.is_deferred and variant.program is not None:
            captured = variant.read()
            done, result = run(variant, (*form.leaves, *map(normalise, captured)), self._stats)
            if done:
                self._stats.eager_calls -= 1
                self._recent = variant
                return result
            traced = trace_call(self.fun, form)  # an operation failed: numpy says where
            traced.trace.close()
        return traced.result

    def _variants(self, form: CallForm) -> list[Variant]:
        """The variants of a signature; the oldest signature makes room for a new one."""
        found = self._signatures.get(form.key)
        if found is None:
            with self._lock:
                while len(self._signatures) >= MAX_SIGNATURES:
                    self._retired += sum(v.num_calls for v in self._signatures.pop(next(iter(self._signatures))))
                found = self._signatures.setdefault(form.key, [])
        return found

    def _new_variant(self, variants: list[Variant], form: CallForm) -> Variant:
        """A variant for captured values that none of the present ones holds for."""
        if len(variants) >= MAX_VARIANTS:
            broken = next((g for g in variants[-1].guards if not g.holds()), None)
            if not self._warned_variants:
                self._warned_variants = True
                what = f" ({broken.describe()})" if broken is not None else ""
                warnings.warn(
                    f"irgrad.jit({self.__name__}): captured values changed {MAX_VARIANTS} times{what}, and each change costs traces; "
                    "pass what changes as an argument",
                    RuntimeWarning,
                    stacklevel=6,
                )
            self._retired += variants.pop(0).num_calls
            self.reinstall()
        variants.append(Variant(form.leaves, variants))
        return variants[-1]

    def _install(self, variant: Variant, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any]) -> None:
        """Make the program of a call the first thing that the next call of its form tries."""
        if variant.odd_calls > ODD_CALLS or variant.written:
            return
        unpack = None
        if kwargs or len(args) != len(leaves) or not all(a is b for a, b in zip(args, leaves, strict=True)):
            unpack = variant.unpack or unpacker(args, kwargs, self.static_argnums, self.static_argnames)
            flat = None if unpack is None else unpack(args, kwargs) if kwargs else unpack(args)
            if unpack is None or flat is None or len(flat) != len(leaves) or not all(map(same_leaf, flat, leaves)):
                variant.odd_calls += 1
                return
        variant.unpack = unpack
        check = variant.check if variant.guards else None
        read = variant.read if variant.origins else None
        serve = direct(variant, check, read, MISS) or indirect(variant, check, read, self._stats)
        if self._later.is_busy:
            serve = giving(serve, self._later, variant)
        if unpack is not None:
            serve = unpacked(unpack, serve, bool(kwargs), MISS)
        note_served(self._served[bool(kwargs)], variant, serve)
        if kwargs:
            self._named = serve
        else:
            self._last = serve

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        substitution = Substitution(None, default_names())
        if self._writes:  # into arguments, which is local to the call
            args, kwargs = detached((args, kwargs))
        try:
            return substitution.function(self.fun)(*args, **kwargs)
        finally:
            substitution.finish()

    # -- tracing -----------------------------------------------------------------------------------------------------

    def _trace(self, variants: list[Variant], form: CallForm, needed: int, effects: Effects | None = None) -> tuple[Traced, Variant]:
        with self._lock, paused_gc():
            self._later.finish()
            start = time.perf_counter()
            if not self._stats.traces:
                prepare(self.fun)
            try:
                traced = trace_call(self.fun, form, effects, defer=self.compile_after <= 2 and not (effects and effects.log))
            except SharedArguments:
                self._writes = True
                raise
            self.note_trace(traced)
            try:
                variant = next((v for v in variants if v.fits(traced)), None)
                if variant is None:
                    variant = self._new_variant(variants, form)
                recording = freeze(traced.trace, traced.outputs, variant.number_input)
                variant.guard(traced.guards)
                variant.written |= traced.trace.written_arguments
                self._writes = self._writes or bool(variant.written)
            finally:
                traced.trace.close()
            self.note_seconds(time.perf_counter() - start, recording)
            if traced.impure:
                self._turn_impure("; ".join(traced.impure))
            else:
                self._sighted(variant, recording, traced, 1 if traced.is_deferred else needed)
            return traced, variant

    def _sighted(self, variant: Variant, recording: Recording, traced: Traced, needed: int) -> None:
        """Attach a path at its second sighting, if both sightings agree."""
        if variant.declined:
            return
        outcome = recording.outcomes
        contradiction = contradiction_of(variant.tree, recording)
        if not contradiction:
            leaf = known_leaf(variant.tree, outcome)
            if leaf is not None:
                if leaf.limb.is_linked and not variant.linker.is_broken:
                    self._stats.guard_rounding += 1
                else:
                    self._link(variant, leaf, recording, traced.structure)
                return
        earlier = variant.seen.pop(outcome, None)
        full = self._is_full(variant)
        if needed > 1 and earlier is None:
            leaf = None
            if not full and not contradiction:
                believed = not traced.doubt and variant.program is not None
                leaf = variant.tree.attach(recording) if believed else variant.adopt(recording, self._table)
            if leaf is not None:
                self._link(variant, leaf, recording, traced.structure)
                return
            variant.seen[outcome] = (recording, traced.structure)
            variant.is_evident = not traced.doubt
            while len(variant.seen) > SEEN_PATHS or sum(len(r.records) for r, _ in variant.seen.values()) > SEEN_RECORDS:
                if len(variant.seen) == 1:
                    break
                variant.seen.popitem(last=False)
            return
        if earlier is not None:
            contradiction = contradiction or differ(earlier[0], recording)
        if contradiction:
            self._turn_impure(f"two traces of one path differ: {contradiction}")
            return
        if not full:
            self._attach(variant, recording, traced.structure)

    def join(self, variant: Variant, recording: Recording, structure: Any) -> None:
        """Attach and link a path that has waited. Where it contradicts others, the next call that meets it has to say why."""
        if contradiction_of(variant.tree, recording):
            variant.is_evident = False
            return
        leaf = known_leaf(variant.tree, recording.outcomes)
        if leaf is None:
            if variant.tree.num_paths >= CONFIG.max_paths:
                return
            variant.seen.pop(recording.outcomes, None)
            leaf = variant.tree.attach(recording)
        elif leaf.limb.is_linked and not variant.linker.is_broken:
            return
        self._link(variant, leaf, recording, structure)

    def note_trace(self, traced: Traced) -> None:
        """Count a trace."""
        self._stats.traces += 1
        self._stats.recorded_ops += len(traced.trace.tape)

    def note_seconds(self, seconds: float, recording: Recording) -> None:
        """Note what a trace has cost."""
        self._stats.trace_seconds += seconds
        if CONFIG.time:
            report(f"{self.__name__}: traced {len(recording.records)} operations in {seconds:.3f} s")

    def let_give(self, variant: Variant) -> None:
        """Let what the next calls try first give to a path that waits: what serves now goes on, the rest is chosen anew."""
        if self._last is not None:
            self._last = giving(self._last, self._later, variant)
        self._named, self._served = None, ({}, {})

    def reinstall(self) -> None:
        """Let the next call choose anew what it tries first."""
        self._last = self._named = None
        self._served = ({}, {})

    def _attach(self, variant: Variant, recording: Recording, structure: Any) -> None:
        leaf = variant.tree.attach(recording)
        self._link(variant, leaf, recording, structure)
        variant.repeated(leaf.limb)

    def _link_believed(self, variant: Variant) -> bool:
        """Link the one path that a variant has seen, where it is evident that another trace would be the same."""
        if not variant.is_evident or self.compile_after != 2:
            return False
        with self._lock, paused_gc():
            self._later.finish()
            if variant.program is None and variant.seen:
                _, (recording, structure) = variant.seen.popitem()
                self._attach(variant, recording, structure)
        return variant.program is not None

    def _is_full(self, variant: Variant) -> bool:
        """Has a signature as many paths as it may? Warns once."""
        tree = variant.tree
        if tree.num_paths < CONFIG.max_paths and tree.num_records < MAX_RECORDS:
            return False
        variant.declined = f"more than {tree.num_paths} paths"
        widest = max(tree.nodes(), key=lambda node: len(node.children))
        source = source_of(widest.guard.site) if widest.guard is not None else None
        outcomes = ", ".join(str(outcome) for outcome in list(widest.children)[:4])
        warnings.warn(
            f"irgrad.jit({self.__name__}): {variant.declined} for one signature; new ones run eagerly (IRGRAD_MAX_PATHS raises the limit). "
            f"Most part at {source} (outcomes {outcomes}{', ...' if len(widest.children) > 4 else ''}): np.where, or irgrad.while_loop, "
            "does not split paths",
            RuntimeWarning,
            stacklevel=5,
        )
        return True

    def _link(self, variant: Variant, leaf: PathNode, recording: Recording, structure: Any) -> None:
        """Add an attached path to the variant's program."""
        from irgrad.runtime.link import Linker
        from irgrad.runtime.lowering import LinkCounts

        leaf.outputs = recording.outputs
        leaf.form = (structure, recording.kinds)
        start = clock()
        counts = LinkCounts(exact=self.exact)
        if variant.linker is None:
            variant.linker = Linker(variant.tree, self._table, variant.arguments, variant.constants, self.memory_budget)
        program = variant.linker.extend(leaf.limb, counts)
        if program is None:
            return
        note(self.fun)
        total = clock() - start
        if self.memory_budget is not None and program.arena_bytes > self.memory_budget:
            warnings.warn(
                f"irgrad.jit({self.__name__}): a call needs {program.arena_bytes} bytes, more than memory_budget={self.memory_budget}",
                RuntimeWarning,
                stacklevel=5,
            )
        variant.program = program
        self.reinstall()
        if CONFIG.time:
            report(
                f"{self.__name__}: path {variant.tree.num_paths} linked in {total:.3f} s, of it passes {counts.passes:.3f} s and "
                f"kernels {counts.kernels.seconds:.3f} s ({counts.kernels.compiled} compiled, {counts.kernels.loaded} loaded)"
            )
        stats = self._stats
        stats.paths += variant.linker.num_added
        stats.pass_seconds += counts.passes
        stats.compile_seconds += counts.kernels.seconds
        stats.link_seconds += total - counts.passes - counts.kernels.seconds
        stats.kernels_compiled += counts.kernels.compiled
        stats.kernels_refused += counts.kernels.refused
        stats.kernels_loaded += counts.kernels.loaded
        programs = [v.program for variants in self._signatures.values() for v in variants if v.program is not None]
        stats.kernels = len({kernel.name for p in programs for kernel in p.kernels})
        stats.program_bytes = sum(p.nbytes for p in programs)
        stats.arena_bytes = max((p.arena_bytes for p in programs), default=0)

    def _turn_impure(self, reason: str) -> None:
        if not self.impure:
            self.impure = reason
            warnings.warn(
                f"irgrad.jit({self.__name__}) keeps running eagerly: {reason}; "
                "it must compute the same from the same arguments, without side effects",
                RuntimeWarning,
                stacklevel=5,
            )

    # -- for people --------------------------------------------------------------------------------------------------

    def compile(self, *args: Any, **kwargs: Any) -> Jitted:
        """Trace on these arguments and compile at once; returns self. The path taken is known from then on."""
        form = self._form(args, kwargs)
        self._first(args, kwargs, form, 1)
        return self

    def settle(self) -> Jitted:
        """Trace and link now what waits for later calls to do it; returns self. Compiled calls then give nothing to it any more."""
        with self._lock:
            self._later.finish()
        return self

    def stats(self) -> Stats:
        """Counts and seconds so far, as a copy."""
        compiled = self._retired + sum(v.num_calls for v in self.variants)
        rows = 0
        if self._recent is not None and compiled:
            program = self._recent.program
            rows = program.leaf_rows.get(int(program.header[LAST_ROW]), 0)
        programs = [v.program for v in self.variants if v.program is not None]
        return replace(
            self._stats,
            calls=self._stats.eager_calls + compiled,
            rows_last_call=rows,
            waiting=sum(len(v.waiting) for v in self.variants),
            parallel_rows=sum(p.parallel_rows for p in programs),
            parallel_entries=sum(int(count[0]) for p in programs for count in p.parallel_entries),
        )

    @property
    def kernels(self) -> list[Any]:
        """The kernels that this function's programs call, each with `.name` and readable `.source`."""
        found = {k.name: k for vs in self._signatures.values() for v in vs if v.program is not None for k in v.program.kernels}
        return list(found.values())

    @property
    def variants(self) -> list[Variant]:
        return [v for variants in self._signatures.values() for v in variants]


def report(text: str) -> None:
    """A line of IRGRAD_EXPLAIN or IRGRAD_TIME."""
    print(f"irgrad: {text}", file=sys.stderr)  # noqa: T201


def reason_of(variant: Variant, code: int) -> str:
    """Why a program did not answer a call."""
    kind, row = code & 15, code >> 4
    if kind == NEW_PATH:
        source = source_of(variant.program.guards[row].guard.site)
        return f"the guard at {source} met an outcome that no compiled path has"
    if kind == FAILED:
        return "an operation failed in compiled code and is repeated with numpy"
    return "an argument or captured value has another type, shape or layout"


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    compile_after: int = 2,
    memory_budget: int | None = None,
    exact: bool = False,
) -> Any:
    """A compiled form of `fun`, a function of numpy arrays, numbers and pytrees of them.

    As a function, ``jit(f)``, or a decorator, with or without options. The result computes what `fun` computes (docs/semantics.md
    says what is traced, guarded, re-read and refused). Arrays and floats are data; bools, strings and other objects are static,
    as are `static_argnums` and `static_argnames`. A path of `fun` is compiled when it has been seen `compile_after` times and
    both traces agree, with one trace where it is evident that another would be the same.

    `memory_budget` (bytes) bounds what a call keeps between its forward part and the adjoint: above it, values are computed a second time
    in blocks of iterations instead of kept. `explain` and ``stats().arena_bytes`` say what was planned; a budget that cannot be met
    brings a warning. Paths whose iterations branch run once more behind their last guard. `exact` keeps products of several matrices
    in the order in which they are written and transforms of real signals as numpy does them, at any cost.

    Raises what `fun` raises, and TraceError for what cannot be traced.
    """
    if fun is None:
        return lambda f: jit(
            f,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            compile_after=compile_after,
            memory_budget=memory_budget,
            exact=exact,
        )
    if not callable(fun):
        raise TypeError(f"jit expects a function, got {type(fun).__name__}")
    nums = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if memory_budget is not None and memory_budget < 0:
        raise ValueError(f"memory_budget is a number of bytes, got {memory_budget}")
    return Jitted(fun, nums, names, compile_after, memory_budget, exact)


__all__ = ["MISSING", "Jitted", "jit"]
