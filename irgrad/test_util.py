"""Numerical checks of derivatives: random projections against central differences, to any order.

A failed check raises AssertionError; random directions come from ``numpy.random``, so ``numpy.random.seed`` repeats one. Arguments and
results are pytrees of floats, complex numbers and arrays. Single precision is too coarse for the tolerances.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.elements import SPACES
from irgrad.frontend.context import current
from irgrad.ir.aval import aval_of
from irgrad.operators import Argnum, make_jvp, make_vjp, traced_form
from irgrad.pytree import flatten, tree_map, unflatten
from irgrad.spaces import vspace

TOL = 1e-6
RTOL = 1e-6
EPS = 1e-6


def scalar_close(a: Any, b: Any) -> bool:
    """Do two numbers agree, absolutely or relatively?"""
    return bool(abs(a - b) < TOL or abs(a - b) / abs(a + b) < RTOL)


def make_numerical_jvp(f: Callable[[Any], Any], x: Any) -> Callable[[Any], Any]:
    """The derivative of `f` at `x` along a direction, by central differences."""

    def jvp(v: Any) -> Any:
        above = f(tree_map(lambda a, d: _moved(a, d, EPS / 2), x, v))
        below = f(tree_map(lambda a, d: _moved(a, d, -EPS / 2), x, v))
        return tree_map(lambda a, b: _scaled(_moved(a, b, -1.0), 1.0 / EPS), above, below)

    return jvp


def check_vjp(f: Callable[[Any], Any], x: Any) -> None:
    """Compare the reverse-mode derivative of `f` at `x` with central differences along random directions."""
    vjp, y = make_vjp(f)(x)
    x_v, y_v = _random_like(x), _random_like(y)
    vjp_y = tree_map(_covector, vjp(tree_map(_covector, y_v)))
    _check_space(vjp_y, x)
    exact, numeric = _inner(x_v, vjp_y), _inner(y_v, make_numerical_jvp(f, x)(x_v))
    if not scalar_close(numeric, exact):
        raise AssertionError(f"Derivative (VJP) check of {_name(f)} failed with arg {x}:\nanalytic: {exact}\nnumeric:  {numeric}")


def check_jvp(f: Callable[[Any], Any], x: Any) -> None:
    """Compare the forward-mode derivative of `f` at `x` with central differences along a random direction."""
    v = _random_like(x)
    check_equivalent(make_jvp(f)(x)(v)[1], make_numerical_jvp(f, x)(v))


def check_equivalent(x: Any, y: Any) -> None:
    """Compare two values: structure, shapes and dtypes, and the product with a random one."""
    _check_space(x, y)
    v = _random_like(x)
    if not scalar_close(_inner(x, v), _inner(y, v)):
        raise AssertionError(f"Value mismatch:\nx: {x}\ny: {y}")


def check_grads(f: Callable[..., Any], argnum: Argnum = 0, modes: Sequence[str] = ("fwd", "rev"), order: int = 2) -> Callable[..., None]:
    """A function of the arguments of `f` that checks its derivatives up to `order` in both modes, and in modes of modes.

    Raises ValueError for another mode than "fwd" and "rev".
    """
    unknown = [mode for mode in modes if mode not in ("fwd", "rev")]
    if unknown:
        raise ValueError(f"modes are 'fwd' and 'rev', not {unknown[0]!r}")

    def check(*args: Any, **kwargs: Any) -> None:
        places = (argnum,) if isinstance(argnum, (int, str)) else tuple(argnum)
        picked = tuple(args[place] if isinstance(place, int) else kwargs[place] for place in places)

        def unary(x: Any) -> Any:
            new_args, new_kwargs = list(args), dict(kwargs)
            for place, value in zip(places, (x,) if isinstance(argnum, (int, str)) else x, strict=True):
                if isinstance(place, int):
                    new_args[place] = value
                else:
                    new_kwargs[place] = value
            trace = current()
            return (f if trace is None else traced_form(trace, f))(*new_args, **new_kwargs)

        unary.__name__ = _name(f)
        _check(unary, tree_map(_inexact, picked[0] if isinstance(argnum, (int, str)) else picked), modes, order)

    return check


def _check(f: Callable[[Any], Any], x: Any, modes: Sequence[str], order: int) -> None:
    if "fwd" in modes:
        check_jvp(f, x)
        if order > 1:
            tangent = lambda x, v: make_jvp(f)(x)(v)[1]
            tangent.__name__ = f"jvp_{_name(f)}"
            check_grads(tangent, (0, 1), modes, order - 1)(x, _random_like(x))
    if "rev" in modes:
        check_vjp(f, x)
        if order > 1:
            cotangent = lambda x, v: make_vjp(f)(x)[0](v)
            cotangent.__name__ = f"vjp_{_name(f)}"
            check_grads(cotangent, (0, 1), modes, order - 1)(x, _random_like(f(x)))


def combo_check(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., None]:
    """`check_grads` of `fun`, called with lists of choices for each argument: every combination is checked."""

    def check(*choices: Any, **named: Any) -> None:
        for positional in itertools.product(*choices):
            for values in itertools.product(*named.values()):
                check_grads(fun, *args, **kwargs)(*positional, **dict(zip(named, values, strict=True)))

    return check


# ---- spaces: of numbers and arrays, and of types with one of their own (`irgrad.extend.VSpace`) ----


def _moved(x: Any, d: Any, step: float) -> Any:
    """x + step d."""
    if type(x) not in SPACES:
        return x + d * step
    space = vspace(x)
    return space.add(x, space.scalar_mul(d, step))


def _scaled(x: Any, factor: float) -> Any:
    return x * factor if type(x) not in SPACES else vspace(x).scalar_mul(x, factor)


def _covector(x: Any) -> Any:
    return np.conj(x) if type(x) not in SPACES else vspace(x).covector(x)


def _name(f: Any) -> str:
    return getattr(f, "__name__", "[unknown name]")


def _inexact(leaf: Any) -> Any:
    """An integer argument as the operators take it."""
    if type(leaf) in SPACES:
        return leaf
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf if leaf.dtype.kind in "fc" else leaf.astype(np.float64)
    return leaf if isinstance(leaf, complex) else float(leaf)


def _random_like(x: Any) -> Any:
    """A value of the same structure, shapes and dtypes with standard normal entries."""

    def sample(leaf: Any) -> Any:
        if type(leaf) in SPACES:
            return vspace(leaf).randn()
        array = np.asarray(leaf)
        bits = np.asarray(np.random.randn(*array.shape))
        if array.dtype.kind == "c":
            bits = bits + 1j * np.random.randn(*array.shape)
        return np.asarray(bits, array.dtype if array.dtype.kind in "fc" else np.float64)[()]

    return tree_map(sample, x)


def _inner(x: Any, y: Any) -> float:
    """The real inner product of two values of one structure."""
    pairs = zip(flatten(x)[0], flatten(y)[0], strict=True)
    return float(sum(vspace(a).inner_prod(a, b) if type(a) in SPACES else np.real(np.vdot(a, b)) for a, b in pairs))


def _space(x: Any) -> Any:
    """Structure, shapes and dtypes, in a form that prints: numbers and 0-d arrays are the same."""
    leaves, structure = flatten(x)
    return unflatten(structure, [str(vspace(leaf) if type(leaf) in SPACES else aval_of(np.asarray(leaf))) for leaf in leaves])


def _check_space(x: Any, y: Any) -> None:
    if _space(x) != _space(y):
        raise AssertionError(f"VSpace mismatch:\nx: {_space(x)}\ny: {_space(y)}")
