"""Solutions of ordinary differential equations at given times, as one operation with continuous adjoint and tangent equations.

With dy/dt = f(y, t, p) and cotangents g_i of y(t_i), the adjoint state runs backwards from one time to the one before,

    dy/dt = f,   dl/dt = -l df/dy,   dm/dt = -l df/dp,   l(t_i) += g_i,

and gives l(t_0) for the initial value, m(t_0) for the parameters, f(y_i, t_i) g_i for a time and -l f for the first one (Pontryagin;
Froehlich, Loos and Hasenauer, Scalable inference of ordinary differential equation models of biochemical processes, 2017). The tangent
equation is integrated forwards with the state. Both are solved by the same solver with the same options, so a derivative has the accuracy
of the solution, not that of rounding, and is itself a solution that can be differentiated. A solution is a host call: scipy's
solvers call Python for every evaluation of f, and their steps depend on the data. The right-hand sides of adjoint equations
are compiled when they have been evaluated often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import irgrad.numpy as inp
from irgrad.errors import TraceError
from irgrad.extend import readable, record, untraced
from irgrad.frontend.context import current
from irgrad.frontend.trace import here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, Primitive
from irgrad.operators import make_jvp, make_vjp
from irgrad.passes.batch import single_jvp, single_vjp
from irgrad.scipy._callback import Callback, compiled_later, concrete_result
from irgrad.scipy._packing import Packing, concrete, is_complex, pack

Solver = Callable[[Callable[[Any, float], Any], Any, Any, Mapping[str, Any]], Any]  # of (f(y, t), y0, times, options): y at times


class Equation:
    """A right-hand side on vectors with its solver; a param of a node, equal where it means the same."""

    def __init__(self, solver: Solver, options: Mapping[str, Any], times_move: bool) -> None:
        self.solver = solver
        self.options = options
        self.times_move = times_move

    def rhs(self, y: Any, t: Any, moving: Any, fixed: Any) -> Any:
        """dy/dt, in any trace or none."""
        raise NotImplementedError

    def bound(self, moving: Any, fixed: Any) -> Callable[[Any, float], Any]:
        """dy/dt on concrete values."""
        raise NotImplementedError

    def key(self) -> Any:
        return self.solver, tuple(sorted(self.options.items())), self.times_move

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash((type(self), self.solver, self.times_move))

    def solution(self, y0: Any, times: Any, moving: Any, fixed: Any) -> Any:
        """y at `times`, the first of which is that of `y0`: an array of shape (times, states)."""
        count, states = np.shape(concrete(times))[0], np.shape(concrete(y0))[0]
        active = pack([y0, times, moving] if self.times_move else [y0, moving])
        data = fixed if self.times_move else pack([times, fixed])
        params = {"equation": self, "count": count, "states": states}
        trace = current()
        traced = next((v for v in (active, data) if type(v) is Tracer), None)
        value = untraced(evaluate, (concrete(active), concrete(data)), params)
        if traced is None or trace is None:
            return value
        return record(trace, ODE, [active, data], params, value)

    def split(self, active: Any, data: Any, count: int, states: int) -> tuple[Any, Any, Any, Any]:
        """Initial state, times, moving and fixed arguments."""
        if self.times_move:
            return active[:states], active[states : states + count], active[states + count :], data
        return active[:states], data[:count], active[states:], data[count:]


class Given(Equation):
    """The user's right-hand side. `order` says whether t comes first; `packing` spreads (args, values it closes over)."""

    def __init__(self, fun: Callback, packing: Packing, t_first: bool, *rest: Any) -> None:
        super().__init__(*rest)
        self.fun = fun
        self.packing = packing
        self.t_first = t_first

    def key(self) -> Any:
        return self.fun, self.packing, self.t_first, super().key()

    def __repr__(self) -> str:
        return self.fun.name

    def call(self, y: Any, t: Any, moving: Any, fixed: Any) -> Callable[[Any, Any], Any]:
        args, leaves = self.packing.unpack(moving, fixed)
        fun = self.fun.bind(leaves)
        return (lambda y, t: fun(t, y, *args)) if self.t_first else (lambda y, t: fun(y, t, *args))

    def rhs(self, y: Any, t: Any, moving: Any, fixed: Any) -> Any:
        return _vector(self.call(y, t, moving, fixed)(y, t))

    def bound(self, moving: Any, fixed: Any) -> Callable[[Any, float], Any]:
        fun = self.call(None, None, moving, fixed)
        return lambda y, t: concrete_result(fun(y, t), self.fun.name)


class _Derived(Equation):
    """An equation made from another one; its right-hand side is ours, and compiled when it has been used often."""

    def __init__(self, base: Equation) -> None:
        super().__init__(base.solver, base.options, base.times_move)
        self.base = base

    def key(self) -> Any:
        return self.base

    def __hash__(self) -> int:
        return hash((type(self), self.base))

    def bound(self, moving: Any, fixed: Any) -> Callable[[Any, float], Any]:
        rhs = compiled_later(self, self.rhs)
        return lambda y, t: rhs(y, np.float64(t), moving, fixed)


class Adjoint(_Derived):
    """(y, l, m), see the module; `moving` are the base's."""

    def __repr__(self) -> str:
        return f"adjoint of {self.base!r}"

    def rhs(self, y: Any, t: Any, moving: Any, fixed: Any) -> Any:
        states = (np.shape(concrete(y))[0] - np.shape(concrete(moving))[0]) // 2
        state, weight = y[:states], y[states : 2 * states]
        pull, slope = make_vjp(lambda y, p: self.base.rhs(y, t, p, fixed), (0, 1))(state, moving)
        by_state, by_moving = pull(-weight)
        return pack([slope, by_state, by_moving])


class Tangent(_Derived):
    """(y, s) with ds/dt = df/dy s + df/dp dp; `moving` are the base's and their tangent."""

    def __repr__(self) -> str:
        return f"tangent of {self.base!r}"

    def rhs(self, y: Any, t: Any, moving: Any, fixed: Any) -> Any:
        states, count = np.shape(concrete(y))[0] // 2, np.shape(concrete(moving))[0] // 2
        push = make_jvp(lambda y, p: self.base.rhs(y, t, p, fixed), (0, 1))(y[:states], moving[:count])
        slope, moved = push((y[states:], moving[count:]))
        return pack([slope, moved])


def _vector(slope: Any) -> Any:
    """What a right-hand side returned, a number or a sequence too, as a float64 vector."""
    if is_complex(slope):
        raise TraceError(f"a right-hand side returned a complex value ({here()}); expected real numbers, give real and imaginary parts")
    return inp.reshape(inp.asarray(slope, np.float64), (-1,))


# ---- the operation ----


def evaluate(active: Any, data: Any, *, equation: Equation, count: int, states: int) -> Any:
    """The solution on concrete values."""
    y0, times, moving, fixed = equation.split(np.array(active), np.array(data), count, states)
    return np.asarray(equation.solver(equation.bound(moving, fixed), y0, times, equation.options), np.float64)


def _aval(active: Aval, data: Aval, *, equation: Equation, count: int, states: int) -> Aval:
    return Aval((count, states), np.dtype(np.float64))


@single_vjp
def _vjp(b: Builder, index: int, ct: Any, out: Any, active: Any, data: Any, *, equation: Equation, count: int, states: int) -> Any:
    if index == 1:
        return None
    y0, times, moving, fixed = equation.split(readable(active), readable(data), count, states)
    g, y = readable(ct), readable(out)
    adjoint = Adjoint(equation)
    weight, by_moving = g[count - 1], moving * 0.0
    by_times: list[Any] = []
    for i in range(count - 1, 0, -1):
        if equation.times_move:
            by_times.append(inp.dot(equation.rhs(y[i], times[i], moving, fixed), g[i]))
        back = adjoint.solution(pack([y[i], weight, by_moving]), pack([times[i], times[i - 1]]), moving, fixed)[1]
        before = back[states : 2 * states]
        weight, by_moving = before + g[i - 1], back[2 * states :]
    if not equation.times_move:
        return pack([weight, by_moving])
    first = -inp.dot(weight - g[0], equation.rhs(y0, times[0], moving, fixed))
    return pack([weight, first, *reversed(by_times), by_moving])


@single_jvp
def _jvp(b: Builder, tangents: Sequence[Any], out: Any, active: Any, data: Any, *, equation: Equation, count: int, states: int) -> Any:
    if tangents[0] is None:
        return None
    y0, times, moving, fixed = equation.split(readable(active), readable(data), count, states)
    start, moved_times, moved, _ = equation.split(readable(tangents[0]), readable(data), count, states)
    if equation.times_move:
        start = start - equation.rhs(y0, times[0], moving, fixed) * moved_times[0]
    made = Tangent(equation).solution(pack([y0, start]), times, pack([moving, moved]), fixed)[:, states:]
    if not equation.times_move:
        return made
    y = readable(out)
    slopes = inp.stack([equation.rhs(y[i], times[i], moving, fixed) for i in range(count)])
    return made + slopes * moved_times[:, None]


ODE = Primitive("ode_solution", evaluate, _aval, _vjp, _jvp, traits=PURE, host=True)
