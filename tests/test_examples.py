"""Every example, eager and compiled: equal results, analytic values, no Python left in steady state, and autograd's results."""

from __future__ import annotations

import copy
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.pytree import flatten, tree_map
from irgrad.runtime.jit import Jitted

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
FAST = {"gradient_descent": {"steps": 30}, "neural_network": {"steps": 20}}
PASSES = 3  # one to trace what is new, one to compile, one in steady state


class Watched(Jitted):
    """A jitted function that keeps the arguments of its calls."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(copy.deepcopy((args, kwargs)))
        return super().__call__(*args, **kwargs)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Watched]]:
    """Every function that is jitted from here on."""
    made: list[Watched] = []

    def jit(f: Callable[..., Any]) -> Watched:
        made.append(Watched(f))
        return made[-1]

    monkeypatch.setattr(irgrad, "jit", jit)
    yield made


def load(name: str) -> Any:
    """A fresh module of the example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(module: Any, name: str, compiled: bool) -> Any:
    return module.main(compiled, **FAST.get(name, {}))


def assert_equal(got: Any, expected: Any, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    got_leaves, got_structure = flatten(got)
    leaves, structure = flatten(expected)
    assert got_structure == structure
    for a, b in zip(got_leaves, leaves, strict=True):
        if isinstance(b, str):
            assert a == b
            continue
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_eager(name: str, watched: list[Watched]) -> None:
    module = load(name)
    assert_equal(run(module, name, True), run(module, name, False))
    assert watched, "the example compiles something"


@pytest.mark.parametrize("name", NAMES)
def test_steady_state(name: str, watched: list[Watched]) -> None:
    """Called as the example called them, compiled functions return what eager ones do and run no Python."""
    module = load(name)
    run(module, name, True)
    for jitted in watched:
        assert not jitted.impure
        calls = list(jitted.seen)
        for _ in range(PASSES):
            before = jitted.stats()
            results = [Jitted.__call__(jitted, *args, **kwargs) for args, kwargs in calls]
        after = jitted.stats()
        assert after.calls - before.calls == len(calls)
        assert after.eager_calls == before.eager_calls
        assert after.traces == before.traces
        assert after.kernels_compiled == before.kernels_compiled
        hosts = {call.op.name for variant in jitted.variants if variant.program for call in variant.program.hosts.values()}
        assert hosts <= {"user_logsumexp"}
        assert hosts or after.host_calls == 0
        for result, (args, kwargs) in list(zip(results, calls, strict=True))[::7]:
            assert_equal(result, jitted.fun(*args, **kwargs))


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_autograd(name: str) -> None:
    """The same program text with autograd's names."""
    pytest.importorskip("autograd")
    text = (EXAMPLES / f"{name}.py").read_text()
    for old, new in (
        ("import irgrad.numpy as np", "import autograd.numpy as np"), ("import numpy as np", "import autograd.numpy as np"),
        ("import irgrad\n", "import autograd as irgrad\n"), ("from irgrad.", "from autograd."),
    ):  # fmt: skip
        text = text.replace(old, new)
    other = types.ModuleType(f"autograd_{name}")
    sys.modules[other.__name__] = other
    try:
        exec(compile(text, f"<{name} with autograd>", "exec"), vars(other))
        theirs = run(other, name, False)
    finally:
        del sys.modules[other.__name__]
    to_numbers = lambda tree: tree_map(lambda leaf: leaf if isinstance(leaf, str) else np.asarray(leaf)[()], tree)
    assert_equal(to_numbers(run(load(name), name, False)), to_numbers(theirs), rtol=1e-9)


# ---- analytic values ----


@pytest.fixture(params=[False, True], ids=["eager", "compiled"])
def compiled(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_taylor_sine(compiled: bool) -> None:
    found = load("taylor_sine").main(compiled)
    x = found["x"]
    np.testing.assert_allclose(found["value"], np.sin(x), atol=1e-10)
    np.testing.assert_allclose(found["slope"], np.cos(x), atol=1e-10)
    np.testing.assert_allclose(found["bend"], -np.sin(x), atol=1e-9)


def test_tanh_derivatives(compiled: bool) -> None:
    found = load("tanh_derivatives").main(compiled)
    t = np.tanh(found["x"])
    d = 1 - t**2
    for order, expected in enumerate((t, d, -2 * t * d, -2 * d * (1 - 3 * t**2), 8 * t * d * (2 - 3 * t**2))):
        np.testing.assert_allclose(found[f"order {order}"], expected, atol=1e-11)


def test_sigmoid_staged(compiled: bool) -> None:
    found = load("sigmoid_staged").main(compiled)
    np.testing.assert_allclose(found["automatic"], found["by hand"], rtol=1e-13)
    np.testing.assert_allclose(found["automatic"], found["difference"], rtol=1e-6)


def test_logistic_regression(compiled: bool) -> None:
    module = load("logistic_regression")
    found = module.main(compiled)
    assert np.all(np.diff(found["losses"]) < 0)
    assert np.array_equal(found["probabilities"] > 0.5, module.LABELS)


def test_define_primitive(compiled: bool) -> None:
    found = load("define_primitive").main(compiled)
    y = np.array([1.5, -0.7, 30.0, 1e-10])
    weights = np.exp(y**2 - np.max(y**2))
    weights /= weights.sum()
    np.testing.assert_allclose(found["gradient"], 2 * y * weights + np.cos(y), atol=1e-12)
    bend = np.diag(2 * weights - np.sin(y)) + 4 * (np.diag(weights) - np.outer(weights, weights)) * np.outer(y, y)
    np.testing.assert_allclose(found["hessian"], bend, atol=1e-9)


def test_flatten_parameters(compiled: bool) -> None:
    module = load("flatten_parameters")
    found = module.main(compiled)
    assert_equal(found["round trip"], tree_map(np.asarray, module.PARAMETERS) | {"scale": (np.float64(2.0), np.array([1.0, 3.0]))})
    np.testing.assert_allclose(found["gradient of the vector"], found["flattened gradient"], rtol=1e-13)


def test_control_flow(compiled: bool) -> None:
    found = load("control_flow").main(compiled)
    k = np.arange(1, 10)
    e, s, c = np.exp(0.3), np.sin(0.6 * np.pi), np.cos(0.6 * np.pi)
    fourth_of_root = 3 * (4 * 0.3**2 - 1) / (1 + 0.3**2) ** 3.5
    expected = {
        "absolute_cube, left": -6.75,
        "absolute_cube, right": 6.75,
        "powers_for": np.sum(k * 0.7 ** (k - 1)),
        "powers_while": np.sum(k * 0.7 ** (k - 1)),
        "halve_until_small": 5 * 9.0**4 / 2**10,
        "factorial": np.prod(5.5 - np.arange(6)) * np.sum(1 / (5.5 - np.arange(6))),
        "combination": np.array([2.0, 3.0, 5.0, 7.0, 110.0]),
        "two_variables": (39.0, -3.0),
        "wave": 0.3 / np.sqrt(1.09) + e + 2 * np.pi * c,
        "fourth derivative of wave": fourth_of_root + e + (2 * np.pi) ** 4 * s,
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, err_msg=name)


def test_gradient_descent(compiled: bool) -> None:
    found = load("gradient_descent").main(compiled)
    assert np.all(np.diff(found["values"]) < 0)
    assert found["values"][-1] < 0.1


def test_neural_network(compiled: bool) -> None:
    found = load("neural_network").main(compiled)
    assert found["losses"][-1] < 0.3 * found["losses"][0]


def test_derivative_of_sine(compiled: bool) -> None:
    found = load("derivative_of_sine").main(compiled)
    np.testing.assert_allclose(found["automatic"], found["by hand"], atol=1e-13)


@pytest.mark.parametrize("name", ["tanh_derivatives", "derivative_of_sine"])
def test_plots(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    module = load(name)
    module.plot(module.main(False), str(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
