"""The kernel store: read by later processes; entries that are spoilt, and folders of others, are not used and cost a compile."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.compile import LIBRARY
from irgrad.codegen.store import Store
from irgrad.config import CONFIG

X = np.array([0.3, -1.2, 2.0])


def compile_once() -> Any:
    """A fresh process as far as kernels go: the statistics of a compiled call and its answer."""
    LIBRARY.forget()
    LIBRARY._store = None
    f = irgrad.jit(irgrad.value_and_grad(lambda x: np.sum(np.sin(x) * x**2)), compile_after=1)
    x = np.linspace(0.0, 1.0, 100)
    f(x)
    value, gradient = f(x)
    assert value == pytest.approx(np.sum(np.sin(x) * x**2))
    np.testing.assert_allclose(gradient, np.cos(x) * x**2 + 2 * x * np.sin(x), atol=1e-13)
    return f.stats()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    compile_once()  # the driver's own code is in the session's store
    monkeypatch.setattr(CONFIG, "store", tmp_path / "store")
    first = compile_once()
    assert first.kernels_compiled > 0
    assert first.kernels_loaded == 0
    yield tmp_path / "store"
    LIBRARY.forget()
    LIBRARY._store = None


def entries(store: Path) -> list[Path]:
    # The driver has an entry too, which another thread may be writing.
    found = [path for path in store.rglob("*") if path.is_file() and not path.name.startswith(("enter_", "tmp"))]
    assert found
    return found


def test_store_is_read(store: Path) -> None:
    found = compile_once()
    assert (found.kernels_compiled, found.kernels_loaded) == (0, len(entries(store)))
    assert store.stat().st_mode & 0o777 == 0o700


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_text(path: Path) -> None:
    path.write_text("not a kernel at all, but long enough to hold a header and a digest of thirty-two bytes")


def let_others_write(path: Path) -> None:
    path.chmod(0o666)


def link(path: Path) -> None:
    other = path.with_name("elsewhere")
    path.rename(other)
    path.symlink_to(other)


def take_another(path: Path) -> None:
    """An entry that is valid under its own name."""
    other = Store(path.parent.parent, "another")
    other.put("other", "kernel", b"the object file of another kernel")
    (other.folder / "other").replace(path)


def block(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [cut, flip, empty, replace_by_text, let_others_write, link, take_another])
def test_bad_entry_is_compiled_again(store: Path, spoil: Callable[[Path], None]) -> None:
    count = len(entries(store))
    for path in entries(store):
        spoil(path)
    found = compile_once()
    assert (found.kernels_compiled, found.kernels_loaded) == (count, 0)
    found = compile_once()  # and the entry was replaced
    assert (found.kernels_compiled, found.kernels_loaded) == (0, count)


def test_a_full_disk_leaves_nothing_behind(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    kept = Store(store, "full")
    monkeypatch.setattr(os, "replace", refuse)
    kept.put("key", "kernel", b"code")
    assert kept.get("key") is None and list(kept.folder.iterdir()) == []


def test_entry_that_cannot_be_replaced(store: Path) -> None:
    count = len(entries(store))
    for path in entries(store):
        block(path)
    assert compile_once().kernels_compiled == count


def test_store_that_others_can_write(store: Path) -> None:
    count = len(entries(store))
    before = {path: path.read_bytes() for path in entries(store)}
    store.chmod(0o777)
    advice = r"kernels are not kept on disk \(set IRGRAD_STORE to a folder of your own\)"
    with pytest.warns(RuntimeWarning, match=rf"the kernel store {store} belongs to someone else or is writable by others; {advice}"):
        found = compile_once()
    assert (found.kernels_compiled, found.kernels_loaded) == (count, 0)
    assert before == {path: path.read_bytes() for path in entries(store)}
    store.chmod(0o700)
    assert compile_once().kernels_loaded == count


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_store_of_someone_else(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(entries(store))
    monkeypatch.setattr(os, "getuid", lambda owner=os.getuid() + 1: owner)
    with pytest.warns(RuntimeWarning, match="belongs to someone else or is writable by others; kernels are not kept on disk"):
        found = compile_once()
    assert (found.kernels_compiled, found.kernels_loaded) == (count, 0)


def test_store_that_cannot_be_made(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = store.parent / "file"
    file.write_text("in the way")
    monkeypatch.setattr(CONFIG, "store", file / "store")
    with pytest.warns(RuntimeWarning, match=rf"the kernel store {file / 'store'} cannot be used \(.*\); kernels are not kept on disk"):
        assert compile_once().kernels_compiled > 0


def test_one_warning_a_process(store: Path) -> None:
    store.chmod(0o777)
    with pytest.warns(RuntimeWarning):
        compile_once()
    f = irgrad.jit(lambda x: np.sum(np.cos(x) ** 3), compile_after=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(X)
        assert f(X) == pytest.approx(np.sum(np.cos(X) ** 3))
