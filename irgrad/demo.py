"""`python -m irgrad demo`: two classifiers fitted to Fisher's iris data with compiled gradients, and what the compiler made of them.

The models are plain numpy (`irgrad/data/models.py`). They are copied to the demo's folder and imported from there, so that graphs
and guards name lines of a file of the user's own.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

import irgrad
from irgrad.data import load_iris
from irgrad.ir.draw import to_dot, to_svg
from irgrad.ir.graph import Graph

UNITS = 8  # as models.network has it
PENALTY = 1e-3
STEPS_SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500)
LINES_SHOWN = 9
PAIRS_TIMED = 200

Vector = NDArray[np.float64]


@dataclass
class Task:
    """One model to fit: its scores of flowers from a flat parameter vector, and where the fit starts."""

    name: str
    title: str
    scores: Callable[[Vector, Vector], Vector]
    loss: Callable[[Vector], Any]
    start: Vector


def demo(folder: Path | None = None, seed: int = 0) -> Path:
    """Run the demo, printing as it goes; returns the folder with what it wrote.

    Raises OSError if the folder cannot be written.
    """
    begin = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="irgrad-demo-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    iris = load_iris()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(iris.lengths))
    held, used = np.split(order, [len(order) // 3])
    mean, spread = iris.lengths[used].mean(axis=0), iris.lengths[used].std(axis=0)
    x = (iris.lengths - mean) / spread
    print(f"irgrad {irgrad.__version__} demo, seed {seed}: Fisher's iris data, {len(used)} flowers to learn from, {len(held)} held out")
    print(f"The models are plain numpy, in {folder / 'models.py'}")
    for number, task in enumerate(tasks(load_models(folder), x[used], np.eye(len(iris.names))[iris.species[used]], rng), 1):
        print(f"\n{number}. {task.title}, {task.start.size} parameters")
        value_and_grad = irgrad.value_and_grad(task.loss)
        compiled = irgrad.jit(value_and_grad)
        found = fit(compiled, task.start)
        right = int(np.sum(np.argmax(task.scores(found.x, x[held]), axis=1) == iris.species[held]))
        print(f"   held-out accuracy: {right} of {len(held)} = {right / len(held):.1%}")
        show_times(value_and_grad, compiled, task.start)
        show_graphs(value_and_grad, task, folder)
        (folder / f"{task.name}.kernels.txt").write_text("\n\n".join(kernel.source for kernel in compiled.kernels), encoding="utf-8")
    print(f"\n{time.perf_counter() - begin:.1f} seconds in all. In {folder}:")
    print("\n".join(f"  {name}" for name in sorted(file.name for file in folder.iterdir() if file.is_file())))
    return folder


def load_models(folder: Path) -> Any:
    """Copy models.py to `folder` and import the copy."""
    path = folder / "models.py"
    with resources.as_file(resources.files("irgrad.data").joinpath("models.py")) as source:
        shutil.copyfile(source, path)
    spec = importlib.util.spec_from_file_location("models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tasks(models: Any, x: Vector, targets: Vector, rng: np.random.Generator) -> list[Task]:
    """The two models with their losses on the training data."""
    features, classes = x.shape[1], targets.shape[1]
    size = (features + 1) * UNITS + (UNITS + 1) * classes
    starts = {"regression": np.zeros((features + 1) * classes), "network": 0.5 * rng.standard_normal(size)}
    titles = {"regression": "multinomial logistic regression", "network": f"network with a hidden layer of {UNITS} tanh units"}
    found: list[Task] = []
    for name, start in starts.items():
        scores = getattr(models, name)
        found.append(Task(name, titles[name], scores, models.loss_on(scores, x, targets, PENALTY), start))
    return found


def fit(compiled: Callable[[Vector], Any], start: Vector) -> OptimizeResult:
    """Minimise, showing progress."""
    print("   minimize(irgrad.jit(irgrad.value_and_grad(loss)), w0, jac=True)")
    print(f"     iteration    0: loss {compiled(start)[0]:.5f}")
    step = 0
    begin = time.perf_counter()

    def progress(intermediate_result: OptimizeResult) -> None:
        nonlocal step
        step += 1
        if step in STEPS_SHOWN:
            print(f"     iteration {step:4d}: loss {intermediate_result.fun:.5f}", flush=True)

    found = minimize(compiled, start, jac=True, callback=progress)
    seconds = time.perf_counter() - begin
    print(f"     iteration {found.nit:4d}: loss {found.fun:.5f}, after {found.nfev} calls in {seconds:.2f} s, compiling included")
    return found


def show_times(eager: Callable[..., Any], compiled: Any, w: Vector) -> None:
    """What compiling cost and what it gives, with both forms timed in turn."""
    stats = compiled.stats()
    print(
        f"   seconds spent: tracing {stats.trace_seconds:.3f}, passes {stats.pass_seconds:.3f}, compiling {stats.compile_seconds:.3f} "
        f"({stats.kernels_compiled} kernels compiled, {stats.kernels_loaded} loaded from the store), linking {stats.link_seconds:.3f}"
    )
    before, after = interleaved_medians(eager, compiled, w)
    print(f"   value and gradient, a call: eager {before * 1e6:.1f} us, compiled {after * 1e6:.1f} us: {before / after:.1f} times faster")
    wanted, got = eager(w)[1], compiled(w)[1]
    difference = np.max(np.abs(wanted - got)) / np.max(np.abs(wanted))
    print(f"   largest difference of the two gradients, relative to the largest entry: {difference:.1e}")


def interleaved_medians(first: Callable[..., Any], second: Callable[..., Any], w: Vector) -> tuple[float, float]:
    """Median seconds a call of two functions, called in turn so that both meet the same machine."""
    seconds = np.empty((PAIRS_TIMED, 2))
    for pair in seconds:
        for column, function in enumerate((first, second)):
            begin = time.perf_counter()
            function(w)
            pair[column] = time.perf_counter() - begin
    before, after = np.median(seconds, axis=0)
    return float(before), float(after)


def show_graphs(value_and_grad: Callable[..., Any], task: Task, folder: Path) -> None:
    """Print the graph's first lines and what each pass did; write it before and after, as text and as a picture."""
    graph = irgrad.trace(value_and_grad)(task.start)
    optimised, results = irgrad.optimized(graph)
    text = str(graph)
    lines = text.splitlines()
    print("   graph of the loss and its gradient:")
    print("\n".join(f"     {line}" for line in lines[:LINES_SHOWN]))
    print(f"     ... {len(lines) - LINES_SHOWN} more lines in {task.name}.before.txt")
    print(f"   {len(graph.nodes())} nodes before optimisation, {len(optimised.nodes())} after:")
    for name, result in results:
        counts = ", ".join(f"{what} {count}" for what, count in sorted(result.counts.items()))
        print(f"     {name:9s} {counts or 'nothing to do'}")
    for when, each in (("before", graph), ("after", optimised)):
        (folder / f"{task.name}.{when}.txt").write_text(f"{each}\n", encoding="utf-8")
        write_picture(each, folder / f"{task.name}.{when}")


def write_picture(graph: Graph, path: Path) -> None:
    """An SVG drawing where the draw extra is installed, DOT text otherwise."""
    drawing = to_svg(graph)
    if drawing is not None:
        path.with_name(f"{path.name}.svg").write_text(drawing, encoding="utf-8")
    else:
        path.with_name(f"{path.name}.dot").write_text(to_dot(graph), encoding="utf-8")
