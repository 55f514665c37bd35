"""A type of one's own as a vector space, declared as autograd's programs do it: `Box.register` and `VSpace.register`.

A `Combination` is a function: a weighted sum of bumps, held in a dict from place to weight. Nothing in it is an array, and two of them
need not have the same places. irgrad is told how such values are added and scaled, and what the derivative of looking one up is; then it
differentiates by the function itself. A step of the descent adds the places at which the data disagrees.

A value of such a type goes through no kernel: the gradient by the function runs eagerly, jitted or not. What has numbers on both sides, as
the slope of the function that was found, compiles with the look-up as a call of Python. `function_space.py` does it with classes that
irgrad knows the numbers of, and compiles all of it.
"""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.extend import Box, VSpace, defvjp, primitive

WIDTH = 0.5


class Combination:
    """Sum over the places c of ``weights[c] * bump(x - c)``."""

    def __init__(self, weights):
        self.weights = weights

    @primitive
    def __call__(self, x):
        return sum((w * bump(x - c) for c, w in self.weights.items()), 0.0)

    def __add__(self, other):
        return SPACE.add(self, other)

    def __mul__(self, factor):
        return SPACE.scalar_mul(self, factor)


def bump(distance):
    return np.exp(-0.5 * (distance / WIDTH) ** 2)


class CombinationBox(Box, Combination):
    """What stands for a traced one: it has the methods, and no weights."""


class CombinationSpace(VSpace):
    def __init__(self, value=None):
        pass

    def zeros(self):
        return Combination({})

    def _add(self, f, g):
        weights = dict(f.weights)
        for place, weight in g.weights.items():
            weights[place] = weights.get(place, 0.0) + weight
        return Combination(weights)

    def _scalar_mul(self, f, factor):
        return Combination({place: weight * factor for place, weight in f.weights.items()})

    def _inner_prod(self, f, g):
        """That of the space in which looking up is continuous: evaluation at c is the product with a bump at c."""
        return sum((v * w * bump(c - d) for c, v in f.weights.items() for d, w in g.weights.items()), 0.0)


CombinationBox.register(Combination)
CombinationSpace.register(Combination)
SPACE = CombinationSpace()


def slope(f, x):
    return sum((-w * (x - c) / WIDTH**2 * bump(x - c) for c, w in f.weights.items()), 0.0)


defvjp(Combination.__call__, lambda ans, f, x: lambda g: Combination({x: 1.0}) * g, lambda ans, f, x: lambda g: g * slope(f, x))


def main(compiled: bool = False, count: int = 12, rounds: int = 60) -> dict[str, object]:
    """Losses before each step, how many places the function has, and where it is steepest nearby."""
    rng = np.random.RandomState(1)
    places = [float(x) for x in np.sort(rng.uniform(-2.0, 2.0, count))]
    seen = [float(y) for y in np.sin(2.0 * np.array(places)) + 0.05 * rng.randn(count)]

    def loss(f, places, seen):
        return sum((f(x) - y) ** 2 for x, y in zip(places, seen, strict=True)) + 0.01 * SPACE.inner_prod(f, f)

    value_and_gradient = irgrad.value_and_grad(loss)
    f, losses = Combination({}), []
    for _ in range(rounds):
        value, gradient = value_and_gradient(f, places, seen)
        losses.append(value)
        f = f + gradient * -0.1
    rise = irgrad.grad(lambda x: f(x))
    if compiled:
        rise = irgrad.jit(rise)
    x = 0.3
    for _ in range(40):
        x = x + 0.1 * rise(x)
    return {"losses": np.array(losses), "places": len(f.weights), "summit": np.array([x, f(x)])}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled)
        print("compiled" if compiled else "eager")
        print(
            f"  loss {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f} with {found['places']} bumps, summit {found['summit'].round(4)}"
        )
