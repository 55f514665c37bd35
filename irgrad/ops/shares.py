"""The logarithm of a sum of exponentials of two numbers, and the share that each of them has in the sum.

Kernels compute both shares and the logarithm from one exponential, of minus the distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.ir.builder import Builder
from irgrad.ir.primitive import COMMUTATIVE, ELEMENTWISE, PURE, Primitive, primitive
from irgrad.ops.rules import Rule, holomorphic, ufunc_aval

LN2 = math.log(2.0)
EXP = "exp(-fabs({0} - {1}))"


def _by_own(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    """Of exp(x) / (exp(x) + exp(y)) with respect to x."""
    return b.mul(ct, b.mul(b.first_share(x, y), b.second_share(x, y)))


def _by_other(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    return b.neg(_by_own(b, ct, out, x, y))


def _share(name: str, evaluate: Callable[..., Any], is_smaller: str, rules: tuple[Rule, Rule]) -> Primitive:
    return primitive(
        name,
        evaluate=evaluate,
        aval=ufunc_aval(name, np.logaddexp),
        vjp=rules,
        jvp=rules,
        emit=f"select({is_smaller}, {EXP}, 1.0) * (1.0 / (1.0 + {EXP}))",
        traits=ELEMENTWISE | PURE,
    )


first_share = _share("first_share", lambda x, y: 1.0 / (1.0 + np.exp(y - x)), "{0} < {1}", (_by_own, _by_other))
second_share = _share("second_share", lambda x, y: 1.0 / (1.0 + np.exp(x - y)), "{1} < {0}", (_by_other, _by_own))


def _weight(b: Builder, x: Any, out: Any, share: Any) -> Any:
    """The share of `x`. Where the result is infinite, 1 if `x` is inf, and 0 otherwise."""
    return b.where(b.isinf(out), b.where(b.equal(x, math.inf), 1.0, 0.0), share)


def _log_share(b: Builder, x: Any, out: Any) -> Any:
    """The logarithm of the weight of `x`: x - out, 0 where `x` is inf, and -inf (no weight) where everything is -inf."""
    return b.where(b.isinf(out), b.where(b.equal(x, math.inf), 0.0, -math.inf), b.sub(x, out))


logaddexp = holomorphic(
    "logaddexp",
    np.logaddexp,
    lambda b, ct, out, x, y: b.mul(ct, _weight(b, x, out, b.first_share(x, y))),
    lambda b, ct, out, x, y: b.mul(ct, _weight(b, y, out, b.second_share(x, y))),
    emit=f"select({{0}} == {{1}}, {{0}} + {LN2!r}, maximum({{0}}, {{1}}) + log1p({EXP}))",
    traits=COMMUTATIVE,
)
logaddexp2 = holomorphic(
    "logaddexp2",
    np.logaddexp2,
    lambda b, ct, out, x, y: b.mul(ct, b.exp2(_log_share(b, x, out))),
    lambda b, ct, out, x, y: b.mul(ct, b.exp2(_log_share(b, y, out))),
    emit=f"select({{0}} == {{1}}, {{0}} + 1.0, maximum({{0}}, {{1}}) + {1 / LN2!r} * log1p(exp2(-fabs({{0}} - {{1}}))))",
    traits=COMMUTATIVE,
)
