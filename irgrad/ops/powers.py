"""A power whose neighbour is known: what `irgrad.passes.powers` makes of the powers in derivatives of powers."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, PURE, primitive
from irgrad.ops.rules import nonzero, ufunc_aval

_aval = ufunc_aval("power_below", np.power)


def _power_aval(x: Aval, exponent: Aval, above: Aval) -> Aval:
    return _aval(x, exponent)


def _by_base(b: Builder, ct: Any, out: Any, x: Any, exponent: Any, above: Any) -> Any:
    less = b.sub(exponent, 1.0)
    return b.mul(ct, b.where(b.equal(exponent, 0.0), 0.0, b.mul(exponent, b.pow(x, less))))


def _by_exponent(b: Builder, ct: Any, out: Any, x: Any, exponent: Any, above: Any) -> Any:
    return b.mul(ct, b.mul(out, b.log(nonzero(b, x))))


power_below = primitive(  # x**exponent, where `above` is x**(exponent + 1), or 1 if the exponent is 0
    "power_below",
    evaluate=lambda x, exponent, above: np.power(x, exponent),
    aval=_power_aval,
    vjp=(_by_base, _by_exponent, None),
    jvp=(_by_base, _by_exponent, None),
    emit={"f": "power_below({0}, {1}, {2})"},
    traits=ELEMENTWISE | PURE,
)
