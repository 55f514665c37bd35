"""What a positional call tries first: the program that served last, around which containers are unpacked and waiting paths served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.runtime.later import Later
from irgrad.runtime.variant import Variant

MISS = object()  # no answer


def same_leaf(a: Any, b: Any) -> bool:
    """Are two leaves one object, or one integer?"""
    return a is b or (type(a) is type(b) is np.int64 and a == b)


def giving(serve: Callable[[tuple[Any, ...]], Any], later: Later, variant: Variant) -> Callable[[tuple[Any, ...]], Any]:
    """`serve` while paths wait: each call gives to them."""

    def fast(args: tuple[Any, ...]) -> Any:
        result = serve(args)
        if result is not MISS:
            later.give(variant.eager_seconds)
        return result

    return fast
