"""What wind turns a stripe of smoke into a ring? The derivative goes back through all steps of a simulated fluid.

Velocities carry themselves and the smoke along (Stam, Stable fluids, 1999) on a periodic grid; what would compress the fluid is removed
by its Fourier transform. `picture` writes the result as a PGM file, which needs no library.
"""

from __future__ import annotations

import sys

from scipy.optimize import minimize

import irgrad
import irgrad.numpy as np


def incompressible(x, y):
    """Two components of a velocity without their divergence."""
    side = len(x)
    k = np.fft.fftfreq(side)
    across, along = k[:, None], k[None, :]
    size = across**2 + along**2 + (k[:, None] == 0.0) * (k[None, :] == 0.0)
    fx, fy = np.fft.fft2(x), np.fft.fft2(y)
    pressure = (across * fx + along * fy) / size
    return np.real(np.fft.ifft2(fx - across * pressure)), np.real(np.fft.ifft2(fy - along * pressure))


def carried(field, x, y):
    """The field moved along a velocity: each point has what was upstream, between four points of the grid."""
    side = len(field)
    places = np.arange(side)
    up, left = places[:, None] - x, places[None, :] - y
    row, column = np.floor(up), np.floor(left)
    down, right = up - row, left - column
    r, c = row.astype(int) % side, column.astype(int) % side
    r1, c1 = (r + 1) % side, (c + 1) % side
    above = (1.0 - right) * field[r, c] + right * field[r, c1]
    below = (1.0 - right) * field[r1, c] + right * field[r1, c1]
    return (1.0 - down) * above + down * below


def simulate(x, y, smoke, steps):
    """Velocity and smoke after some steps; all frames of the smoke."""
    frames = [smoke]
    for _ in range(steps):
        x, y = incompressible(carried(x, x, y), carried(y, x, y))
        smoke = carried(smoke, x, y)
        frames.append(smoke)
    return frames


def stripe(side: int) -> np.ndarray:
    rows = np.arange(side)[:, None]
    return np.where(np.abs(rows - side // 2) < side // 6, 1.0, 0.0) * np.ones((1, side))


def ring(side: int) -> np.ndarray:
    places = np.arange(side) - (side - 1) / 2.0
    radius = np.sqrt(places[:, None] ** 2 + places[None, :] ** 2)
    return np.exp(-((radius - side / 3.5) ** 2) / (0.02 * side**2))


def main(compiled: bool = False, side: int = 16, steps: int = 10, rounds: int = 8) -> dict[str, object]:
    """Mean squared distances from the ring before and after fitting the wind, and the frames of the best one."""
    start, target = stripe(side), ring(side)

    def distance(winds):
        x, y = np.reshape(winds, (2, side, side))
        x, y = incompressible(x, y)
        return np.mean((simulate(x, y, start, steps)[-1] - target) ** 2)

    value_and_gradient = irgrad.value_and_grad(distance)
    if compiled:
        value_and_gradient = irgrad.jit(value_and_gradient)
    calm = 0.01 * np.random.RandomState(0).randn(2 * side * side)
    fitted = minimize(value_and_gradient, calm, jac=True, method="CG", options={"maxiter": rounds})
    x, y = incompressible(*np.reshape(fitted.x, (2, side, side)))
    return {"before": float(distance(calm)), "after": float(fitted.fun), "frames": np.array(simulate(x, y, start, steps))}


def picture(frames: np.ndarray, path: str, size: int = 8) -> None:
    """Some frames side by side, from first to last, as a grey-scale picture in PGM format."""
    shown = frames[:: max(1, len(frames) // 5)]
    grey = np.clip(255.0 * (1.0 - np.concatenate(list(shown), axis=1)), 0.0, 255.0).astype(np.uint8)
    grey = np.repeat(np.repeat(grey, size, axis=0), size, axis=1)
    with open(path, "wb") as file:
        file.write(b"P5 %d %d 255\n" % grey.shape[::-1] + grey.tobytes())


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, side=32, steps=20, rounds=25)
        print("compiled" if compiled else "eager")
        print(f"  distance {found['before']:.5f} -> {found['after']:.5f}")
    picture(found["frames"], sys.argv[1] if len(sys.argv) > 1 else "fluid.pgm")
