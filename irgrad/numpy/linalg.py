"""`numpy.linalg` for traced code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as _np

import irgrad.frontend.handlers as _handlers  # noqa: F401  (registers the handlers)
from irgrad.numpy._wrap import fill as _fill

if TYPE_CHECKING:
    from numpy.linalg import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]
else:
    _forms, __getattr__ = _fill(globals(), _np.linalg)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_forms})
