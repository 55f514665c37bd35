"""numpy's functions in terms of primitives. Importing this package fills the tables of `frontend.tracer`."""

from irgrad.frontend.handlers import contraction, creation, elementwise, indexing, methods, ordering, pymath, reduction, shaping, ufuncs
from irgrad.frontend.handlers.core import PUBLIC
from irgrad.frontend.handlers.pymath import MATH

__all__ = [
    "MATH", "PUBLIC", "contraction", "creation", "elementwise", "indexing", "methods", "ordering", "pymath", "reduction", "shaping", "ufuncs",
]  # fmt: skip
