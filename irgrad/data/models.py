"""Two classifiers in plain numpy. Nothing here knows of irgrad: the demo copies this file to its folder and differentiates the copy."""

import numpy as np


def log_softmax(scores):
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def regression(w, x, classes=3):
    """Multinomial logistic regression, from one flat vector of parameters."""
    layer = w.reshape(-1, classes)
    return x @ layer[:-1] + layer[-1]


def network(w, x, units=8, classes=3):
    """A network with one hidden layer, from one flat vector of parameters."""
    return forward(unpack(w, x.shape[1], units, classes), x)


def forward(params, x):
    """The same network from a dict of layers."""
    hidden, output = params["hidden"], params["output"]
    return np.tanh(x @ hidden["w"] + hidden["b"]) @ output["w"] + output["b"]


def unpack(w, features, units, classes):
    """The layers in a flat vector of parameters: a weight matrix with the bias as its last row, twice."""
    cut = (features + 1) * units
    hidden, output = w[:cut].reshape(-1, units), w[cut:].reshape(-1, classes)
    return {"hidden": {"w": hidden[:-1], "b": hidden[-1]}, "output": {"w": output[:-1], "b": output[-1]}}


def loss_on(scores_of, x, targets, penalty):
    """The loss of a model on data: mean cross-entropy, and a penalty on large parameters."""

    def loss(w):
        agreement = np.sum(targets * log_softmax(scores_of(w, x)), axis=1)
        return penalty * np.sum(w**2) - np.mean(agreement)

    return loss
