"""Counts and seconds of one jitted function, for programs; `explain` is for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Stats:
    """What has happened so far. Seconds are wall time.

    `traces` counts recordings, `eager_calls` the calls whose result came from tracing or from plain eager running, `waiting` the
    paths that later calls trace and link, `rows_last_call` the rows of the program that the last compiled call ran,
    `kernels_refused` the compiled kernels that took Numba, `guard_rounding` retraces that found a known path because a comparison was
    rounded differently. `parallel_rows` are the rows of the programs that are large enough to be split between threads,
    `parallel_entries` how often the parallel driver has run one of them.
    """

    calls: int = 0
    eager_calls: int = 0
    traces: int = 0
    paths: int = 0
    kernels: int = 0
    kernels_compiled: int = 0
    kernels_refused: int = 0
    kernels_loaded: int = 0
    host_calls: int = 0
    guard_rounding: int = 0
    recorded_ops: int = 0
    rows_last_call: int = 0
    waiting: int = 0
    program_bytes: int = 0
    arena_bytes: int = 0
    parallel_rows: int = 0
    parallel_entries: int = 0
    trace_seconds: float = 0.0
    pass_seconds: float = 0.0
    compile_seconds: float = 0.0
    link_seconds: float = 0.0
