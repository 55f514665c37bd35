"""`scipy.integrate` for traced code: sums over samples, and `odeint` and `solve_ivp` with adjoints (`irgrad.scipy._ode`).

`odeint` is differentiable by the initial state, the times and the arguments, `solve_ivp` by the initial state, `t_eval`, the
start of `t_span` and the arguments; both also by what the right-hand side closes over, in both modes and to any order. `solve_ivp`
needs `t_eval`, for its own choice of times is no function to differentiate; events and dense output are not traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import integrate as _integrate
from scipy.optimize import OptimizeResult

import irgrad.numpy as inp
from irgrad.extend import concrete_of
from irgrad.frontend.context import current
from irgrad.frontend.documented import described
from irgrad.frontend.handlers.core import as_array, axis_index, run, shape_of, unsupported
from irgrad.frontend.handlers.special import floating
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer, depends_on_mark
from irgrad.pytree import flatten
from irgrad.scipy import _ode
from irgrad.scipy._callback import Callback, concrete_result, without_callbacks
from irgrad.scipy._packing import Packing, real_vector

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...

# ---- sums over samples ----


def _at(x: Any, axis: int, start: int, stop: int, step: int = 1) -> Any:
    """A slice along one axis."""
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def _spacing(x: Any, y: Any, axis: int) -> Any:
    """The widths of the intervals, shaped to multiply samples along the axis."""
    if len(shape_of(x)) == 1:
        widths = inp.diff(x)
        return inp.reshape(widths, (1,) * axis + shape_of(widths) + (1,) * (len(shape_of(y)) - axis - 1))
    if len(shape_of(x)) != len(shape_of(y)):
        raise ValueError("If given, shape of `x` must be 1-D or the same as `y`.")
    return inp.diff(x, axis=axis)


def _trapezoid(trace: Trace, y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """y (..., n, ...) of floats or complex numbers and x (n,) or like y; both are differentiable."""
    return inp.trapezoid(as_array(trace, y), x=x, dx=dx, axis=axis)


def _cumulative_trapezoid(trace: Trace, y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, initial: Any = None) -> Any:
    """y (..., n, ...) and x (n,) or like y, differentiable; `initial` is None or 0. Raises ValueError for no points."""
    y = floating(trace, as_array(trace, y))
    if shape_of(y)[axis] == 0:
        raise ValueError("At least one point is required along `axis`.")
    axis = axis_index(axis, len(shape_of(y)))
    n = shape_of(y)[axis]
    width = dx if x is None else _spacing(as_array(trace, x), y, axis)
    made = inp.cumsum(width * (_at(y, axis, 1, n) + _at(y, axis, 0, n - 1)) / 2.0, axis=axis)
    if initial is None:
        return made
    if initial != 0:
        raise ValueError("`initial` must be `None` or `0`.")
    first = inp.zeros((*shape_of(y)[:axis], 1, *shape_of(y)[axis + 1 :]), made.dtype)
    return inp.concatenate([first, made], axis=axis)


def _ratio(x: Any, y: Any) -> Any:
    """x / y, 0 where `y` is 0, as scipy has it: at samples of one place."""
    zero = y == 0.0
    return inp.where(zero, 0.0, x / inp.where(zero, 1.0, y))


def _simpson(trace: Trace, y: Any, x: Any = None, *, dx: Any = 1.0, axis: int = -1) -> Any:
    """Simpson's rule on pairs of intervals; one left over is integrated by the parabola through the last three samples.

    Cartwright, Simpson's rule cumulative integration with MS Excel and irregularly-spaced data (2017), equation 8.
    """
    y = floating(trace, as_array(trace, y))
    axis = axis_index(axis, len(shape_of(y)))
    n = shape_of(y)[axis]
    if x is not None:
        x = floating(trace, as_array(trace, x))
        if (shape_of(x)[0] if len(shape_of(x)) == 1 else shape_of(x)[axis]) != n:
            raise ValueError("If given, length of `x` along `axis` must be the same as `y`.")
        widths = _spacing(x, y, axis)
    else:
        widths = inp.reshape(inp.broadcast_to(floating(trace, dx), (n - 1,)), (1,) * axis + (n - 1,) + (1,) * (len(shape_of(y)) - axis - 1))
    if n < 3:
        return inp.trapezoid(y, x=x, dx=dx, axis=axis) if n == 2 else inp.sum(y, axis=axis) * 0.0
    pairs = (n - 1) // 2
    left, right = _at(widths, axis, 0, 2 * pairs, 2), _at(widths, axis, 1, 2 * pairs, 2)
    low, middle, high = (_at(y, axis, k, k + 2 * pairs - 1, 2) for k in range(3))
    both = left + right
    ratio = _ratio(left, right)
    weights = (2.0 - _ratio(1.0, ratio), both * _ratio(both, left * right), 2.0 - ratio)
    made = inp.sum(both / 6.0 * (low * weights[0] + middle * weights[1] + high * weights[2]), axis=axis)
    if n % 2 == 1:
        return made
    last, before = _at(widths, axis, n - 2, n - 1), _at(widths, axis, n - 3, n - 2)
    total = last + before
    alpha = _ratio(2.0 * last * last + 3.0 * last * before, 6.0 * total)
    beta = _ratio(last * last + 3.0 * last * before, 6.0 * before)
    eta = _ratio(last * last * last, 6.0 * before * total)
    rest = alpha * _at(y, axis, n - 1, n) + beta * _at(y, axis, n - 2, n - 1) - eta * _at(y, axis, n - 3, n - 2)
    return made + inp.sum(rest, axis=axis)


def _fixed_quad(trace: Trace, func: Any, a: Any, b: Any, args: Any = (), n: int = 5) -> Any:
    """Gauss' rule of order n; scipy's own form serves where only `func` closes over traced values."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    half = 0.5 * (b - a)
    return half * inp.sum(weights * func(half * (nodes + 1.0) + a, *args), axis=-1), None


# ---- differential equations ----


def _odeint_solver(rhs: Callable[[Any, float], Any], y0: Any, times: Any, options: Mapping[str, Any]) -> Any:
    return _integrate.odeint(rhs, y0, times, **options)


def _ivp_solver(rhs: Callable[[Any, float], Any], y0: Any, times: Any, options: Mapping[str, Any]) -> Any:
    """The states at the times; the first one is the start."""
    start, end = float(times[0]), float(times[-1])
    if start == end:
        return np.repeat(y0[None], len(times), axis=0)
    found = _integrate.solve_ivp(lambda t, y: rhs(y, t), (start, end), y0, t_eval=times[1:], **options)
    if found.status < 0:
        raise ValueError(f"solve_ivp: {found.message}")
    return np.concatenate([y0[None], found.y.T])


def _moves(x: Any) -> bool:
    """Do derivatives flow to a traced leaf?"""
    return any(type(leaf) is Tracer and depends_on_mark(leaf) for leaf in flatten(x)[0])


def _equation(
    name: str, fun: Any, args: Any, t_first: bool, times: Any, solver: _ode.Solver, options: dict[str, Any]
) -> tuple[Any, Packing]:
    callback = Callback(fun)
    packing = Packing((tuple(args), callback.leaves), name)
    return _ode.Given(callback, packing, t_first, solver, options, _moves(times)), packing


_ODEINT_OPTIONS = ("rtol", "atol", "h0", "hmax", "hmin", "mxstep", "mxhnil", "mxordn", "mxords")


def _odeint(
    trace: Trace, func: Any, y0: Any, t: Any, args: Any = (), Dfun: Any = None, col_deriv: Any = 0, full_output: Any = 0, **more: Any
) -> Any:
    """scipy's options; a Jacobian is not used, for it would not fit the adjoint equation."""
    if full_output:
        unsupported("integrate.odeint(full_output=True)", "leave full_output out", "scipy")
    t_first = bool(more.pop("tfirst", False))
    more.pop("printmessg", None)
    options = {key: _plain("odeint", key, value) for key, value in more.items()}
    unknown = sorted(set(options) - set(_ODEINT_OPTIONS))
    if unknown:
        unsupported(f"integrate.odeint({unknown[0]}=)", f"leave {unknown[0]} out", "scipy")
    if not isinstance(args, tuple):
        args = (args,)
    y0, times = inp.atleast_1d(real_vector(y0, "odeint: y0")), real_vector(t, "odeint: t")
    if len(shape_of(y0)) != 1:
        raise ValueError("Initial condition y0 must be one-dimensional.")
    equation, packing = _equation("odeint", func, args, t_first, times, _odeint_solver, options)
    return equation.solution(y0, times, packing.moving, packing.fixed)


def _plain(name: str, key: str, value: Any) -> Any:
    """An option, which is no data; tolerances of single states become one, for adjoint equations have other states."""
    value = concrete_of(value)
    if key in ("rtol", "atol") and value is not None:
        return float(np.min(value))
    return value


def _solve_ivp(
    trace: Trace, fun: Any, t_span: Any, y0: Any, method: Any = "RK45", t_eval: Any = None, dense_output: bool = False, events: Any = None,
    vectorized: bool = False, args: Any = None, **options: Any,
) -> Any:  # fmt: skip
    """Real states (n,) at `t_eval` (m,), which is needed: the result has `t`, `y` (n, m) and that it succeeded.

    A host call; derivatives by the adjoint equation: Froehlich, Loos and Hasenauer (2017). Raises TraceError for complex values,
    UnsupportedError for events, dense output and Jacobians.
    """
    if t_eval is None:
        unsupported("integrate.solve_ivp without t_eval", "give the times at which the solution is wanted", "scipy")
    for key, value in (("dense_output", dense_output), ("events", events), ("vectorized", vectorized), ("jac", options.get("jac"))):
        if value:
            unsupported(f"integrate.solve_ivp({key}=)", f"leave {key} out", "scipy")
    start, end = t_span
    y0, times = real_vector(y0, "solve_ivp: y0"), real_vector(t_eval, "solve_ivp: t_eval")
    if len(shape_of(y0)) != 1:
        raise ValueError("`y0` must be 1-dimensional.")
    low, high = sorted((float(np.asarray(concrete_of(start))), float(np.asarray(concrete_of(end)))))
    if np.any(concrete_of(times) < low) or np.any(concrete_of(times) > high):
        raise ValueError("Values in `t_eval` are not within `t_span`.")
    steps = np.diff(concrete_of(times)) * (1.0 if concrete_of(end) > concrete_of(start) else -1.0)
    if np.any(steps <= 0):
        raise ValueError("Values in `t_eval` are not properly sorted.")
    all_times = inp.concatenate([inp.reshape(as_array(trace, start, np.float64), (1,)), times])
    plain = {key: _plain("solve_ivp", key, value) for key, value in options.items() if value is not None}
    plain["method"] = method
    equation, packing = _equation("solve_ivp", fun, () if args is None else args, True, all_times, _ivp_solver, plain)
    made = equation.solution(y0, all_times, packing.moving, packing.fixed)
    return Solution(t=times, y=inp.transpose(made[1:]))


class Solution(OptimizeResult):  # type: ignore[misc]
    """The result of a traced `solve_ivp`: the times and the states at them, as in scipy's; the rest says that it succeeded."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(sol=None, t_events=None, y_events=None, status=0, success=True, message="", **fields)


globals().update(
    without_callbacks(
        _integrate, trapezoid=_trapezoid, cumulative_trapezoid=_cumulative_trapezoid, simpson=_simpson, fixed_quad=_fixed_quad
    )
)

# ---- entries: a right-hand side may close over traced values, so the trace is the open one ----


def _entry(name: str, original: Callable[..., Any], impl: Callable[..., Any]) -> Callable[..., Any]:
    def public(*args: Any, **kwargs: Any) -> Any:
        trace = current()
        if trace is None:
            return original(*args, **kwargs)
        given = list(args) if args else [kwargs[key] for key in ("func", "fun") if key in kwargs]
        fun = given[0] if given else None
        if not trace.is_graph and not _is_traced((args[1:], kwargs)) and callable(fun) and not Callback(fun).leaves:
            checked = _checked(fun)  # what it reads from attributes may be traced
            if args:
                return original(checked, *args[1:], **kwargs)
            return original(**{key: checked if value is fun else value for key, value in kwargs.items()})
        return run(trace, f"integrate.{name}", impl, args, kwargs)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = described(original, impl)
    public.__wrapped__ = original  # type: ignore[attr-defined]
    return public


def _is_traced(tree: Any) -> bool:
    return any(type(leaf) is Tracer for leaf in flatten(tree)[0])


def _checked(fun: Callable[..., Any]) -> Callable[..., Any]:
    name = getattr(fun, "__name__", type(fun).__name__)
    return lambda *args: concrete_result(fun(*args), name)


odeint = _entry("odeint", _integrate.odeint, _odeint)
solve_ivp = _entry("solve_ivp", _integrate.solve_ivp, _solve_ivp)
