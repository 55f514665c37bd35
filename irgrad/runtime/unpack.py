"""Nested arguments of one known structure as a flat tuple of leaves, by generated code: ten times faster than a general walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

MAX_LEAVES = 200  # of what is written out


def unpacker(args: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], tuple[Any, ...] | None] | None:
    """A function that takes arguments nested like `args` to their leaves, in the order of `irgrad.pytree.flatten`, and others to None.

    Nodes are lists, tuples, dicts with text as keys (in the same order of insertion) and None. None for other nodes and larger trees.
    Leaves are not looked at, everything else counts as one; but Python ints become int64, as programs read them.
    """
    lines: list[str] = []
    leaves: list[str] = []
    if not _write("args", args, lines, leaves) or len(leaves) > MAX_LEAVES:
        return None
    body = "\n    ".join([*lines, f"return ({''.join(f'{leaf}, ' for leaf in leaves)})"])
    space: dict[str, Any] = {"int64": np.int64}
    exec(f"def unpack(args):\n    {body}\n", space)
    return space["unpack"]


def _write(name: str, value: Any, lines: list[str], leaves: list[str]) -> bool:
    """Append the code for one value; False where there is none."""
    kind = type(value)
    if kind is int:
        lines.append(f"if type({name}) is not int or not {-(2**63)} <= {name} < {2**63}: return None")
        lines.append(f"{name}_int = int64({name})")
        leaves.append(f"{name}_int")
        return True
    if value is None:
        lines.append(f"if {name} is not None: return None")
        return True
    if kind is dict:
        if not all(type(key) is str for key in value):
            return False
        lines.append(f"if type({name}) is not dict or tuple({name}) != {tuple(value)!r}: return None")
        parts = []
        for k, key in enumerate(sorted(value)):
            parts.append((f"{name}_{k}", value[key]))
            lines.append(f"{name}_{k} = {name}[{key!r}]")
    elif kind is list or kind is tuple:
        lines.append(f"if type({name}) is not {kind.__name__} or len({name}) != {len(value)}: return None")
        parts = [(f"{name}_{k}", part) for k, part in enumerate(value)]
        if parts:
            lines.append(f"{''.join(f'{part}, ' for part, _ in parts)}= {name}")
    elif isinstance(value, (dict, list, tuple)) or hasattr(kind, "_fields"):
        return False
    else:
        leaves.append(name)
        return True
    return all(_write(part, inner, lines, leaves) for part, inner in parts)
