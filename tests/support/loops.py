"""The loops as the library has them and as Python's own, under the same names."""

from __future__ import annotations

from typing import Any

import numpy as np

import irgrad
from irgrad.pytree import flatten, tree_map


def python_scan(f: Any, init: Any, xs: Any, length: int | None = None, reverse: bool = False, checkpoint: Any = None) -> Any:
    """`irgrad.scan` as a Python loop."""
    count = length if xs is None else len(flatten(xs)[0][0])
    assert count is not None
    carry, ys = init, []
    for i in reversed(range(count)) if reverse else range(count):
        carry, y = f(carry, tree_map(lambda leaf, i=i: leaf[i], xs))
        ys.append(y)
    if reverse:
        ys = ys[::-1]
    return carry, tree_map(lambda *rows: np.stack(rows), *ys)


def python_fori(lower: Any, upper: Any, body: Any, value: Any) -> Any:
    for i in range(lower, upper):
        value = body(i, value)
    return value


def python_while(test: Any, body: Any, value: Any, max_steps: Any = None) -> Any:
    while test(value):
        value = body(value)
    return value


def python_cond(pred: Any, true: Any, false: Any, *operands: Any) -> Any:
    return true(*operands) if pred else false(*operands)


class Structured:
    scan, fori_loop, while_loop, cond = map(staticmethod, (irgrad.scan, irgrad.fori_loop, irgrad.while_loop, irgrad.cond))


class Plain:
    scan, fori_loop, while_loop, cond = map(staticmethod, (python_scan, python_fori, python_while, python_cond))
