"""`numpy.random` for traced code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as _np

import irgrad.frontend.handlers as _handlers  # noqa: F401  (registers the handlers)
from irgrad.numpy._wrap import public_names as _public_names

if TYPE_CHECKING:
    from numpy.random import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]

globals().update(_public_names(_np.random))
