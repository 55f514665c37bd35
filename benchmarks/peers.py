"""The peers: who computes a case's gradient, and how a call of it is made ready.

Each is imported where it is first used, so that a fresh process holds one peer only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.case import Case

OURS = ("irgrad", "eager")
OTHERS = ("autograd", "jax", "jax-lax", "numba", "torch")
MEANING = {  # of a gradient; Hessian-vector products and Jacobians likewise
    "irgrad": "irgrad.jit(irgrad.grad(f))",
    "eager": "irgrad.grad(f)",
    "autograd": "autograd.grad(f)",
    "jax": "jax.jit(jax.grad(f)), x64 enabled, arguments and result on the device, waited for",
    "jax-lax": "the same with the loop rewritten by hand with jax.lax",
    "numba": "the gradient written by hand as explicit loops, numba.njit(error_model='numpy')",
    "torch": "torch.func.grad(f) of PyTorch, of the same source on its own namespace of numpy's names; not compiled",
}


@dataclass(slots=True)
class Call:
    """A gradient ready to be called: `function(*arguments)`; `to_numpy` does the same and converts the result."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    to_numpy: Callable[..., Any] | None = None
    jitted: Any = None  # the function again, where it is irgrad's compiled one

    def __call__(self) -> Any:
        return self.function(*self.arguments)

    @property
    def num_eager(self) -> int:
        """Calls so far that compiled code did not serve, where the function counts them."""
        return 0 if self.jitted is None else self.jitted.stats().eager_calls

    def counts(self) -> dict[str, Any]:
        """What an irgrad function counts of itself; empty for others."""
        if self.jitted is None:
            return {}
        rows = sum(v.program.num_rows for v in self.jitted.variants if v.program is not None)
        return {"rows": rows, **asdict(self.jitted.stats())}


def is_installed(peer: str) -> bool:
    return find_spec({"jax-lax": "jax", "eager": "irgrad"}.get(peer, peer)) is not None


def load(peer: str) -> None:
    """Import what the peer needs: the baseline of time and memory."""
    _LOAD[peer]()


def prepare(peer: str, case: Case, size: str) -> Call:
    """The peer's gradient of a case at a size, nothing of it called yet."""
    return _PREPARE[peer](case, case.size(size))


def flat(result: Any) -> np.ndarray[Any, Any]:
    """A gradient as one vector, whatever its structure; parts of a dict in the order of its keys."""
    if isinstance(result, dict):
        result = [result[key] for key in sorted(result)]
    if isinstance(result, (list, tuple)):
        return np.concatenate([flat(part) for part in result])
    return np.ravel(np.asarray(result))


def disagreement(results: Mapping[str, Any]) -> dict[str, str]:
    """Peers whose derivative differs from eager irgrad's (or the first's), and how.

    Bounds: rtol 1e-8, and atol 1e-11 of the largest element; for single precision 1e-3 and 1e-4.
    """
    found: dict[str, str] = {}
    if not results:
        return found
    expected = flat(results["eager"] if "eager" in results else next(iter(results.values())))
    single = expected.dtype in (np.float32, np.complex64)
    rtol, atol = (1e-3, 1e-4) if single else (1e-8, 1e-11)
    bound = rtol * np.abs(expected) + atol * float(np.max(np.abs(expected)))
    for peer, result in results.items():
        got = flat(result)
        if got.shape != expected.shape:
            found[peer] = f"a gradient of {got.size} elements, not {expected.size}"
        elif not np.all(np.abs(got - expected) <= bound):  # nan is a difference too
            found[peer] = f"its gradient differs by {float(np.max(np.abs(got - expected))):.2e}"
    return found


def _irgrad(case: Case, size: Any, compiled: bool) -> Call:
    import irgrad

    operators = {"grad": irgrad.grad, "hvp": irgrad.hessian_vector_product, "jacobian": irgrad.jacobian, "hessian": irgrad.hessian}
    derivative = operators[case.derivative](case.make(np, size), case.argnum)
    if not compiled:
        return Call(derivative, case.inputs(size))
    jitted = irgrad.jit(derivative)
    return Call(jitted, case.inputs(size), jitted=jitted)


def _autograd(case: Case, size: Any) -> Call:
    autograd: Any = import_module("autograd")
    operators = {
        "grad": autograd.grad, "hvp": autograd.hessian_vector_product, "jacobian": autograd.jacobian, "hessian": autograd.hessian,
    }  # fmt: skip
    function = case.form("autograd")(import_module("autograd.numpy"), size)
    return Call(operators[case.derivative](function, case.argnum), case.inputs(size))


def _jax_hvp(jax: Any, function: Callable[..., Any], argnum: int) -> Callable[..., Any]:
    """Forward over reverse, as JAX's documentation has it."""

    def product(*arguments: Any) -> Any:
        *point, direction = arguments

        def gradient(x: Any) -> Any:
            return jax.grad(function, argnum)(*point[:argnum], x, *point[argnum + 1 :])

        return jax.jvp(gradient, (point[argnum],), (direction,))[1]

    return product


def _jax_derivative(jax: Any, case: Case, size: Any) -> Callable[..., Any]:
    """A Jacobian in the mode that takes fewer passes."""
    function = case.form("jax")(jax.numpy, size)
    if case.derivative == "hvp":
        assert isinstance(case.argnum, int)
        return _jax_hvp(jax, function, case.argnum)
    if case.derivative == "jacobian":
        arguments = case.inputs(size)
        assert isinstance(case.argnum, int)
        wide = jax.eval_shape(function, *arguments).size > np.size(arguments[case.argnum])
        return (jax.jacfwd if wide else jax.jacrev)(function, case.argnum)  # type: ignore[no-any-return]
    operator = jax.hessian if case.derivative == "hessian" else jax.grad
    return operator(function, case.argnum)  # type: ignore[no-any-return]


def _jax(case: Case, size: Any, by_hand: bool) -> Call:
    jax: Any = import_module("jax")
    if by_hand:
        assert case.lax is not None
        derivative = case.lax(jax, size)
    else:
        derivative = _jax_derivative(jax, case, size)
    compiled = jax.jit(derivative)
    wait, leaves_of, asarray = jax.block_until_ready, jax.tree.map, np.asarray

    def on_device(*arguments: Any) -> Any:
        return wait(compiled(*arguments))

    def to_numpy(*arguments: Any) -> Any:
        result = compiled(*arguments)
        return asarray(result) if isinstance(result, jax.Array) else leaves_of(asarray, result)

    return Call(on_device, jax.block_until_ready(jax.device_put(case.inputs(size))), to_numpy)


def _numba(case: Case, size: Any) -> Call:
    assert case.numba is not None
    return Call(import_module("numba").njit(error_model="numpy")(case.numba(size)), case.inputs(size))


def _torch(case: Case, size: Any) -> Call:
    """PyTorch's tape under numpy's names. Its namespace lacks some of numpy's functions: those cases fail and say so."""
    torch: Any = import_module("torch")
    namespace: Any = import_module("torch._numpy")
    leaves_of: Any = import_module("torch.utils._pytree").tree_map
    function = case.form("torch")(namespace, size)

    def on_tensors(*tensors: Any) -> Any:
        result = function(*leaves_of(namespace.ndarray, tensors))
        return torch.stack([r.tensor for r in result]) if isinstance(result, (list, tuple)) else result.tensor

    func = torch.func
    operators = {"grad": func.grad, "jacobian": func.jacrev, "hessian": func.hessian}
    if case.derivative == "hvp":
        derivative = _torch_hvp(func, on_tensors, case.argnum)
    else:
        derivative = operators[case.derivative](on_tensors, case.argnum)

    def conjugate(*tensors: Any) -> Any:  # PyTorch's gradients of complex arguments are those of the conjugates
        return leaves_of(torch.conj_physical, derivative(*tensors))

    arguments = leaves_of(torch.as_tensor, case.inputs(size))
    called = conjugate if any(isinstance(a, torch.Tensor) and a.is_complex() for a in arguments) else derivative
    return Call(called, arguments, lambda *a: leaves_of(np.asarray, called(*a)))


def _torch_hvp(func: Any, function: Callable[..., Any], argnum: Any) -> Callable[..., Any]:
    """Forward over reverse."""

    def product(*arguments: Any) -> Any:
        *point, direction = arguments

        def gradient(x: Any) -> Any:
            return func.grad(function, argnum)(*point[:argnum], x, *point[argnum + 1 :])

        return func.jvp(gradient, (point[argnum],), (direction,))[1]

    return product


def _load_irgrad() -> None:
    import irgrad  # noqa: F401


def _load_autograd() -> None:
    import_module("autograd.numpy")


def _load_jax() -> None:
    jax: Any = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    jax.devices()


def _load_torch() -> None:
    torch: Any = import_module("torch")
    torch.set_default_dtype(torch.float64)
    import_module("torch._numpy")


def _load_numba() -> None:
    import_module("numba")


_LOAD: dict[str, Callable[[], None]] = {
    "irgrad": _load_irgrad,
    "eager": _load_irgrad,
    "autograd": _load_autograd,
    "jax": _load_jax,
    "jax-lax": _load_jax,
    "numba": _load_numba,
    "torch": _load_torch,
}

_PREPARE: dict[str, Callable[[Case, Any], Call]] = {
    "irgrad": partial(_irgrad, compiled=True),
    "eager": partial(_irgrad, compiled=False),
    "autograd": _autograd,
    "jax": partial(_jax, by_hand=False),
    "jax-lax": partial(_jax, by_hand=True),
    "numba": _numba,
    "torch": _torch,
}
