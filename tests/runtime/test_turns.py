"""The work that is done in turns: who does it, how much at a time, and what is left where it is interrupted."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import pytest

from irgrad.runtime.turns import MOST, STANDING, Turns, checkpoint, clock


def test_work_goes_on_only_while_someone_waits() -> None:
    done: list[int] = []

    def work() -> None:
        for k in range(3):
            done.append(k)
            checkpoint()

    turns = Turns(work)
    assert done == []
    turns.step(0.0)
    assert done == [0]
    time.sleep(0.01)
    assert done == [0] and not turns.is_done
    turns.step(0.0)
    turns.step(10.0)
    assert done == [0, 1, 2] and turns.is_done
    turns.step(0.0)
    assert turns.num_turns == 3


def test_a_turn_lasts_as_long_as_it_was_given() -> None:
    done: list[int] = []

    def work() -> None:
        for k in range(100):
            done.append(k)
            checkpoint()

    turns = Turns(work)
    turns.step(10.0)
    assert turns.is_done and turns.num_turns == 1 and len(done) == 100


def test_time_that_work_stands_still_does_not_count() -> None:
    found: list[float] = []

    def work() -> None:
        start = clock()
        checkpoint()
        found.append(clock() - start)

    turns = Turns(work)
    turns.step(0.0)
    time.sleep(0.1)
    turns.finish()
    assert found[0] < 0.05


def test_dropped_work_ends_where_it_stands_and_cleans_up() -> None:
    done: list[str] = []

    def work() -> None:
        try:
            done.append("begun")
            try:
                checkpoint()
            except Exception:
                done.append("caught")
            done.append("went on")
        finally:
            done.append("cleaned up")

    turns = Turns(work)
    turns.step(0.0)
    turns.drop()
    assert done == ["begun", "cleaned up"] and turns.is_done


def test_work_that_comes_to_no_checkpoint_is_not_waited_for() -> None:
    free = threading.Event()
    turns = Turns(lambda: (free.wait(10.0), checkpoint())[1])
    turns.step(0.0)
    assert not turns.is_done  # it goes on beside
    free.set()
    turns.finish()
    assert turns.is_done


def test_collections_are_as_they_were_between_turns() -> None:
    seen: list[bool] = []

    def work() -> None:
        seen.append(gc.isenabled())
        checkpoint()

    assert gc.isenabled()
    turns = Turns(work)
    turns.step(0.0)
    assert seen == [False] and gc.isenabled()
    turns.finish()
    assert gc.isenabled()


def test_a_bounded_number_of_works_stands_still() -> None:
    all_turns = []
    for _ in range(MOST + 3):
        turns = Turns(lambda: [checkpoint() for _ in range(3)] and None)
        oldest = STANDING.add(turns)
        if oldest is not None:
            oldest.drop()
        turns.step(0.0)
        all_turns.append(turns)
    assert [turns.is_done for turns in all_turns] == [True] * 3 + [False] * MOST
    for turns in all_turns:
        turns.finish()


class Interrupted:
    """A lock whose first wait Ctrl-C breaks off, before it is taken or after."""

    def __init__(self, lock: Any, taken: bool) -> None:
        self.lock, self.taken, self.is_first = lock, taken, True
        self.release = lock.release

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        if not self.is_first:
            return self.lock.acquire(*args, **kwargs)
        self.is_first = False
        if self.taken:
            self.lock.acquire(timeout=0.05)
        raise KeyboardInterrupt


@pytest.mark.parametrize("wait", ["step", "finish"])
@pytest.mark.parametrize("where", ["before", "after", "resume", "start"])
def test_work_whose_caller_is_interrupted_ends(where: str, wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def work() -> None:
        try:
            while True:
                time.sleep(0.001)
                checkpoint()
        finally:
            ended.append("work")

    turns = Turns(work)
    if where != "start":
        turns.step(0.0)
    if where in ("resume", "start"):

        def interrupted() -> None:
            turns._is_running = True
            raise KeyboardInterrupt

        monkeypatch.setattr(turns, "_resume", interrupted)
    else:
        turns._rest = Interrupted(turns._rest, where == "after")  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        turns.step(0.0) if wait == "step" else turns.finish()
    monkeypatch.undo()
    turns.step(0.1)
    turns.finish()
    turns.drop()
    assert turns.is_done
    if turns._thread is not None:
        turns._thread.join(10.0)
        assert not turns._thread.is_alive()
    assert ended == (["work"] if where != "start" else [])
