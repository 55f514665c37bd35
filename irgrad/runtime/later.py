"""New paths that are traced and linked later, a little with each call: no call on a new path costs much more than an eager one.

A trace with its linking takes several times as long as the eager call on the same path. So the call that meets a path for the second
time runs eagerly, and leaves a copy of its arguments here. From then on each call of the function gives a share of what an eager call takes
(`IRGRAD_PATH_SHARE`, in percent) to work that stands still in between (`runtime.turns`), until the path has joined the program. Of several
paths that wait, the one that has been met most often is next. The share leaves a call on a new path within one and a half times what
an eager one takes; from the fifth on the same path it grows, as what is run often is to be compiled soon.

That is done for functions that are evidently pure (`frontend.purity`), with small arguments: running them once more has no effects, and
the copy costs nothing. Where the trace shows otherwise, or anything is raised, it is forgotten, and the next call that meets the path twice
traces it at once, for better or worse.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.config import CONFIG
from irgrad.frontend.deferral import LARGE
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.record import freeze
from irgrad.frontend.substitute import Substitution
from irgrad.runtime.signature import CallForm
from irgrad.runtime.tracing import trace_call
from irgrad.runtime.turns import STANDING, Dropped, Turns, checkpoint, clock
from irgrad.runtime.variant import Variant

if TYPE_CHECKING:
    from irgrad.runtime.jit import Jitted

SWITCH = 3e-5  # seconds that it takes to change threads and back
LEAST = 2 * SWITCH  # of a turn
WAITING = 16  # paths of one function that wait
PATIENT = 2  # calls on a path that waits already, after which each on it gives twice as much as the one before
BESIDES = 4e-5  # seconds that a call on a new path takes besides the eager one: they count as given, of a small share up to a third


class Wanted:
    """A path that is to be traced: the arguments that lead there, and what it goes by among those that are met."""

    def __init__(self, variant: Variant, name: Any, form: CallForm) -> None:
        self.variant = variant
        self.name = name
        self.form = form
        variant.waiting[name] = 0

    @property
    def times(self) -> int:
        """How often its path has been met since."""
        return self.variant.waiting.get(self.name, 0)


class Later:
    """The paths of one jitted function that wait, and what its calls have given to them."""

    def __init__(self, jitted: Jitted) -> None:
        self._jitted = jitted
        self._queue: list[Wanted] = []
        self._turns: Turns | None = None
        self._beginning = threading.Lock()
        self._credit = 0.0
        self.num_turns = 0

    @property
    def is_busy(self) -> bool:
        """Is there a path that waits?"""
        turns = self._turns
        if turns is not None and turns.is_done:
            self._close(turns)
        return bool(self._queue)

    def add(self, variant: Variant, name: Any, form: CallForm) -> None:
        """Let the path of a call wait, if there are not too many: it will be met again."""
        if len(self._queue) >= WAITING:
            return
        is_busy = self.is_busy
        self._queue.append(Wanted(variant, name, _copied(form)))
        if not is_busy:
            self._credit = 0.0
            self._jitted.let_give(variant)

    def _begin(self) -> Turns:
        """The work on what waits, which has had no turn yet: one, whoever of several threads begins it."""
        with self._beginning:
            turns = self._turns
            if turns is not None:
                return turns
            turns = self._turns = Turns(self._serve)
        oldest = STANDING.add(turns)
        if oldest is not None:
            oldest.drop()
        return turns

    def give(self, seconds: float, times: int = 0) -> None:
        """Let the work have a share of the time that an eager call has taken; `times`: how often its path has been met while it waits."""
        if not self._queue:
            return
        turns = self._turns or self._begin()
        share = seconds * CONFIG.path_share / 100.0 * 2 ** min(max(0, times - PATIENT), 8)
        self._credit += max(share - BESIDES, share / 1.5)
        if self._credit >= LEAST:
            used = turns.used
            turns.step(self._credit)
            self._credit = max(self._credit - (turns.used - used) - SWITCH, -seconds)  # a new loop body takes longer than it is given
        if turns.is_done:
            self._close(turns)

    def finish(self) -> None:
        """Do all that waits."""
        if self.is_busy:
            turns = self._turns or self._begin()
            turns.finish()
            self._close(turns)

    def _close(self, turns: Turns) -> None:
        if self._turns is turns:
            self.num_turns += turns.num_turns
            self._turns = None
            for wanted in self._queue:  # it was dropped
                wanted.variant.waiting.pop(wanted.name, None)
            self._queue.clear()
            self._jitted.reinstall()

    # -- in turns ----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while self._queue:
            wanted = max(self._queue, key=lambda each: each.times)  # the first of those
            try:
                with np.errstate(all="ignore"):  # the eager call has said it
                    self._trace(wanted)
            except Dropped:
                raise
            except Exception:  # the next call that meets this path raises it, if it has to be
                wanted.variant.is_evident = False
            wanted.variant.waiting.pop(wanted.name, None)
            self._queue.remove(wanted)
            if self._queue:
                checkpoint()

    def _trace(self, wanted: Wanted) -> None:
        jitted, variant, start = self._jitted, wanted.variant, clock()
        turns = self._turns
        assert turns is not None
        lost: list[bool] = []

        def begun(trace: GraphTrace, substitution: Substitution) -> None:
            def pause() -> None:
                if turns.pause() and not (variant.check() and all(guard.holds() for guard in substitution.guards)):
                    lost.append(True)
                    raise _Changed

            def doubtful() -> None:
                raise _Doubtful

            substitution.on_doubt, substitution.puts_back = doubtful, False
            trace.pause_with(pause)
            pause()

        try:
            traced = trace_call(jitted.fun, wanted.form, defer=True, begun=begun)
        except _Changed:
            return
        except _Doubtful:
            variant.is_evident = False
            return
        try:
            jitted.note_trace(traced)
            checkpoint()
            if lost:  # the function has caught what was to end it
                return
            if traced.impure or traced.doubt:
                variant.is_evident = False
                return
            if not variant.fits(traced):
                return
            recording = freeze(traced.trace, traced.outputs, variant.number_input)
            variant.guard(traced.guards)
        finally:
            traced.trace.close()
        jitted.note_seconds(clock() - start, recording)
        jitted.join(variant, recording, traced.structure)


class _Changed(Dropped):
    """What the trace relied on is not as it was: calls came between, and their caller changed it."""


class _Doubtful(Dropped):
    """The path comes by what may have effects, which would happen a second time."""


def may_wait(variant: Variant) -> bool:
    """May new paths be traced later, from copies of their arguments?"""
    if not CONFIG.path_share or not variant.is_evident or variant.written or variant.linker.budget is not None:
        return False
    return variant.nbytes < LARGE


def _copied(form: CallForm) -> CallForm:
    """The same call on arrays of its own."""
    copies = {id(leaf): leaf.copy(order="K") for leaf in form.leaves if isinstance(leaf, np.ndarray)}
    leaves, values, given = ([copies.get(id(leaf), leaf) for leaf in part] for part in (form.leaves, form.values, form.given))
    return replace(form, leaves=leaves, values=values, given=given)
