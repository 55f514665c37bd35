"""Nested arguments of one known structure as a flat tuple of leaves, by generated code: ten times faster than a general walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.pytree import LEAF, flatten
from irgrad.runtime.signature import StaticLeaf, normalise

MAX_LEAVES = 200  # of what is written out
COMPARED = (bool, int, float, str, bytes, type(None))  # static values that are compared; others have to be the same object

Args = tuple[Any, ...]


def unpacker(
    args: Args, kwargs: dict[str, Any] | None = None, static_argnums: tuple[int, ...] = (), static_argnames: tuple[str, ...] = ()
) -> Callable[..., Args | None] | None:
    """``unpack(args)``, or ``unpack(args, kwargs)``: the data leaves of arguments nested like these, as in `call_form`; None of others.

    Nodes are lists, tuples, dicts with text as keys (in the same order of insertion) and None. None for other nodes and larger trees.
    Leaves are not looked at, everything else counts as one; but Python ints become int64, as programs read them, and static values
    (bool, text, other objects, and the arguments declared so) have to be equal, or the same.
    """
    code = _Code()
    chosen = {n + len(args) if n < 0 else n for n in static_argnums}
    parts = [(f"args_{k}", part, k in chosen) for k, part in enumerate(args)]
    code.lines.append(f"if len(args) != {len(args)}: return None")
    if parts:
        code.lines.append(f"{''.join(f'{name}, ' for name, *_ in parts)}= args")
    if kwargs:
        code.lines.append(f"if tuple(kwargs) != {tuple(kwargs)!r}: return None")
        for k, key in enumerate(sorted(kwargs)):
            code.lines.append(f"kwargs_{k} = kwargs[{key!r}]")
            parts.append((f"kwargs_{k}", kwargs[key], key in static_argnames))
    if not all(code.static(*part) if is_static else code.write(*part) for *part, is_static in parts) or len(code.leaves) > MAX_LEAVES:
        return None
    body = "\n    ".join([*code.lines, f"return ({''.join(f'{leaf}, ' for leaf in code.leaves)})"])
    exec(f"def unpack(args{', kwargs' if kwargs else ''}):\n    {body}\n", code.space)
    return code.space["unpack"]


def unpacked(unpack: Callable[..., Args | None], serve: Callable[[Args], Any], has_keywords: bool, miss: Any) -> Callable[..., Any]:
    """`serve`, which takes flat arguments, for those that `unpack` knows; `miss` for others."""

    def positional(args: Args) -> Any:
        flat = unpack(args)
        return miss if flat is None else serve(flat)

    def named(args: Args, kwargs: dict[str, Any]) -> Any:
        flat = unpack(args, kwargs)
        return miss if flat is None else serve(flat)

    return named if has_keywords else positional


class _Code:
    """The lines of an unpacker, the names of its leaves, and what it compares with."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.leaves: list[str] = []
        self.space: dict[str, Any] = {"int64": np.int64}

    def static(self, name: str, value: Any) -> bool:
        """Append a comparison with a value that the program holds for alone."""
        kind = type(value)
        self.space[f"{name}_is"] = value
        if value is None or kind is bool or kind not in COMPARED:
            self.lines.append(f"if {name} is not {name}_is: return None")
        else:
            differs = f"{name}.hex() != {value.hex()!r}" if kind is float else f"{name} != {name}_is"  # zeros have signs
            self.lines.append(f"if {name} is not {name}_is and (type({name}) is not {kind.__name__} or {differs}): return None")
        return True

    def write(self, name: str, value: Any) -> bool:
        """Append the code for one value; False where there is none."""
        kind = type(value)
        if kind is int and -(2**63) <= value < 2**63:
            self.lines.append(f"if type({name}) is not int or not {-(2**63)} <= {name} < {2**63}: return None")
            self.lines.append(f"{name}_int = int64({name})")
            self.leaves.append(f"{name}_int")
            return True
        if value is None:
            return self.static(name, value)
        if kind is dict:
            if not all(type(key) is str for key in value):
                return False
            self.lines.append(f"if type({name}) is not dict or tuple({name}) != {tuple(value)!r}: return None")
            parts = []
            for k, key in enumerate(sorted(value)):
                parts.append((f"{name}_{k}", value[key]))
                self.lines.append(f"{name}_{k} = {name}[{key!r}]")
        elif kind is list or kind is tuple:
            self.lines.append(f"if type({name}) is not {kind.__name__} or len({name}) != {len(value)}: return None")
            parts = [(f"{name}_{k}", part) for k, part in enumerate(value)]
            if parts:
                self.lines.append(f"{''.join(f'{part}, ' for part, _ in parts)}= {name}")
        elif flatten(value)[1] is not LEAF:
            return False
        elif type(normalise(value)) is StaticLeaf:
            return self.static(name, value)
        else:
            self.leaves.append(name)
            return True
        return all(self.write(part, inner) for part, inner in parts)
