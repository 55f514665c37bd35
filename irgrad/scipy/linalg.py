"""`scipy.linalg` for traced code: a drop-in ``import irgrad.scipy.linalg as linalg``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy import linalg as _linalg

import irgrad.frontend.handlers.matrix_functions as _handlers  # noqa: F401  (registers the handlers, with linalg_scipy's)
from irgrad.numpy import kron as kron
from irgrad.numpy._wrap import public_names as _public_names

if TYPE_CHECKING:
    from scipy.linalg import *  # noqa: F403

globals().update(_public_names(_linalg))
