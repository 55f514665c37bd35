"""The differential operators: functions of functions.

An operator returns a callable of the same arguments as its function. Called outside any trace it opens an eager trace, marks
the leaves it differentiates, runs the function once and accumulates on concrete values. Called inside a trace (a derivative
of a derivative, or a function under `jit`) it marks fresh nodes on that trace's tape and records the accumulation there, so
perturbation confusion cannot arise: differentiation is with respect to a node.

Conventions are autograd's: the gradient with respect to a complex z = x + iy is du/dx - i du/dy; tangents are plain dz.
Results own their memory.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from irgrad.operators.arguments import Argnum
from irgrad.operators.gradients import (
    deriv,
    elementwise_grad,
    grad,
    grad_and_aux,
    grad_named,
    holomorphic_grad,
    multigrad,
    multigrad_dict,
    stop_gradient,
    value_and_grad,
    value_and_multigrad,
)
from irgrad.operators.operator import Operator
from irgrad.operators.products import (
    hessian_tensor_product,
    hessian_vector_product,
    make_ggnvp,
    make_hvp,
    make_jvp,
    make_vjp,
    tensor_jacobian_product,
    vector_jacobian_product,
)
from irgrad.operators.run import call_user, traced_form, write

if TYPE_CHECKING:
    from irgrad.operators.jacobians import hessian, jacobian

__all__ = [
    "Argnum",
    "Operator",
    "call_user",
    "deriv",
    "elementwise_grad",
    "grad",
    "grad_and_aux",
    "grad_named",
    "hessian",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "jacobian",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_vjp",
    "multigrad",
    "multigrad_dict",
    "stop_gradient",
    "tensor_jacobian_product",
    "traced_form",
    "value_and_grad",
    "value_and_multigrad",
    "vector_jacobian_product",
    "write",
]


def __getattr__(name: str) -> Any:
    """What whole Jacobians take is imported when one is first wanted."""
    if name not in ("hessian", "jacobian"):
        raise AttributeError(f"module 'irgrad.operators' has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module("irgrad.operators.jacobians"), name)
    return found
