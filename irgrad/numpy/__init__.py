"""A drop-in ``import irgrad.numpy as np``: every public name of numpy.

Functions record on traced arrays; outside a trace, and on plain arrays in eager differentiation, they are numpy's own. A
function that is not traced raises UnsupportedError for a traced argument. Types and constants are numpy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as _np

import irgrad.frontend.handlers as _handlers  # noqa: F401  (registers the handlers)
from irgrad.numpy import _wrap

if TYPE_CHECKING:
    from numpy import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]
else:
    from irgrad.numpy import fft as fft
    from irgrad.numpy import linalg as linalg
    from irgrad.numpy import random as random

globals()["__version__"] = _np.__version__
_forms, _find = _wrap.fill(globals(), _np, ("fft", "linalg", "random"))
_late = _wrap.late_names(_np)

if not TYPE_CHECKING:  # a checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        """Functions, and the modules that numpy imports on first use (`np.ma`, `np.testing`, ...), which would double what this costs."""
        if name in _forms or name.startswith("_"):
            return _find(name)
        item = globals()[name] = _wrap.public_form(getattr(_np, name), f"numpy.{name}")
        return item


def __dir__() -> list[str]:
    return sorted({*globals(), *_forms, *_late})
