"""Whose code is it? The user's is substituted; irgrad's, the standard library's and installed packages' runs as it is."""

from __future__ import annotations

import functools
import os.path
import site
import sys
import sysconfig
from types import FunctionType, ModuleType


def _library_roots() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [site.getusersitepackages(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    return tuple(sorted({os.path.join(path, "") for path in paths if path}))


_LIBRARY = _library_roots()


@functools.lru_cache(maxsize=4096)
def is_user_file(file: str) -> bool:
    """Is a source file neither irgrad's, the standard library's nor an installed package's?"""
    if file.startswith("<"):
        return not file.startswith(("<frozen", "<irgrad"))
    parts = file.replace("\\", "/").split("/")
    return "site-packages" not in parts and "dist-packages" not in parts and not os.path.abspath(file).startswith(_LIBRARY)


def is_user_function(function: FunctionType) -> bool:
    """Does the user own the code? Text that was exec'd belongs to the module it runs in."""
    file = function.__code__.co_filename
    if file[:1] == "<" and is_user_file(file):
        module_file = dict.get(function.__globals__, "__file__")
        return module_file is None or is_user_file(module_file)
    return is_user_file(file)


def is_user_module(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return module.__name__ == "__main__" or (file is not None and is_user_file(file))


def is_user_class(cls: type) -> bool:
    module = sys.modules.get(cls.__module__)
    return module is None or is_user_module(module) or cls.__module__ == "__main__"
