"""A network with long short-term memory (Hochreiter and Schmidhuber, 1997) learns a batch of sentences letter by letter."""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.misc.optimizers import adam

SENTENCES = (  # written for this example
    "seven grey geese went over the hill ",
    "nobody saw where the river had gone ",
    "an old clock ticks in an empty room ",
    "rain on the roof is a kind of a song",
)
LETTERS = sorted(set("".join(SENTENCES)))
GATES = ("change", "forget", "input", "output")


def one_hot(sentences) -> np.ndarray:
    """Shape (letters of a sentence, sentences, alphabet)."""
    places = np.array([[LETTERS.index(letter) for letter in sentence] for sentence in sentences])
    return np.eye(len(LETTERS))[places.T]


def initial_parameters(hidden: int) -> dict[str, object]:
    rng = np.random.RandomState(0)
    size = len(LETTERS)
    return {
        "gates": {name: 0.2 * rng.randn(size + hidden + 1, hidden) for name in GATES},
        "hidden": 0.1 * rng.randn(1, hidden),
        "cell": 0.1 * rng.randn(1, hidden),
        "out": 0.2 * rng.randn(hidden + 1, size),
    }


def sigmoid(x):
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def with_ones(*parts):
    """Side by side, and a column for the bias."""
    return np.concatenate([*parts, np.ones((len(parts[0]), 1))], axis=1)


def advance(gates, letters, hidden, cell):
    seen = with_ones(letters, hidden)
    kept = sigmoid(np.dot(seen, gates["forget"])) * cell
    cell = kept + sigmoid(np.dot(seen, gates["input"])) * np.tanh(np.dot(seen, gates["change"]))
    return sigmoid(np.dot(seen, gates["output"])) * np.tanh(cell), cell


def scores(parameters, hidden):
    values = np.dot(with_ones(hidden), parameters["out"])
    return values - np.log(np.sum(np.exp(values), axis=1, keepdims=True))


def loss(parameters, batch):
    """Mean surprise, in nats a letter."""
    count = batch.shape[1]
    hidden, cell = np.repeat(parameters["hidden"], count, axis=0), np.repeat(parameters["cell"], count, axis=0)
    total = 0.0
    for letters in batch:
        total = total - np.sum(letters * scores(parameters, hidden))
        hidden, cell = advance(parameters["gates"], letters, hidden, cell)
    return total / (len(batch) * count)


def main(compiled: bool = False, steps: int = 40, hidden: int = 24, length: int = 36) -> dict[str, object]:
    """Losses of the training, and the trained weights of the last layer."""
    gradient = irgrad.value_and_grad(loss)
    if compiled:
        gradient = irgrad.jit(gradient)
    batch = one_hot(sentence[:length] for sentence in SENTENCES)
    losses = []

    def descent(parameters, step):
        value, found = gradient(parameters, batch)
        losses.append(value)
        return found

    trained = adam(descent, initial_parameters(hidden), num_iters=steps, step_size=0.03)
    return {"losses": np.array(losses), "out": trained["out"]}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, steps=200)
        print("compiled" if compiled else "eager")
        print(f"  surprise {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f} nats a letter")
