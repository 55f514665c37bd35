"""Arguments of a callback as two vectors: what derivatives flow to, and other traced data. The rest is static.

Vectors are float64; a leaf comes back with its shape and dtype, a number as a scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import irgrad.numpy as inp
from irgrad.errors import TraceError
from irgrad.extend import concrete_of
from irgrad.frontend.storage import present
from irgrad.frontend.trace import describe, here
from irgrad.frontend.tracer import Tracer, depends_on_mark
from irgrad.operators import stop_gradient
from irgrad.pytree import flatten, unflatten


class Packing:
    """How the leaves of a pytree are spread over the two vectors. Equal for equal structures, forms and static leaves."""

    def __init__(self, tree: Any, name: str) -> None:
        leaves, self.structure = flatten(tree)
        self.forms: list[tuple[str, Any]] = []
        moving: list[Any] = []
        fixed: list[Any] = []
        for leaf in leaves:
            if type(leaf) is not Tracer:
                self.forms.append(("static", leaf))
                continue
            leaf = present(leaf)
            value = leaf.value
            dtype = np.result_type(value)
            if dtype.kind == "c":
                raise TraceError(f"{name}: an argument is {describe(leaf)} ({here()}); expected real numbers, give the parts")
            is_moving = dtype.kind == "f" and depends_on_mark(leaf)
            self.forms.append(("moving" if is_moving else "fixed", (np.shape(value), dtype, not isinstance(value, np.ndarray))))
            (moving if is_moving else fixed).append(leaf)
        self.moving, self.fixed = pack(moving), pack(fixed)

    def unpack(self, moving: Any, fixed: Any) -> Any:
        """The tree from the two vectors."""
        at = {"moving": 0, "fixed": 0}
        leaves: list[Any] = []
        for kind, form in self.forms:
            if kind == "static":
                leaves.append(form)
                continue
            shape, dtype, is_scalar = form
            start = at[kind]
            at[kind] += int(np.prod(shape, dtype=int))
            vector = moving if kind == "moving" else fixed
            piece = vector[start] if is_scalar else inp.reshape(vector[start : at[kind]], shape)
            leaves.append(piece if dtype == np.float64 else piece.astype(dtype))
        return unflatten(self.structure, leaves)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packing) or self.structure != other.structure or len(self.forms) != len(other.forms):
            return False
        return all(
            kind == other_kind and _same(form, other_form)
            for (kind, form), (other_kind, other_form) in zip(self.forms, other.forms, strict=True)
        )

    def __hash__(self) -> int:
        return hash(tuple(kind for kind, _ in self.forms))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    return a is b or (type(a) is type(b) and bool(a == b))


def is_complex(x: Any) -> bool:
    """Is any leaf, traced or not, complex?"""
    return any(np.iscomplexobj(concrete_of(leaf)) for leaf in flatten(x)[0])


def real_vector(x: Any, name: str) -> Any:
    """`x` in float64.

    Raises TraceError where it is complex: the parts would be lost.
    """
    if is_complex(x):
        raise TraceError(f"{name} is complex ({here()}); expected real numbers, give real and imaginary parts")
    return inp.asarray(x, np.float64)


def pack(leaves: Sequence[Any]) -> Any:
    """Numbers and arrays as one float64 vector."""
    if not leaves:
        return np.zeros(0)
    return inp.concatenate([inp.reshape(inp.asarray(leaf, np.float64), (-1,)) for leaf in leaves])


def settled(value: Any) -> Any:
    """A setting of a solver, in which traced numbers are decided: each is guarded and has no derivative."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([settled(item) for item in value])
    if type(value) is not Tracer:
        return value
    number = stop_gradient(value)
    if np.ndim(concrete_of(number)):
        return np.array([settled(item) for item in inp.ravel(number)]).reshape(np.shape(concrete_of(number)))
    whole = np.result_type(concrete_of(number)).kind in "biu"
    return int(number) if whole else float(number)


def concrete(x: Any) -> Any:
    """The array behind a packed vector."""
    return np.asarray(concrete_of(x))
