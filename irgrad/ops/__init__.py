"""The core primitives, one module per family; importing this package fills the registry."""

from irgrad.ops import compare, control, create, elementwise, index, linalg, reduce, shape

__all__ = ["compare", "control", "create", "elementwise", "index", "linalg", "reduce", "shape"]
