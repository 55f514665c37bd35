"""numpy.random in traced functions: draws are recorded, and follow their parameters where a formula says how.

A distribution whose numbers are a function of standard ones (``normal(loc, scale) = loc + scale * standard_normal()``) is drawn by
numpy's own formula, in numpy's order, when a parameter is traced: the same numbers from the same seed, differentiable in the
parameters, to any order (Kingma and Welling, arXiv:1312.6114). The rest is drawn with its parameters as data and refuses derivatives.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.context import current
from irgrad.frontend.documented import explain_later
from irgrad.frontend.draws import Standard, make_generator, note_effect, record_draw
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers.core import (
    NO_VALUE,
    PUBLIC,
    alias,
    apply,
    as_array,
    cast,
    find_in_call,
    form_of,
    operand,
    run,
    shape_of,
    store,
    unsupported,
    unwrap,
)
from irgrad.frontend.storage import identity, present
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY

PARAMETERS = {  # of each method, in numpy's order; `size` and integers that are shapes are static
    "beta": "a b size", "binomial": "n p size", "chisquare": "df size", "dirichlet": "alpha size", "exponential": "scale size",
    "f": "dfnum dfden size", "gamma": "shape scale size", "geometric": "p size", "gumbel": "loc scale size",
    "hypergeometric": "ngood nbad nsample size", "laplace": "loc scale size", "logistic": "loc scale size",
    "lognormal": "mean sigma size", "logseries": "p size", "multinomial": "n pvals size",
    "multivariate_hypergeometric": "colors nsample size", "multivariate_normal": "mean cov size",
    "negative_binomial": "n p size", "noncentral_chisquare": "df nonc size", "noncentral_f": "dfnum dfden nonc size",
    "normal": "loc scale size", "pareto": "a size", "poisson": "lam size", "power": "a size", "rayleigh": "scale size",
    "standard_cauchy": "size", "standard_exponential": "size", "standard_gamma": "shape size", "standard_normal": "size",
    "standard_t": "df size", "triangular": "left mode right size", "uniform": "low high size", "vonmises": "mu kappa size",
    "wald": "mean scale size", "weibull": "a size", "zipf": "a size", "integers": "low high size", "randint": "low high size",
    "random_integers": "low high size", "random": "size", "random_sample": "size", "choice": "a size replace p",
    "permutation": "x", "permuted": "x", "rand": "*", "randn": "*", "tomaxint": "size",
}  # fmt: skip
DEFAULTS: dict[str, float] = {"loc": 0.0, "scale": 1.0, "low": 0.0, "high": 1.0, "mean": 0.0, "sigma": 1.0}
MODULE = tuple(name for name in PARAMETERS if hasattr(np.random, name))  # drawn from numpy's global generator
GLOBAL: Any = np.random.randn.__self__  # type: ignore[attr-defined]
ALIASES = {"ranf": "random_sample", "sample": "random_sample"}
Formula = Callable[..., Any]


def _f(name: str) -> Formula:
    """An elementwise function of numpy on operands."""
    return lambda trace, *args: apply(trace, *_NAMED[name], *args)


_NAMED: dict[str, tuple[str, Any]] = {
    name: (name, fn)
    for name, fn in (
        ("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("div", np.divide), ("exp", np.exp), ("expm1", np.expm1),
        ("pow", np.power), ("neg", np.negative), ("sqrt", np.sqrt), ("less_equal", np.less_equal), ("where", np.where),
    )
}  # fmt: skip
_add, _sub, _mul, _div, _exp, _expm1, _pow, _neg, _sqrt = map(_f, ("add", "sub", "mul", "div", "exp", "expm1", "pow", "neg", "sqrt"))
_less_equal, _where = _f("less_equal"), _f("where")

# ---- distributions by formula: (standard method, its arguments, formula of the parameters and the standard draw) ----


def _shift_scale(trace: Trace, eps: Any, loc: Any, scale: Any) -> Any:
    return _add(trace, loc, _mul(trace, scale, eps))


def _power_law(trace: Trace, e: Any, a: Any) -> Any:
    return _pow(trace, _neg(trace, _expm1(trace, _neg(trace, e))), _div(trace, 1.0, a))


def _triangular(trace: Trace, u: Any, left: Any, mode: Any, right: Any) -> Any:
    """By the inverse of the distribution function, as numpy does; the side of the mode is decided by `u`."""
    base, rise = _sub(trace, right, left), _sub(trace, mode, left)
    low = _less_equal(trace, u, _div(trace, rise, base))
    up = _add(trace, left, _sqrt(trace, _where(trace, low, _mul(trace, u, _mul(trace, rise, base)), 1.0)))
    rest = _mul(trace, _sub(trace, 1.0, u), _mul(trace, _sub(trace, right, mode), base))
    down = _sub(trace, right, _sqrt(trace, _where(trace, low, 1.0, rest)))
    return _where(trace, low, up, down)


FORMULAS: dict[str, tuple[str, tuple[Any, ...], Formula]] = {
    "normal": ("standard_normal", (), _shift_scale),
    "uniform": ("random", (), lambda t, u, low, high: _add(t, low, _mul(t, _sub(t, high, low), u))),
    "exponential": ("standard_exponential", (), lambda t, e, scale: _mul(t, scale, e)),
    "laplace": ("laplace", (0.0, 1.0), _shift_scale),
    "gumbel": ("gumbel", (0.0, 1.0), _shift_scale),
    "logistic": ("logistic", (0.0, 1.0), _shift_scale),
    "lognormal": ("standard_normal", (), lambda t, eps, mean, sigma: _exp(t, _shift_scale(t, eps, mean, sigma))),
    "rayleigh": ("rayleigh", (1.0,), lambda t, r, scale: _mul(t, scale, r)),
    "weibull": ("standard_exponential", (), lambda t, e, a: _pow(t, e, _div(t, 1.0, a))),
    "pareto": ("standard_exponential", (), lambda t, e, a: _expm1(t, _div(t, e, a))),
    "power": ("standard_exponential", (), _power_law),
    "triangular": ("random", (), _triangular),
}

# ---- one call ----


def call_method(generator: Any, method: str, args: Sequence[Any], kwargs: Mapping[str, Any], plain: Callable[..., Any]) -> Any:
    """A method of a generator: `plain` outside a trace, recorded in a graph, by formula where a parameter is traced."""
    trace = current()
    if trace is None:
        return plain(*args, **kwargs)
    if not trace.is_graph and find_in_call(args, kwargs) is None:
        made = plain(*args, **kwargs)
        writable = type(made) is np.ndarray and made.dtype.kind in "fc" and not trace.raw
        return identity(trace, made) if writable else made
    if kwargs.get("out") is not None:
        unsupported(f"random.{method}(out=)", "use the returned array")
    return run(trace, f"numpy.random.{method}", _record, (generator, method, tuple(args)), kwargs)


def _record(trace: Trace, generator: Any, method: str, args: tuple[Any, ...], /, **kwargs: Any) -> Any:
    given = _by_name(method, args, kwargs)
    if given is None:
        return record_draw(trace, generator, method, [_static(a) for a in args], kwargs)
    traced = any(type(value) is Tracer for name, value in given.items() if name != "size")
    if method in ("permutation", "permuted", "choice"):
        return _rearranged(trace, generator, method, given, kwargs)
    if method == "gamma" and traced:
        eps = record_draw(trace, generator, "standard_gamma", (given["shape"],), {"size": _gamma_shape(given)})
        return _result(trace, _mul(trace, _float(trace, given.get("scale", 1.0)), eps), given)
    if method == "multivariate_normal" and type(given["mean"]) is Tracer:
        rest = {name: value for name, value in given.items() if name != "mean"}
        eps = record_draw(trace, generator, method, (np.zeros(shape_of(given["mean"])),), rest)
        return _add(trace, given["mean"], eps)
    if not traced or method not in FORMULAS:
        return record_draw(trace, generator, method, (), given)
    base, extra, formula = FORMULAS[method]
    names = PARAMETERS[method].split()[:-1]
    params = [_float(trace, given.get(name, DEFAULTS.get(name, NO_VALUE))) for name in names]
    shape = given.get("size")
    full = np.broadcast_shapes(*[shape_of(p) for p in params]) if shape is None else shape
    standard = Standard(base, extra, None if shape is None and full == () else full)
    eps = record_draw(trace, generator, method, params, {}, standard)
    return _result(trace, formula(trace, eps, *params), given)


def _by_name(method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments by name, sizes as plain numbers; None for a method whose arguments are all a shape."""
    names = PARAMETERS[method].split()
    if names == ["*"]:
        return None
    if len(args) > len(names):
        return None  # numpy says what is wrong
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if "size" in given:
        given["size"] = _static_shape(given["size"])
    return {name: value for name, value in given.items() if not (name == "size" and value is None)}


def _static(value: Any) -> Any:
    return operator.index(value) if type(value) is Tracer else value


def _static_shape(size: Any) -> Any:
    if size is None:
        return None
    if isinstance(form_of(size), (int, np.integer)):
        return (int(_static(size)),)
    return tuple(int(_static(n)) for n in size)


def _float(trace: Trace, value: Any) -> Any:
    """A parameter as float64, which numpy converts it to."""
    if value is NO_VALUE:
        raise TypeError("a parameter of the distribution is missing")
    made = operand(trace, value)
    return cast(trace, made, np.float64) if type(made) is Tracer else float(made) if not np.ndim(made) else np.asarray(made, np.float64)


def _gamma_shape(given: dict[str, Any]) -> Any:
    if "size" in given:
        return given["size"]
    shape = np.broadcast_shapes(*[np.shape(unwrap(given[name])) for name in ("shape", "scale") if name in given])
    return shape or None


def _result(trace: Trace, made: Any, given: dict[str, Any]) -> Any:
    """numpy returns a Python float where neither a size nor an array is given."""
    if "size" in given or type(made) is not Tracer or np.ndim(made.value):
        return made
    return alias(made, float(made.value))


def _rearranged(trace: Trace, generator: Any, method: str, given: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    """Rows of an array in a drawn order, by indexing."""
    name = "a" if method == "choice" else "x"
    data = given[name]
    if type(data) is not Tracer and not isinstance(data, (list, tuple, np.ndarray)):
        return record_draw(trace, generator, method, (), given)
    if isinstance(unwrap(data), (int, np.integer)):
        return record_draw(trace, generator, method, (), {**given, name: _static(data)})
    array = as_array(trace, data)
    if method == "permuted":
        return _permuted(trace, generator, array, given.get("axis"))
    axis = given.get("axis", 0)
    count = shape_of(array)[axis]
    if method == "permutation":
        order = record_draw(trace, generator, method, (count,), {})
    else:
        rest = {k: v for k, v in given.items() if k not in ("a", "axis")}
        order = record_draw(trace, generator, method, (count,), rest)
    return PUBLIC[np.take](array, order, axis=axis)


def _permuted(trace: Trace, generator: Any, array: Any, axis: int | None) -> Any:
    """Each line along an axis in an order of its own."""
    shape = shape_of(array)
    if axis is None:
        order = record_draw(trace, generator, "permuted", (np.arange(int(np.prod(shape))),), {})
        return PUBLIC[np.reshape](PUBLIC[np.take](array, order), shape)
    extent = np.arange(shape[axis]).reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    order = record_draw(trace, generator, "permuted", (np.broadcast_to(extent, shape).copy(),), {"axis": axis})
    return PUBLIC[np.take_along_axis](array, order, axis)


# ---- what is not a draw ----


def other_effect(generator: Any, method: str, args: Sequence[Any], kwargs: Mapping[str, Any], plain: Callable[..., Any]) -> Any:
    """Methods that change or show a generator: `seed` is recorded, the rest makes a traced function impure."""
    trace = current()
    if trace is None:
        return plain(*args, **kwargs)
    if method == "seed" and trace.is_graph and args and args[0] is not None:
        return run(trace, "numpy.random.seed", _seed, (generator, tuple(args)), {})
    found = find_in_call(args, kwargs)
    if method == "shuffle" and found is not None and args and type(args[0]) is Tracer:
        return run(found._trace, "numpy.random.shuffle", _shuffle, (generator, *args), kwargs, handles=True)
    if found is not None:
        unsupported(f"random.{method} of a traced array")
    note_effect(trace, f"numpy.random.{method} in a traced function")
    return plain(*args, **kwargs)


def _seed(trace: Trace, generator: Any, args: tuple[Any, ...]) -> None:
    record_draw(trace, generator, "seed", args, {})


def _shuffle(trace: Trace, generator: Any, x: Any, axis: int = 0) -> None:
    now = present(x)
    order = record_draw(trace, generator, "permutation", (shape_of(now)[axis],), {})
    store(trace, x, PUBLIC[np.take](now, order, axis=axis), "shuffle")


def made_generator(generator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A generator that a traced function has just made: the program makes one as well."""
    trace = current()
    if isinstance(trace, GraphTrace):
        simple = all(v is None or isinstance(unwrap(v), (int, np.integer, np.ndarray, list, tuple)) for v in (*args, *kwargs.values()))
        if simple:
            run(trace, "numpy.random", make_generator, (generator, tuple(args)), kwargs)
        else:
            note_effect(trace, "a generator made from another object in a traced function")
    return generator


def _module_function(name: str, method: str) -> Callable[..., Any]:
    original = getattr(np.random, name)
    entry = other_effect if method in OTHERS else call_method

    def public(*args: Any, **kwargs: Any) -> Any:
        return entry(GLOBAL, method, args, kwargs, original)

    public.__name__ = public.__qualname__ = name
    explain_later(public, original)
    public.__wrapped__ = original  # type: ignore[attr-defined]
    return public


OTHERS = ("seed", "get_state", "set_state", "shuffle", "bytes", "spawn", "get_bit_generator", "set_bit_generator")
for _name in (*MODULE, *ALIASES, *(n for n in OTHERS if hasattr(np.random, n))):
    PUBLIC[getattr(np.random, _name)] = _module_function(_name, ALIASES.get(_name, _name))
assert all(name in REGISTRY for name, _ in _NAMED.values())
