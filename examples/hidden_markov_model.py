"""Expectation maximisation for a hidden Markov model, whose expectations are a gradient.

The logarithm of the probability of what was observed is the log partition function of an exponential family; its gradient with
respect to the logarithms of the parameters gives the expected counts, which the M step turns into probabilities.
"""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.scipy.special import logsumexp


def sequence(length: int) -> np.ndarray:
    """Throws of two dice, one of them loaded, that are seldom swapped."""
    rng = np.random.RandomState(4)
    fair = rng.rand() < 0.5
    throws = []
    for _ in range(length):
        throws.append(rng.randint(0, 6) if fair else min(rng.randint(0, 12), 5))
        fair = fair if rng.rand() < 0.9 else not fair
    return np.array(throws)


def log_probability(parameters, observed):
    """Of the observed sequence, by the forward recursion."""
    first, move, show = parameters
    state = first + show[:, observed[0]]
    for symbol in observed[1:]:
        state = logsumexp(state[:, None] + move, axis=0) + show[:, symbol]
    return logsumexp(state)


def normalised(counts):
    """Logarithms of probabilities in proportion to counts, along the last axis."""
    return np.log(counts / np.sum(counts, axis=-1, keepdims=True))


def main(compiled: bool = False, length: int = 80, states: int = 2, rounds: int = 15) -> dict[str, object]:
    """Log likelihood before each round, and what each state shows."""
    expectations = irgrad.value_and_grad(log_probability)
    if compiled:
        expectations = irgrad.jit(expectations)
    observed = sequence(length)
    rng = np.random.RandomState(5)
    parameters = tuple([normalised(rng.uniform(0.5, 1.0, shape)) for shape in ((states,), (states, states), (states, 6))])
    likelihoods = []
    for _ in range(rounds):
        likelihood, counts = expectations(parameters, observed)
        likelihoods.append(likelihood)
        parameters = tuple([normalised(count + 1e-6) for count in counts])
    return {"likelihoods": np.array(likelihoods), "move": np.exp(parameters[1]), "show": np.exp(parameters[2])}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, length=400, rounds=60)
        print("compiled" if compiled else "eager")
        print(f"  log likelihood {found['likelihoods'][0]:.3f} -> {found['likelihoods'][-1]:.3f}")
        print(f"  probability of a six by state {found['show'][:, 5].round(4)}, of staying {np.diag(found['move']).round(4)}")
