"""Traced forms of scipy exist, and their documentation says what traced arguments mean."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest

from irgrad.frontend.documented import with_section

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
        assert getattr(special, name).__doc__.startswith(getattr(original, name).__doc__.rstrip())


SAYS = {
    "numpy.exp": "Differentiable in reverse and forward mode, to any order, by x. Compiled: it has a kernel.",
    "numpy.floor": "The derivative is 0: floor is constant between its jumps. Compiled: it has a kernel.",
    "numpy.interp": "to any order (checked by x, xp, fp). Compiled: every operation has a kernel.",
    "numpy.sort": "Compiled code calls Python for argsort, sort (docs/coverage.md says why).",
    "numpy.shape": "Answered from shapes, dtypes or values while tracing: nothing is recorded.",
    "numpy.save": "irgrad does not trace this function",
    "numpy.linalg.solve": "(checked by a, b)",
    "numpy.putmask": "(checked by values)",
    "scipy.special.betainc": "by a, b, x. Compiled",
    "scipy.special.jv": "By x1 it has no derivative here: the derivative with respect to the order has no closed form",
    "scipy.special.bdtr": "by p. Constant in k, n: the derivative is 0. Compiled code calls Python for it.",
    "scipy.special.logsumexp": "the derivative is that of the shifted form",
    "scipy.special.airy": "irgrad does not trace this function",
    "scipy.stats.norm.pdf": "to any order, by x, loc, scale. Compiled",
    "scipy.stats.binom.logpmf": "to any order, by p. Compiled",
    "scipy.stats.multivariate_normal.logpdf": "by x, mean, cov. Compiled",
    "scipy.stats.kurtosis": "irgrad does not trace this function",
}


@pytest.mark.parametrize("name", SAYS)
def test_what_irgrad_adds(name: str) -> None:
    library, _, rest = name.partition(".")
    found: Any = importlib.import_module(f"irgrad.{library}")
    if library == "scipy":
        part, _, rest = rest.partition(".")
        found = importlib.import_module(f"irgrad.scipy.{part}")
    for part in rest.split("."):
        found = getattr(found, part)
    text = inspect.getdoc(found)
    assert text is not None
    ours, _, note = text.partition("Traced by irgrad\n----------------\n")
    assert ours.strip()
    assert SAYS[name] in " ".join(note.split())


@pytest.mark.parametrize("module", ["numpy", "numpy.linalg", "numpy.fft", "scipy.special", "scipy.linalg", "scipy.stats", "scipy.signal"])
def test_every_function_says_what_irgrad_adds(module: str) -> None:
    names, original = vars(importlib.import_module(f"irgrad.{module}")), importlib.import_module(module)
    silent = [
        name
        for name, item in names.items()
        if hasattr(original, name)
        and (item.__doc__ or "")[:40] == (getattr(original, name).__doc__ or "")[:40]  # convolve has documentation of its own
        and not name.startswith("_")
        and callable(item)
        and not isinstance(item, (type, ModuleType))
        and (getattr(item, "__module__", None) or "").startswith("irgrad")
        if "Traced by irgrad" not in (item.__doc__ or "")
    ]
    assert silent == []


def test_the_margin_of_a_docstring_is_kept() -> None:
    assert inspect.cleandoc(with_section("Title.\n\n    More.\n    ", ["One.\n\nTwo."])).splitlines() == [
        "Title.", "", "More.", "", "Traced by irgrad", "-" * 16, "One.", "", "Two.",
    ]  # fmt: skip
    assert with_section(None, ["One."]).strip().splitlines()[-1] == "One."
