"""irgrad: gradients of numpy programs at native speed.

``irgrad.grad`` and its relatives differentiate ordinary functions; ``irgrad.jit`` compiles them; ``irgrad.trace`` shows the graph.
"""

import typing as _typing  # noqa: I001  (irgrad.ops declares the primitives: first)
from importlib import import_module as _import_module

import irgrad.ops as _ops  # noqa: F401
import irgrad.frontend.handlers as _handlers  # noqa: F401  (teaches tracers numpy's functions)
import irgrad.numpy as _numpy  # noqa: F401  (these two are what every first call takes)
import irgrad.runtime.link as _link  # noqa: F401
from irgrad import differential_operators as differential_operators
from irgrad import errors
from irgrad.builtins import dict, isinstance, list, tuple, type
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
    multigrad,
    multigrad_dict,
    stop_gradient,
    tensor_jacobian_product,
    value_and_grad,
    value_and_multigrad,
    vector_jacobian_product,
)
from irgrad.runtime.graphs import optimized, trace
from irgrad.runtime.jit import jit
from irgrad.runtime.stats import Stats
from irgrad.version import __version__

if _typing.TYPE_CHECKING:
    from irgrad.extend import primitive
    from irgrad.loops import checkpoint, cond, fori_loop, scan, while_loop
    from irgrad.operators import hessian, jacobian
    from irgrad.runtime.explain import explain

__all__ = [
    "Stats",
    "__version__",
    "checkpoint",
    "cond",
    "deriv",
    "dict",
    "elementwise_grad",
    "errors",
    "explain",
    "fori_loop",
    "grad",
    "grad_and_aux",
    "grad_named",
    "hessian",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "isinstance",
    "jacobian",
    "jit",
    "list",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_vjp",
    "multigrad",
    "multigrad_dict",
    "optimized",
    "primitive",
    "scan",
    "stop_gradient",
    "tensor_jacobian_product",
    "trace",
    "tuple",
    "type",
    "value_and_grad",
    "value_and_multigrad",
    "vector_jacobian_product",
    "while_loop",
]


# names that many programs do without, and where they are; the code behind them is a tenth of irgrad's
_LATE = {
    "checkpoint": "irgrad.loops",
    "cond": "irgrad.loops",
    "explain": "irgrad.runtime.explain",
    "fori_loop": "irgrad.loops",
    "hessian": "irgrad.operators",
    "jacobian": "irgrad.operators",
    "primitive": "irgrad.extend",
    "scan": "irgrad.loops",
    "while_loop": "irgrad.loops",
}
_MODULES = ("core", "extend", "loops", "misc", "scipy", "spaces", "test_util", "tracer", "util", "wrap_util")


def __getattr__(name: str) -> _typing.Any:
    """Names and modules that are imported when they are first used."""
    if name in _MODULES:
        return _import_module(f"irgrad.{name}")
    if name not in _LATE:
        raise AttributeError(f"module 'irgrad' has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(_LATE[name]), name)
    return found


def __dir__() -> _typing.Any:
    return sorted({*globals(), *_LATE, *_MODULES})
