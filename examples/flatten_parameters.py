"""Parameters in nested containers: gradients have their structure, and `flatten` makes one vector of them and back."""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.misc import flatten

PARAMETERS = {
    "layers": [{"weights": np.array([[0.1, -0.2], [0.3, 0.4]]), "bias": np.array([0.0, 0.5])}, {"weights": np.array([[0.7, -0.6]])}],
    "scale": (2.0, np.array([1.0, 3.0])),
}
VECTOR, to_parameters = flatten(PARAMETERS)


def model(parameters):
    first, second = parameters["layers"]
    gain, offsets = parameters["scale"]
    hidden = np.tanh(np.dot(first["weights"], offsets) + first["bias"])
    return np.sum(gain * np.dot(second["weights"], hidden))


def model_of_vector(vector):
    return model(to_parameters(vector))


def main(compiled: bool = False) -> dict[str, object]:
    """The gradient in both forms, and the round trip of each."""
    nested, flat = irgrad.grad(model), irgrad.grad(model_of_vector)
    if compiled:
        nested, flat = irgrad.jit(nested), irgrad.jit(flat)
    gradient, gradient_vector = nested(PARAMETERS), flat(VECTOR)
    return {
        "vector": VECTOR,
        "gradient": gradient,
        "gradient of the vector": gradient_vector,
        "flattened gradient": flatten(gradient)[0],
        "round trip": to_parameters(VECTOR),
    }


if __name__ == "__main__":
    for compiled in (False, True):
        print("compiled" if compiled else "eager")
        for name, value in main(compiled).items():
            print(f"  {name}: {value}")
