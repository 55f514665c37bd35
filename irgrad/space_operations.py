"""Operations of a vector space on traced values of its type, as primitives: what autograd declares for its spaces."""

from __future__ import annotations

from typing import Any

from irgrad.extend import defjvp, defvjp, primitive
from irgrad.spaces import VSpace


@primitive
def add(space: VSpace, x: Any, y: Any) -> Any:
    return space.add(x, y)


@primitive
def scalar_mul(space: VSpace, x: Any, a: Any) -> Any:
    return space.scalar_mul(x, a)


@primitive
def inner_prod(space: VSpace, x: Any, y: Any) -> Any:
    return space.inner_prod(x, y)


@primitive
def covector(space: VSpace, x: Any) -> Any:
    return space.covector(x)


defvjp(add, None, lambda ans, s, x, y: lambda g: g, lambda ans, s, x, y: lambda g: g)
defjvp(add, None, lambda g, ans, s, x, y: g, lambda g, ans, s, x, y: g)
defvjp(
    scalar_mul,
    None,
    lambda ans, s, x, a: lambda g: s.covector(s.scalar_mul(s.covector(g), a)),
    lambda ans, s, x, a: lambda g: s.inner_prod(g, s.covector(x)),
)
defjvp(scalar_mul, None, lambda g, ans, s, x, a: s.scalar_mul(g, a), lambda g, ans, s, x, a: s.scalar_mul(x, g))
defvjp(
    inner_prod,
    None,
    lambda ans, s, x, y: lambda g: s.covector(s.scalar_mul(y, g)),
    lambda ans, s, x, y: lambda g: s.covector(s.scalar_mul(x, g)),
)
defjvp(inner_prod, None, lambda g, ans, s, x, y: s.inner_prod(g, y), lambda g, ans, s, x, y: s.inner_prod(x, g))
defvjp(covector, None, lambda ans, s, x: lambda g: s.covector(g))
defjvp(covector, None, lambda g, ans, s, x: s.covector(g))
