"""An operation of one's own: log(sum(exp(x))) without overflow, as a function that irgrad does not look into.

Its derivative is written down instead. The rule is an ordinary function, so it has derivatives itself, and it compiles; the
function stays Python and is called back from compiled code.
"""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.extend import defvjp, primitive
from irgrad.test_util import check_grads


@primitive
def logsumexp(x):
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def logsumexp_vjp(ans, x):
    """The derivative is softmax(x), which is exp(x - ans)."""
    return lambda g: g * np.exp(x - ans)


defvjp(logsumexp, logsumexp_vjp)


def energy(y):
    return logsumexp(y**2) + np.sum(np.sin(y))


def main(compiled: bool = False) -> dict[str, np.ndarray]:
    """Value, gradient and Hessian of a function that uses the primitive."""
    functions = {"value": energy, "gradient": irgrad.grad(energy), "hessian": irgrad.jacobian(irgrad.grad(energy))}
    if compiled:
        functions = {name: irgrad.jit(f) for name, f in functions.items()}
    else:
        check_grads(energy, modes=["rev"], order=2)(np.array([0.3, -1.2, 0.8]))
    return {name: f(np.array([1.5, -0.7, 30.0, 1e-10])) for name, f in functions.items()}


if __name__ == "__main__":
    for compiled in (False, True):
        print("compiled" if compiled else "eager")
        for name, value in main(compiled).items():
            print(f"  {name}:", np.array2string(value, precision=4, suppress_small=True, prefix=f"  {name}: "))
