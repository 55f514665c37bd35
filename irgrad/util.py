"""Names of autograd's module `util` that other code imports."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from irgrad.misc.flatten import flatten, flatten_func
from irgrad.test_util import check_grads

__all__ = ["check_grads", "flatten", "flatten_func", "func", "quick_grad_check", "subval", "subvals"]

_F = TypeVar("_F")


def func(f: _F) -> _F:
    """A function found in a class; itself, for Python has no unbound methods any more."""
    return f


def subvals(x: Iterable[Any], ivs: Iterable[tuple[int, Any]]) -> tuple[Any, ...]:
    """The values of `x` as a tuple, with those at some places replaced."""
    made = list(x)
    for i, value in ivs:
        made[i] = value
    return tuple(made)


def subval(x: Iterable[Any], i: int, v: Any) -> tuple[Any, ...]:
    """`subvals` at one place."""
    return subvals(x, [(i, v)])


def quick_grad_check(
    fun: Callable[..., Any],
    arg0: Any,
    extra_args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    verbose: bool = True,
    eps: float = 1e-4,
    rtol: float = 1e-4,
    atol: float = 1e-6,
    rs: Any = None,
) -> None:
    """Deprecated: `irgrad.test_util.check_grads`, with its own tolerances.

    Raises AssertionError where the derivative and differences disagree.
    """
    text = "The quick_grad_check function is deprecated. See the update guide and use irgrad.test_util.check_grads(fun, order=1)(*args)"
    warnings.warn(text, stacklevel=2)
    check_grads(lambda x: fun(x, *extra_args, **(kwargs or {})), modes=["rev"], order=1)(arg0)
