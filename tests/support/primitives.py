"""A primitive of a user's, and what tests do with functions that call one."""

from __future__ import annotations

from typing import Any

import numpy as np

import irgrad
from irgrad.extend import defjvp, defvjp, primitive


@primitive
def scaled_sine(x, k):
    """sin(k x)"""
    return np.sin(k * x)


defvjp(scaled_sine, lambda ans, x, k: lambda g: g * k * np.cos(k * x), lambda ans, x, k: lambda g: np.sum(g * x * np.cos(k * x)))
defjvp(scaled_sine, lambda g, ans, x, k: g * k * np.cos(k * x), lambda g, ans, x, k: g * x * np.cos(k * x))


def steady(f: Any, *args: Any) -> tuple[Any, Any]:
    """The result of compiled code, and the jitted function."""
    jitted = irgrad.jit(f)
    for _ in range(2):
        jitted(*args)
    before = jitted.stats()
    result = jitted(*args)
    assert jitted.stats().eager_calls == before.eager_calls, jitted.impure
    assert not jitted.impure
    return result, jitted


def agree(f: Any, *args: Any) -> Any:
    """`f` eager and compiled."""
    eager = f(*args)
    compiled, _ = steady(f, *args)
    for a, b in zip(irgrad.pytree.flatten(eager)[0], irgrad.pytree.flatten(compiled)[0], strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    return eager
