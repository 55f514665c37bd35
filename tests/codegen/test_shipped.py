"""Machine code that comes with the package: it is what the texts of today make, it can be linked, and other texts are compiled."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from irgrad.codegen import elf, linker, shipped
from irgrad.codegen.callables import CALLS, INTERPRETER
from irgrad.codegen.compile import LIBRARY, Counts, Library
from irgrad.codegen.llvm import binding
from irgrad.codegen.relocate import RULES
from irgrad.config import CONFIG
from tests.support import native

is_known = isinstance(binding.compiler(), binding.Direct)
is_linked = linker.machine() in shipped.NAMES


@pytest.mark.skipif(not is_known, reason="another version of LLVM, which may make other code")
@pytest.mark.parametrize("name", native.OLDEST)
def test_it_is_what_the_texts_make(name: str) -> None:
    """Where this fails, ``python -m tests.support.native`` makes it again."""
    found = {key: (symbol, base64.b64decode(code)) for key, (symbol, code) in native.read(name).items()}
    assert found == native.made(name)


@pytest.mark.parametrize("machine", shipped.NAMES)
def test_the_linker_knows_all_of_it(machine: int) -> None:
    """Where the code is for, and that it calls nothing but the interpreter's functions."""
    for symbol, code in native.read(shipped.NAMES[machine]).values():
        found = elf.parse(base64.b64decode(code))
        assert found.machine == machine
        assert {relocation.kind for relocation in found.relocations} <= set(RULES[machine])
        assert found.undefined() <= set(INTERPRETER)
        assert CALLS.get(symbol, symbol) in {each.name for each in found.symbols}


@pytest.mark.skipif(not is_linked, reason="object files that irgrad does not link")
def test_functions_of_today_are_in_the_file() -> None:
    assert {shipped.find(LIBRARY.driver_key(name)) is not None for name in CALLS} == {True}
    assert {shipped.find(key) is not None for key in native.runner_keys()} == {True}


def test_what_is_shipped_costs_no_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "store", tmp_path)
    monkeypatch.setattr(shipped, "find", {LIBRARY.driver_key("enter"): ("enter", b"code")}.get)
    library = Library()
    assert library.ask_driver("enter").is_done
    assert library.driver("enter") == b"code"
    assert library.driver("drive")  # of another text
    assert library.num_objects == 1


@pytest.mark.skipif(not is_linked, reason="object files that irgrad does not link")
def test_runners_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "store", tmp_path)
    monkeypatch.setattr(CONFIG, "backend", "llvm")
    library, counts = Library(), Counts()
    assert all(library.get(source, counts).address for source in native.RUNNERS)
    assert (counts.compiled, counts.loaded, library.num_objects) == (0, len(native.RUNNERS), 0)
    assert not any(file.is_file() for file in tmp_path.rglob("*"))


@pytest.mark.parametrize("content", ["no entries\n", "", None])
def test_a_file_that_is_not_there_or_spoilt_is_no_file(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if content is not None:
        (tmp_path / "file").write_text(content)
    monkeypatch.setattr(shipped, "path", lambda name: tmp_path / "file")
    shipped._places.cache_clear()
    assert shipped.find(LIBRARY.driver_key("enter")) is None
    shipped._places.cache_clear()
