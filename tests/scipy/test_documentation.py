"""Traced forms of scipy exist, and their documentation says what traced arguments mean."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

LISTED = {
    "linalg": "inv det solve cholesky cho_factor cho_solve lu_factor lu_solve eigh svd expm logm sqrtm solve_triangular solve_banded "
    "solve_sylvester toeplitz",
    "integrate": "odeint solve_ivp trapezoid simpson",
    "signal": "correlate fftconvolve",
    "optimize": "root fsolve minimize",
}


@pytest.mark.parametrize("module", LISTED)
def test_traced_forms_say_what_they_do(module: str) -> None:
    mine, original = (importlib.import_module(f"{root}.{module}") for root in ("irgrad.scipy", "scipy"))
    for name in LISTED[module].split():
        function: Any = getattr(mine, name)
        assert function is not getattr(original, name)
        ours, _, note = function.__doc__.partition("Traced by irgrad\n")
        assert ours.strip() and len(note.strip().splitlines()) > 1, name


def test_ufuncs_have_scipys_documentation() -> None:
    special, original = importlib.import_module("irgrad.scipy.special"), importlib.import_module("scipy.special")
    for name in ("erf", "xlogy", "betainc", "hyp2f1", "sici", "eval_legendre"):
        assert getattr(special, name).__doc__ == getattr(original, name).__doc__
