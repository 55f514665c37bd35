"""What autograd's tutorials teach, as programs of our own under the same imports with `irgrad` for `autograd`.

One test a tutorial: the project's own of 2025 and of 2017, a university's course notes, and a short introduction that came with lectures.
Each program runs eager and compiled, and its results are known otherwise.
"""

from __future__ import annotations

import types
from typing import Any

import numpy
import pytest

import irgrad
from irgrad.runtime.jit import Jitted

pytestmark = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])


def run(text: str, compiled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """The names that a program leaves; `compiled` jits what `grad` and its relatives return."""
    if compiled:
        for name in ("grad", "elementwise_grad", "jacobian", "grad_named", "multigrad_dict", "value_and_grad"):
            operator = getattr(irgrad, name)
            monkeypatch.setattr(irgrad, name, lambda *args, operator=operator, **kwargs: Jitted(operator(*args, **kwargs)))
    path = tmp_path / "tutorial.py"
    path.write_text(text)
    module = types.ModuleType("tutorial")
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), vars(module))
    return module


THE_TUTORIAL = """
import irgrad.numpy as np
from irgrad import grad, elementwise_grad, jacobian, holomorphic_grad
from irgrad.builtins import isinstance, list, dict, tuple
from irgrad.extend import primitive, defvjp
from irgrad.test_util import check_grads

def cosine(x):
    total = term = 1.0 + 0.0 * x
    n = 0
    while np.abs(term) > 1e-12:
        n += 2
        term = -term * x**2 / (n * (n - 1))
        total = total + term
    return total

slopes = [grad(cosine)(x) for x in (0.3, 1.0, np.pi, 1.0)]

rows = np.array([[0.2, -1.0, 0.5], [1.5, 0.3, -0.2], [-0.7, 0.8, 0.1], [0.4, 0.4, -1.2], [-1.0, 0.0, 0.9]])
wanted = np.array([False, True, False, True, False])

def squash(x):
    return 0.5 * (np.tanh(x / 2.0) + 1)

def cost(weights):
    chance = squash(np.dot(rows, weights))
    return -np.sum(np.log(chance * wanted + (1 - chance) * (1 - wanted)))

gradient = grad(cost)
weights = np.array([0.0, 0.0, 0.0])
start = cost(weights)
for i in range(200):
    weights -= gradient(weights) * 0.1
end = cost(weights)

@primitive
def softplus(x):
    "log(1 + exp(x)), without overflow"
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))

def softplus_vjp(ans, x):
    shape = x.shape
    return lambda g: np.full(shape, g) * squash(x)

defvjp(softplus, softplus_vjp)

def uses_it(y):
    return np.sum(softplus(y**2 - 1.0))

at = np.array([1.5, -0.4, 1e-10])
own = grad(uses_it)(at)
check_grads(uses_it, modes=["rev"])(at)

A = np.array([[1.0, 2.0], [3.0, 4.0]])
def refused_there(x):  # what the tutorial says not to do
    B = np.zeros((2, 2))
    B[0, 0] = x
    B[1] += np.array([x, 2 * x])
    assert isinstance(B, np.ndarray)
    parts = list((x, x**2))
    named = dict(a=x, b=tuple((x, 3.0)))
    return np.sum([x, x**3]) + np.sum(B.dot(A)) + parts[1] + named["b"][0]

refused = grad(refused_there)(2.0)

def f(z):
    return np.exp(z) * z
complex_slope = holomorphic_grad(f)(1.0 + 2.0j)
modulus = grad(lambda z: np.real(z * np.conj(z)))(1.0 + 2.0j)
through_fft = jacobian(lambda x: np.real(np.fft.ifft(np.fft.fft(x) * np.array([1.0, 0.5, 0.5]))))(np.array([1.0, -2.0, 0.5]))
"""


def test_the_tutorial(compiled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    found = run(THE_TUTORIAL, compiled, monkeypatch, tmp_path)
    numpy.testing.assert_allclose(found.slopes, [-numpy.sin(x) for x in (0.3, 1.0, numpy.pi, 1.0)], atol=1e-11)
    assert found.start == pytest.approx(5 * numpy.log(2.0))
    assert found.end < 0.4
    assert all((found.squash(numpy.dot(found.rows, found.weights)) > 0.5) == found.wanted)
    at = found.at
    numpy.testing.assert_allclose(found.own, 2 * at / (1 + numpy.exp(1.0 - at**2)), rtol=1e-12)
    # 1 + 3x^2, then [x, 0; x, 2x] [1, 2; 3, 4], which sums to 20x, then 2x + 1
    assert found.refused == pytest.approx(13.0 + 20.0 + 4.0 + 1.0)
    z = 1.0 + 2.0j
    assert found.complex_slope == pytest.approx(numpy.exp(z) * (z + 1.0))
    assert found.modulus == pytest.approx(2.0 - 4.0j)
    circulant = numpy.fft.ifft([1.0, 0.5, 0.5]).real
    numpy.testing.assert_allclose(found.through_fft, [[circulant[(i - j) % 3] for j in range(3)] for i in range(3)], atol=1e-14)


THE_TUTORIAL_OF_2017 = """
import irgrad.numpy as np
from irgrad import grad, primitive

@primitive
def mean_power(x):
    return np.mean(x**4)

def mean_power_vjp(g, ans, vs, gvs, x):
    return np.full(x.shape, g) * 4 * x**3 / np.full(x.shape, float(x.size))

mean_power.defvjp(mean_power_vjp)

def total(y):
    return np.sum(mean_power(np.sin(y)))

slope = grad(total)(np.array([0.5, 1.0, -2.0]))
second = grad(grad(mean_power))
"""


def test_the_tutorial_of_2017(compiled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Rules in the order (g, ans, vs, gvs, *args) still work, with a warning."""
    with pytest.warns(UserWarning, match="The defvjp method is deprecated"):
        found = run(THE_TUTORIAL_OF_2017, compiled, monkeypatch, tmp_path)
    y = numpy.array([0.5, 1.0, -2.0])
    numpy.testing.assert_allclose(found.slope, 4 * numpy.sin(y) ** 3 * numpy.cos(y) / 3, rtol=1e-13)
    numpy.testing.assert_allclose(found.second(numpy.array(2.0)), 48.0, rtol=1e-13)


COURSE_NOTES = """
import irgrad.numpy as np
import irgrad.numpy.random as npr
from irgrad import grad, grad_named, multigrad_dict
from irgrad.misc import flatten
from irgrad.misc.optimizers import sgd
from irgrad.extend import primitive, defvjp
from irgrad.test_util import check_grads

def steep(x):
    y = np.exp(-2.0 * x)
    return (1.0 - y) / (1.0 + y)

by_machine = grad(steep)(0.7)
by_difference = (steep(0.70001) - steep(0.69999)) / 0.00002

def by_stages(x):
    a = -2.0 * x
    b = np.exp(a)
    c = 1.0 + b
    s = (1.0 - b) / c
    dsdb = -1.0 / c - (1.0 - b) / c**2
    return dsdb * b * -2.0

by_hand = by_stages(0.7)

trees = [
    [(1.0, 2.0), (3.0,), (4.0, 5.0, 6.0)],
    [npr.randn(2, 3), npr.randn(4, 4)],
    {"slope": [1.0, 2.0], "shift": [0.5]},
    {"one": {"w": [1.0, 2.0], "b": [3.0]}, "two": {"w": [4.0], "b": [5.0, 6.0]}},
]
round_trips = []
for tree in trees:
    vector, unflatten = flatten(tree)
    round_trips.append((vector, flatten(unflatten(vector))[0]))

def line(slope, shift):
    return np.sum((slope * np.arange(4.0) + shift - np.array([1.0, 3.0, 5.0, 7.0])) ** 2)

named = grad_named(line, "shift")(2.0, 0.0)
everything = multigrad_dict(line)(2.0, 0.0)

npr.seed(0)
inputs = npr.uniform(-1.0, 1.0, size=(30, 1))
targets = 2.0 * inputs + 1.0 + 0.01 * npr.randn(30, 1)

def objective(params, step):
    return np.mean((np.dot(inputs, params["w"]) + params["b"] - targets) ** 2)

fitted = sgd(grad(objective), {"w": npr.randn(1, 1), "b": np.zeros(1)}, num_iters=300, step_size=0.5, mass=0.5)

@primitive
def smallest(x):
    lowest = np.min(x)
    return lowest - np.log(np.sum(np.exp(lowest - x)))

def make_smallest_vjp(ans, x):
    def product(g):
        return np.full(x.shape, g) * np.exp(np.full(x.shape, ans) - x)
    return product

defvjp(smallest, make_smallest_vjp)

def example(y):
    return np.sum(smallest(y**2))

at = npr.randn(10)
soft = grad(example)(at)
check_grads(example, modes=["rev"], order=2)(npr.randn(10))
"""


def test_course_notes(compiled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    found = run(COURSE_NOTES, compiled, monkeypatch, tmp_path)
    exact = 1.0 - numpy.tanh(0.7) ** 2
    numpy.testing.assert_allclose([found.by_machine, found.by_hand], exact, rtol=1e-14)
    assert found.by_difference == pytest.approx(exact, rel=1e-8)
    for vector, again in found.round_trips:
        numpy.testing.assert_array_equal(vector, again)
    assert [vector.size for vector, _ in found.round_trips] == [6, 22, 3, 6]
    assert found.named == pytest.approx(-8.0)
    assert dict(found.everything) == {"slope": pytest.approx(-12.0), "shift": pytest.approx(-8.0)}
    numpy.testing.assert_allclose([found.fitted["w"][0, 0], found.fitted["b"][0]], [2.0, 1.0], atol=0.02)
    share = numpy.exp(-(found.at**2) + numpy.min(found.at**2))
    numpy.testing.assert_allclose(found.soft, 2 * found.at * share / share.sum(), rtol=1e-11)


SHORT_INTRODUCTION = """
import irgrad.numpy as np
from irgrad import grad, elementwise_grad, jacobian

def cubic(x):
    return x**3 + 1

def two(x1, x2):
    return 3 * x1**3 + x2 * (x1 - 5) + 1

def many(x):
    return 2 * x[0] + 3 * x[1] + 5 * x[2] + 7 * x[3] + 11 * x[4] ** 2

def mixed(x):
    return np.sqrt(1 + x**2) + np.exp(x) + np.sin(2 * np.pi * x)

def side(x):
    if x >= 0:
        return x**2
    else:
        return -x

def by_for(x):
    val = 0
    for i in range(10):
        val = val + x**i
    return val

def by_while(x):
    val = 0
    k = 0
    while k < 10:
        val = val + x**k
        k = k + 1
    return val

def product(n):
    if n == 1 or n == 0:
        return 1
    else:
        return n * product(n - 1)

slopes = {
    "cubic": grad(cubic)(1.0), "cubic of an integer": grad(cubic)(1), "one of two": (grad(two, 0)(1.5, 2.0), grad(two, 1)(1.5, 2.0)),
    "many": grad(many)(np.linspace(0.0, 4.0, 5)), "mixed": grad(mixed)(0.3), "sides": (grad(side)(2.0), grad(side)(-2.0)),
    "for": grad(by_for)(0.5), "while": grad(by_while)(0.5), "product": grad(product)(4.0),
    "fourth": grad(grad(grad(grad(mixed))))(0.3),
}

wave = lambda x: np.sin(2 * np.pi * x + x**2)
x = np.linspace(0, 1, 50)
curve = elementwise_grad(wave)(x)

def field(x):
    return np.array([x[0] ** 2 * x[1], x[1] - x[2], np.exp(x[0] * x[2])])

matrix = jacobian(field)(np.array([1.0, 2.0, 0.5]))
tensor = jacobian(jacobian(field))(np.array([1.0, 2.0, 0.5]))
"""


def test_short_introduction(compiled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    found = run(SHORT_INTRODUCTION, compiled, monkeypatch, tmp_path)
    slopes = found.slopes
    assert (slopes["cubic"], slopes["cubic of an integer"]) == (3.0, 3.0)
    assert slopes["one of two"] == pytest.approx((9 * 1.5**2 + 2.0, -3.5))
    numpy.testing.assert_allclose(slopes["many"], [2.0, 3.0, 5.0, 7.0, 88.0])
    x, turn = 0.3, 2 * numpy.pi
    root = numpy.sqrt(1 + x**2)
    assert slopes["mixed"] == pytest.approx(x / root + numpy.exp(x) + turn * numpy.cos(turn * x))
    assert slopes["fourth"] == pytest.approx(3 * (4 * x**2 - 1) / root**7 + numpy.exp(x) + turn**4 * numpy.sin(turn * x))
    assert slopes["sides"] == (4.0, -1.0)
    powers = sum(i * 0.5 ** (i - 1) for i in range(1, 10))
    assert (slopes["for"], slopes["while"]) == pytest.approx((powers, powers))
    assert slopes["product"] == pytest.approx(24.0 * (1 / 4 + 1 / 3 + 1 / 2))
    x = found.x
    numpy.testing.assert_allclose(found.curve, numpy.cos(turn * x + x**2) * (turn + 2 * x), atol=1e-13)
    a, b, c = 1.0, 2.0, 0.5
    e = numpy.exp(a * c)
    numpy.testing.assert_allclose(found.matrix, [[2 * a * b, a**2, 0], [0, 1, -1], [c * e, 0, a * e]])
    numpy.testing.assert_allclose(found.tensor[2], [[c * c * e, 0, (1 + a * c) * e], [0, 0, 0], [(1 + a * c) * e, 0, a * a * e]])
