"""`scipy.optimize` for traced code: roots and minimisers with derivatives by the implicit function theorem (`irgrad.scipy._implicit`).

`root`, `fsolve`, `brentq` and its kin, `newton`, `minimize` and `minimize_scalar` have scipy's signatures and are differentiable by
`args` and by what the function closes over, in both modes and to any order; `x0` has no derivative. Where no derivative of the
function is given, the solver gets irgrad's. The result of a traced call has ``x`` (traced), ``fun`` (traced, at x) and scipy's other
fields as they were when the function was traced. Bounds may be traced as well: an entry of a minimiser that is at one moves with it and
with nothing else. Constraints are not traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize as _optimize

import irgrad.numpy as inp
from irgrad.extend import concrete_of
from irgrad.frontend.context import current
from irgrad.frontend.documented import described
from irgrad.frontend.handlers.core import as_array, run, unsupported
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.pytree import flatten
from irgrad.scipy._callback import Callback, without_callbacks
from irgrad.scipy._implicit import Condition, Solver
from irgrad.scipy._packing import Packing, settled

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_WITHOUT_SLOPE = frozenset({"nelder-mead", "powell", "cobyla", "cobyqa"})
_ROOT_WITHOUT_SLOPE = frozenset({"broyden1", "broyden2", "anderson", "linearmixing", "diagbroyden", "excitingmixing", "krylov", "df-sane"})


def _condition(
    kind: str, fun: Any, slope: Any, args: Any, solver: Solver, options: Mapping[str, Any], is_scalar: bool = False, limits: Any = None
) -> Condition:
    callback = Callback(fun)
    second = Callback(slope) if callable(slope) else None
    args = args if isinstance(args, tuple) else (args,)
    packing = Packing((args, callback.leaves, [] if second is None else second.leaves, limits), kind)
    return Condition(kind, callback, second, packing, solver, options, is_scalar)


def _finished(condition: Condition, x: Any) -> Any:
    """scipy's result with the traced solution and the function's value there."""
    packing = condition.packing
    result = condition.result
    fields = dict(result) if isinstance(result, dict) else {}
    fields.update(x=x, fun=condition.value(x, packing.moving, packing.fixed))
    for name in ("jac", "hess", "hess_inv", "fjac", "r", "qtf"):  # of the traced values these would be wrong when compiled
        fields.pop(name, None)
    return _optimize.OptimizeResult(**fields)


def _start(trace: Trace, x0: Any) -> Any:
    """A starting point as a vector."""
    return inp.reshape(as_array(trace, x0, np.float64), (-1,))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settled(value) for key, value in options.items() if value is not None}


# ---- roots ----


def _root_solver(fun: Callable[[Any], Any], slope: Any, start: Any, options: Mapping[str, Any]) -> Any:
    given = {} if options.get("method", "hybr") in _ROOT_WITHOUT_SLOPE else {"jac": slope}
    return _optimize.root(fun, start, **given, **options)


def _root(
    trace: Trace, fun: Any, x0: Any, args: Any = (), method: str = "hybr", jac: Any = None, tol: Any = None, callback: Any = None,
    options: Any = None,
) -> Any:  # fmt: skip
    """x0 of any shape, taken as a vector; real residuals of as many entries. A host call; derivatives by the implicit function
    theorem: Griewank and Walther, Evaluating Derivatives (2008), 15.3. Warns where scipy finds no root.
    """
    if jac is True or callback is not None:
        unsupported("optimize.root(jac=True, callback=)", "return the residual only", "scipy")
    condition = _condition("root", fun, jac, args, _root_solver, _plain({"method": method, "tol": tol, "options": options}))
    return _finished(condition, condition.solution(_start(trace, x0)))


def _fsolve(trace: Trace, func: Any, x0: Any, args: Any = (), fprime: Any = None, full_output: Any = 0, **more: Any) -> Any:
    """As `root` with scipy's older signature: the root (n,) itself."""
    if full_output:
        unsupported("optimize.fsolve(full_output=True)", "leave full_output out, or use root", "scipy")
    options = {key: settled(value) for key, value in more.items() if key in ("xtol", "maxfev", "band", "epsfcn", "factor", "diag")}
    return _condition("root", func, fprime, args, _root_solver, {"options": options}).solution(_start(trace, x0))


_FINDERS = ("brentq", "brenth", "bisect", "ridder", "toms748", "newton")
_POSITIONS = {  # of their parameters behind the function
    "newton": ("x0", "fprime", "args", "tol", "maxiter"),
    "toms748": ("a", "b", "args", "k", "xtol", "rtol", "maxiter"),
}
_ON_BRACKETS = ("a", "b", "args", "xtol", "rtol", "maxiter")


def _number_solver(name: str) -> Solver:
    """A solver of scipy for a function of one number, started with numbers."""
    original = getattr(_optimize, name)

    def solve(fun: Callable[[Any], Any], slope: Any, start: Any, options: Mapping[str, Any]) -> Any:
        function = lambda x: float(np.reshape(fun(x), ()))
        if "starts" in options:  # names and counts of the numbers that are given by keyword
            given = {key: value for key, value in options.items() if key != "starts"}
            numbers = iter(start.tolist())
            for key, count in options["starts"]:
                given[key] = next(numbers) if count is None else tuple(next(numbers) for _ in range(count))
            found = original(function, **given)
        else:
            found = original(function, *start, **options)
        if name == "minimize_scalar":
            return found
        if name == "root_scalar":
            return _optimize.OptimizeResult(x=found.root, success=found.converged, message=found.flag, found=found)
        return _optimize.OptimizeResult(x=found)

    return solve


_ON_NUMBERS = {name: _number_solver(name) for name in (*_FINDERS, "root_scalar", "minimize_scalar")}


def _number_root(name: str) -> Callable[..., Any]:
    """A root finder ``f(f, a, b, args, xtol, rtol, maxiter)``, or newton's with its own parameters."""

    def impl(trace: Trace, f: Any, *args: Any, **kwargs: Any) -> Any:
        names = _POSITIONS.get(name, _ON_BRACKETS)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        for key in ("full_output", "fprime", "fprime2", "x1"):
            if given.pop(key, None):
                unsupported(f"optimize.{name}({key}=)", f"leave {key} out", "scipy")
        start = [given.pop(key) for key in names[: 1 if name == "newton" else 2]]
        if any(np.ndim(concrete_of(x)) for x in start):
            unsupported(f"optimize.{name} of an array", "use root", "scipy")
        arguments = given.pop("args", ())
        condition = _condition("root", f, None, arguments, _ON_NUMBERS[name], _plain(given), True)
        return condition.solution(_vector(trace, start))[0]

    return impl


def _root_scalar(trace: Trace, f: Any, args: Any = (), method: Any = None, bracket: Any = None, **given: Any) -> Any:
    """scipy's result with a traced ``root``; the bracket and the starting points have no derivative."""
    for key in ("fprime", "fprime2"):
        if given.pop(key, None):
            unsupported(f"optimize.root_scalar({key}=)", f"leave {key} out", "scipy")
    start, starts = _starts(trace, {"bracket": bracket, "x0": given.pop("x0", None), "x1": given.pop("x1", None)})
    options = _plain({"method": method, **given, "starts": starts})
    condition = _condition("root", f, None, args, _ON_NUMBERS["root_scalar"], options, True)
    root = condition.solution(start)[0]
    found = condition.result.found
    made = _optimize.RootResults(root, found.iterations, found.function_calls, 0, found.method)
    made.converged, made.flag = found.converged, found.flag
    return made


def _starts(trace: Trace, given: Mapping[str, Any]) -> tuple[Any, list[tuple[str, int | None]]]:
    """Starting numbers that a solver takes by keyword, as one vector, with their names and how many each has (None: a number)."""
    numbers: list[Any] = []
    names: list[tuple[str, int | None]] = []
    for name, value in given.items():
        if value is not None:
            several = name == "bracket"
            names.append((name, len(value) if several else None))
            numbers.extend(value if several else [value])
    return (_vector(trace, numbers) if numbers else np.zeros(0)), names


def _vector(trace: Trace, numbers: Any) -> Any:
    return inp.concatenate([_start(trace, x) for x in numbers])


# ---- minimisers ----


def _minimize_solver(fun: Callable[[Any], Any], slope: Any, start: Any, options: Mapping[str, Any]) -> Any:
    method = str(options.get("method", "bfgs")).lower()
    given = {} if method in _WITHOUT_SLOPE else {"jac": slope if slope is not None else True}
    return _optimize.minimize(fun, start, **given, **options)


def _minimize(
    trace: Trace, fun: Any, x0: Any, args: Any = (), method: Any = None, jac: Any = None, hess: Any = None, hessp: Any = None,
    bounds: Any = None, constraints: Any = (), tol: Any = None, callback: Any = None, options: Any = None,
) -> Any:  # fmt: skip
    """x0 (n,), a real objective. A host call; the derivative of the minimiser solves with the Hessian: Griewank and Walther (2008), 15.3.
    Entries at a bound move with the bound only. Methods that want a Hessian get irgrad's.

    Raises UnsupportedError for constraints. Warns where scipy finds no minimum.
    """
    for name, value in (("constraints", constraints), ("callback", callback), ("hess", hess), ("hessp", hessp)):
        if value is not None and value != ():
            unsupported(f"optimize.minimize({name}=)", f"leave {name} out", "scipy")
    kind = "minimum with gradient" if jac is True else "minimum"
    plain = _plain({"method": method, "tol": tol, "options": options})
    start = _start(trace, x0)
    limits = None if bounds is None else _limits(trace, bounds, int(np.size(concrete_of(start))))
    condition = _condition(kind, fun, jac, args, _minimize_solver, plain, limits=limits)
    return _finished(condition, condition.solution(start))


def _limits(trace: Trace, bounds: Any, n: int) -> tuple[Any, Any]:
    """Low and high ends (n,) of bounds in scipy's forms; where there is none, infinite ones."""
    if isinstance(bounds, _optimize.Bounds):
        ends = [bounds.lb, bounds.ub]
    else:
        pairs = list(bounds)
        if len(pairs) != n or any(len(pair) != 2 for pair in pairs):
            raise ValueError("The number of bounds is not compatible with the length of `x0`.")
        ends = [[none if pair[k] is None else pair[k] for pair in pairs] for k, none in enumerate((-np.inf, np.inf))]
    low, high = (inp.broadcast_to(as_array(trace, end, np.float64), (n,)) for end in ends)
    if np.any(np.asarray(concrete_of(low)) > np.asarray(concrete_of(high))):
        raise ValueError("One of the lower bounds is greater than an upper bound.")
    return low, high


def _minimize_scalar(
    trace: Trace,
    fun: Any,
    bracket: Any = None,
    bounds: Any = None,
    args: Any = (),
    method: Any = None,
    tol: Any = None,
    options: Any = None,
) -> Any:
    """A number that minimises a real function of one number, as `minimize`; where it is at one of its bounds, it moves with that."""
    limits = None if bounds is None else _limits(trace, [tuple(bounds)], 1)
    start, starts = _starts(trace, {"bracket": bracket})
    plain = _plain({"starts": starts, "method": method, "tol": tol, "options": options})
    condition = _condition("minimum", fun, None, args, _ON_NUMBERS["minimize_scalar"], plain, True, limits)
    made = _finished(condition, condition.solution(start))
    made.x = made.x[0]
    return made


# ---- names and entries: a function may close over traced values, so the trace is the open one ----


def _entry(name: str, impl: Callable[..., Any]) -> Callable[..., Any]:
    original = getattr(_optimize, name)

    def public(*args: Any, **kwargs: Any) -> Any:
        trace = current()
        if trace is None:
            return original(*args, **kwargs)
        functions = [v for v in (*args, *kwargs.values()) if callable(v) and type(v) is not Tracer]
        others = [v for v in (*args, *kwargs.values()) if not callable(v) or type(v) is Tracer]
        traced = any(type(leaf) is Tracer for leaf in flatten(others)[0]) or any(Callback(f).leaves for f in functions)
        return run(trace, f"optimize.{name}", impl, args, kwargs) if traced else original(*args, **kwargs)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = described(original, impl)
    public.__wrapped__ = original  # type: ignore[attr-defined]
    return public


_IMPLS: dict[str, Callable[..., Any]] = {
    "root": _root,
    "fsolve": _fsolve,
    "minimize": _minimize,
    "minimize_scalar": _minimize_scalar,
    "root_scalar": _root_scalar,
    **{name: _number_root(name) for name in _FINDERS},
}
globals().update(without_callbacks(_optimize) | {name: _entry(name, impl) for name, impl in _IMPLS.items()})
