"""autograd's module of this name: the operators, which `irgrad` exports."""

from typing import TYPE_CHECKING, Any

import irgrad.operators as _operators
from irgrad.operators import (
    deriv,
    elementwise_grad,
    grad,
    grad_and_aux,
    grad_named,
    hessian_tensor_product,
    hessian_vector_product,
    holomorphic_grad,
    make_ggnvp,
    make_hvp,
    make_jvp,
    make_vjp,
    multigrad_dict,
    tensor_jacobian_product,
    value_and_grad,
    vector_jacobian_product,
)

if TYPE_CHECKING:
    from irgrad.operators import hessian, jacobian

make_jvp_reversemode = make_jvp

__all__ = [
    "deriv", "elementwise_grad", "grad", "grad_and_aux", "grad_named", "hessian", "hessian_tensor_product",
    "hessian_vector_product", "holomorphic_grad", "jacobian", "make_ggnvp", "make_hvp", "make_jvp", "make_jvp_reversemode", "make_vjp",
    "multigrad_dict", "tensor_jacobian_product", "value_and_grad", "vector_jacobian_product",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in ("hessian", "jacobian"):
        raise AttributeError(f"module 'irgrad.differential_operators' has no attribute {name!r}")
    return getattr(_operators, name)
