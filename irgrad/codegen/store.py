"""Compiled kernels on disk, shared by all programs and processes of one user.

An entry is an object file addressed by the hash of the kernel's source and of everything its machine code depends on (versions,
processor). Entries are written to a temporary name and renamed, checked by their own hash before use, and rejected when the
folder or the file is not the user's own: a bad entry is compiled again, never loaded. The folder has mode 0700.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import warnings
from pathlib import Path

from irgrad.config import CONFIG

_MAGIC = b"irgrad2\n"


class Store:
    """Object files under one folder; `get` and `put` never raise."""

    def __init__(self, folder: Path, environment: str) -> None:
        self.folder = folder / hashlib.sha256(environment.encode()).hexdigest()[:16]
        self.root = folder
        self.usable: bool | None = None

    def _is_usable(self) -> bool:
        if self.usable is None:
            self.usable = self._open()
        return self.usable

    def _open(self) -> bool:
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for folder in (self.root, self.folder):
                if not _is_own(folder):
                    warnings.warn(
                        f"the kernel store {folder} belongs to someone else or is writable by others; kernels are not kept on disk "
                        "(set IRGRAD_STORE to a folder of your own)",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                    return False
        except OSError as error:
            warnings.warn(
                f"the kernel store {self.root} cannot be used ({error}); kernels are not kept on disk", RuntimeWarning, stacklevel=2
            )
            return False
        return True

    def get(self, key: str) -> tuple[str, bytes] | None:
        """Symbol and object code of a kernel, None where there is no valid entry."""
        if not self._is_usable():
            return None
        path = self.folder / key
        try:
            if not _is_own(path):
                return None
            data = path.read_bytes()
        except OSError:
            return None
        head, digest, body = data[: len(_MAGIC)], data[len(_MAGIC) : len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
        if head != _MAGIC or _digest(key, body) != digest or b"\0" not in body:
            return None
        symbol, code = body.split(b"\0", 1)
        return symbol.decode(), code

    def put(self, key: str, symbol: str, code: bytes) -> None:
        """Keep a kernel; silently not, where the disk refuses."""
        if not self._is_usable():
            return
        import tempfile  # 0.6 MB with what it imports, and few processes put anything

        body = symbol.encode() + b"\0" + code
        with contextlib.suppress(OSError):
            handle, temporary = tempfile.mkstemp(dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_MAGIC + _digest(key, body) + body)
                os.replace(temporary, self.folder / key)
            except BaseException:
                os.unlink(temporary)
                raise


def _digest(key: str, body: bytes) -> bytes:
    """An entry under another one's name is not valid."""
    return hashlib.sha256(key.encode() + b"\0" + body).digest()


def _is_own(path: Path) -> bool:
    """Owned by this user and writable by no one else."""
    info = path.lstat()
    if not hasattr(os, "getuid"):
        return True
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(info.st_mode)


_ROUTINES = ("native.py", "arithmetic.py", "special.py", "vector.py", "polynomial.py", "gammas.py", "normals.py", "bessels.py",
             "reals.py", "formulas.py", "written.py", "callables.py")  # fmt: skip


def environment(numba: str, llvmlite: str, numpy: str, cpu: str) -> str:
    """What machine code depends on besides its source: versions, processor, and the routines that kernels call by name."""
    from irgrad.version import __version__

    here = os.path.dirname(__file__)
    llvm = os.path.join(here, "llvm")
    paths = [os.path.join(here, file) for file in _ROUTINES]
    paths += [os.path.join(llvm, file) for file in sorted(os.listdir(llvm)) if file.endswith(".py")]
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb", buffering=0) as file:  # this comes before the first trace of each process
            digest.update(file.read())
    routines = digest.hexdigest()
    return "|".join((__version__, numba, llvmlite, numpy, cpu, routines))


def default_folder() -> Path:
    return CONFIG.store
