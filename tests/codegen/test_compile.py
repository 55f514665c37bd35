"""The library of kernels: asked for, settled, by one thread or several, and when compiling one fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from irgrad.codegen import shipped
from irgrad.codegen.compile import SIGNATURE, Counts, Library
from irgrad.codegen.llvm import binding, machine
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.config import CONFIG


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    monkeypatch.setattr(CONFIG, "store", tmp_path / "store")
    return Library()


def source(answer: int) -> str:
    return f"def kernel(p, n):\n    return {answer}\n"


@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_have_addresses_when_they_are_settled(library: Library, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", threads)
    counts = Counts()
    kernels = [library.ask(source(k), counts) for k in range(6)]
    assert [library.ask(source(k), counts) for k in range(6)] == kernels
    library.settle(kernels, counts)
    assert [SIGNATURE(kernel.address)(0, 0) for kernel in kernels] == list(range(6))
    assert (counts.compiled, counts.loaded, library.num_objects) == (6, 0, 6)
    library.forget()
    again = [library.get(source(k), counts) for k in range(6)]
    assert [SIGNATURE(kernel.address)(0, 0) for kernel in again] == list(range(6))
    assert (counts.compiled, counts.loaded, library.num_objects) == (6, 6, 6)


def test_threads_that_want_one_kernel_compile_it_once(library: Library) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(library.get(source(7), Counts()).address)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert len(set(found)) == 1
    assert SIGNATURE(found[0])(0, 0) == 7
    assert library.num_objects == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_what_fails_is_raised_and_tried_again(library: Library, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", threads)

    def fail(text: str, effort: binding.Effort) -> bytes:
        raise MemoryError("a test")

    with monkeypatch.context() as patch:
        patch.setattr(machine, "object_code", fail)
        kernels = [library.ask(source(k), Counts()) for k in (1, 2)]
        for kernel in kernels:
            for _ in range(2):  # whoever has it
                with pytest.raises(MemoryError, match="a test"):
                    library.settle([kernel], Counts())
    counts = Counts()
    assert SIGNATURE(library.get(source(1), counts).address)(0, 0) == 1
    assert counts.compiled == 1


def test_a_driver_that_fails_is_tried_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "threads", 1)
    monkeypatch.setattr(shipped, "find", lambda key: None)

    def fail(text: str, effort: binding.Effort) -> bytes:
        raise MemoryError("a test")

    with monkeypatch.context() as patch:
        patch.setattr(machine, "object_code", fail)
        with pytest.raises(MemoryError, match="a test"):
            library.driver("drive")
    assert library.driver("drive")
    assert library.num_objects == 1


def test_what_llvm_refuses_numba_compiles(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str, effort: binding.Effort) -> bytes:
        raise Unsupported("a test")

    monkeypatch.setattr(machine, "object_code", refuse)
    counts = Counts()
    kernel = library.get(source(9), counts)
    assert SIGNATURE(kernel.address)(0, 0) == 9
    assert (counts.compiled, counts.refused, kernel.refused) == (1, 1, "a test")
