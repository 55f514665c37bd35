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
FAST: dict[str, dict[str, int]] = {
    "gradient_descent": {"steps": 30}, "neural_network": {"steps": 20},
    "bayesian_optimisation": {"rounds": 2, "starts": 2}, "convolutional_network": {"steps": 10, "filters": 3, "batch": 8},
    "fluid_simulation": {"side": 8, "steps": 4, "rounds": 2}, "function_space": {"count": 12, "steps": 10},
    "gaussian_mixture": {"count": 40, "steps": 5}, "gaussian_process": {"count": 15, "steps": 6},
    "hidden_markov_model": {"length": 30, "rounds": 5}, "independent_components": {"count": 100, "steps": 10},
    "kernel_functions": {"count": 6, "rounds": 10},
    "lstm": {"steps": 6, "hidden": 8, "length": 10}, "ode_network": {"steps": 3, "hidden": 5, "times": 4},
    "recurrent_network": {"steps": 8, "hidden": 8, "length": 20}, "variational_inference": {"steps": 30, "draws": 20},
}  # fmt: skip
TRAINED = {"recurrent_network": 1e-9}  # relative difference of compiled and eager after many steps, where more than 1e-12
RANDOM = ("variational_inference",)  # equal arguments give other numbers
HOSTS = {  # what compiled code calls back for: operations without a kernel of their own
    "define_primitive": {"user_logsumexp"}, "kernel_functions": {"user___call__"},
    "fluid_simulation": {"fft", "ifft"}, "function_space": {"user_evaluate", "user_inner"},
    "ode_network": {"ode_solution"}, "variational_inference": {"draw"},
}  # fmt: skip
OURS = {"function_space", "ode_network"}  # programs that autograd does not run: classes of one's own, a plain tuple as args
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
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
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
    assert_equal(run(module, name, True), run(module, name, False), rtol=TRAINED.get(name, 1e-12))
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
        assert hosts <= HOSTS.get(name, set())
        assert hosts or after.host_calls == 0
        if name in RANDOM:
            continue
        for result, (args, kwargs) in list(zip(results, calls, strict=True))[::7]:
            assert_equal(result, jitted.fun(*args, **kwargs))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OURS])
def test_agrees_with_autograd(name: str) -> None:
    """The same program text with autograd's names."""
    pytest.importorskip("autograd")
    text = (EXAMPLES / f"{name}.py").read_text()
    for old, new in (
        ("import irgrad.numpy as np", "import autograd.numpy as np"), ("import numpy as np", "import autograd.numpy as np"),
        ("import irgrad\n", "import autograd as irgrad\n"), ("from irgrad.", "from autograd."),
        ("import numpy\n", "import autograd.numpy as numpy\n"),
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


def test_each_is_in_the_table() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert [line.split("]")[0].removeprefix("| [") for line in text.splitlines() if line.startswith("| [")] == NAMES


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


def test_letters_are_learned(compiled: bool) -> None:
    found = load("recurrent_network").main(compiled, steps=120, hidden=16, length=30)
    assert found["losses"][-1] < 0.1
    assert found["written"] == load("recurrent_network").TEXT[:30]
    losses = load("lstm").main(compiled, steps=60, hidden=12, length=16)["losses"]
    assert losses[-1] < 0.6 < losses[0]


def test_convolutional_network(compiled: bool) -> None:
    found = load("convolutional_network").main(compiled, steps=80, filters=4)
    assert found["accuracy"] > 0.8
    assert found["losses"][-1] < 0.3 * found["losses"][0]


def test_likelihoods_improve(compiled: bool) -> None:
    found = load("hidden_markov_model").main(compiled, length=60, rounds=8)
    assert np.all(np.diff(found["likelihoods"]) > -1e-6)  # but for what keeps counts from zero
    np.testing.assert_allclose(found["show"].sum(axis=1), 1.0)
    for name in ("gaussian_mixture", "independent_components"):
        found = load(name).main(compiled)
        assert found["after"] < found["before"]
    assert np.all(found["alike"] > 0.9)
    means = load("gaussian_mixture").main(compiled)["means"]
    np.testing.assert_allclose(np.hypot(*means.T), 2.0, atol=0.3)  # where the arms are
    found = load("gaussian_process").main(compiled)
    where = np.linspace(-3.0, 3.0, 13)
    np.testing.assert_allclose(found["mean"], np.sin(2.0 * where) * np.exp(-0.1 * where**2), atol=0.25)
    np.testing.assert_allclose(found["parameters"][2], 0.1, atol=0.03)  # the noise of the data


def test_variational_inference(compiled: bool) -> None:
    """A generator that is plain numpy's gives the same numbers; a compiled function says that it runs eagerly."""
    module = load("variational_inference")
    found = module.main(compiled)
    assert found["deviation"][0] == pytest.approx(1.0, abs=0.2)
    if compiled:
        with pytest.warns(RuntimeWarning, match=r"keeps running eagerly: numbers are drawn from generator .*variational_inference.py:\d+"):
            plain = module.main(compiled, plain=True)
    else:
        plain = module.main(compiled, plain=True)
    assert_equal(plain, found)


def test_ode_network(compiled: bool) -> None:
    losses = load("ode_network").main(compiled, steps=30, hidden=8)["losses"]
    assert losses[-1] < 0.5 * losses[0]


def test_fluid_simulation(compiled: bool, tmp_path: Path) -> None:
    module = load("fluid_simulation")
    found = module.main(compiled, side=10, steps=5, rounds=6)
    assert found["after"] < 0.7 * found["before"]
    module.picture(found["frames"], str(tmp_path / "fluid.pgm"), size=2)
    picture = (tmp_path / "fluid.pgm").read_bytes()
    assert picture.startswith(b"P5 120 20 255\n")
    assert len(picture) == len(b"P5 120 20 255\n") + 120 * 20
    x, y = module.incompressible(*np.random.default_rng(0).normal(size=(2, 9, 9)))
    k = np.fft.fftfreq(9)
    divergence = k[:, None] * np.fft.fft2(x) + k[None, :] * np.fft.fft2(y)
    np.testing.assert_allclose(divergence, 0.0, atol=1e-12)


def test_bayesian_optimisation(compiled: bool) -> None:
    module = load("bayesian_optimisation")
    found = module.main(compiled, rounds=9)
    lowest = np.min(module.costly(np.linspace(-1.0, 2.0, 10001)))
    assert found["best value"] == pytest.approx(lowest, abs=2e-3)


def test_fixed_points(compiled: bool) -> None:
    found = load("fixed_points").main(compiled)
    np.testing.assert_allclose(found["slope of the root"], 0.5 / np.sqrt(2.0), rtol=1e-11)
    np.testing.assert_allclose(found["bend of the root"], -0.25 / 2.0**1.5, rtol=1e-10)
    e, m = 0.3, 1.2
    anomaly = found["anomaly"]
    np.testing.assert_allclose(anomaly - e * np.sin(anomaly), m, rtol=1e-12)
    by_m = 1 / (1 - e * np.cos(anomaly))
    np.testing.assert_allclose(found["slopes of the anomaly"], [np.sin(anomaly) * by_m, by_m], rtol=1e-11)
    np.testing.assert_allclose(found["bends of the anomaly"][1, 1], -e * np.sin(anomaly) * by_m**3, rtol=1e-10)


def test_function_space(compiled: bool) -> None:
    """In the space's own geometry all parts of the error that the kernel shows shrink: the fit is near the curve."""
    found = load("function_space").main(compiled, steps=100)
    np.testing.assert_allclose(found["values"], np.sin(3.0 * np.linspace(-1.5, 1.5, 7)), atol=0.15)


@pytest.mark.parametrize("name", ["tanh_derivatives", "derivative_of_sine"])
def test_plots(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    module = load(name)
    module.plot(module.main(False), str(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_kernel_functions(compiled: bool) -> None:
    """The slope of what was found is zero at its summit, and each step of descent lowers the loss."""
    found = load("kernel_functions").main(compiled)
    assert np.all(np.diff(found["losses"]) < 0)
    assert found["places"] == 12
    np.testing.assert_allclose(found["summit"], [np.pi / 4, 1.0], atol=0.05)
