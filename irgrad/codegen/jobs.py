"""Work that threads share while something is compiled: LLVM's, which runs without the interpreter lock.

Jobs wait in a queue. Whoever needs the result of one works on the queue until it is there: without helpers everything runs in that
thread, longer jobs first, in the order of the queue otherwise. Helpers are threads that are started when jobs wait, at most one fewer
than IRGRAD_THREADS, and end when none has come for a few milliseconds; a process that compiles nothing has none. What a job makes does
not depend on who ran it. An exception of a job is raised by `Job.result`. A fork waits until no other thread has a job, and the child
has no helpers.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from irgrad.config import CONFIG

T = TypeVar("T")
SHARE = 1e-4  # seconds for a helper to begin
LINGER = 0.02  # seconds that a helper waits for another job
MOST = 8  # threads, for more would wait for the interpreter lock between their calls


class Job(Generic[T]):
    """A piece of work that runs once, in any thread."""

    __slots__ = ("_answer", "_error", "_queue", "_work", "is_done", "weight")

    def __init__(self, queue: Queue, work: Callable[[], T], weight: float = 0.0) -> None:
        self._queue = queue
        self.weight = weight
        self._work: Callable[[], T] | None = work
        self._answer: T | None = None
        self._error: BaseException | None = None
        self.is_done = False

    @classmethod
    def of(cls, answer: T) -> Job[T]:
        """A job that is done."""
        job = cls(QUEUE, lambda: answer)
        job.run()
        return job

    def result(self) -> T:
        """What the work returned. Raises what it raised."""
        if not self.is_done:
            self._queue.finish(self)
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]

    def run(self) -> None:
        """Do the work. Interrupts are the caller's, and leave the job to be done."""
        assert self._work is not None
        try:
            self._answer = self._work()
        except Exception as error:
            self._error = error
        self._work = None
        self.is_done = True


class Queue:
    """Jobs that nobody has begun, and the helpers."""

    def __init__(self) -> None:
        self._reset()
        self._is_watched = False
        self.num_helped = 0  # jobs that helpers have done, for tests

    def _reset(self) -> None:
        self._waiting: list[Job[Any]] = []
        self._changed = threading.Condition(threading.Lock())
        self._helpers = 0
        self._busy: dict[Job[Any], int] = {}  # jobs that threads have begun
        self._is_closed = False  # no helper may begin a job: the process forks

    def add(self, work: Callable[[], T], at_once: bool = False, weight: float = 0.0) -> Job[T]:
        """A job for some work; with `at_once`, or when another one waits already, a helper may begin with it now.

        `weight` says how long it takes compared to others: the longest is begun first, so that all end early.
        """
        job = Job(self, work, math.inf if at_once else weight)
        with self._changed:
            self._waiting.append(job)
            helped = (at_once or len(self._waiting) > 1) and self._help()
        if at_once and helped:
            time.sleep(SHARE)  # or the helper would wait 5 ms for the interpreter lock
        return job

    def _help(self) -> bool:
        """Wake a helper, or start one where there may be one more: is there one? The lock is held."""
        most = 1 if CONFIG.dump else min(CONFIG.threads, MOST)
        if self._helpers >= min(most - 1, len(self._waiting) + len(self._busy)):
            self._changed.notify_all()
            return self._helpers > 0
        if not self._is_watched and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._forget_helpers)
            self._is_watched = True
        thread = threading.Thread(target=self._serve, name="irgrad compiles")
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, or the system has no more threads
            return False
        self._helpers += 1
        return True

    def _serve(self) -> None:
        """What a helper does."""
        while True:
            with self._changed:
                if not self._waiting or self._is_closed:
                    self._changed.wait(LINGER)
                if not self._waiting or self._is_closed:
                    self._helpers -= 1
                    return
                job = self._begin()
                self.num_helped += 1
            self._run(job)

    def finish(self, job: Job[Any]) -> None:
        """Work on the queue until a job is done."""
        while not job.is_done:
            with self._changed:
                if not self._waiting:
                    if not job.is_done:
                        self._changed.wait()
                    continue
                mine = self._begin()
            self._run(mine)

    def _begin(self) -> Job[Any]:
        job = max(self._waiting, key=lambda each: each.weight)  # the first of these
        self._waiting.remove(job)
        self._busy[job] = threading.get_ident()
        return job

    def _run(self, job: Job[Any]) -> None:
        try:
            job.run()
        finally:
            with self._changed:
                del self._busy[job]
                if not job.is_done:  # interrupted
                    self._waiting.insert(0, job)
                self._changed.notify_all()

    # -- forks --

    def _close(self) -> None:
        """Before a fork: let other threads end what they have begun. The lock is held until the fork is over."""
        self._changed.acquire()
        self._is_closed = True
        mine = threading.get_ident()
        while any(thread != mine for thread in self._busy.values()):
            self._changed.wait()

    def _open(self) -> None:
        self._is_closed = False
        self._changed.notify_all()
        self._changed.release()

    def _forget_helpers(self) -> None:
        waiting, busy = self._waiting, self._busy
        self._reset()
        self._waiting, self._busy = waiting, busy


QUEUE = Queue()
