"""The jitted function from outside: results, arguments, captured state, retraces, purity, threads."""

from __future__ import annotations

import functools
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import optree
import pytest

import irgrad
from irgrad.config import CONFIG
from irgrad.runtime import run
from irgrad.runtime.explain import explanation
from tests.support.threads import together

A = np.random.default_rng(0).normal(size=(6, 5))
V = A[0].copy()


class Pair(NamedTuple):
    left: Any
    right: Any


def check(f: Callable[..., Any], *args: Any, rtol: float = 1e-11, **kwargs: Any) -> Any:
    """Traced and compiled calls agree with plain numpy in structure, type, dtype, shape and value; the third call is compiled."""
    want = f(*args, **kwargs)
    jitted = irgrad.jit(f)
    for _ in range(4):
        found = jitted(*args, **kwargs)
        left, structure = optree.tree_flatten(found)
        right, expected = optree.tree_flatten(want)
        assert structure == expected
        for a, b in zip(left, right, strict=True):
            assert type(a) is type(b)
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13)
    assert jitted.stats().eager_calls <= 2
    return jitted


FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "softmax": (lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True), (A,)),
    "moments": (lambda x: (x.mean(0), x.var(0), x.std()), (A,)),
    "fortran": (lambda x: x.T @ x + x.sum(), (np.asfortranarray(A),)),
    "strided": (lambda x: x * 2 + x.sum(), (A[:, ::2],)),
    "reversed": (lambda x: x[::-1] * 2, (A,)),
    "pytree": (lambda p: {"a": p["w"] * 2, "b": [p["b"], p["w"].sum()]}, ({"w": A, "b": 1.5},)),
    "namedtuple": (lambda p: Pair(p.right, p.left * p.right), (Pair(A, 2.0),)),
    "input as result": (lambda x: (x, x, x[1]), (A,)),
    "constant result": (lambda x: (x, 1, None, 2.5), (A,)),
    "concatenate": (lambda x: np.concatenate([x, x * 2, x[:1]], 0), (A,)),
    "mask": (lambda x: x[x > 0].sum(), (A,)),
    "gather": (lambda x: x[[0, 2, -1], [1, 1, 0]] + x[:, [0, 2]].sum(), (A,)),
    "where": (lambda x: np.where(x > 0, x, -x).sum(0), (A,)),
    "einsum": (lambda x, v: np.einsum("ij,j->i", x, v), (A, V)),
    "cumsum": (lambda x: np.cumsum(x, 1), (A,)),
    "argmax": (lambda x: np.argmax(x, 1), (A,)),
    "python ints": (lambda n: n * 2 + 1, (3,)),
    "weak int": (lambda x, n: x * n, (A.astype("f4"), 3)),
    "int arrays": (lambda n: n // 3 + n % 3 - (n << 1), (np.arange(-5, 20),)),
    "complex": (lambda z: np.exp(z) * z.conj() + abs(z), (A + 1j * A,)),
    "bools": (lambda x: (x > 0) & (x < 1) | ~(x < -1), (A,)),
    "astype": (lambda x: x.astype("f4") + x.astype(int), (A,)),
    "creation": (lambda x: np.eye(5) + np.arange(5) * x[:5] + np.zeros(5) + np.full((5,), 2.0), (A,)),
    "batched product": (lambda a, b: a @ b, (np.ones((3, 4, 5)) * A[0], np.ones((3, 5, 6)))),
    "empty": (lambda x: x[:0].sum() + x, (A,)),
    "minmax": (lambda x, y: (np.maximum(x, y), np.minimum(x, 0.1), np.hypot(x, y)), (A, A[::-1].copy())),
    "powers": (lambda x: abs(x) ** 1.5 + x**3 + 2.0**x + x**-2 + x**2.0, (A,)),
    "zero-d": (lambda x: np.sin(x) + x, (np.array(0.5),)),
    "float32": (lambda x: np.sin(x) * 2 + x.sum(), (A.astype("f4"),)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_is_numpy(name: str) -> None:
    f, args = FUNCTIONS[name]
    check(f, *args, rtol=2e-6 if name in ("float32", "weak int") else 1e-11)


def test_results_are_fresh() -> None:
    jitted = irgrad.jit(lambda x: (x, x * 1.0, x))
    results = [jitted(V) for _ in range(4)]
    arrays = [a for result in results for a in result]
    for i, a in enumerate(arrays):
        assert a.flags.owndata
        assert a.flags.writeable
        assert not np.shares_memory(a, V)
        assert not any(np.shares_memory(a, b) for b in arrays[:i])


def test_arguments_are_left_alone() -> None:
    x, before = A.copy(), A.copy()
    jitted = irgrad.jit(irgrad.grad(lambda x: np.sum(np.concatenate([x[0], x[1] * x[2]]) ** 2)))
    for _ in range(3):
        jitted(x)
    np.testing.assert_array_equal(x, before)


def test_keywords_defaults_and_statics() -> None:
    @irgrad.jit
    def scaled(x: Any, *, by: float = 2.0) -> Any:
        return x * by

    for _ in range(3):
        np.testing.assert_array_equal(scaled(V, by=3.0), V * 3.0)
        np.testing.assert_array_equal(scaled(V), V * 2.0)

    traced_with: list[Any] = []

    @functools.partial(irgrad.jit, static_argnums=1, static_argnames="flag")
    def power(x: Any, n: int, flag: str = "no") -> Any:
        assert isinstance(n, int)
        return x**n if flag == "no" else -(x**n)

    for n in (2, 3):
        for flag in ("no", "yes"):
            for _ in range(3):
                np.testing.assert_allclose(power(V, n, flag=flag), V**n if flag == "no" else -(V**n), rtol=1e-12)
    assert not traced_with
    assert power.stats().paths == 4


def test_signatures_do_not_mix() -> None:
    jitted = irgrad.jit(lambda x: x * 2)
    for x in (V, V.astype("f4"), A, 3, 3.0, np.float32(3), np.arange(3), True, 1j):
        for _ in range(3):
            found, want = jitted(x), x * 2
            assert type(found) is type(want)
            assert np.asarray(found).dtype == np.asarray(want).dtype
            np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(jitted(V.byteswap().view(V.dtype.newbyteorder())), V * 2)
    misaligned = np.frombuffer(bytearray(8 * 5 + 1), np.uint8)[1:].view(np.float64)
    np.testing.assert_array_equal(jitted(misaligned), misaligned * 2)


SCALE = 2.0
WEIGHTS = np.ones(5)
COUNT = 2
SETTINGS: dict[str, Any] = {"rate": 0.5, "layers": [np.ones(5), np.zeros(5)]}


def uses_globals(x: Any) -> Any:
    for _ in range(COUNT):
        x = np.sin(x) * SCALE + WEIGHTS * SETTINGS["rate"] + SETTINGS["layers"][0]
    return x


def test_captured_values_are_read_again_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    jitted = irgrad.jit(uses_globals)
    for _ in range(3):
        np.testing.assert_allclose(jitted(V), uses_globals(V), rtol=1e-13)
    traces = jitted.stats().traces
    monkeypatch.setattr("tests.runtime.test_jit.SCALE", 3.0, raising=False)
    globals()["SCALE"] = 3.0
    globals()["WEIGHTS"] = np.arange(5.0)
    SETTINGS["rate"] = 0.25
    np.testing.assert_allclose(jitted(V), uses_globals(V), rtol=1e-13)
    WEIGHTS[:] = 7.0
    SETTINGS["layers"][0] = np.full(5, -1.0)
    np.testing.assert_allclose(jitted(V), uses_globals(V), rtol=1e-13)
    assert jitted.stats().traces == traces
    globals()["COUNT"] = 3
    for _ in range(3):
        np.testing.assert_allclose(jitted(V), uses_globals(V), rtol=1e-13)
    globals()["COUNT"] = 2
    np.testing.assert_allclose(jitted(V), uses_globals(V), rtol=1e-13)
    assert jitted.stats().traces == traces + 1
    globals()["WEIGHTS"] = np.ones(1)  # another shape
    for _ in range(3):
        np.testing.assert_allclose(jitted(V), uses_globals(V), rtol=1e-13)
    assert not jitted.impure


class Model:
    def __init__(self) -> None:
        self.w = np.ones(5)
        self.b = 1.0
        self.n = 2

    def output(self, x: Any) -> Any:
        return np.dot(self.w, x) + self.b

    def loss(self, x: Any) -> Any:
        return self.output(x) ** self.n


def test_attributes_are_read_again() -> None:
    model = Model()
    jitted = irgrad.jit(irgrad.grad(model.loss))
    for _ in range(3):
        jitted(V)
    model.w, model.b = np.arange(5.0), -2.0
    np.testing.assert_allclose(jitted(V), 2 * model.output(V) * model.w, rtol=1e-12)
    model.n = 3
    np.testing.assert_allclose(jitted(V), 3 * model.output(V) ** 2 * model.w, rtol=1e-12)


def test_a_new_branch_is_traced_and_then_known() -> None:
    jitted = irgrad.jit(lambda x: x * 2 if x > 0 else x * 3)
    for x in (1.0, 1.0, 2.0, -1.0, -2.0, -3.0, 4.0):
        assert jitted(x) == (x * 2 if x > 0 else x * 3)
    assert jitted.stats().paths == 2
    assert jitted.stats().traces == 2  # one each: that the function is pure is evident


def test_what_is_made_of_text_is_looked_at_twice() -> None:
    """The text of a traced value leaves no guard: one trace shows nothing, and two with other texts show that there is something."""
    for f in (lambda x: x * len(str(x)), lambda x: x * 1.0 if x > 0 else x * float(f"{x}")):
        jitted = irgrad.jit(f)
        with pytest.warns(RuntimeWarning, match="two traces of one path differ"):
            found = [jitted(x) for x in (1.5, -22.25, -122.5, -1.5, -2.25, 1.5, 100.25)]
        assert found[-1] == f(100.25)
        assert jitted.impure


GUARDED_VALUES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "imaginary part": (lambda x: x.real * (2.0 if x.__array__().imag > 1 else 3.0), (np.complex128(1 + 0j), np.complex128(1 + 2j))),
    "single complex": (lambda x: x.real * (2.0 if x.__array__().imag > 1 else 3.0), (np.complex64(1 + 0j), np.complex64(1 + 2j))),
    "real part": (lambda x: x.imag * (2.0 if complex(x.__array__()).real > 1 else 3.0), (np.complex128(1 + 1j), np.complex128(4 + 1j))),
    "sign of zero": (lambda x: 1.0 + x if np.copysign(1.0, x.__array__()) > 0 else 2.0 + x, (np.float64(0.0), np.float64(-0.0))),
    "large integers": (lambda x: x * (1.0 if int(x.__array__()) % 2 else 2.0), (np.int64(2**60), np.int64(2**60 + 1))),
    "unsigned": (lambda x: x * (1.0 if int(x.__array__()) % 2 else 2.0), (np.uint64(2**64 - 1), np.uint64(2**64 - 2))),
    "0-d array": (lambda x: x * (1.0 if x.__array__() > 3 else 2.0), (np.array(2.0), np.array(4.0))),
    "single": (lambda x: x * (1.0 if x.__array__() > 0.1 else 2.0), (np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(0)))),
    "nan": (lambda x: 1.0 if np.isnan(x.__array__()) else x + 1.0, (np.float64("nan"), np.float64(1.0))),
}


@pytest.mark.parametrize("name", GUARDED_VALUES)
def test_values_that_became_plain_are_guarded_by_their_bits(name: str) -> None:
    """`__array__` is what code sees that no substitution reaches."""
    f, (a, b) = GUARDED_VALUES[name]
    jitted = irgrad.jit(f, compile_after=1)
    for x in (a, b, a, b, b):
        assert jitted(x) == f(x)
    stats = jitted.stats()
    assert (stats.paths, stats.traces, stats.guard_rounding) == (2, 2, 0)
    assert "guard " in explanation(jitted)


def test_branches_with_results_of_other_shapes() -> None:
    f = lambda x: (x[:2], 1) if x.sum() > 0 else {"a": x.sum()}
    jitted = irgrad.jit(f)
    for x in (V, V, V, -V, -V, -V, V, -V):
        found, want = jitted(x), f(x)
        assert type(found) is type(want)
        np.testing.assert_allclose(optree.tree_leaves(found)[0], optree.tree_leaves(want)[0])


def test_random_draws_keep_the_function_eager() -> None:
    rng = np.random.default_rng(0)
    jitted = irgrad.jit(lambda x: x * rng.normal())
    with pytest.warns(RuntimeWarning, match=r"keeps running eagerly: numbers are drawn from rng .*test_jit.py:\d+"):
        jitted(1.0)
    assert len({jitted(1.0) for _ in range(5)}) == 5
    assert "runs eagerly for good" in explanation(jitted)


def test_side_effects_keep_the_function_eager() -> None:
    seen: list[int] = []

    def noting(x: Any) -> Any:
        seen.append(1)
        return x * 2

    jitted = irgrad.jit(noting)
    with pytest.warns(RuntimeWarning, match="seen .* is changed"):
        assert jitted(1.0) == 2.0
    for _ in range(3):
        assert jitted(1.0) == 2.0
    assert len(seen) == 4


def test_an_error_in_the_function_leaves_it_usable() -> None:
    def picky(x: Any) -> Any:
        if x[0] > 100:
            raise KeyError("too large")
        return x * 2

    jitted = irgrad.jit(picky)
    with pytest.raises(KeyError, match="too large"):
        jitted(V + 1000)
    for _ in range(3):
        np.testing.assert_array_equal(jitted(V), V * 2)
    with pytest.raises(KeyError, match="too large"):
        jitted(V + 1000)
    np.testing.assert_array_equal(jitted(V), V * 2)


def test_index_errors_of_compiled_code_are_numpys() -> None:
    jitted = irgrad.jit(lambda x, i: x[i])
    for _ in range(3):
        np.testing.assert_array_equal(jitted(V, np.array([0, -1])), V[[0, -1]])
    with pytest.raises(IndexError, match="out of bounds"):
        jitted(V, np.array([0, 5]))
    np.testing.assert_array_equal(jitted(V, np.array([1, 2])), V[[1, 2]])


def test_floating_point_errors_raise_where_numpy_would() -> None:
    jitted = irgrad.jit(lambda x: np.log(x))
    for _ in range(3):
        jitted(np.array([1.0]))
    assert jitted(np.array([0.0]))[0] == -np.inf
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        jitted(np.array([0.0]))


def test_jit_inside_jit_and_inside_grad_is_inlined() -> None:
    inner = irgrad.jit(lambda x: np.sin(x) * 2)
    outer = irgrad.jit(irgrad.grad(lambda x: inner(x) ** 2))
    for _ in range(3):
        assert outer(0.3) == pytest.approx(8 * np.sin(0.3) * np.cos(0.3))
    assert inner.stats().calls == 0
    assert irgrad.grad(inner)(0.3) == pytest.approx(2 * np.cos(0.3))


def test_compile_at_once() -> None:
    jitted = irgrad.jit(lambda x: x * 2).compile(V)
    eager = jitted.stats().eager_calls
    np.testing.assert_array_equal(jitted(V + 1), V * 2 + 2)
    assert jitted.stats().eager_calls == eager
    once = irgrad.jit(lambda x: x * 3, compile_after=1)
    once(V)
    once(V)
    assert once.stats().eager_calls == 1


def test_threads_share_a_program() -> None:
    jitted = irgrad.jit(irgrad.grad(lambda x: np.sum(np.sin(x) * np.exp(x @ x.T).sum(0)[:, None])))
    inputs = [A * (1 + 0.01 * k) for k in range(6)]
    for _ in range(3):
        wanted = [jitted(x) for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            if not np.array_equal(jitted(inputs[k]), wanted[k]):
                wrong.append(k)

    together(work, 6)
    assert not wrong


def doubled(x: Any) -> Any:
    return x * 2


def test_without_the_native_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_native", run.Portable)
    jitted = check(lambda x, s: (x @ x.T * s, s), A, 2.0)
    assert jitted.stats().paths == 1
    np.testing.assert_allclose(jitted(np.asfortranarray(A), 3.0)[0], A @ A.T * 3.0, rtol=1e-12)
    for x in (A[:2], np.asfortranarray(A), A.astype("f4")):
        for _ in range(3):
            np.testing.assert_allclose(jitted(x, 3.0)[0], x @ x.T * 3.0, rtol=1e-5)


def test_pickle_and_names() -> None:
    jitted = irgrad.jit(doubled)
    assert jitted.__name__ == "doubled"
    assert pickle.loads(pickle.dumps(irgrad.grad(doubled)))(3.0) == 2.0
    with pytest.raises(TypeError, match="jit expects a function"):
        irgrad.jit(3)


def test_kernels_show_their_source() -> None:
    jitted = irgrad.jit(lambda x: np.tanh(x) * 2).compile(A)
    (kernel,) = jitted.kernels
    assert f"def {kernel.name}(p, n):" in kernel.source
    assert "tanh(" in kernel.source


def test_no_warning_reaches_the_user() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jitted = irgrad.jit(irgrad.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0))))
        for _ in range(3):
            assert np.isfinite(jitted(A)).all()


def test_a_captured_number_that_changes_at_every_call_is_reported() -> None:
    step = 0

    def f(x: Any) -> Any:
        return x * step

    jitted = irgrad.jit(f)
    with pytest.warns(RuntimeWarning, match=r"captured values changed 32 times \(.*step.*pass what changes as an argument"):
        for step in range(40):
            assert jitted(2.0) == 2.0 * step
    assert len(jitted.variants) <= 32


def test_signatures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irgrad.runtime.jit.MAX_SIGNATURES", 4)
    jitted = irgrad.jit(lambda x: x * 2)
    for n in [*range(1, 9), 1, 1, 1]:
        np.testing.assert_array_equal(jitted(np.ones(n)), np.full(n, 2.0))
    assert len(jitted.variants) <= 4


def test_explain_and_time_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(CONFIG, "explain", True)
    monkeypatch.setattr(CONFIG, "time", True)
    jitted = irgrad.jit(lambda x: x * SCALE if x > len(vars(Model)) * 0.0 else x)
    for x in (1.0, 1.0, 1.0, -1.0):
        jitted(x)
    jitted(np.float32(1))
    text = capsys.readouterr().err
    assert "<lambda> is traced: a new signature" in text
    assert "<lambda> is traced: the path was seen once" in text
    assert "the guard at test_jit.py:" in text
    assert "path 1 linked in" in text
    assert "operations in" in text


@pytest.mark.parametrize("argument", [0.7, np.float64(0.7), np.float32(0.7), np.array(0.7), 1, 0.7 + 0.2j])
def test_numbers_are_handed_out_as_eager_calls_do(argument: Any) -> None:
    def f(x: Any) -> Any:
        return x * x * 3.0 if np.abs(x) < 2 else x / 2.0

    for function in (f, irgrad.grad(f)) if isinstance(argument, (float, np.ndarray)) else (f,):
        jitted = irgrad.jit(function, compile_after=1)
        for factor in (1, 1, 4, 4, 1, 4, 1, 1):  # two paths, which the compiled code goes through itself
            found, wanted = jitted(argument * factor), function(argument * factor)
            assert type(found) is type(wanted)
            np.testing.assert_allclose(found, wanted, rtol=1e-6)
        assert jitted.stats().eager_calls == jitted.stats().paths == 2


def test_paths_of_numbers_and_of_arrays() -> None:
    def f(x: Any) -> Any:
        return x[0] * 2.0 if x[0] > 0 else x * 3.0

    jitted = irgrad.jit(f, compile_after=1)
    for sign in (1.0, -1.0, 1.0, -1.0, -1.0, 1.0):
        found, wanted = jitted(sign * np.ones(3)), f(sign * np.ones(3))
        assert type(found) is type(wanted)
        np.testing.assert_array_equal(found, wanted)
    assert jitted.stats().eager_calls == 2


def test_numbers_that_were_handed_out_stay() -> None:
    jitted = irgrad.jit(irgrad.grad(lambda x: x**3), compile_after=1)
    found = [jitted(float(k)) for k in range(20)]
    assert found == [3.0 * k**2 for k in range(20)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(jitted, [float(k % 7) for k in range(400)])) == [3.0 * (k % 7) ** 2 for k in range(400)]
    assert jitted.stats().eager_calls == 1


def test_a_static_nan_is_one_signature() -> None:
    values: list[Any] = [float("nan"), np.float64("nan"), complex("nan"), (1, float("nan")), (1, (float("nan"), "a"))]
    for value in values:
        fresh = lambda value: type(value)(map(fresh, value)) if type(value) is tuple else value * 1 if value != value else value
        jitted = irgrad.jit(lambda x, s: x * 2.0, static_argnums=1)
        for _ in range(5):
            assert jitted(3.0, fresh(value)) == 6.0
        assert len(jitted.variants) == 1
        jitted(3.0, 1.0)
        assert len(jitted.variants) == 2
