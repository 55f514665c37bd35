"""Times of the example programs, as the table of examples/README.md: ``python -m benchmarks.examples [name ...]``.

Each program runs once at the sizes of its ``__main__``, compiled, with an empty store of kernels. Reported is its most costly compiled
function: the seconds spent in calls that traced or compiled, and the median time of a call since, eager and compiled, on equal arguments.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SIZES: dict[str, dict[str, int]] = {
    "bayesian_optimisation": {"rounds": 9}, "convolutional_network": {"steps": 200}, "fluid_simulation": {"side": 32, "steps": 20},
    "gradient_descent": {"steps": 1000}, "hidden_markov_model": {"length": 400, "rounds": 30}, "independent_components": {"count": 2000},
    "lstm": {"steps": 100}, "neural_network": {"steps": 1000}, "ode_network": {"steps": 40}, "recurrent_network": {"steps": 150},
    "variational_inference": {"steps": 600},
}  # fmt: skip
REPEATS = 20


def measure(name: str) -> tuple[str, float, float, float]:
    """Of a program: its most costly compiled function, seconds until compiled, seconds of an eager and of a compiled call."""
    import irgrad
    from irgrad.runtime.jit import Jitted

    made: list[Timed] = []

    class Timed(Jitted):
        def __init__(self, fun: Any) -> None:
            super().__init__(fun)
            self.warming, self.total, self.last = 0.0, 0.0, ((), {})
            made.append(self)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            before, start = self._stats.traces, time.perf_counter()
            result = super().__call__(*args, **kwargs)
            seconds = time.perf_counter() - start
            self.total += seconds
            if self._stats.traces != before:
                self.warming += seconds
            self.last = (args, kwargs)
            return result

    irgrad.jit = Timed  # type: ignore[assignment]
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(True, **SIZES.get(name, {}))
    hot = max(made, key=lambda each: each.total)
    args, kwargs = hot.last
    for _ in range(3):
        hot(*args, **kwargs)
    eager = _median(lambda: hot.fun(*args, **kwargs))
    return hot.__name__, hot.warming, eager, _median(lambda: Jitted.__call__(hot, *args, **kwargs))


def _median(call: Any) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def written(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in EXAMPLES.glob("*.py"))
    print("| program | timed function | until compiled | eager call | compiled call | ratio |\n|---|---|---|---|---|---|")
    for name in names:
        pid = os.fork()  # each program in a process of its own, with an empty store
        if pid:
            os.waitpid(pid, 0)
            continue
        with tempfile.TemporaryDirectory() as store:
            os.environ["IRGRAD_STORE"] = store
            function, until, eager, compiled = measure(name)
        row = f"| [{name}]({name}.py) | {function} | {until:.2f} s | {written(eager)} | {written(compiled)} | {eager / compiled:.1f} |"
        print(row, flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
