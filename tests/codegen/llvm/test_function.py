"""Statements of kernel text: the same answers as plain Python, and what is refused."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pytest

from irgrad.codegen.llvm import machine
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.errors import InternalError
from tests.support.machine import run

# each computes from the float64 x (6 elements), writes to the float64 o (12) and the int64 w (12), with size(n, 0) == 6
BODIES = {
    "a nest": """
        for i in range(size(n, 0)):
            for j in range(i, 6, 2):
                store(o, i, load(o, i) + load(x, j) * j)
    """,
    "branches": """
        for i in range(6):
            v = load(x, i)
            if v > 1.0:
                if v > 2.0:
                    t = 3
                else:
                    t = 2
            elif v < -1.0:
                t = -1
            else:
                t = 0
            store(w, i, t)
    """,
    "a branch with a result": """
        for i in range(6):
            if load(x, i) > 2.0:
                store(w, 0, i)
                return 7
        return 8
    """,
    "break and continue": """
        count = 0
        while True:
            count += 1
            if count == 3:
                continue
            if count > 6:
                break
            store(w, count, count)
        store(w, 0, count)
    """,
    "a loop with a test": """
        a = 1071
        b = 462
        while b != 0:
            a, b = b, a % b
        store(w, 0, a)
    """,
    "a loop that is left": """
        for i in range(6):
            if load(x, i) > 1.5:
                break
            store(w, i, 1)
        store(w, 7, i)
    """,
    "loops of one name": """
        for i in range(3):
            for i in range(2):
                store(o, i, 1.0)
            store(w, i + 3, i)
        for i in range(4):
            store(w, 8 + i, i)
    """,
    "no turns": """
        for i in range(3, 2):
            store(w, 0, 1)
        for i in range(-2, 0):
            store(w, i + 4, i)
    """,
    "a variable that turns into a float": """
        total = 0
        for i in range(6):
            total = total + load(x, i)
        store(o, 0, total)
        store(o, 1, 2 * total)
    """,
    "a value seen in the next turn": """
        last = 0.0
        for i in range(6):
            if i > 0:
                store(o, i, last)
            last = load(x, i)
    """,
    "choices": """
        for i in range(6):
            store(w, i, i if i > 2 else -i)
            store(o, i, load(x, i + 1) if i < 5 else 0)
            store(o, i + 6, (load(x, 0) if i < 1 else load(x, 1)) if i < 2 else 3)
    """,
    "and, or, not": """
        for i in range(6):
            v = load(x, i)
            store(w, i, 1 if (v > 0.0 and v < 2.0) or not i else 0)
            if i < 5 and load(x, i + 1) > v or i == 5 and size(n, 0) == 6:
                store(w, 6 + i, 1)
    """,
    "only where it is reached": """
        for i in range(6):
            if i < 1 and 12 // (i - i + 1) == 12 or i > 4:
                store(w, i, 5)
    """,
    "a test of numbers": """
        k = 5
        while k:
            k -= 1
            store(w, k, k)
        if load(x, 0):
            store(w, 8, 1)
    """,
    "updates": """
        v = 3.0
        k = 100
        for i in range(3):
            v *= 1.5
            v -= 0.25
            v /= 2
            k //= 3
            k += i
            k <<= 1
            store(o, i, v)
            store(w, i, k)
    """,
    "a name assigned in two places": """
        for i in range(3):
            t = i * 2
            store(w, i, t)
        for j in range(3):
            t = j * 1.5
            store(o, j, t)
    """,
    "truth in a variable": """
        found = False
        for i in range(6):
            found = found | (load(x, i) > 2.0)
        store(w, 0, found)
        store(w, 1, not found)
    """,
    "extremes": """
        store(w, 0, max(size(n, 0), 3, 4) + min(2, size(n, 0)))
        store(w, 1, abs(-7) + int(2.9) + int(-2.9))
    """,
    "complex numbers": """
        total = complex(0.0, 0.0)
        for i in range(6):
            total = total * as_complex128(complex(0.0, 1.0)) + load(x, i)
        store(o, 0, total.real)
        store(o, 1, imag(conj(total)))
        store(w, 0, total == total)
    """,
    "sums of blocks": """
        parts = scratch_float64(0)
        count = 0
        for i in range(6):
            count += 1
            push(parts, count, load(x, i))
        store(o, 0, collect(parts, count, 0.0))
    """,
    "a pointer that moves": """
        for i in range(3):
            q = pointer_float64(p, i & 1)
            store(q, 5, load(q, 5) + i)
        q = pointer_float64(p, 0)
        store(o, 0, load(q, 2))
    """,
    "tables": """
        t = stack(4)
        put(t, 0, 7 + (5 << 32))
        put(t, 1, -3)
        store(w, 0, half_at(t) + size(t, 1))
        store(w, 1, byte_at(t))
        store(w, 2, count_ones(255 + size(n, 0)))
    """,
}  # fmt: skip
X = np.array([0.5, -1.5, 2.5, 1.25, 3.0, -0.25, 9.0])


def source(body: str) -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
    names = "    x = pointer_float64(p, 0)\n    o = pointer_float64(p, 1)\n    w = pointer_int64(p, 2)\n"
    return f"def kernel(p, n):\n{names}{lines}\n    return 0\n"


def answers(body: str, backend: str) -> tuple[Any, ...]:
    o, w = np.zeros(12), np.zeros(12, np.int64)
    status = run(source(body), [X.copy(), o, w], [6], backend)
    return status, o.tolist(), w.tolist()


@pytest.mark.parametrize("name", BODIES)
def test_statements_mean_what_python_means(name: str) -> None:
    got = answers(BODIES[name], "llvm")
    assert got == answers(BODIES[name], "plain")
    assert any(got[1]) or any(got[2])


REFUSED = {
    "for v in (1, 2):\n    store(w, 0, v)": "a loop over something else than a range",
    "for i in range(5, 0, -1):\n    store(w, 0, i)": "a range with this step",
    "for i in range(size(n, 0)):\n    pass\nelse:\n    pass": "this loop",
    "store(w, 0, unknown)": "the name unknown",
    "unknown(w)": "the name unknown",
    "store(w, 0, value=3)": "keywords",
    "store(w, 0, 1 < size(n, 0) < 9)": "a chain of comparisons",
    "a = b = 3": "several targets",
    "v = 'text'": "the constant 'text'",
    "v = 1\nstore(w, 0, v)\nv = w": "v of several values",
    "v = w\nv = x": "v of several values",
    "store(w, 0, load(x, 0) // 1.0)": "FloorDiv of floats",
    "with w:\n    pass": "With",
    "store(w, 0, [1])": "List",
    "store(w, 0, 2**70)": "the number 1180591620717411303424",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_not_understood_is_refused(body: str) -> None:
    with pytest.raises(Unsupported) as caught:
        machine.ir("kernel", source(body.replace("2**70", str(2**70))))
    assert str(caught.value) == REFUSED[body]


def test_a_value_that_is_read_before_it_is_computed_is_a_fault() -> None:
    """A kernel's text in a wrong order would read what happens to be in memory."""
    text = "def kernel(p, n):\n    for i in range(6):\n        put(p, i, last)\n        last = 1.0 * i\n    return 0\n"
    with pytest.raises(InternalError, match="kernel_1 reads last before it is computed"):
        machine.translated("kernel_1", text.replace("def kernel(", "def kernel_1(", 1))
