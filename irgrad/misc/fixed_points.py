"""Fixed points with an implicit derivative: nothing of the iteration is kept or differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

