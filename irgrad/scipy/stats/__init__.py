"""`scipy.stats` for traced code: densities, distribution functions and quantiles of the common families.

A family is reached as scipy's object (``from irgrad.scipy.stats import norm``) and as a module (``import irgrad.scipy.stats.norm as norm``,
as in autograd). Everything else is scipy's own and refuses traced values.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from scipy import stats as _stats

from irgrad.numpy._wrap import public_names as _public_names
from irgrad.scipy.stats import _continuous, _discrete
from irgrad.scipy.stats._distribution import Distribution as _Distribution
from irgrad.scipy.stats._distribution import Guarded as _Guarded
from irgrad.scipy.stats._multivariate import dirichlet as _dirichlet
from irgrad.scipy.stats._multivariate import multivariate_normal as _multivariate_normal

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_KINDS = (_stats.rv_continuous, _stats.rv_discrete, type(_stats.dirichlet).__bases__[0])
_own: dict[str, Any] = {
    **{family.name: _Distribution(getattr(_stats, family.name), family) for family in (*_continuous.FAMILIES, *_discrete.FAMILIES)},
    "dirichlet": _dirichlet,
    "multivariate_normal": _multivariate_normal,
}
_names = _public_names(_stats)
_names.update({name: _Guarded(item, f"stats.{name}") for name, item in vars(_stats).items() if isinstance(item, _KINDS)})
_names.update(_own)
globals().update(_names)
sys.modules.update({f"{__name__}.{name}": item for name, item in _own.items()})
