"""`scipy.special` for traced code: a drop-in ``import irgrad.scipy.special as special``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import special as _special

import irgrad.frontend.handlers.special as _handlers  # noqa: F401  (registers the handlers)
from irgrad.numpy._wrap import public_names as _public_names

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


globals().update(_public_names(_special))
