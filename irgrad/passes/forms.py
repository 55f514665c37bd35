"""Which form a node can take in a kernel: scalar text, straight-line code on variables, a reduction of a nest, a kernel of its own."""

from __future__ import annotations

from functools import cache

import numpy as np

from irgrad.ir.body import Body
from irgrad.ir.graph import Node
from irgrad.ir.plan import is_tiny
from irgrad.ir.primitive import ELEMENTWISE
from irgrad.ir.recording import TINY
from irgrad.ir.sizes import is_any
from irgrad.ops.fft_loops import loops

REDUCTIONS = frozenset({"reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all"})
EXTREMES = frozenset({"reduce_max", "reduce_min", "argmax", "argmin"})
FILLS = frozenset({"full", "zeros", "iota"})
MOVES = frozenset({"reshape", "transpose", "broadcast_to", "slice", "slice_add", "slice_update", "concatenate", "pad", "empty"})
SCALAR_FORMS = REDUCTIONS | FILLS | MOVES | {"dot", "cumsum"}
PRODUCTS = frozenset({"dot", "dot_add", "product", "product_add"})  # of matrices with one unit stride
OWN_KERNEL = frozenset({*PRODUCTS, "batch_dot", "correlate", "gather", "gather_sum", "scatter_add", "scatter_update",
                        "cumsum", "cumprod", "argmax", "argmin", "pick"})  # fmt: skip

WRITTEN_OUT = 32  # multiplications of a product that straight-line code does: steps of loops take 0.7 of the time, single ones 0.95
MAX_OPERANDS = 480  # of a kernel: the driver's pointer table has 512 entries
LOOPS = frozenset({"scan", "while_loop", "cond", "checkpoint"})  # their bodies are params

TRANSFORMS = frozenset({"fft", "rfft", "irfft"})  # by numpy's own loops, where they are found
FACTORED = {"solve": 2, "det": 1, "slogdet": 1}  # operands in front of the LU factor that their kernels read
LAPACK = frozenset({*FACTORED, "cholesky", "cofactor", "eigh", "eigvalsh", "inv", "lu", "pinv", "qr", "row_order", "solve_triangular",
                    "svd", "svdvals"})  # fmt: skip


@cache
def is_kernel_dtype(dtype: np.dtype[np.generic]) -> bool:
    return dtype.kind in "biufc" and dtype.itemsize <= (16 if dtype.kind == "c" else 8) and dtype.name != "float16"


def has_kernel_dtypes(node: Node) -> bool:
    """Can a kernel hold the node's result and operands?"""
    return is_kernel_dtype(node.aval.dtype) and all(is_kernel_dtype(operand.aval.dtype) for operand in node.operands)


def has_text(node: Node) -> bool:
    """Does the primitive have scalar text for its operands' dtype?"""
    op = node.op
    assert op is not None
    if not op.has(ELEMENTWISE) or op.host or not has_kernel_dtypes(node):
        return False
    if op.name in ("integer_pow", "convert"):
        return True
    if isinstance(op.emit, str) or op.emit is None:
        return op.emit is not None
    position = 1 if op.name == "where" else 0
    kind = node.operands[min(position, len(node.operands) - 1)].aval.dtype.kind
    if kind != "c" and any(operand.aval.dtype.kind == "c" for operand in node.operands):
        return False  # a real order of a complex argument: text for real numbers would lose a part
    return kind in op.emit


def is_reduction(node: Node) -> bool:
    """Can the node be the accumulator of a nest?"""
    op = node.op
    assert op is not None
    return op.name in REDUCTIONS and has_kernel_dtypes(node) and not _compares_complex(node)


def has_own_kernel(node: Node) -> bool:
    op = node.op
    assert op is not None
    if op.name in LOOPS:
        return is_native(node)
    if op.name in TRANSFORMS:
        return has_kernel_dtypes(node) and bool(loops())
    return (op.name in OWN_KERNEL or has_lapack_kernel(node)) and has_kernel_dtypes(node) and not _compares_complex(node)


def is_native(node: Node) -> bool:
    """Can a native runner run the bodies of a loop or branch? Not those with operations that only Python can do."""
    bodies = [each for param in node.params.values() for each in (param if type(param) is tuple else (param,)) if type(each) is Body]
    return has_kernel_dtypes(node) and len(node.operands) < MAX_OPERANDS and not any(body.linked.program.hosts for body in bodies)


def has_lapack_kernel(node: Node) -> bool:
    """Is there a LAPACK kernel for these operands? Empty matrices and cutoffs by matrix are numpy's."""
    op = node.op
    assert op is not None
    if op.name not in LAPACK or any(operand.aval.size == 0 for operand in node.operands):
        return False
    return op.name != "pinv" or (isinstance(node.params["rcond"], float) and not node.params.get("hermitian", False))


def is_scalar_form(node: Node) -> bool:
    """Can the node be straight-line code on scalar variables?"""
    op = node.op
    assert op is not None
    if not is_tiny(node) or not has_kernel_dtypes(node) or not (has_text(node) or op.name in SCALAR_FORMS) or _compares_complex(node):
        return False
    limit = 1 if is_any() else TINY
    return node.aval.size <= limit and (all(operand.aval.size <= limit for operand in node.operands) or is_small_product(node))


def is_small_product(node: Node) -> bool:
    """Is it a product of real numbers, at least one of them of more than a few, that is worth writing out among what is around it?"""
    if node.op is None or node.op.name != "dot" or node.aval.dtype.kind != "f" or is_any():
        return False
    return 0 < multiplications(node) <= WRITTEN_OUT


def multiplications(node: Node) -> int:
    """Of a product of matrices or vectors."""
    return node.aval.size * node.operands[0].aval.shape[-1]


def _compares_complex(node: Node) -> bool:
    """numpy's lexicographic order of complex numbers has no text."""
    return node.op is not None and node.op.name in EXTREMES and node.operands[0].aval.dtype.kind == "c"
