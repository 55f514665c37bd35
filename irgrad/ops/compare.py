"""Comparisons, logic and classification: bool results, no derivative."""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from irgrad.ir.primitive import COMMUTATIVE, NONE, Primitive, Trait, nondiff
from irgrad.ops.rules import declare

NO_SLOPE = nondiff("a truth value has no derivative")


def predicate(
    name: str,
    ufunc: np.ufunc,
    emit: str | Mapping[str, str],
    traits: Trait = NONE,
    operator: Callable[..., Any] | None = None,
) -> Primitive:
    return declare(name, ufunc, NO_SLOPE, NO_SLOPE, emit, traits, operator)


def ordered(text: str) -> dict[str, str]:
    """Text for the kinds whose order kernels know; numpy's lexicographic order of complex numbers has no text."""
    return dict.fromkeys("biuf", text)


def by_truth(of_bool: str, of_number: str) -> dict[str, str]:
    return {kind: of_bool if kind == "b" else of_number for kind in "biufc"}


def by_parts(of_float: str, of_complex: str, of_whole: str) -> dict[str, str]:
    return {"f": of_float, "c": of_complex, "b": of_whole, "i": of_whole, "u": of_whole}


greater = predicate("greater", np.greater, ordered("{0} > {1}"), operator=python.gt)
greater_equal = predicate("greater_equal", np.greater_equal, ordered("{0} >= {1}"), operator=python.ge)
less = predicate("less", np.less, ordered("{0} < {1}"), operator=python.lt)
less_equal = predicate("less_equal", np.less_equal, ordered("{0} <= {1}"), operator=python.le)
equal = predicate("equal", np.equal, "{0} == {1}", COMMUTATIVE, python.eq)
not_equal = predicate("not_equal", np.not_equal, "{0} != {1}", COMMUTATIVE, python.ne)

logical_and = predicate("logical_and", np.logical_and, by_truth("{0} & {1}", "({0} != 0) & ({1} != 0)"), COMMUTATIVE)
logical_or = predicate("logical_or", np.logical_or, by_truth("{0} | {1}", "({0} != 0) | ({1} != 0)"), COMMUTATIVE)
logical_xor = predicate("logical_xor", np.logical_xor, by_truth("{0} ^ {1}", "({0} != 0) ^ ({1} != 0)"), COMMUTATIVE)
logical_not = predicate("logical_not", np.logical_not, by_truth("not {0}", "{0} == 0"))

isnan = predicate("isnan", np.isnan, by_parts("isnan({0})", "isnan(real({0})) | isnan(imag({0}))", "False"))
isinf = predicate("isinf", np.isinf, by_parts("isinf({0})", "isinf(real({0})) | isinf(imag({0}))", "False"))
isfinite = predicate("isfinite", np.isfinite, by_parts("isfinite({0})", "isfinite(real({0})) & isfinite(imag({0}))", "True"))
signbit = predicate("signbit", np.signbit, {"f": "signbit({0})"})
invert = predicate("invert", np.invert, {"b": "not {0}", "i": "~{0}", "u": "~{0}"}, operator=python.invert)
