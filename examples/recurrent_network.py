"""A recurrent network learns to spell: from the letters of a line so far, the next one. Then it writes a line itself."""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.misc.optimizers import adam

TEXT = "a loop is a line that runs again, and a line that runs again is a loop.\n"  # written for this example
LETTERS = sorted(set(TEXT))


def one_hot(text: str) -> np.ndarray:
    """Rows of the unit matrix, one for each letter."""
    return np.eye(len(LETTERS))[np.array([LETTERS.index(letter) for letter in text])]


def initial_parameters(hidden: int) -> dict[str, np.ndarray]:
    rng = np.random.RandomState(0)
    size = len(LETTERS)
    return {
        "start": 0.1 * rng.randn(hidden),
        "in": 0.3 * rng.randn(size, hidden),
        "again": 0.3 * rng.randn(hidden, hidden),
        "out": 0.3 * rng.randn(hidden, size),
        "bias": np.zeros(size),
    }


def advance(parameters, hidden, letter):
    return np.tanh(np.dot(letter, parameters["in"]) + np.dot(hidden, parameters["again"]))


def scores(parameters, hidden):
    """Logarithms of the probabilities of the next letter."""
    values = np.dot(hidden, parameters["out"]) + parameters["bias"]
    return values - np.log(np.sum(np.exp(values)))


def loss(parameters, text):
    """Mean surprise, in nats a letter."""
    hidden, total = parameters["start"], 0.0
    for letter in text:
        total = total - np.sum(letter * scores(parameters, hidden))
        hidden = advance(parameters, hidden, letter)
    return total / len(text)


def write(parameters, length: int) -> str:
    """The likeliest letter after each."""
    hidden, written = parameters["start"], ""
    for _ in range(length):
        written += LETTERS[int(np.argmax(scores(parameters, hidden)))]
        hidden = advance(parameters, hidden, one_hot(written[-1])[0])
    return written


def main(compiled: bool = False, steps: int = 60, hidden: int = 24, length: int = len(TEXT)) -> dict[str, object]:
    """Losses, and what the trained network writes."""
    gradient = irgrad.value_and_grad(loss)
    if compiled:
        gradient = irgrad.jit(gradient)
    text = one_hot(TEXT[:length])
    losses = []

    def descent(parameters, step):
        value, found = gradient(parameters, text)
        losses.append(value)
        return found

    trained = adam(descent, initial_parameters(hidden), num_iters=steps, step_size=0.02)
    return {"losses": np.array(losses), "written": write(trained, length)}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, steps=250)
        print("compiled" if compiled else "eager")
        print(f"  surprise {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f} nats a letter; it writes: {found['written'].strip()!r}")
