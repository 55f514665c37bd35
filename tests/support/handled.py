"""Cases of handled functions: small arrays of every kind, and what each case must agree with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import irgrad.numpy as inp
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from tests.support.tracing import same, traced_call

RNG = np.random.default_rng(3)
V = RNG.normal(size=5)
M = RNG.normal(size=(3, 4))
Q = RNG.normal(size=(3, 3))
T = RNG.normal(size=(2, 3, 4))
U = RNG.uniform(0.2, 0.8, size=(3, 4))
F = M.astype(np.float32)
I = np.arange(-6, 6).reshape(3, 4)
I8 = np.array([3, -2, 7], np.int8)
N = np.arange(1, 13).reshape(3, 4)
B = M > 0
C = M + 1j * U
C64 = C.astype(np.complex64)
H = M.astype(np.float16)
E0 = np.zeros((0, 3))
S = np.float64(0.7)
S32 = np.float32(0.7)
P = 0.7
Z = np.array(0.7)
NAN = np.array([[1.0, np.nan, -2.0], [np.inf, 3.0, -np.inf]])
NANC = np.array([complex(1.0, np.nan), complex(np.inf, 2.0), complex(-np.inf, np.inf)])

Case = tuple[str, Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]


class Cases:
    """A table of functions of a namespace and of input arrays."""

    def __init__(self) -> None:
        self.rows: list[Case] = []

    def case(self, name: str, fn: Callable[..., Any], *inputs: Any) -> None:
        self.rows.append((name, fn, inputs, (inp, np)))

    def dropin(self, name: str, fn: Callable[..., Any], *inputs: Any) -> None:
        """A case that plain numpy does not dispatch."""
        self.rows.append((name, fn, inputs, (inp,)))

    def parametrized(self, test: Callable[..., None]) -> Callable[..., None]:
        """A test of `case` and `kind`, for all cases and kinds of trace."""
        ids = [f"{i}-{row[0]}" for i, row in enumerate(self.rows)]
        return pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])(pytest.mark.parametrize("case", self.rows, ids=ids)(test))


def agrees_with_numpy(case: Case, kind: type[Trace]) -> None:
    _, fn, inputs, namespaces = case
    want = fn(np, *inputs)
    for namespace in namespaces:
        same(traced_call(kind, partial(fn, namespace), *inputs), want)
