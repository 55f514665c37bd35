"""Operators whose result has the structure of the argument, and `stop_gradient`."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.elements import boxed
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY
from irgrad.operators.arguments import Argnum
from irgrad.operators.messages import warn
from irgrad.operators.operator import Operator
from irgrad.operators.run import Run, traced_form
from irgrad.operators.values import dtype_of, own
from irgrad.pytree import tree_map, unflatten

_STOP = REGISTRY["stop_gradient"]
_NO_PARAMS: dict[str, Any] = {}


def gradient(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the operator `grad` computes."""
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_scalar("Grad")
    return run.gradient()


def _value_and_grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_scalar("value_and_grad")
    results = run.gradient()
    return run.value(), results


def _grad_and_aux(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs, has_aux=True)
    run.check_scalar("grad_and_aux")
    results = run.gradient()
    return results, tree_map(own if run.concrete else boxed, run.aux)


def _elementwise_grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_numeric("Elementwise_grad", "fiu")
    return run.gradient()


def _holomorphic_grad(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs)
    run.check_scalar("holomorphic_grad", "fciu")
    if not any(dtype_of(mark.form).kind == "c" for mark in run.marks):
        warn("Input to holomorphic_grad is not complex")
    return run.gradient()


def _deriv(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = Run(trace, d.fun, d.argnum, args, kwargs, backwards=False)
    run.check_numeric("deriv")
    return run.push_like(unflatten(run.structure, [np.ones(np.shape(m.form), dtype_of(m.form)) for m in run.marks]))


def _multigrad_dict(d: Operator, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fun = traced_form(trace, d.fun)
    bound = inspect.signature(d.fun).bind(*args, **kwargs)
    bound.apply_defaults()
    names = list(bound.arguments)

    def call(arguments: dict[str, Any]) -> Any:
        bound.arguments.update(arguments)
        return fun(*bound.args, **bound.kwargs)

    run = Run(trace, call, 0, (dict(bound.arguments),), {})
    run.check_scalar("multigrad_dict")
    found = run.gradient()
    return OrderedDict((name, found[name]) for name in names)


def grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The gradient of a function with a real output of size 1.

    `argnum` is a position (negative ones count from the end), a parameter name, or a tuple of those, for which a tuple comes
    back. The argument is any pytree of floats, complex numbers and arrays (integers are taken as floats) and the gradient
    has its structure, shapes and dtypes. Raises DifferentiationError for another output or argument, MissingRuleError
    where an operation has no rule. Warns where the output does not depend on the argument: the gradient is zero.
    """
    return Operator("grad", gradient, fun, argnum)


def value_and_grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The pair (value, gradient), as for ``scipy.optimize.minimize(..., jac=True)``; otherwise as `grad`."""
    return Operator("value_and_grad", _value_and_grad, fun, argnum)


def grad_and_aux(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """For a function that returns (value, aux): the pair (gradient of the value, aux); aux is any pytree."""
    return Operator("grad_and_aux", _grad_and_aux, fun, argnum)


def grad_named(fun: Callable[..., Any], argname: str) -> Operator:
    """The gradient with respect to the parameter of this name."""
    return Operator("grad", gradient, fun, argname)


def multigrad(fun: Callable[..., Any], argnums: Sequence[int | str] = (0,)) -> Operator:
    """The tuple of gradients with respect to several arguments."""
    return Operator("grad", gradient, fun, tuple(argnums))


def value_and_multigrad(fun: Callable[..., Any], argnums: Sequence[int | str] = (0,)) -> Operator:
    """The value and the tuple of gradients with respect to several arguments."""
    return Operator("value_and_grad", _value_and_grad, fun, tuple(argnums))


def multigrad_dict(fun: Callable[..., Any]) -> Operator:
    """Gradients with respect to all arguments, as an OrderedDict by parameter name."""
    return Operator("multigrad_dict", _multigrad_dict, fun)


def elementwise_grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The gradient of the sum of a real output: the derivative of each entry where the function works entry by entry."""
    return Operator("elementwise_grad", _elementwise_grad, fun, argnum)


def holomorphic_grad(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The complex derivative of a holomorphic function with an output of size 1."""
    return Operator("holomorphic_grad", _holomorphic_grad, fun, argnum)


def deriv(fun: Callable[..., Any], argnum: Argnum = 0) -> Operator:
    """The derivative along a tangent of ones, in forward mode; it has the structure and shapes of the output."""
    return Operator("deriv", _deriv, fun, argnum)


def stop_gradient(x: Any) -> Any:
    """`x`, any pytree, as a constant of the derivatives around it."""
    return tree_map(lambda leaf: leaf._trace.call(_STOP, (leaf,), _NO_PARAMS) if type(leaf) is Tracer else leaf, x)
