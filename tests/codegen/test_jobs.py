"""The queue of compilations: order, helpers, exceptions, interrupts and forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from irgrad.codegen.jobs import Job, Queue
from irgrad.config import CONFIG


@pytest.fixture
def queue() -> Queue:
    return Queue()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_one_thread_works_in_the_order_of_the_queue(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 1)
    order: list[tuple[int, int]] = []

    def work(k: int) -> int:
        order.append((k, threading.get_ident()))
        return k * k

    jobs = [queue.add(lambda k=k: work(k), at_once=True) for k in range(4)]  # type: ignore[misc]
    assert order == []
    assert jobs[2].result() == 4
    assert order == [(k, threading.get_ident()) for k in range(3)]
    assert [job.result() for job in jobs] == [0, 1, 4, 9]
    assert len(order) == 4
    assert queue.num_helped == 0


def test_the_longest_job_is_begun_first(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 1)
    order: list[int] = []
    jobs = [queue.add(lambda k=k: order.append(k), weight=weight) for k, weight in enumerate((3, 9, 1, 9))]  # type: ignore[misc]
    jobs.append(queue.add(lambda: order.append(4), at_once=True))
    for job in jobs:
        job.result()
    assert order == [4, 1, 3, 0, 2]


def test_two_threads_work_side_by_side(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 2)
    both = threading.Barrier(2, timeout=30)
    jobs = [queue.add(both.wait) for _ in range(2)]
    assert sorted(job.result() for job in jobs) == [0, 1]  # each waited for the other
    assert queue.num_helped == 1
    until(lambda: not any(thread.name == "irgrad compiles" for thread in threading.enumerate()))
    assert queue.add(lambda: 5).result() == 5  # one job alone is done here
    assert queue.num_helped == 1


def test_a_job_that_is_to_begin_at_once_needs_no_caller(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 2)
    job = queue.add(threading.get_ident, at_once=True)
    until(lambda: job.is_done)
    assert job.result() != threading.get_ident()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_job_raises_its_result_raises(queue: Queue, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", threads)
    fails = queue.add(lambda: 1 // 0, at_once=True)
    works = queue.add(lambda: 7)
    assert works.result() == 7
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fails.result()


def test_an_interrupted_job_is_done_later(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 1)
    interrupts = [KeyboardInterrupt()]

    def work() -> str:
        if interrupts:
            raise interrupts.pop()
        return "done"

    job = queue.add(work)
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert not job.is_done
    assert job.result() == "done"


def test_several_threads_may_wait_for_one_job(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 2)
    count = []

    def work() -> int:
        time.sleep(0.01)
        count.append(1)
        return len(count)

    jobs = [queue.add(work) for _ in range(5)]
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append([job.result() for job in jobs])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(count) == 5
    assert all(each == found[0] and sorted(each) == [1, 2, 3, 4, 5] for each in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_helpers_and_the_child_does_what_is_left(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 2)
    begun = threading.Event()

    def long() -> str:
        begun.set()
        time.sleep(0.05)
        return "long"

    job = queue.add(long, at_once=True)
    begun.wait(30)
    monkeypatch.setattr(CONFIG, "threads", 1)
    later = queue.add(lambda: "later")
    child = os.fork()
    if child == 0:
        try:
            good = job.is_done and job.result() == "long" and later.result() == "later" and threading.active_count() == 1
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert job.is_done
    assert later.result() == "later"


def test_a_job_that_is_done_has_its_answer() -> None:
    assert Job.of(3).result() == 3
