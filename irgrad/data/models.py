"""Two classifiers in plain numpy. Nothing here knows of irgrad: the demo copies this file to its folder and differentiates the copy."""

import numpy as np


def log_softmax(scores):
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def regression(w, x, classes=3):
    """Multinomial logistic regression; the parameters are a weight matrix and a bias in one flat vector."""
    weights = w[:-classes].reshape(-1, classes)
    return x @ weights + w[-classes:]


def network(w, x, units=8, classes=3):
    """A network with one hidden layer, from one flat vector of parameters."""
    return forward(unpack(w, x.shape[1], units, classes), x)


def forward(params, x):
    """The same network from a dict of layers."""
    hidden, output = params["hidden"], params["output"]
    return np.tanh(x @ hidden["w"] + hidden["b"]) @ output["w"] + output["b"]


def unpack(w, features, units, classes):
    w1, b1, w2, b2 = np.split(w, np.cumsum([features * units, units, units * classes]))
    return {
        "hidden": {"w": w1.reshape(features, units), "b": b1},
        "output": {"w": w2.reshape(units, classes), "b": b2},
    }


def loss_on(scores_of, x, targets, penalty):
    """The loss of a model on data: mean cross-entropy, and a penalty on large parameters."""

    def loss(w):
        agreement = np.sum(targets * log_softmax(scores_of(w, x)), axis=1)
        return penalty * np.sum(w**2) - np.mean(agreement)

    return loss
