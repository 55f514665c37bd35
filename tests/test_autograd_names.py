"""Every name that programs written for autograd import exists here and does the same; compared with autograd where it is installed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.core import make_jvp, make_vjp
from irgrad.extend import Box, SparseObject, VSpace, defvjp, primitive, vspace
from irgrad.numpy.numpy_boxes import ArrayBox
from irgrad.numpy.numpy_vjps import unbroadcast_f
from irgrad.tracer import getval, isbox
from irgrad.util import func, quick_grad_check, subval, subvals
from irgrad.wrap_util import unary_to_nary, wraps

X = np.array([0.5, -1.0, 2.0])

NAMES = {
    "": """builtins deriv dict differential_operators elementwise_grad extend grad grad_and_aux grad_named hessian
        hessian_tensor_product hessian_vector_product holomorphic_grad isinstance jacobian list make_ggnvp make_hvp make_jvp make_vjp
        multigrad_dict numpy primitive tensor_jacobian_product tuple type value_and_grad vector_jacobian_product""",
    "builtins": "dict isinstance list tuple type",
    "extend": """Box JVPNode SparseObject VJPNode VSpace def_linear defjvp defjvp_argnum defjvp_argnums defvjp defvjp_argnum
        defvjp_argnums notrace_primitive primitive register_notrace vspace""",
    "differential_operators": """deriv elementwise_grad grad grad_and_aux grad_named hessian hessian_tensor_product
        holomorphic_grad jacobian make_ggnvp make_hvp make_jvp make_jvp_reversemode make_vjp multigrad_dict tensor_jacobian_product
        value_and_grad""",
    "core": """Box JVPNode SparseObject VJPNode VSpace def_linear defjvp defjvp_argnum defjvp_argnums defvjp defvjp_argnum
        defvjp_argnums getval isbox make_jvp make_vjp primitive vspace""",
    "tracer": "Box getval isbox notrace_primitive primitive register_notrace",
    "util": "func quick_grad_check subval subvals",
    "wrap_util": "get_doc get_name unary_to_nary wraps",
    "misc": "flatten",
    "misc.flatten": "flatten flatten_func",
    "misc.optimizers": "adam rmsprop sgd",
    "misc.fixed_points": "fixed_point",
    "misc.tracers": "const_graph full_graph",
    "test_util": """check_equivalent check_grads check_jvp check_vjp combo_check make_numerical_jvp scalar_close""",
    "numpy.numpy_boxes": "ArrayBox",
    "numpy.numpy_vjps": "unbroadcast unbroadcast_f",
    "scipy.signal": "convolve",
    "scipy.integrate": "odeint",
    "scipy.special": """beta betainc betaln digamma erf erfc erfcinv erfinv expit gamma gammainc gammaincc gammaln gammasgn i0 i1
        iv ive j0 j1 jn logit logsumexp multigammaln polygamma psi rgamma y0 y1 yn""",
    "scipy.stats": "beta chi2 dirichlet gamma multivariate_normal norm poisson t",
    "scipy.linalg": "solve_triangular solve_banded solve_sylvester sqrtm",
}
INTERNAL = [
    "metadata",
    "array_from_args",
    "concatenate_args",
    "make_diagonal",
    "parse_einsum_input",
    "custom_where",
    "wrap_intdtype",
    "wrap_namespace",
    "wrap_if_boxes_inside",
    "c_class",
    "r_class",
    "notrace_functions",
]  # helpers of autograd's own wrappers


def names_of(module: str) -> list[str]:
    return NAMES[module].split()


@pytest.mark.parametrize("module", NAMES)
def test_names_exist(module: str) -> None:
    mine = importlib.import_module(f"irgrad.{module}".rstrip("."))
    if module == "misc.flatten":  # the package exports the function under the module's name, as autograd does
        mine = importlib.import_module("sys").modules["irgrad.misc.flatten"]
    assert [name for name in names_of(module) if not hasattr(mine, name)] == []


@pytest.mark.parametrize("module", NAMES)
def test_the_list_is_autograds(module: str) -> None:
    pytest.importorskip("autograd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = importlib.import_module(f"autograd.{module}".rstrip("."))
    if module == "misc.flatten":
        theirs = importlib.import_module("sys").modules["autograd.misc.flatten"]
    assert [name for name in names_of(module) if not hasattr(theirs, name)] == []


@pytest.mark.parametrize("module", ["numpy", "numpy.linalg", "numpy.fft", "numpy.random"])
def test_the_wrapped_modules_have_all_of_autograds_names(module: str) -> None:
    pytest.importorskip("autograd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, mine = (importlib.import_module(f"{package}.{module}") for package in ("autograd", "irgrad"))
    plain = importlib.import_module(module)
    wanted = [n for n in dir(theirs) if not n.startswith("_") and hasattr(plain, n) and not isinstance(getattr(theirs, n), ModuleType)]
    assert len(wanted) > 15
    assert [name for name in wanted if name not in INTERNAL and not hasattr(mine, name)] == []


# ---- spaces ----

VALUES: list[Any] = [X, 1.5, np.float64(2.0), X + 1j, [X, 2.0], {"a": (X, 1.0), "b": [np.eye(2)]}, np.zeros((0, 2))]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_spaces(value: Any) -> None:
    space = vspace(value)
    assert space == vspace(value)
    assert vspace([value, value]) != space
    basis = list(space.standard_basis())
    assert len(basis) == space.size
    x, y = space.randn(), space.randn()
    assert vspace(x) == space
    total = space.zeros()
    for unit in basis:  # the projections on the basis make up the vector
        total = space.mut_add(total, space.scalar_mul(unit, space.inner_prod(unit, x)))
    assert space.inner_prod(space.add(total, space.scalar_mul(x, -1.0)), space.ones()) == pytest.approx(0.0, abs=1e-12)
    assert space.inner_prod(x, y) == pytest.approx(space.inner_prod(y, x))
    assert space.inner_prod(space.covector(x), space.covector(y)) == pytest.approx(space.inner_prod(x, y))
    assert space.inner_prod(space.mut_add(None, x), x) == pytest.approx(space.inner_prod(x, x))


def test_no_space() -> None:
    for value in ("text", None, True, object()):
        with pytest.raises(TypeError, match=r"Can't find vector space for value .* of type .*Valid types are"):
            vspace(value)


class Polynomial:
    def __init__(self, coefficients: Any) -> None:
        self.coefficients = coefficients


def test_a_type_with_a_space_of_its_own() -> None:
    class Space(VSpace):
        def __init__(self, value: Polynomial) -> None:
            self.size = len(value.coefficients)

        def zeros(self) -> Any:
            return Polynomial(np.zeros(self.size))

        def _add(self, x: Any, y: Any) -> Any:
            return Polynomial(x.coefficients + y.coefficients)

        def _inner_prod(self, x: Any, y: Any) -> Any:
            return x.coefficients @ y.coefficients

    irgrad.pytree.register(Polynomial, lambda p: ((p.coefficients,), None), lambda _, leaves: Polynomial(*leaves))
    Box.register(Polynomial)
    assert vspace(Polynomial(X)).size == 3
    Space.register(Polynomial)
    space = vspace(Polynomial(X))
    assert type(space) is Space
    assert space.inner_prod(space.add(space.zeros(), Polynomial(X)), Polynomial(X)) == X @ X
    found = irgrad.grad(lambda p: np.sum(p.coefficients**2))(Polynomial(X))
    assert type(found) is Polynomial
    np.testing.assert_allclose(found.coefficients, 2 * X)


# ---- rules ----


@primitive
def entry(x: Any, i: int) -> Any:
    return x[i] * 1.0


def _entry_vjp(ans: Any, x: Any, i: int) -> Any:
    def vjp(g: Any) -> SparseObject:
        def mut_add(a: Any) -> Any:
            a[i] += g
            return a

        return SparseObject(vspace(x), mut_add)

    return vjp


defvjp(entry, _entry_vjp, None)


def test_a_sparse_cotangent() -> None:
    def f(x: Any) -> Any:
        return entry(x, 0) ** 2 * entry(x, 2)

    for gradient in (irgrad.grad(f), irgrad.jit(irgrad.grad(f))):
        for _ in range(3):
            np.testing.assert_allclose(gradient(X), [2 * X[0] * X[2], 0.0, X[0] ** 2])
    np.testing.assert_allclose(irgrad.hessian(f)(X), [[2 * X[2], 0, 2 * X[0]], [0, 0, 0], [2 * X[0], 0, 0]])


@primitive
def added(x: Any, y: Any) -> Any:
    return x + y


defvjp(added, lambda ans, x, y: unbroadcast_f(x, lambda g: g), lambda ans, x, y: unbroadcast_f(y, lambda g: g))


@pytest.mark.parametrize("shapes", [((3,), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((2, 1, 3), (4, 1))])
def test_unbroadcast(shapes: Any) -> None:
    x, y = (np.linspace(0.5, 1.5, int(np.prod(s))).reshape(s) for s in shapes)
    want = irgrad.grad(lambda a, b: np.sum((a + b) ** 3), (0, 1))(x, y)
    for gradient in (irgrad.grad(lambda a, b: np.sum(added(a, b) ** 3), (0, 1)),):
        for g, w in zip(gradient(x, y), want, strict=True):
            np.testing.assert_allclose(g, w)
            assert g.shape == w.shape
    real = unbroadcast_f(1.0, lambda g: g)(np.array([1 + 1j, 2.0]))
    assert real == 3.0 and not np.iscomplexobj(real)


# ---- the rest ----


def test_boxes() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append((isbox(x), isinstance(x, Box), isinstance(x, ArrayBox), type(getval(x)), isbox(getval(x))))
        return inp.sum(x)

    irgrad.grad(f)(X)
    assert seen == [(True, True, True, np.ndarray, False)]
    assert not isinstance(X, Box) and not isinstance(X, ArrayBox) and not isbox(X)
    assert getval(X) is X
    with pytest.raises(AttributeError, match=r"irgrad.tracer has no trace_stack: traces of irgrad need no levels"):
        _ = importlib.import_module("irgrad.tracer").trace_stack


def test_modules_are_attributes() -> None:
    """As after `import autograd`: `autograd.tracer.getval`."""
    modules = "core", "tracer", "util", "wrap_util"
    program = f"import irgrad; print([getattr(irgrad, name).__name__ for name in {modules}], hasattr(irgrad, 'none'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['irgrad.core', 'irgrad.tracer', 'irgrad.util', 'irgrad.wrap_util'] False\n"


def test_core_and_util() -> None:
    vjp, value = make_vjp(lambda x: np.sum(x**2), X)
    assert value == np.sum(X**2)
    np.testing.assert_allclose(vjp(1.0), 2 * X)
    assert make_jvp(lambda x: np.sum(x**2), X)(np.ones(3)) == (np.sum(X**2), 2 * np.sum(X))
    assert subvals((1, 2, 3), [(0, 9), (2, 7)]) == (9, 2, 7)
    assert subval([1, 2], 1, 5) == (1, 5)
    assert func(test_no_space) is test_no_space
    with pytest.warns(UserWarning, match="quick_grad_check function is deprecated"):
        quick_grad_check(lambda x, k: np.sum(x**k), X + 3, (2,))
    broken = primitive(lambda x: np.sum(x * x))
    defvjp(broken, lambda ans, x: lambda g: g * x)
    with pytest.warns(UserWarning, match="deprecated"), pytest.raises(AssertionError, match="check of"):
        quick_grad_check(broken, X)


def test_an_operator_of_the_users() -> None:
    @unary_to_nary
    def doubled_grad(fun: Any, x: Any, scale: float = 2.0) -> Any:
        "Twice the gradient."
        vjp, value = make_vjp(fun, x)
        return irgrad.pytree.tree_map(lambda g: scale * g, vjp(np.ones_like(value)))

    def product(a: Any, b: Any) -> Any:
        "A product."
        return a * b

    d = doubled_grad(product, 1)
    assert d(3.0, 5.0) == 6.0
    assert d.__name__ == "doubled_grad_of_product_wrt_argnum_1"
    assert d.__doc__ == "A product."
    assert doubled_grad(product, (0, 1), scale=3.0)(3.0, 5.0) == (15.0, 9.0)
    assert wraps(product, "{fun}_{n}", n=2)(lambda: 0).__name__ == "product_2"
