"""What a call tries first: the program that served last, then those that served lately; each call gives to paths that wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.codegen.layout import NEW_PATH
from irgrad.runtime.later import Later
from irgrad.runtime.run import has_left, leave, run
from irgrad.runtime.stats import Stats
from irgrad.runtime.variant import Variant

MISS = object()  # no answer
SERVED = 4  # signatures that calls are tried with before they are looked at in full


def same_leaf(a: Any, b: Any) -> bool:
    """Are two leaves one object, or one integer?"""
    return a is b or (type(a) is type(b) is np.int64 and a == b)


def note_served(served: dict[Variant, Callable[..., Any]], variant: Variant, serve: Callable[..., Any]) -> None:
    """Remember what served a call."""
    served.pop(variant, None)
    served[variant] = serve
    if len(served) > SERVED:
        served.pop(next(iter(served)), None)


def served_before(
    served: dict[Variant, Callable[..., Any]], last: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], Any]:
    """Which other than `last` of those that served lately answers, and what: signatures may take turns. (last, MISS) where none does."""
    for serve in list(served.values()):
        if has_left():  # a program for these arguments, on a new path of it
            break
        if serve is not last:
            result = serve(args, kwargs) if kwargs else serve(args)
            if result is not MISS:
                return serve, result
    return last, MISS


def giving(serve: Callable[[tuple[Any, ...]], Any], later: Later, variant: Variant) -> Callable[[tuple[Any, ...]], Any]:
    """`serve` while paths wait: each call gives to them."""

    def fast(args: tuple[Any, ...]) -> Any:
        result = serve(args)
        if result is not MISS:
            later.give(variant.eager_seconds)
        return result

    return fast


def indirect(
    variant: Variant, check: Callable[[], bool] | None, read: Callable[[], tuple[Any, ...]] | None, stats: Stats
) -> Callable[[tuple[Any, ...]], Any]:
    """A program by way of `run`, for what `direct` does not serve."""
    count = variant.num_leaves

    def fast(args: tuple[Any, ...]) -> Any:
        if len(args) != count or (check is not None and not check()):
            return MISS
        done, result = run(variant, args if read is None else args + read(), stats)
        if done:
            return result
        if result & 15 == NEW_PATH:
            leave(variant, variant.program, result)
        return MISS

    return fast
