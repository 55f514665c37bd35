"""Values and derivatives share what is costly: how often kernels evaluate exponentials, logarithms and their like for each element."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import irgrad
from irgrad.codegen import polynomial, vector
from irgrad.codegen.llvm import vectors
from tests.support.machine import optimised, vector_body

pytestmark = pytest.mark.skipif(
    not (vectors.is_possible() and polynomial.is_fast() and vector.library() is not None), reason="no wide vectors here"
)
X = np.linspace(0.6, 3.0, 500)
CALL = re.compile(r"call (?:\w+ )?<8 x double> @(?:_ZGV\w+?_|irgrad_)(\w+?)8?\(")
EVALUATIONS: dict[str, tuple[Callable[[Any], Any], dict[str, int]]] = {  # of the value and its derivative together
    "expit": (special.expit, {"exp": 1}),
    "silu": (lambda x: x * special.expit(x), {"exp": 1}),
    "log_expit": (special.log_expit, {"exp": 1, "log1p": 1}),
    "softplus": (lambda x: np.logaddexp(0.0, x), {"exp": 1, "log1p": 1}),
    "softplus written out": (lambda x: np.log1p(np.exp(x)), {"exp": 1, "log1p": 1}),
    "logaddexp": (lambda x: np.logaddexp(x, x[::-1] * 0.5), {"exp": 1, "log1p": 1}),
    "sigmoid written out": (lambda x: 1.0 / (1.0 + np.exp(-x)), {"exp": 1}),
    "power": (lambda x: x**1.7, {"pow": 1, "power_below": 1}),
    "whole power": (lambda x: x**7, {"pow": 1, "power_below": 1}),
    "power to power": (lambda x: x**x, {"pow": 1, "power_below": 1, "log": 1}),
    "exponential": (lambda x: 2.5**x, {"pow": 1}),
    "exp": (np.exp, {"exp": 1}),
    "exp2": (np.exp2, {"exp2": 1}),
    "exp10": (special.exp10, {"pow": 1}),
    "expm1": (np.expm1, {"expm1": 1}),
    "exprel": (special.exprel, {"expm1": 1, "exp": 1}),
    "log": (np.log, {"log": 1}),
    "log1p": (np.log1p, {"log1p": 1}),
    "tanh": (np.tanh, {}),
    "tan": (np.tan, {"tan": 1}),
    "sqrt": (np.sqrt, {}),
    "cbrt": (np.cbrt, {"cbrt": 1}),
    "arctan": (np.arctan, {"atan": 1}),
    "arcsinh": (np.arcsinh, {"asinh": 1}),
    "hypot": (lambda x: np.hypot(x, 1.5), {"hypot": 1}),
    "erf": (special.erf, {"erf": 1, "exp": 1}),
    "ndtr": (special.ndtr, {"erfc": 1, "exp": 1}),
    "gelu": (lambda x: x * special.ndtr(x), {"erfc": 1, "exp": 1}),
    "sin": (np.sin, {"sin": 1, "cos": 1}),
    "sinh": (np.sinh, {"sinh": 1, "cosh": 1}),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations_for_each_element(name: str) -> None:
    f, want = EVALUATIONS[name]
    jitted = irgrad.jit(irgrad.value_and_grad(lambda x: np.sum(f(x)))).compile(X)
    found: Counter[str] = Counter()
    for kernel in jitted.kernels:
        body = vector_body(optimised(kernel.source.replace(kernel.name, "kernel"), "llvm"))
        calls = Counter(CALL.findall(body))
        copies = max(1, *calls.values()) if len(set(calls.values())) == 1 else 1
        found.update({call: count // copies for call, count in calls.items()})
    assert found == want
