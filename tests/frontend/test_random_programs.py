"""Random programs that draw: in branches, loops, writes and inner derivatives. One seed, equal numbers, eager and compiled."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp

DRAWS = (
    "np.random.randn(3)", "np.random.rand()", "np.random.normal(x, 0.5)", "np.random.uniform(-1.0, y, size=3)", "rng.standard_normal(3)",
    "rng.exponential(abs(y) + 0.1, size=3)", "np.random.randint(0, 3)", "np.random.permutation(acc)", "rng.choice(3)",
    "np.random.binomial(3, 0.4, size=3)", "np.random.laplace(y, x**2 + 0.1)", "rng.gamma(2.0, abs(x) + 0.1, size=3)",
    "np.random.choice(3, size=2, replace=False).sum()", "np.random.RandomState(3).normal(y, 1.0)",
)  # fmt: skip
CALLS = 12


def program(seed: int) -> str:
    """The text of a function of two numbers."""
    choose = random.Random(seed)
    lines = ["def f(x, y):", "    z = x * 1.0", "    acc = np.zeros(3)"]

    def statement(depth: int, indent: str) -> None:
        draw, kind = choose.choice(DRAWS), choose.randint(0, 8)
        if kind <= 2:
            lines.append(f"{indent}z = z + np.sum({draw}) * {choose.choice(['x', 'y', '0.5', 'z'])} * 0.3")
        elif kind == 3:
            lines.append(f"{indent}acc[{choose.randint(0, 2)}] = np.sum({draw}) * x")
        elif kind == 4:
            lines.append(f"{indent}acc = acc * 0.5 + {draw} * y")
        elif kind == 5 and depth < 3:
            lines.append(f"{indent}if np.sum({draw}) {choose.choice('<>')} {choose.choice(['0.2', 'x', '0.9'])}:")
            block(depth + 1, indent + "    ")
            if choose.random() < 0.5:
                lines.append(f"{indent}else:")
                block(depth + 1, indent + "    ")
        elif kind == 6 and depth < 3:
            lines.append(f"{indent}for i in range({choose.randint(1, 3)}):")
            block(depth + 1, indent + "    ")
        elif kind == 7:
            lines.append(f"{indent}{draw}")
        else:
            lines.append(f"{indent}z = np.tanh(z) + irgrad.grad(lambda t: np.sum(t * {draw}) * t)(y) * 0.1")

    def block(depth: int, indent: str) -> None:
        for _ in range(choose.randint(1, 4)):
            statement(depth, indent)

    block(0, "    ")
    return "\n".join([*lines, "    return z + np.sum(acc * np.arange(3.0))"])


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program(seed))
    generator = inp.random.default_rng(1)
    space: dict[str, Any] = {"np": np, "irgrad": irgrad, "rng": generator}
    exec(compile(path.read_text(), str(path), "exec"), space)
    for operator in (lambda f: f, lambda f: irgrad.grad(f, (0, 1)), irgrad.deriv):
        rows = []
        for wrap in (lambda f: f, irgrad.jit, lambda f: irgrad.jit(f, compile_after=1)):
            np.random.seed(7)
            generator.bit_generator.state = np.random.default_rng(3).bit_generator.state
            f = wrap(operator(space["f"]))
            rows.append([np.ravel(f(0.6, 0.8)).tolist() for _ in range(CALLS)])
            rows[-1].append([np.random.rand(), generator.random()])  # as far as the others
            assert not getattr(f, "impure", "")
        for row in rows[1:]:
            for found, expected in zip(row, rows[0], strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10, err_msg=path.read_text())
