"""Documentation of traced forms: the library's own, and what irgrad has to say about traced arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def described(original: Callable[..., Any], impl: Callable[..., Any]) -> str | None:
    """The docstring of `original` with that of `impl` in a section of its own."""
    if not impl.__doc__:
        return original.__doc__
    title = "Traced by irgrad"
    return f"{inspect.cleandoc(original.__doc__ or '')}\n\n{title}\n{'-' * len(title)}\n{inspect.cleandoc(impl.__doc__)}\n"
