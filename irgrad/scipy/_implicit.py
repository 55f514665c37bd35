"""Roots and minimisers as one operation with derivatives by the implicit function theorem.

With F(x, p) = 0 (for a minimiser F is the gradient of the objective by x), a tangent dp gives dx = -J**-1 dF/dp dp and a
cotangent g gives the cotangent l dF/dp of p with l = -J**-T g, where J = dF/dx is formed as a matrix (Griewank and Walther, Evaluating
Derivatives, section 15.3). The rules are written with traced functions at the result, so they have derivatives themselves. The result
is a host call: scipy's solvers call Python for every evaluation. A derivative is as accurate as the result: the derivative of the
last iterate is not followed, so solve tightly. The starting point has no derivative.

Where a minimiser is bounded, an entry is *at* a bound if a step down the gradient would cross it (x - g <= low, or x - g >= high); F of
such an entry is x - low or x - high: it moves with the bound and with nothing else (Nocedal and Wright, Numerical Optimization, 16.7).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import Bounds

import irgrad.numpy as inp
from irgrad.extend import readable, record, untraced
from irgrad.frontend.context import current
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, Primitive
from irgrad.operators import grad, jacobian, make_jvp, make_vjp, stop_gradient
from irgrad.passes.batch import single_jvp, single_vjp
from irgrad.scipy._callback import Callback, compiled_later, concrete_result
from irgrad.scipy._packing import Packing, concrete, pack

WITH_HESSIAN = frozenset({"dogleg", "trust-ncg", "trust-krylov", "trust-exact"})

# of (function, derivative, start, options): scipy's result, with the solution as ``x``
Solver = Callable[[Callable[[Any], Any], Any, Any, Mapping[str, Any]], Any]


class Condition:
    """What a solution satisfies, with its solver; a param of a node, equal where it means the same.

    `kind` is "root" (``fun(x, *args) = 0``), "minimum", or "minimum with gradient" where `fun` returns both. `is_scalar` says that
    `fun` takes a number; the start is then what the solver takes.
    """

    def __init__(
        self, kind: str, fun: Callback, slope: Callback | None, packing: Packing, solver: Solver, options: Mapping[str, Any],
        is_scalar: bool = False,
    ) -> None:  # fmt: skip
        self.kind = kind
        self.is_scalar = is_scalar
        self.fun = fun
        self.slope = slope
        self.packing = packing
        self.solver = solver
        self.options = options
        self.result: Any = None  # scipy's last one

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self._key() == other._key()

    def _key(self) -> Any:
        return self.kind, self.is_scalar, self.fun, self.slope, self.packing, self.solver, self.options

    def __hash__(self) -> int:
        return hash((self.kind, self.fun, self.solver))

    def __repr__(self) -> str:
        return f"{self.kind} of {self.fun.name}"

    # -- the functions, in any trace or none ---------------------------------------------------------------------------

    def bind(self, moving: Any, fixed: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any] | None]:
        """The user's function, and derivative if one is given, of x alone."""
        args, leaves, more, _ = self.packing.unpack(moving, fixed)
        fun = self.fun.bind(leaves)
        if self.is_scalar:
            return lambda x: fun(x[0], *args), None
        if self.slope is None:
            return lambda x: fun(x, *args), None
        slope = self.slope.bind(more)
        return lambda x: fun(x, *args), lambda x: slope(x, *args)

    def value(self, x: Any, moving: Any, fixed: Any) -> Any:
        """The residual or the objective."""
        made = self.bind(moving, fixed)[0](x)
        return made[0] if self.kind == "minimum with gradient" else made

    def residual(self, x: Any, moving: Any, fixed: Any) -> Any:
        """F as a vector."""
        made = self.slope_at(x, moving, fixed)
        limits = self.packing.unpack(moving, fixed)[3]
        if limits is None:
            return made
        low, high = limits
        step = stop_gradient(x - made)
        return inp.where(step <= stop_gradient(low), x - low, inp.where(step >= stop_gradient(high), x - high, made))

    def slope_at(self, x: Any, moving: Any, fixed: Any) -> Any:
        """The residual or the gradient of the objective, as a vector."""
        if self.kind == "root":
            made = self.value(x, moving, fixed)
        elif self.kind == "minimum with gradient":
            made = self.bind(moving, fixed)[0](x)[1]
        else:
            made = grad(lambda x: _number(self.value(x, moving, fixed)))(x)
        return inp.reshape(inp.asarray(made, np.float64), (-1,))

    # -- the solution --------------------------------------------------------------------------------------------------

    def solve(self, moving: Any, data: Any, count: int) -> Any:
        """scipy's result on concrete values. A derivative that the user does not give is ours."""
        start, fixed = np.array(data[:count]), data[count:]
        fun, slope = self.bind(moving, fixed)
        if self.is_scalar:
            of_vector = fun
            fun = lambda x: of_vector(np.reshape(x, (1,)))
        checked = lambda x: concrete_result(fun(x), self.fun.name)
        ours: Any = slope
        if slope is None and self.kind == "root":
            matrix = compiled_later(("matrix", self), self.matrix)
            ours = lambda x: matrix(x, moving, fixed)
        elif slope is None and self.kind == "minimum":
            gradient = compiled_later(("gradient", self), self.slope_at)
            ours = lambda x: gradient(x, moving, fixed)
        self.result = self.solver(checked, ours, start, dict(self.options) | self._more_options(moving, fixed))
        if not self.result.get("success", True) and self._is_far(start, moving, fixed):
            reason = " ".join(str(self.result.get("message", "no reason given")).split())
            warnings.warn(
                f"{self!r}: scipy found no solution ({reason}); derivatives hold at a solution only", RuntimeWarning, stacklevel=2
            )
        return self.result

    def _more_options(self, moving: Any, fixed: Any) -> dict[str, Any]:
        """Bounds, and the Hessian where the method wants it."""
        made: dict[str, Any] = {}
        limits = self.packing.unpack(moving, fixed)[3]
        if limits is not None:
            low, high = (np.array(v, np.float64) for v in limits)
            made["bounds"] = (float(low[0]), float(high[0])) if self.is_scalar else Bounds(low, high)
        if str(self.options.get("method", "")).lower() in WITH_HESSIAN:
            hessian = compiled_later(("hessian", self), self.matrix)
            made["hess"] = lambda x: hessian(x, moving, fixed)
        return made

    def _is_far(self, start: Any, moving: Any, fixed: Any) -> bool:
        """Is the result, which scipy calls none, not even close to a solution? (It says so too where rounding stopped it.)"""
        found = np.reshape(np.asarray(self.result.x, np.float64), (-1,))
        left = np.max(np.abs(self.residual(found, moving, fixed)), initial=0.0)
        begun = np.max(np.abs(self.residual(start, moving, fixed)), initial=0.0) if start.shape == found.shape else 1.0
        return not left <= 1e-4 * max(1.0, begun)

    def matrix(self, x: Any, moving: Any, fixed: Any) -> Any:
        """dF/dx."""
        return jacobian(lambda x: self.residual(x, moving, fixed))(x)

    def solution(self, start: Any) -> Any:
        """x as a vector, recorded where anything is traced."""
        moving, data = self.packing.moving, pack([start, self.packing.fixed])
        params = {"condition": self, "count": int(np.size(concrete(start)))}
        found = untraced(_evaluate, (concrete(moving), concrete(data)), params)
        trace = current()
        if trace is None or not any(type(v) is Tracer for v in (moving, data)):
            return found
        return record(trace, IMPLICIT, [moving, data], params, found)


def _number(value: Any) -> Any:
    """An objective that is an array of one entry counts as a number."""
    return inp.reshape(value, ())[()] if np.ndim(concrete(value)) else value


# ---- the operation ----


def _evaluate(moving: Any, data: Any, *, condition: Condition, count: int) -> Any:
    return np.asarray(condition.solve(np.array(moving), np.array(data), count).x, np.float64).reshape(-1)


def _aval(moving: Aval, data: Aval, *, condition: Condition, count: int) -> Aval:
    return Aval((1 if condition.is_scalar else count,), np.dtype(np.float64))


@single_vjp
def _vjp(b: Builder, index: int, ct: Any, out: Any, moving: Any, data: Any, *, condition: Condition, count: int) -> Any:
    if index == 1:
        return None
    x, moving, fixed = readable(out), readable(moving), readable(data)[count:]
    weight = inp.linalg.solve(inp.transpose(condition.matrix(x, moving, fixed)), -readable(ct))
    pull, _ = make_vjp(lambda p: condition.residual(x, p, fixed))(moving)
    return pull(weight)


@single_jvp
def _jvp(b: Builder, tangents: Sequence[Any], out: Any, moving: Any, data: Any, *, condition: Condition, count: int) -> Any:
    if tangents[0] is None:
        return None
    x, moving, fixed = readable(out), readable(moving), readable(data)[count:]
    _, moved = make_jvp(lambda p: condition.residual(x, p, fixed))(moving)(readable(tangents[0]))
    return inp.linalg.solve(condition.matrix(x, moving, fixed), -moved)


IMPLICIT = Primitive("implicit_solution", _evaluate, _aval, _vjp, _jvp, traits=PURE, host=True)
