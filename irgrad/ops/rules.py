"""What declarations share: result avals, their errors, small pieces of derivative rules, and declarations from ufuncs.

An aval function takes the operands' avals and the params and nothing else. A Python number is weak in promotion, as in
numpy; the result is of kind "array" always, for the frontend knows when numpy would return a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from irgrad.errors import TraceError, TraceValueError
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, NONE, PURE, Primitive, Trait, nondiff, primitive

Shape = tuple[int, ...]
Axes = tuple[int, ...]
DType = np.dtype[Any]

INDEX = np.dtype(np.int64)
WEAK = {"i": int, "f": float, "c": complex}


# ---- errors ----


def reject(op: str, avals: Sequence[Aval], problem: str, error: type[TraceError] = TraceValueError) -> TraceError:
    """The error of `op` on operands of these avals: what was wrong and what was expected."""
    return error(f"{op}: {problem}; operands {', '.join(map(str, avals)) or 'none'}")


# ---- shapes and dtypes ----


@lru_cache(maxsize=4096)
def broadcast_shapes(shapes: tuple[Shape, ...]) -> Shape:
    """numpy's broadcast shape. Raises ValueError if there is none."""
    return np.broadcast_shapes(*shapes)


def broadcast_avals(op: str, avals: Sequence[Aval]) -> Shape:
    """Shape of an elementwise result over `avals`."""
    first = avals[0].shape
    if all(a.shape == first or not a.shape for a in avals):
        return first
    try:
        return broadcast_shapes(tuple(a.shape for a in avals))
    except ValueError:
        raise reject(op, avals, "shapes do not broadcast; expected extents that are equal or 1") from None


def weak(aval: Aval) -> DType | type:
    """What numpy's promotion sees of an operand: its dtype, or the Python type of a Python number."""
    return WEAK.get(aval.dtype.kind, aval.dtype) if aval.kind == "python" else aval.dtype


@lru_cache(maxsize=4096)
def _loop_result(ufunc: np.ufunc, types: tuple[Any, ...]) -> DType:
    return ufunc.resolve_dtypes((*types, None))[-1]


@lru_cache(maxsize=4096)
def _promote(types: tuple[Any, ...]) -> DType:
    return np.result_type(*(t(0) if isinstance(t, type) else t for t in types))


def promote(avals: Sequence[Aval]) -> DType:
    """numpy's common dtype of the operands."""
    return _promote(tuple(map(weak, avals)))


def ufunc_aval(op: str, ufunc: np.ufunc) -> Callable[..., Aval]:
    """The aval function of an elementwise op whose dtypes are those of `ufunc`'s loops."""

    def aval(*avals: Aval) -> Aval:
        if len(avals) != ufunc.nin:
            raise reject(op, avals, f"expected {ufunc.nin} operands, got {len(avals)}", TraceError)
        try:
            dtype = _loop_result(ufunc, tuple(map(weak, avals)))
        except TypeError:
            raise reject(op, avals, "numpy has no loop for these dtypes; expected operands that it computes with", TraceError) from None
        return Aval(broadcast_avals(op, avals), dtype)

    return aval


def same_aval(x: Aval) -> Aval:
    """The aval of operand 0."""
    return x.with_kind("array")


def check_axes(op: str, x: Aval, axes: Sequence[int]) -> None:
    """Axes in range, sorted and distinct."""
    for axis in axes:
        if not 0 <= axis < x.ndim:
            valid = ", ".join(map(str, range(x.ndim))) or "none"
            raise reject(op, (x,), f"axis {axis} out of range for {x}; valid axes are {valid}")
    if list(axes) != sorted(set(axes)):
        raise reject(op, (x,), f"expected sorted distinct axes, got {tuple(axes)}")


def removed(shape: Shape, axes: Axes) -> Shape:
    """`shape` without `axes`."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def kept(shape: Shape, axes: Axes) -> Shape:
    """`shape` with extent 1 at `axes`."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


# ---- pieces of rules ----


def is_complex(b: Builder, x: Any) -> bool:
    return b.dtype(x).kind == "c"


def is_inexact(dtype: DType) -> bool:
    return dtype.kind in "fc"


def pass_on(b: Builder, ct: Any, *_operands: Any, **_params: Any) -> Any:
    """The rule of slope one."""
    return ct


def nonzero(b: Builder, x: Any) -> Any:
    """`x` with 1 in place of 0: a divisor."""
    return b.where(b.equal(x, 0.0), 1.0, x)


def expand(b: Builder, y: Any, x: Any, axes: Axes) -> Any:
    """A reduction's result, so that it broadcasts against `x`: with extents of 1 at `axes`, which are sorted, unless those lead."""
    return y if not axes or axes[-1] == len(axes) - 1 else b.reshape(y, shape=kept(b.shape(x), axes))


def axis_slice(b: Builder, x: Any, axis: int, start: int, count: int, step: int = 1) -> Any:
    """`count` entries of one axis of `x`, all of the others."""
    shape = b.shape(x)
    n = len(shape)
    at = (0,) * axis + (start,) + (0,) * (n - axis - 1)
    by = (1,) * axis + (step,) + (1,) * (n - axis - 1)
    return b.slice(x, start=at, count=(*shape[:axis], count, *shape[axis + 1 :]), step=by, drop=())


def flip(b: Builder, x: Any, axis: int) -> Any:
    n = b.shape(x)[axis]
    return axis_slice(b, x, axis, n - 1, n, -1) if n > 1 else x


# ---- declarations of one kind ----

Rule = Callable[..., Any]
Emit = str | Mapping[str, str] | None


def kinds(default: str, **special: str) -> dict[str, str]:
    """Kernel text by dtype kind of the first operand."""
    return {kind: special.get(kind, default) for kind in "biufc"}


def ordered(text: str, of_bool: str) -> dict[str, str]:
    """Kernel text for the kinds whose order kernels know: not numpy's lexicographic one of complex numbers."""
    return {"b": of_bool, "i": text, "u": text, "f": text}


def declare(
    name: str,
    ufunc: np.ufunc,
    vjp: Any,
    jvp: Any,
    emit: Emit,
    traits: Trait = NONE,
    operator: Rule | None = None,
) -> Primitive:
    """A primitive whose meaning and dtypes are those of a numpy ufunc."""
    return primitive(
        name,
        evaluate=ufunc,
        aval=ufunc_aval(name, ufunc),
        vjp=vjp,
        jvp=jvp,
        emit=emit,
        traits=ELEMENTWISE | PURE | traits,
        captures=(ufunc,),
        operator=operator,
    )


def holomorphic(
    name: str, ufunc: np.ufunc, *rules: Rule | None, emit: Emit, traits: Trait = NONE, operator: Rule | None = None
) -> Primitive:
    """An op whose jvp and vjp are the same product with the derivative."""
    return declare(name, ufunc, rules, rules, emit, traits, operator)


def flat(name: str, ufunc: np.ufunc, emit: Emit, traits: Trait = NONE, operator: Rule | None = None) -> Primitive:
    """An op that is constant between its jumps."""
    reason = nondiff(f"{name} is constant between its jumps")
    return declare(name, ufunc, reason, reason, emit, traits, operator)
