"""A program's results: fresh arrays for it to write into, and the values that the caller gets of them, by generated code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.codegen.pool import LARGE, maker
from irgrad.codegen.program import Program
from irgrad.pytree import unflatten

MAX_PARTS = 200  # of a result that is written out

Arrays = tuple[np.ndarray[Any, Any], ...]


class Results:
    """How the results of a variant's programs are allocated and handed out.

    ``make()`` is a tuple of new arrays, ``builders[row](arrays)`` what the call returns where the program ended in this row.
    """

    def __init__(self, program: Program) -> None:
        leaves = [described for _, described in program.leaves.values()]
        forms = [[(o.shape, o.dtype) for o in described if not o.is_constant] for described in leaves]
        self.same = all(form == forms[0] for form in forms)
        if self.same:
            self.shapes = forms[0]
        else:
            count = max(map(len, forms))
            sizes = [max(size_of(form[k]) if k < len(form) else 0 for form in forms) for k in range(count)]
            self.shapes = [((size,), np.dtype(np.uint8)) for size in sizes]
        self.make = _allocator(self.shapes)
        self.builders: dict[int, Callable[[Arrays], Any]] = {
            row: self.builder(node, described) for row, (node, described) in program.leaves.items()
        }
        kinds = {node.form[1][0] if self.is_alone(node, described) else "" for node, described in program.leaves.values()}
        # of what every path has for its one result: "array", "scalar" (numpy's) or another
        self.kind = kinds.pop() if len(kinds) == 1 else ""

    def is_alone(self, node: Any, described: Sequence[Any]) -> bool:
        """Has a path one result, which is computed, and no structure around it?"""
        return self.same and len(described) == 1 and not described[0].is_constant and bool(node.form[0].is_leaf())

    def builder(self, node: Any, described: Sequence[Any]) -> Callable[[Arrays], Any]:
        structure, kinds = node.form
        space: dict[str, Any] = {}
        texts: list[str] = []
        position = 0
        for k, (output, kind) in enumerate(zip(described, kinds, strict=True)):
            if output.is_constant:
                space[f"c{k}"] = output.constant
                texts.append(f"c{k}.copy()" if isinstance(output.constant, np.ndarray) else f"c{k}")
                continue
            text = f"outs[{position}]"
            if not self.same:
                space[f"d{k}"] = output.dtype
                text = f"{text}[:{size_of((output.shape, output.dtype))}].view(d{k}).reshape({output.shape!r})"
            position += 1
            texts.append(text if kind == "array" else f"{text}[()]" if kind == "scalar" else f"{text}.item()")
        parts = [_Part(text) for text in texts]
        whole = _written(unflatten(structure, parts)) if len(parts) <= MAX_PARTS else None
        if whole is None:
            space.update(unflatten=unflatten, structure=structure)
            whole = f"unflatten(structure, [{', '.join(texts)}])"
        return _function("build", "outs", whole, space)


class _Part:
    """The place of one leaf in a result, and the expression of its value."""

    def __init__(self, text: str) -> None:
        self.text = text


def _written(value: Any) -> str | None:
    """The expression of a nested value; None where a node is none of Python's own."""
    kind = type(value)
    if kind is _Part:
        return str(value.text)
    if value is None:
        return "None"
    if kind is dict:
        if not all(type(key) in (str, int) for key in value):
            return None
        items = [(f"{key!r}: ", _written(part)) for key, part in value.items()]
        opened, closed = "{", "}"
    elif kind in (list, tuple):
        items = [("", _written(part)) for part in value]
        opened, closed = ("[", "]") if kind is list else ("(", ",)" if len(items) == 1 else ")")
    else:
        return None
    if any(part is None for _, part in items):
        return None
    return f"{opened}{', '.join(f'{key}{part}' for key, part in items)}{closed}"


def _allocator(shapes: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> Callable[[], Arrays]:
    """A function that makes a tuple of arrays; calls of numpy's own are written out, as one more of Python's costs more."""
    space: dict[str, Any] = {"empty": np.empty}
    texts: list[str] = []
    for k, (shape, dtype) in enumerate(shapes):
        if size_of((shape, dtype)) < LARGE:
            space[f"d{k}"] = dtype
            texts.append(f"empty({shape!r}, d{k})")
        else:
            space[f"make{k}"] = maker(shape, dtype)
            texts.append(f"make{k}()")
    return _function("make", "", f"({''.join(f'{text}, ' for text in texts)})", space)


def _function(name: str, parameters: str, expression: str, space: dict[str, Any]) -> Callable[..., Any]:
    exec(f"def {name}({parameters}):\n    return {expression}\n", space)
    found: Callable[..., Any] = space[name]
    return found


def size_of(form: tuple[tuple[int, ...], np.dtype[Any]]) -> int:
    """Bytes of an array."""
    shape, dtype = form
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
