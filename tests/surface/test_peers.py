"""The samples of the table against autograd and JAX, where these are installed and have the function: values and gradients.

irgrad's derivatives are checked against differences elsewhere; this shows that conventions agree. The counts are printed (``pytest -s``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.pytree import flatten
from tests.surface import samples_numpy, table
from tests.surface.probe import call_of, quiet

SAMPLES = {name: call for _, samples in list(table.sections().values())[:4] for name, call in samples.items()}
_NONE = "has no derivative there"
UNLIKE: dict[str, dict[str, str]] = {
    "autograd": {"full_like": "no derivative with respect to the fill value"},
    "jax": {
        **dict.fromkeys(("arange", "item", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"), _NONE),
        **dict.fromkeys(("intersect1d", "setdiff1d", "setxor1d", "union1d"), _NONE),
        **dict.fromkeys(("linalg.eigh", "linalg.eigvalsh"), "both triangles are read as one; numpy reads the lower one"),
    },
}


def _autograd() -> tuple[Any, Callable[..., Any], Callable[[Any], Any]]:
    pytest.importorskip("autograd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import autograd
        import autograd.numpy as anp
    return anp, autograd.grad, lambda x: x


def _jax() -> tuple[Any, Callable[..., Any], Callable[[Any], Any]]:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return jax.numpy, jax.grad, jax.numpy.asarray


PEERS = {"autograd": _autograd, "jax": _jax}


def loss_of(function: Callable[..., Any], values: list[Any], active: list[int], weights: list[Any]) -> Callable[..., Any]:
    """A weighted sum of all numbers of the result, as a function of the floating-point inputs."""

    def loss(np_: Any, convert: Callable[[Any], Any], xs: Any) -> Any:
        full = [convert(v) if isinstance(v, np.ndarray) else v for v in values]
        for i, x in zip(active, xs, strict=True):
            full[i] = x
        made: Any = 0.0
        for leaf, (a, b) in zip(flatten_any(function(np_, None, *full)), weights, strict=True):
            made = made + np_.sum(a * np_.real(leaf))
            if np_.iscomplexobj(leaf):
                made = made + np_.sum(b * np_.imag(leaf))
        return made

    return loss


def flatten_any(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flatten_any(item)]
    return [value]


def compare(call: str, peer: tuple[Any, Callable[..., Any], Callable[[Any], Any]]) -> str | None:
    """How the peer's gradient differs: "" for not at all, None where the peer cannot do it."""
    space, grad, convert = peer
    function, values = call_of(call, samples_numpy.INPUTS)
    active = [i for i, x in enumerate(values) if np.asarray(x).dtype.kind in "fc"]
    with quiet():
        want = flatten(function(np, None, *values))[0]
        if not active or not all(isinstance(w, (np.ndarray, np.generic, float, complex)) for w in want):
            return None
        rng = np.random.default_rng(5)
        weights = [(rng.normal(size=np.shape(w)), rng.normal(size=np.shape(w))) for w in want]
        loss = loss_of(function, values, active, weights)
        point = tuple(values[i] for i in active)
        mine = irgrad.grad(lambda xs: loss(inp, lambda x: x, xs))(point)
        try:
            value = loss(space, convert, tuple(convert(x) for x in point))
            theirs = grad(lambda xs: loss(space, convert, xs))(tuple(convert(x) for x in point))
        except Exception:  # whatever it raises, the peer does not do it
            return None
        if not np.allclose(float(value), float(loss(np, lambda x: x, point)), rtol=1e-8, atol=1e-8):
            return "another value"
        for g, t in zip(mine, theirs, strict=True):
            if np.shape(t) != np.shape(g) or not np.allclose(np.asarray(t), g, rtol=1e-6, atol=1e-8, equal_nan=True):
                return f"{np.asarray(t)} instead of {np.asarray(g)}"
    return ""


def check(name: str, step: int, capsys: pytest.CaptureFixture[str]) -> None:
    peer = PEERS[name]()
    chosen = [n for n, call in SAMPLES.items() if not table.is_reason(call) and not call.startswith("write(")][::step]
    found = {n: compare(SAMPLES[n], peer) for n in chosen}
    done = [n for n, difference in found.items() if difference is not None]
    with capsys.disabled():
        print(f"\n{name}: {len(done)} of {len(found)} samples compared")
    assert {n: found[n] for n in done if found[n] and n not in UNLIKE[name]} == {}
    assert [n for n in UNLIKE[name] if n in found and not found[n]] == []  # a difference that is gone comes off the list
    assert len(done) * step > 150


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "step"), [("autograd", 1), ("jax", 5)])
def test_gradients_are_the_peers(name: str, step: int, capsys: pytest.CaptureFixture[str]) -> None:
    check(name, step, capsys)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_gradients_are_those_of_jax(capsys: pytest.CaptureFixture[str]) -> None:
    check("jax", 1, capsys)


def test_a_difference_is_seen() -> None:
    peer = (np, lambda f: lambda xs: tuple(np.ones_like(x) for x in xs), lambda x: x)
    assert "instead of" in (compare("np.exp(X)", peer) or "")
    assert compare("np.nothing(X)", (object(), peer[1], peer[2])) is None if hasattr(np, "nothing") else True
