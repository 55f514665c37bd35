"""Fixed points with an implicit derivative: the iteration itself is neither kept nor differentiated.

With x = f(a)(x), a cotangent g of x gives w = g + w df/dx, itself a fixed point, and then w df/da (Christianson, Reverse accumulation
and attractive fixed points, 1994). The result is one node that stands for x and carries that rule; it costs nothing in compiled code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.extend import concrete_of, readable, record, untraced
from irgrad.frontend.context import current
from irgrad.frontend.trace import here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import IDENTITY, PURE, Primitive
from irgrad.misc.flatten import flatten
from irgrad.operators import call_user, make_jvp, make_vjp, stop_gradient
from irgrad.operators.run import in_trace
from irgrad.passes.batch import single_jvp, single_vjp
from irgrad.pytree import flatten as leaves_of
from irgrad.pytree import tree_map, unflatten

Map = Callable[[Any], Callable[[Any], Any]]
Distance = Callable[[Any, Any], Any]


def fixed_point(f: Map, a: Any, x0: Any, distance: Distance, tol: Any) -> Any:
    """The x with ``x = f(a)(x)``, by iteration from `x0` until ``distance(x, previous x) <= tol``.

    `a` and x are pytrees. Differentiable in `a`, to any order and in both modes; not in what `f` closes over. Raises TraceError
    where that would lose a derivative.
    """
    problem = _Problem(in_trace(f), a, x0, in_trace(distance), tol)
    trace = current()
    if trace is None:
        return problem.of_x(problem.solve(problem.a, problem.start))
    if trace.is_graph:
        found = problem.solve(stop_gradient(problem.a), stop_gradient(problem.start))
    else:
        found = untraced(problem.concrete, (), {})
    if type(problem.a) is Tracer:
        found = record(trace, _FIXED_POINT, [found, problem.a], {"problem": problem}, concrete_of(found))
    return problem.of_x(found)


def _vector(value: Any) -> tuple[Any, Callable[[Any], Any]]:
    """`flatten` of something that nobody writes into: a vector is itself."""
    bits = concrete_of(value)
    if type(bits) is np.ndarray and bits.ndim == 1 and bits.dtype == np.float64:
        return value, lambda x: x
    return flatten(value)


class _Problem:
    """A fixed point over vectors. As a param of a node it is no part of its identity, for the node's value does not depend on it."""

    def __init__(self, f: Map, a: Any, x0: Any, distance: Distance, tol: Any) -> None:
        self.f = f
        self.distance = distance
        self.tol = tol
        self.start, self.of_x = _vector(x0)
        leaves, self.structure = leaves_of(a)
        self.others = [None if np.asarray(concrete_of(leaf)).dtype.kind in "fc" else leaf for leaf in leaves]
        self.a, self.of_a = flatten([leaf for leaf, other in zip(leaves, self.others, strict=True) if other is None])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Problem)

    def __hash__(self) -> int:
        return hash(_Problem)

    def __repr__(self) -> str:
        return getattr(self.f, "__name__", "f")

    def applied(self, a: Any) -> Callable[[Any], Any]:
        """f(a)."""
        moving = iter(self.of_a(a))
        tree = unflatten(self.structure, [next(moving) if other is None else other for other in self.others])
        return call_user(self.f, tree)

    def step(self, a: Any, x: Any) -> Any:
        """f(a)(x) on vectors."""
        return _vector(call_user(self.applied(a), self.of_x(x)))[0]

    def solve(self, a: Any, x: Any) -> Any:
        """The solution as a vector; the iteration is on what the user's functions take."""
        move = self.applied(a)
        previous = self.of_x(x)
        x = call_user(move, previous)
        if current() is None and any(type(leaf) is Tracer for leaf in leaves_of(x)[0]):
            raise TraceError(f"the function of fixed_point closes over a traced value ({here()}); make it a part of `a`")
        while call_user(self.distance, x, previous) > self.tol:
            previous, x = x, call_user(move, x)
        return _vector(x)[0]

    def concrete(self) -> Any:
        """The solution on concrete values."""
        plain = copy.copy(self)
        plain.others = tree_map(concrete_of, self.others)
        plain.tol = concrete_of(self.tol)
        return plain.solve(concrete_of(self.a), concrete_of(self.start))

    def linear(self, step: Map, params: tuple[Any, ...], like: Any) -> Any:
        """The fixed point of a linear map, from zero, by the same measure."""
        return fixed_point(step, params, like * 0.0, lambda x, y: self.distance(self.of_x(x), self.of_x(y)), self.tol)


@single_vjp
def _vjp(b: Builder, index: int, ct: Any, out: Any, found: Any, a: Any, *, problem: _Problem) -> Any:
    if index == 0:
        return None
    a, x, g = readable(a), readable(out), readable(ct)

    def back(params: tuple[Any, Any, Any]) -> Callable[[Any], Any]:
        a, x, g = params
        pull, _ = make_vjp(lambda x: problem.step(a, x))(x)
        return lambda w: g + pull(w)

    pull, _ = make_vjp(lambda a: problem.step(a, x))(a)
    return pull(problem.linear(back, (a, x, g), g))


@single_jvp
def _jvp(b: Builder, tangents: Sequence[Any], out: Any, found: Any, a: Any, *, problem: _Problem) -> Any:
    if tangents[1] is None:
        return None
    a, x = readable(a), readable(out)

    def ahead(params: tuple[Any, Any, Any]) -> Callable[[Any], Any]:
        a, x, t = params
        push = make_jvp(lambda x: problem.step(a, x))(x)
        return lambda u: t + push(u)[1]

    _, t = make_jvp(lambda a: problem.step(a, x))(a)(readable(tangents[1]))
    return problem.linear(ahead, (a, x, t), t)


def _aval(found: Aval, a: Aval, *, problem: _Problem) -> Aval:
    return found


_FIXED_POINT = Primitive("fixed_point", lambda found, a, *, problem: found, _aval, _vjp, _jvp, traits=PURE | IDENTITY)
