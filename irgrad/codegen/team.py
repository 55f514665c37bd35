"""The parallel driver: a team of native threads that runs the chunks of one job at a time.

A job is a function ``int64 f(int64 record, int64 chunk)`` with a record and a number of chunks. The thread that brings a job works on it
too; chunks are taken one by one, so that a thread that the system holds up takes fewer. What a chunk is depends on sizes alone
(`irgrad.codegen.split`), so results are the same for any number of threads, also one.

One job runs at a time: whoever finds the team at work gets REFUSED and runs the chunks itself. The threads are the C library's and know
no Python; behind a job they look for the next one for some ten microseconds, then they sleep. They block all signals, a forked child has no
team, and at exit they are joined. Where the platform has no POSIX threads there is no team either.

Where others use the processors, a thread may lose its own in the middle of a chunk, and the job waits for milliseconds; or both threads
have one processor, and the caller's comes last. A job that waits much longer than it works, or in which the caller's thread has had next
to no chunks, lets the team refuse the next ones: 1, 3, 7 and up to 63 of them, fewer again when jobs go well.

The code is LLVM's text, compiled once per user and kept in the store; functions of the C library are called by addresses in the
team's table. `left` counts the chunks that nobody has taken yet: whoever takes one (a result above 0) may read the job, because it
cannot end before that chunk has; whoever comes too late gets nothing, whichever job is on by then.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import platform
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.codegen import beside, objects, panels, split
from irgrad.codegen.compile import LIBRARY, Counts, Kernel, kernel_key
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.codegen.locks import Lock
from irgrad.codegen.lowered import Row
from irgrad.codegen.split import CALLED, CALLED_CHUNK, CHUNK_OF, SPLIT
from irgrad.config import CONFIG

REFUSED = -1
RUN, WORK = "irgrad_team_run", "irgrad_team_work"

# words of the team's table; what one thread writes while others read has a cache line of its own
ENTRY, LOCK, STOP, ENTERED, REFUSALS, HELPED, SKIP, PENALTY = range(8)  # ENTRY: address of RUN, 0 where jobs are not taken
LEFT = 16
DONE, COUNT, FUNCTION, RECORD, STATUS, WAITING = range(24, 30)
SLEEPERS = 32
MUTEX_LOCK, MUTEX_UNLOCK, COND_WAIT, COND_BROADCAST, CLOCK, PATIENT = range(40, 46)  # PATIENT: 1 where no job is refused for waits
MUTEX, JOB_COND, DONE_COND = 48, 64, 80  # memory of the C library's objects, 128 bytes each
WORDS = 96
PLACES = {
    "lock": LOCK, "stop": STOP, "entered": ENTERED, "refusals": REFUSALS, "helped": HELPED,
    "skip": SKIP, "penalty": PENALTY, "patience": PATIENT, "left": LEFT, "done": DONE, "count": COUNT,
    "function": FUNCTION, "record": RECORD, "status": STATUS, "waiting": WAITING, "sleepers": SLEEPERS,
    "mutex": MUTEX, "job": JOB_COND, "finished": DONE_COND,
    "at_lock": MUTEX_LOCK, "at_unlock": MUTEX_UNLOCK, "at_wait": COND_WAIT, "at_wake": COND_BROADCAST, "at_clock": CLOCK,
}  # fmt: skip
# a job's record: its function, the team's table, and what the function reads

LONG = 100_000  # nanoseconds of waiting, besides twice the work, that are too long
SPINS = 2000  # looks for a job, and for the end of one, before a thread sleeps: 30 us


def _text(code: str, machine: str) -> str:
    """The code of a function with the places in the table, and what tells the processor that a loop waits."""
    pause = "call void @llvm.x86.sse2.pause()" if machine in ("x86_64", "AMD64") else ""
    head = "".join(f"  %{name} = getelementptr i64, ptr %team, i64 {place}\n" for name, place in PLACES.items())
    head += "".join(f"  %c_{name} = load ptr, ptr %at_{name}\n" for name in ("lock", "unlock", "wait", "wake", "clock"))
    declared = "declare void @llvm.x86.sse2.pause()\n" if pause else ""
    numbers = {"SPINS": SPINS, "LONG": LONG, "MONOTONIC": getattr(time, "CLOCK_MONOTONIC", 1)}
    code = code.replace("HEAD\n", head).replace("PAUSE", pause)
    return declared + re.sub("|".join(numbers), lambda name: str(numbers[name[0]]), code)


_NOW = """
define private i64 @now(ptr %clock) nounwind {
  %time = alloca [2 x i64]
  call i32 %clock(i32 MONOTONIC, ptr %time)
  %seconds = load i64, ptr %time
  %rest_at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest_at
  %whole = mul i64 %seconds, 1000000000
  %total = add i64 %whole, %rest
  ret i64 %total
}
"""

_NEXT_CHUNK = """
define private i64 @next_chunk(ptr %team) nounwind {
entry:
HEAD
  %before = atomicrmw sub ptr %left, i64 1 acq_rel
  %mine = icmp sgt i64 %before, 0
  br i1 %mine, label %chunk, label %nothing
nothing:
  ret i64 0
chunk:
  %chunks = load i64, ptr %count
  %code = load ptr, ptr %function
  %argument = load i64, ptr %record
  %number = sub i64 %chunks, %before
  %answer = call i64 %code(i64 %argument, i64 %number)
  atomicrmw max ptr %status, i64 %answer monotonic
  %earlier = atomicrmw add ptr %done, i64 1 seq_cst
  %with_mine = add i64 %earlier, 1
  %last = icmp eq i64 %with_mine, %chunks
  %result = select i1 %last, i64 2, i64 1
  ret i64 %result
}
"""  # 0 where no chunk is left, 2 where the job's last one has come to its end, 1 for others

_RUN = """
define i64 @irgrad_team_run(i64 %job_record, i64 %chunks) nounwind {
entry:
  %job_at = inttoptr i64 %job_record to ptr
  %team_at = getelementptr i64, ptr %job_at, i64 1
  %team = load ptr, ptr %team_at
  %code = load ptr, ptr %job_at
HEAD
  %pair = cmpxchg ptr %lock, i64 0, i64 1 acq_rel acquire
  %got = extractvalue { i64, i1 } %pair, 1
  br i1 %got, label %consider, label %refuse
consider:
  %skipped = load i64, ptr %skip
  %may = icmp sle i64 %skipped, 0
  br i1 %may, label %publish, label %pass
pass:
  %skip_less = sub i64 %skipped, 1
  store i64 %skip_less, ptr %skip
  store atomic i64 0, ptr %lock release, align 8
  br label %refuse
refuse:
  atomicrmw add ptr %refusals, i64 1 monotonic
  ret i64 -1
publish:
  %begin = call i64 @now(ptr %c_clock)
  store ptr %code, ptr %function
  store i64 %job_record, ptr %record
  store i64 %chunks, ptr %count
  store i64 0, ptr %status
  store atomic i64 0, ptr %done monotonic, align 8
  store atomic i64 0, ptr %waiting monotonic, align 8
  store atomic i64 %chunks, ptr %left seq_cst, align 8
  %asleep = load atomic i64, ptr %sleepers seq_cst, align 8
  %any = icmp sgt i64 %asleep, 0
  br i1 %any, label %wake, label %take
wake:
  call i32 %c_lock(ptr %mutex)
  call i32 %c_wake(ptr %job)
  call i32 %c_unlock(ptr %mutex)
  br label %take
take:
  %share = phi i64 [ 0, %publish ], [ 0, %wake ], [ %share_more, %chunk ]
  %taken = call i64 @next_chunk(ptr %team)
  %mine = icmp ne i64 %taken, 0
  br i1 %mine, label %chunk, label %worked
chunk:
  %share_more = add i64 %share, 1
  br label %take
worked:
  %middle = call i64 @now(ptr %c_clock)
  br label %spin
spin:
  %turn = phi i64 [ 0, %worked ], [ %turned, %again ]
  %finished_now = load atomic i64, ptr %done acquire, align 8
  %all = icmp eq i64 %finished_now, %chunks
  br i1 %all, label %end, label %again
again:
  PAUSE
  %turned = add i64 %turn, 1
  %patient = icmp slt i64 %turned, SPINS
  br i1 %patient, label %spin, label %block
block:
  call i32 %c_lock(ptr %mutex)
  store atomic i64 1, ptr %waiting seq_cst, align 8
  br label %look
look:
  %finished_then = load atomic i64, ptr %done seq_cst, align 8
  %all_then = icmp eq i64 %finished_then, %chunks
  br i1 %all_then, label %unblock, label %sleep
sleep:
  call i32 %c_wait(ptr %finished, ptr %mutex)
  br label %look
unblock:
  call i32 %c_unlock(ptr %mutex)
  br label %end
end:
  %finish = call i64 @now(ptr %c_clock)
  %work = sub i64 %middle, %begin
  %pause = sub i64 %finish, %middle
  %work_twice = shl i64 %work, 1
  %limit = add i64 %work_twice, LONG
  %too_long = icmp sgt i64 %pause, %limit
  %old = load i64, ptr %penalty
  %old_twice = shl i64 %old, 1
  %more = or i64 %old_twice, 1
  %most = and i64 %more, 63
  %less = lshr i64 %old, 1
  %is_patient = load i64, ptr %patience
  %strict = icmp eq i64 %is_patient, 0
  %share_times = mul i64 %share, 16
  %left_out = icmp slt i64 %share_times, %chunks
  %held_up = or i1 %too_long, %left_out
  %bad = and i1 %held_up, %strict
  %new = select i1 %bad, i64 %most, i64 %less
  %next = select i1 %bad, i64 %most, i64 0
  store i64 %new, ptr %penalty
  store i64 %next, ptr %skip
  %result = load i64, ptr %status
  atomicrmw add ptr %entered, i64 1 monotonic
  store atomic i64 0, ptr %lock release, align 8
  ret i64 %result
}
"""

_WORK = """
define ptr @irgrad_team_work(ptr %team) nounwind {
entry:
HEAD
  br label %rest
rest:
  %turn = phi i64 [ 0, %entry ], [ %turned, %again ], [ 0, %after ], [ SPINS, %woken ]
  %open = load atomic i64, ptr %left monotonic, align 8
  %some = icmp sgt i64 %open, 0
  br i1 %some, label %take, label %again
take:
  %taken = call i64 @next_chunk(ptr %team)
  %mine = icmp ne i64 %taken, 0
  br i1 %mine, label %chunk, label %again
chunk:
  %last = icmp eq i64 %taken, 2
  br i1 %last, label %finish, label %after
finish:
  %sleeps = load atomic i64, ptr %waiting seq_cst, align 8
  %waits = icmp ne i64 %sleeps, 0
  br i1 %waits, label %tell, label %after
tell:
  call i32 %c_lock(ptr %mutex)
  call i32 %c_wake(ptr %finished)
  call i32 %c_unlock(ptr %mutex)
  br label %after
after:
  atomicrmw add ptr %helped, i64 1 monotonic
  br label %rest
again:
  PAUSE
  %turned = add i64 %turn, 1
  %patient = icmp slt i64 %turned, SPINS
  br i1 %patient, label %rest, label %lie_down
lie_down:
  call i32 %c_lock(ptr %mutex)
  atomicrmw add ptr %sleepers, i64 1 seq_cst
  br label %look
look:
  %stopped = load atomic i64, ptr %stop seq_cst, align 8
  %go = icmp ne i64 %stopped, 0
  br i1 %go, label %leave, label %any
any:
  %open_then = load atomic i64, ptr %left seq_cst, align 8
  %some_then = icmp sgt i64 %open_then, 0
  br i1 %some_then, label %wake, label %sleep
sleep:
  call i32 %c_wait(ptr %job, ptr %mutex)
  br label %look
wake:
  atomicrmw sub ptr %sleepers, i64 1 seq_cst
  call i32 %c_unlock(ptr %mutex)
  br label %woken
woken:
  br label %rest
leave:
  atomicrmw sub ptr %sleepers, i64 1 seq_cst
  call i32 %c_unlock(ptr %mutex)
  ret ptr null
}
"""


class Team:
    """The threads of this process, and the table that they share with native code. Started by the first program that has jobs."""

    def __init__(self) -> None:
        memory = np.zeros(WORDS + 8, np.int64)
        skip = -memory.ctypes.data % 64 // 8
        self.table = memory[skip : skip + WORDS]
        self.address = int(self.table.ctypes.data)
        self.threads: list[ctypes.c_void_p] = []
        self.asked = 1  # threads that the configuration asked for last, the caller's included
        self.is_gone = False  # in a forked child, at exit, or where there are no POSIX threads
        self._code = (0, 0)
        self._lock = Lock()
        self._library: Any = None

    def start(self) -> None:
        """Have as many threads as the configuration asks for. Without any, jobs run in the thread that has them."""
        asked = 1 if CONFIG.evaluate or self.is_gone else CONFIG.threads
        if asked == self.asked:
            return
        with self._lock:
            try:
                if asked > 1 + len(self.threads):
                    self._grow(asked - 1)
            except (AttributeError, OSError, RuntimeError, TypeError, Unsupported):
                self.is_gone, asked = True, 1
            self.table[ENTRY] = self._code[0] if asked > 1 and self.threads else 0
            self.asked = asked

    def _prepare(self) -> None:
        """Fill the table, before the first thread."""
        library = self._library = ctypes.CDLL(None)
        names = ("pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_broadcast", "clock_gettime")
        for place, name in zip((MUTEX_LOCK, MUTEX_UNLOCK, COND_WAIT, COND_BROADCAST, CLOCK), names, strict=True):
            self.table[place] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        for name, place in (("pthread_mutex_init", MUTEX), ("pthread_cond_init", JOB_COND), ("pthread_cond_init", DONE_COND)):
            if getattr(library, name)(self._at(place), None) != 0:
                raise OSError(f"{name} failed")
        text = texts(platform.machine())
        self._code = (_function(RUN, text[RUN]), _function(WORK, text[WORK]))
        os.register_at_fork(after_in_child=self._leave)
        atexit.register(self.stop)

    def _grow(self, count: int) -> None:
        """Make threads until there are `count`."""
        if not self._code[0]:
            self._prepare()
        usual = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # threads inherit it: signals are for Python's
        try:
            while len(self.threads) < count:
                thread = ctypes.c_void_p()
                start, table = ctypes.c_void_p(self._code[1]), ctypes.c_void_p(self.address)
                if self._library.pthread_create(ctypes.byref(thread), None, start, table) != 0:
                    break
                self.threads.append(thread)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)

    def stop(self) -> None:
        """End the threads, behind a job that may be on. Later jobs run in the threads that have them."""
        self.table[ENTRY] = 0
        self.is_gone = True
        threads, self.threads = self.threads, []
        if threads:
            self._library.pthread_mutex_lock(self._at(MUTEX))
            self.table[STOP] = 1
            self._library.pthread_cond_broadcast(self._at(JOB_COND))
            self._library.pthread_mutex_unlock(self._at(MUTEX))
        for thread in threads:
            self._library.pthread_join(thread, None)

    def _leave(self) -> None:
        """In a forked child there are no threads, and the lock may be anybody's."""
        self.table[ENTRY] = 0
        self.is_gone = True
        self.threads = []

    def _at(self, place: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.address + 8 * place)

    def described(self) -> str:
        """What `explain` says of it."""
        if self.table[ENTRY] == 0:
            return "one thread here"
        refused = int(self.table[REFUSALS])
        return f"{1 + len(self.threads)} threads here, which ran {self.entered} rows of all functions, and were not free for {refused}"

    @property
    def entered(self) -> int:
        """How many jobs the team has done."""
        return int(self.table[ENTERED])

    @contextlib.contextmanager
    def paused(self) -> Any:
        """Jobs of this process run in the threads that have them (for tests and measurements)."""
        entry = int(self.table[ENTRY])
        self.table[ENTRY] = 0
        try:
            yield
        finally:
            self.table[ENTRY] = entry


def _address(function: Any) -> int:
    found = ctypes.cast(function, ctypes.c_void_p).value
    assert found is not None
    return found


def texts(machine: str) -> dict[str, str]:
    """LLVM's text of the team's functions for a kind of processor (by the system's name), by symbol."""
    return {RUN: _text(_NOW + _NEXT_CHUNK + _RUN, machine), WORK: _text(_NEXT_CHUNK + _WORK, machine)}


def key_of(text: str) -> str:
    """The name of the object code of one of these texts."""
    return f"team_{kernel_key(text)}"


def _function(name: str, text: str) -> int:
    """Address of a function of the team, compiled or loaded where it is new."""
    key = key_of(text)
    with LIBRARY.lock:
        stored = LIBRARY.kept(key)
        address = objects.load(*stored) if stored is not None else 0
        if not address:
            from irgrad.codegen.llvm import machine
            from irgrad.codegen.llvm.binding import LIGHT

            made = machine.object_code(text, LIGHT)
            LIBRARY.store.put(key, name, made)
            address = objects.load(name, made)
    if not address:
        raise RuntimeError("the parallel driver cannot be linked")
    return address


TEAM = Team()


def shared(row: Row, source: str, counts: int, kernel: Callable[[str], Kernel]) -> tuple[Kernel, list[int], dict[int, Kernel]]:
    """For a row of chunks, parts or panels: what runs it, its sizes, and the kernels whose addresses are sizes, by place.

    `counts` is an address where jobs of the team are counted, `kernel` gives the kernel of a text.
    """
    if row.panels is not None:
        run, one = prepare(panels.PANEL_OF)
        sizes, places = panels.table(TEAM.address, counts, row.panels)
        kernels = [kernel(part.row.source) for part in row.panels.parts]
        return run, sizes, {CALLED: kernels[0], CALLED_CHUNK: one, **dict(zip(places, kernels, strict=True))}
    if row.parts is None:
        run, one = prepare()
        return run, split.table(TEAM.address, counts, row), {CALLED: kernel(source), CALLED_CHUNK: one}
    run, one = prepare(beside.PART_OF)
    sizes, places = beside.table(TEAM.address, counts, row.parts)
    return run, sizes, {CALLED_CHUNK: one, **{place: kernel(part.source) for place, part in zip(places, row.parts, strict=True)}}


def prepare(one: str = CHUNK_OF) -> tuple[Kernel, Kernel]:
    """Have threads, and what runs a row in chunks, asked for: the kernel of the row, and that of one chunk (or part)."""
    TEAM.start()
    run, chunk = (LIBRARY.ask(source, Counts()) for source in (SPLIT, one))
    return run, chunk
