"""Samples of scipy: made from what irgrad offers, with calls written out where the form of the arguments is special."""

from __future__ import annotations

import importlib
import inspect
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy

from irgrad.frontend.handlers.core import PUBLIC
from tests.surface import samples_numpy

MODULES = ("special", "linalg", "stats", "signal", "integrate", "interpolate", "optimize")
INPUTS: dict[str, Any] = samples_numpy.INPUTS | {
    "D": np.array([[2.0, 0.3, -0.1, 0.4], [3.0, 2.5, 2.8, 3.1], [0.2, -0.4, 0.5, 0.1]]),  # the diagonals of a banded matrix
    "L": np.tril(samples_numpy.INPUTS["A"]) + np.eye(3),
    "M": samples_numpy.INPUTS["S"] * 0.2,
    "K": np.arange(1, 4),
}

_SPECIAL = {
    "comb": "sp.special.comb(P + 3, U)", "factorial": "sp.special.factorial(P)", "perm": "sp.special.perm(P + 3, U)",
    "poch": "sp.special.poch(P, U)", "polygamma": "sp.special.polygamma(2, P)", "multigammaln": "sp.special.multigammaln(P, 2)",
    "logsumexp": "sp.special.logsumexp(X, axis=1)", "softmax": "sp.special.softmax(X, axis=1)",
    "log_softmax": "sp.special.log_softmax(X, axis=1)", "jn": "sp.special.jn(2, P)", "jv": "sp.special.jv(1.5, P)",
    "iv": "sp.special.iv(1.5, P)", "ive": "sp.special.ive(1.5, P)", "kn": "sp.special.kn(2, P)", "kv": "sp.special.kv(1.5, P)",
    "kve": "sp.special.kve(1.5, P)", "yn": "sp.special.yn(2, P)", "yv": "sp.special.yv(1.5, P)", "expn": "sp.special.expn(2, P)",
    "zeta": "sp.special.zeta(2.5, P)", "stdtr": "sp.special.stdtr(3.0, X)", "stdtrit": "sp.special.stdtrit(3.0, U)",
    "ndtri_exp": "sp.special.ndtri_exp(-P)", "betaincinv": "sp.special.betaincinv(P, P.T.reshape(3, 4), U)",
    "gammaincinv": "sp.special.gammaincinv(P, U)", "gammainccinv": "sp.special.gammainccinv(P, U)", "huber": "sp.special.huber(U, X)",
    "pseudo_huber": "sp.special.pseudo_huber(U, X)", "arctanh": "sp.special.arctanh(U)", "logit": "sp.special.logit(U)",
    "erfinv": "sp.special.erfinv(U)", "erfcinv": "sp.special.erfcinv(U)", "ndtri": "sp.special.ndtri(U)", "xlogy": "sp.special.xlogy(X, P)",
    "bdtr": "sp.special.bdtr(1, 4, U)", "bdtrc": "sp.special.bdtrc(1, 4, U)", "nbdtr": "sp.special.nbdtr(2, 3, U)",
    "nbdtrc": "sp.special.nbdtrc(2, 3, U)", "ellipeinc": "sp.special.ellipeinc(P, 0.4)", "ellipkinc": "sp.special.ellipkinc(P, 0.4)",
    "eval_chebyt": "sp.special.eval_chebyt(3, U)", "eval_chebyu": "sp.special.eval_chebyu(3, U)",
    "eval_gegenbauer": "sp.special.eval_gegenbauer(3, 1.5, U)", "eval_genlaguerre": "sp.special.eval_genlaguerre(3, 0.5, U)",
    "eval_hermite": "sp.special.eval_hermite(3, U)", "eval_hermitenorm": "sp.special.eval_hermitenorm(3, U)",
    "eval_jacobi": "sp.special.eval_jacobi(3, 0.5, 1.5, U)", "eval_laguerre": "sp.special.eval_laguerre(3, U)",
    "eval_legendre": "sp.special.eval_legendre(3, U)", "hyp0f1": "sp.special.hyp0f1(1.5, U)", "hyp1f1": "sp.special.hyp1f1(1.2, 1.7, U)",
    "hyp2f1": "sp.special.hyp2f1(1.2, 0.7, 2.5, U)", "hyperu": "sp.special.hyperu(1.2, 1.7, U)", "ivp": "sp.special.ivp(2, P)",
    "jvp": "sp.special.jvp(2, P)", "kvp": "sp.special.kvp(2, P)", "yvp": "sp.special.yvp(2, P)",
    "modstruve": "sp.special.modstruve(1.5, P)", "struve": "sp.special.struve(1.5, P)",
    "sinc": "sp.special.sinc(X)", "binom": "sp.special.binom(P + 3, U)",
}  # fmt: skip
_LINALG = """
block_diag: sp.linalg.block_diag(A, X)
cho_factor: np.tril(sp.linalg.cho_factor(S @ S.T, lower=True)[0])
cho_solve: sp.linalg.cho_solve((L, True), R)
cholesky: sp.linalg.cholesky(S @ S.T, lower=True)
circulant: sp.linalg.circulant(V)
coshm: sp.linalg.coshm(M)
cosm: sp.linalg.cosm(M)
det: sp.linalg.det(A)
eig: np.abs(sp.linalg.eig(A)[0])
eigh: sp.linalg.eigh(S @ S.T)[0]
eigvals: sp.linalg.eigvals(A)
eigvalsh: sp.linalg.eigvalsh(S @ S.T)
expm: sp.linalg.expm(M)
expm_frechet: sp.linalg.expm_frechet(M, A)
hankel: sp.linalg.hankel(V, W)
inv: sp.linalg.inv(A)
logm: sp.linalg.logm(S @ S.T)
lstsq: sp.linalg.lstsq(X.T, V)[0]
lu: sp.linalg.lu(A)
lu_factor: sp.linalg.lu_factor(A)[0]
lu_solve: sp.linalg.lu_solve(sp.linalg.lu_factor(A), R)
norm: sp.linalg.norm(X)
pinv: sp.linalg.pinv(X)
pinvh: sp.linalg.pinvh(S @ S.T)
qr: sp.linalg.qr(A)
sinhm: sp.linalg.sinhm(M)
sinm: sp.linalg.sinm(M)
solve: sp.linalg.solve(A, R)
solve_banded: sp.linalg.solve_banded((1, 1), D, V)
solve_continuous_lyapunov: sp.linalg.solve_continuous_lyapunov(A, S)
solve_lyapunov: sp.linalg.solve_lyapunov(A, S)
solve_sylvester: sp.linalg.solve_sylvester(A, S, M)
solve_triangular: sp.linalg.solve_triangular(L, R, lower=True)
sqrtm: sp.linalg.sqrtm(S @ S.T)
svd: sp.linalg.svd(X, full_matrices=False)[1]
svdvals: sp.linalg.svdvals(X)
tanhm: sp.linalg.tanhm(M)
tanm: sp.linalg.tanm(M)
toeplitz: sp.linalg.toeplitz(V, W)
"""
_OWN = {
    "signal": """
convolve: sp.signal.convolve(V, R, mode='same')
correlate: sp.signal.correlate(X, A, mode='valid')
correlate2d: sp.signal.correlate2d(X, A)
convolve2d: sp.signal.convolve2d(X, A)
fftconvolve: sp.signal.fftconvolve(V, R)
oaconvolve: sp.signal.oaconvolve(V, R)
""",
    "integrate": """
cumulative_trapezoid: sp.integrate.cumulative_trapezoid(V, G)
odeint: sp.integrate.odeint(lambda y, t, a: -a * y, V, np.array([0.0, 0.5, 1.0]), args=(Q,), rtol=1e-11, atol=1e-11)
simpson: sp.integrate.simpson(V, x=G)
solve_ivp: sp.integrate.solve_ivp(lambda t, y: -Q * y, (0.0, 1.0), V, t_eval=np.array([0.5, 1.0]), rtol=1e-10, atol=1e-11).y
trapezoid: sp.integrate.trapezoid(V, G)
""",
    "interpolate": """
RegularGridInterpolator: sp.interpolate.RegularGridInterpolator((np.arange(3.0), np.arange(4.0)), X)(np.stack([U[0] * 2, U[1] * 3], -1))
interp1d: sp.interpolate.interp1d(G, W)(V)
interpn: sp.interpolate.interpn((np.arange(3.0), np.arange(4.0)), X, np.stack([U[0] * 2, U[1] * 3], -1))
""",
    "optimize": """
brentq: sp.optimize.brentq(lambda x: x**3 + Q * x - 1.0, 0.0, 2.0, xtol=1e-13)
fsolve: sp.optimize.fsolve(lambda x: x**3 + x - V, np.ones(4), xtol=1e-13)
minimize: sp.optimize.minimize(lambda x: ((x - V) ** 2).sum() + 0.1 * (x**4).sum(), np.zeros(4), tol=1e-10).x
minimize_scalar: sp.optimize.minimize_scalar(lambda x: (x - Q) ** 2 + 0.1 * x**4, tol=1e-10).x
newton: sp.optimize.newton(lambda x: x**3 + Q * x - 1.0, 1.0, tol=1e-13)
root: sp.optimize.root(lambda x: x**3 + x - V, np.ones(4), tol=1e-13).x
root_scalar: sp.optimize.root_scalar(lambda x: x**3 + Q * x - 1.0, bracket=(0.0, 2.0), xtol=1e-13).root
""",
}


def name_spaces() -> tuple[Any, Any]:
    """scipy with numpy's arrays, and irgrad's of both, each as one name space `sp` beside `np`."""
    return _space(scipy), _space(importlib.import_module("irgrad.scipy"))


def _space(package: Any) -> Any:
    return SimpleNamespace(**{name: importlib.import_module(f"{package.__name__}.{name}") for name in MODULES})


def offered(module: str) -> list[str]:
    """The public names of a module of scipy that irgrad traces."""
    traced, plain = importlib.import_module(f"irgrad.scipy.{module}"), importlib.import_module(f"scipy.{module}")
    names = []
    for name in dir(plain):
        if name.startswith("_") or name not in dir(traced):
            continue
        old, new = getattr(plain, name), getattr(traced, name)
        try:
            known = old in PUBLIC
        except TypeError:
            known = False
        if known or (old is not new and _is_own(new)):
            names.append(name)
    return names


def _is_own(item: Any) -> bool:
    """Is it a form of irgrad's, not a guard that refuses traced values?"""
    if inspect.isclass(item):
        return item.__module__.startswith("irgrad")
    code = getattr(item, "__code__", None)
    return code is not None and code.co_name == "public" and "irgrad" in code.co_filename


def _lines(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.strip().splitlines())  # type: ignore[misc]


def _special() -> dict[str, str]:
    made = {}
    for name in offered("special"):
        if name in _SPECIAL:
            made[name] = _SPECIAL[name]
            continue
        function = getattr(scipy.special, name)
        nin = function.nin if isinstance(function, np.ufunc) else 1
        given = ("P", "P", "P", "U")[4 - nin :]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                finite = nin < 5 and np.all(np.isfinite(function(*[INPUTS[x] for x in given])))
        except TypeError:  # another form of arguments
            continue
        if finite:
            made[name] = f"sp.special.{name}({', '.join(given)})"
    return made


def _stats() -> dict[str, str]:
    from irgrad.scipy.stats import _continuous, _discrete

    made = {}
    for family in (*_continuous.FAMILIES, *_discrete.FAMILIES):
        for method in family.formulas:
            at = "U" if method in ("ppf", "isf") or family.name in ("beta", "uniform") else "P"
            if family.discrete and at == "P":
                at = "(K > 1) * 1" if family.name == "bernoulli" else "K"
            shapes = "".join(", 3" if i in family.fixed else f", {('Q + 1.5', 'Q + 0.7', 'Q')[i]}" for i in range(len(family.shapes)))
            if family.discrete and family.shapes and family.shapes[-1] == "p":
                shapes = ", 5, Q" if len(family.shapes) == 2 else ", Q"
            made[f"{family.name}.{method}"] = f"sp.stats.{family.name}.{method}({at}{shapes})"
    made["dirichlet.logpdf"] = "sp.stats.dirichlet.logpdf(np.array([0.2, 0.5, 0.3]), R**2 + 1)"
    made["multivariate_normal.logpdf"] = "sp.stats.multivariate_normal.logpdf(A, R, S @ S.T)"
    return made


def _table() -> dict[str, dict[str, str]]:
    made = {"special": _special(), "linalg": {n: c for n, c in _lines(_LINALG).items() if n in offered("linalg")}, "stats": _stats()}
    for module, text in _OWN.items():
        names = offered(module)
        made[module] = {name: call for name, call in _lines(text).items() if name in names}
    return made


SAMPLES = _table()


def without_sample(module: str) -> list[str]:
    """What a module offers and no row shows."""
    return [] if module == "stats" else [name for name in offered(module) if name not in SAMPLES[module]]
