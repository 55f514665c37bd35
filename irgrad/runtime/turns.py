"""Work in turns: it has a thread of its own, which runs only while somebody waits for it, for as long as that one gives it.

The thread is a place for the work to stand still in, not a second hand: `Turns.step` lets it run and returns when it has come to a
`checkpoint` after the time it was given. Nothing runs beside the caller but what comes to no checkpoint for long, as LLVM. Functions of
the user run in the context (`contextvars`) that the work was handed over in. What nobody waits for any more ends with `Dropped` at a
checkpoint; of all that stand still, the oldest make room for new ones. A forked child has none of them.
"""

from __future__ import annotations

import contextvars
import gc
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter, thread_time

from irgrad.runtime.garbage import pass_over

MOST = 8  # pieces of work that stand still in one process
PATIENCE = 0.02  # seconds beyond its time in which work has to come to a checkpoint, or its caller goes on beside it
STACK = 1 << 24  # bytes: functions may be recursive
_here = threading.local()


class Dropped(BaseException):
    """Ends work that is not wanted any more. No `Exception`: functions of the user do not catch it."""


class Turns:
    """Some work, and where it stands."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._context = contextvars.copy_context()
        self._go, self._rest = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._rest.acquire()
        self._stepping = threading.Lock()
        self._thread: threading.Thread | None = None
        self._given = 0.0  # seconds of this turn
        self._until = 0.0  # when it is over, by the time that the thread has worked
        self._is_running = False
        self._is_dropped = False
        self._start = 0.0
        self._collects = False  # were collections on when the turn began?
        self.paused = 0.0  # seconds that it has stood still
        self.used = 0.0  # seconds that it has worked
        self.num_turns = 0
        self.is_done = False

    # -- those who wait ----------------------------------------------------------------------------------------------

    def step(self, seconds: float) -> None:
        """Let the work run for some time of a processor, to the next checkpoint from then on. What it raises is its own business."""
        if self.is_done or not self._stepping.acquire(blocking=False):
            return
        try:
            self._given = seconds
            if not self._is_running:
                self._resume()
            if self._rest.acquire(timeout=min(seconds + PATIENCE, threading.TIMEOUT_MAX)):
                self._is_running = False
        except BaseException:  # KeyboardInterrupt
            self._break_off()
            raise
        finally:
            self._stepping.release()

    def rest(self) -> None:
        """Wait until the work stands still, for a second at most."""
        if self._is_running and self._stepping.acquire(timeout=1.0):
            if self._is_running and self._rest.acquire(timeout=1.0):
                self._is_running = False
            self._stepping.release()

    def finish(self) -> None:
        """Wait until the work is done."""
        with self._stepping:
            self._given = self._until = float("inf")
            try:
                while not self.is_done:
                    if not self._is_running:
                        self._resume()
                    self._rest.acquire()
                    self._is_running = False
            except BaseException:
                self._break_off()
                raise

    def _break_off(self) -> None:
        """Let the work end at its next checkpoint, wherever it stands or goes: its caller was interrupted and does not wait for it."""
        self._is_dropped = self._is_running = True
        self._until = 0.0
        if self._thread is None or self._thread.ident is None:
            self.is_done = True
        with suppress(RuntimeError):  # the lock is free already
            self._go.release()

    def drop(self) -> None:
        """Let the work end where it stands."""
        self._is_dropped = True
        self.finish()

    def forget(self) -> None:
        """Have no such work in a forked child, where its thread is not."""
        self.is_done, self._stepping = True, threading.Lock()

    def _resume(self) -> None:
        self._is_running = True
        self.num_turns += 1
        if self._thread is not None:
            self._go.release()
            return
        self._thread = threading.Thread(target=self._context.run, args=(self._run,), name="irgrad links", daemon=True)
        before = 0
        with suppress(ValueError, RuntimeError):
            before = threading.stack_size(STACK)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter ends, or the system has no more threads
            self._is_running, self.is_done = False, True
            self._rest.release()
        finally:
            with suppress(ValueError, RuntimeError):
                threading.stack_size(before)

    # -- the work ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        _here.turns = self
        self._begin()
        try:
            self._work()
        except Dropped:
            pass
        finally:
            self._end()
            self.is_done = True
            with suppress(RuntimeError):  # who was interrupted has not taken it
                self._rest.release()

    def _begin(self) -> None:
        """Collections find nothing in what is being made: they wait for the end of the turn."""
        self._start = thread_time()
        self._until = self._start + self._given
        self._collects = gc.isenabled()
        gc.disable()

    def _end(self) -> None:
        self.used += thread_time() - self._start
        if self._collects:
            pass_over()
            gc.enable()

    def pause(self) -> bool:
        """Stand still if the time is over; did it? Called by the work. Raises Dropped where it is not wanted any more."""
        if self._is_dropped:
            raise Dropped
        if thread_time() < self._until:
            return False
        start = perf_counter()
        self._end()
        self._rest.release()
        self._go.acquire()
        self._begin()
        self.paused += perf_counter() - start
        if self._is_dropped:
            raise Dropped
        return True


def checkpoint() -> None:
    """A place where work in turns may stand still: nothing is half done that others use, and no lock is held."""
    turns = getattr(_here, "turns", None)
    if turns is not None:
        turns.pause()


def here() -> Turns | None:
    """The turns that this thread works in."""
    return getattr(_here, "turns", None)


def clock() -> float:
    """Seconds, for differences within one piece of work: time that it stands still does not count."""
    turns = getattr(_here, "turns", None)
    return perf_counter() if turns is None else perf_counter() - turns.paused


class _Standing:
    """All work that has begun and is not done."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._rest, after_in_child=self._forget)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._known: list[weakref.ref[Turns]] = []

    def add(self, turns: Turns) -> Turns | None:
        """Note new work; what has to be dropped for it."""
        with self._lock:
            living = [ref for ref in self._known if (each := ref()) is not None and not each.is_done]
            self._known = [*living, weakref.ref(turns)]
            return living[0]() if len(living) >= MOST else None

    def _rest(self) -> None:
        """Before a fork: let work that goes on beside its caller come to a checkpoint."""
        for ref in self._known:
            turns = ref()
            if turns is not None:
                turns.rest()

    def _forget(self) -> None:
        known = [turns for ref in self._known if (turns := ref()) is not None]
        self._reset()
        for turns in known:
            turns.forget()


STANDING = _Standing()
