"""autograd's names for containers and type tests. Python's own work on traced values, so most of these are Python's own."""

from __future__ import annotations

import builtins
from builtins import dict, isinstance, list, tuple  # noqa: UP029  re-exported
from typing import Any

from irgrad.frontend.context import current
from irgrad.frontend.names import TYPE

__all__ = ["dict", "isinstance", "list", "tuple", "type"]


def type(value: Any, *args: Any, **kwargs: Any) -> Any:
    """Python's `type`; of a traced value the type that it stands for."""
    return builtins.type(value, *args, **kwargs) if current() is None else TYPE(value, *args, **kwargs)
