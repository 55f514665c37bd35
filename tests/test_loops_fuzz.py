"""Random loop bodies: the same program with Python's own loops, in value, gradient, tangent and second order, eager and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.pytree import flatten, tree_map
from tests.support.loop_programs import program
from tests.support.loops import Plain, Structured


@pytest.mark.parametrize("seed", [1, 4, 7, 15])
def test_random_bodies(seed: int) -> None:
    make, args = program(seed)
    direction = tree_map(lambda leaf: np.cos(np.asarray(leaf) + seed)[()], args)

    def derivatives(f: Any) -> dict[str, Any]:
        def along(a: Any) -> Any:
            return sum(np.sum(x * y) for x, y in zip(flatten(irgrad.grad(f)(a))[0], flatten(direction)[0], strict=True))

        return {"value": f, "grad": irgrad.grad(f), "forward": lambda a: irgrad.make_jvp(f)(a)(direction)[1], "second": irgrad.grad(along)}

    plain = derivatives(make(Plain))
    for name, structured in derivatives(make(Structured)).items():
        wanted = flatten(plain[name](args))[0]
        for run in (structured, irgrad.jit(structured).compile(args)):
            for found, expected in zip(flatten(run(args))[0], wanted, strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8, err_msg=name)
