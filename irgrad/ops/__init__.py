"""The core primitives, one module per family; importing this package fills the registry."""

from irgrad.ops import (
    compare,
    control,
    convolve,
    create,
    decompositions,
    elementwise,
    fft,
    index,
    least_squares,
    linalg,
    matrix_functions,
    norms,
    opaque,
    powers,
    products,
    reduce,
    shape,
    shares,
    solves,
)

__all__ = [
    "compare", "control", "convolve", "create", "decompositions", "elementwise",
    "fft", "index", "least_squares", "linalg", "matrix_functions", "norms",
    "opaque", "powers", "products", "reduce", "shape", "shares", "solves",
]  # fmt: skip
