"""A drop-in ``import irgrad.numpy as np``: every public name of numpy.

Functions record on traced arrays; outside a trace, and on plain arrays in eager differentiation, they are numpy's own. A
function that is not traced raises UnsupportedError for a traced argument. Types and constants are numpy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as _np

import irgrad.frontend.handlers as _handlers  # noqa: F401  (registers the handlers)
from irgrad.numpy import fft as fft
from irgrad.numpy import linalg as linalg
from irgrad.numpy import random as random
from irgrad.numpy._wrap import public_names as _public_names

if TYPE_CHECKING:
    from numpy import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]

globals().update({name: item for name, item in _public_names(_np).items() if name not in ("fft", "linalg", "random")})
globals()["__version__"] = _np.__version__
