"""numpy's functions in terms of primitives. Importing this package fills the tables of `frontend.tracer`."""

from irgrad.frontend.handlers import (
    arranging,
    contraction,
    creation,
    differences,
    einsum,
    elementwise,
    fft,
    indexing,
    joining,
    linalg,
    methods,
    norms,
    ordering,
    picking,
    pymath,
    random,
    reduction,
    shaping,
    statistics,
    ufuncs,
    writing,
)  # fmt: skip
from irgrad.frontend.handlers.core import PUBLIC
from irgrad.frontend.handlers.pymath import MATH

__all__ = [
    "MATH", "PUBLIC", "arranging", "contraction", "creation", "differences",
    "einsum", "elementwise", "fft", "indexing", "joining", "linalg", "methods",
    "norms", "ordering", "picking", "pymath", "random", "reduction", "shaping", "statistics", "ufuncs", "writing",
]  # fmt: skip
