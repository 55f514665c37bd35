"""What must not grow: kernels, rows, compiles, retraces. Times are the benchmarks' business."""

from __future__ import annotations

import functools
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.compile import LIBRARY
from irgrad.runtime.explain import explanation
from tests.runtime.programs import P0, S0, rk4_loss, rosenbrock, small_loss, taylor_sine, three_way


def compiled(f: Callable[..., Any], *args: Any) -> Any:
    """`f` jitted, traced and compiled on `args`; its compiled answer agrees with the traced one."""
    jitted = irgrad.jit(f)
    first = jitted(*args)
    jitted(*args)
    before = jitted.stats().eager_calls
    np.testing.assert_allclose(jitted(*args), first, rtol=1e-11, atol=1e-13)
    assert jitted.stats().eager_calls == before
    return jitted


def num_new_kernels(jitted: Any) -> int:
    """Kernels that were new to this function when one of its paths was linked, whether the store had them or not."""
    return jitted.stats().kernels


def num_rows(jitted: Any) -> int:
    """Rows without the return."""
    return sum(v.program.num_rows - len(v.program.leaves) for v in jitted.variants)


def test_rk4_kernels_do_not_depend_on_the_step_count() -> None:
    short, long = (compiled(irgrad.grad(rk4_loss(steps)), P0, S0) for steps in (24, 300))
    assert short.stats().kernels == long.stats().kernels
    assert num_rows(long) <= 20
    assert long.stats().kernels_compiled == 0
    assert long.stats().host_calls == 0


def test_loops_of_any_length_have_equal_numbers_of_kernels() -> None:
    """A kernel with a loop over its uses takes the place of the kernel."""
    counts = [compiled(irgrad.grad(rk4_loss(steps)), P0, S0).stats().kernels for steps in (3, 4, 6, 10, 100, 1000)]
    assert len(set(counts)) == 1


def test_second_order_kernels_do_not_depend_on_the_step_count() -> None:
    def squared_norm(steps: int) -> Callable[..., Any]:
        gradient = irgrad.grad(rk4_loss(steps))
        return irgrad.grad(lambda p, s: np.sum(gradient(p, s) ** 2))

    short, long = (compiled(squared_norm(steps), P0, S0) for steps in (24, 60))
    assert short.stats().kernels == long.stats().kernels
    assert long.stats().kernels_compiled == 0


def test_taylor_sine_compiles_nothing_after_the_first_points() -> None:
    jitted = irgrad.jit(irgrad.grad(taylor_sine))
    eager = irgrad.grad(taylor_sine)
    points = np.random.default_rng(0).uniform(-6, 6, 200)
    after = 0
    for number, x in enumerate(points):
        for _ in range(3):
            value = jitted(float(x))
        assert abs(value - eager(float(x))) < 1e-12
        if number == 19:
            after = num_new_kernels(jitted)
    stats = jitted.stats()
    assert stats.kernels == after
    assert stats.guard_rounding == 0
    text = explanation(jitted)
    assert text.count("compiled calls") == stats.paths
    assert "while np.abs(term) > 0.001:" in text


def test_sixty_branch_paths_compile_nothing_after_the_tenth() -> None:
    jitted = irgrad.jit(irgrad.grad(three_way), compile_after=1)
    eager = irgrad.grad(three_way)
    rng = np.random.default_rng(3)
    seen = 0
    at_tenth = None
    while seen < 60:
        x = float(rng.uniform(0, 1))
        np.testing.assert_allclose(jitted(x), eager(x), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(jitted(x), eager(x), rtol=1e-11, atol=1e-13)
        seen = jitted.stats().paths
        if seen == 10:
            at_tenth = num_new_kernels(jitted)
    assert num_new_kernels(jitted) == at_tenth
    assert jitted.stats().kernels < 40


def test_small_loss_is_two_products_and_one_loop() -> None:
    rng = np.random.default_rng(0)
    jitted = irgrad.jit(irgrad.grad(small_loss))
    for batch in (50, 70):
        x, w, y = rng.normal(size=(batch, 20)), rng.normal(size=20), rng.normal(size=batch)
        compiled_before = jitted.stats().kernels_compiled + jitted.stats().kernels_loaded
        for _ in range(3):
            found = jitted(w, x, y)
        t = np.tanh(x @ w)
        np.testing.assert_allclose(found, x.T @ (2 * (t - y) * (1 - t * t)), rtol=1e-10)
        if batch == 70:
            assert jitted.stats().kernels_compiled + jitted.stats().kernels_loaded == compiled_before
    sources = [k.source for k in jitted.kernels]
    assert sum("call_blas" in s for s in sources) <= 2
    assert sum("call_blas" not in s for s in sources) <= 2
    assert all(v.program.num_rows <= 5 for v in jitted.variants)


def test_rosenbrock_is_one_kernel() -> None:
    jitted = compiled(irgrad.grad(rosenbrock), np.array([1.2, 0.7]))
    assert jitted.stats().kernels == 1
    assert num_rows(jitted) == 1


def recursive(depth: int) -> Callable[[Any], Any]:
    def descend(x: Any, n: int) -> Any:
        return x if n == 0 else np.sin(descend(x * 1.01, n - 1)) + 0.5

    return lambda x: descend(x, depth)


def reduced(count: int) -> Callable[[Any], Any]:
    return lambda x: functools.reduce(lambda a, k: np.tanh(a * k) + a, [0.1 * i + 0.3 for i in range(count)], x)


def nested(count: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for i in range(count):
            for j in range(count + 1):
                x = x + 0.1 * np.sin(x * (0.1 * i + 0.2 * j))
            x = np.cos(x)
        return x

    return f


def alternating(count: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for i in range(count):
            x = np.sin(x) * 0.9 if i % 2 == 0 else np.exp(-x) + 0.1 * x
        return x

    return f


def repeated_lines(count: int) -> Callable[[Any], Any]:
    space: dict[str, Any] = {"np": np}
    lines = "\n".join("    y = step(y)" for _ in range(count))
    exec(f"def step(y):\n    return np.sin(y) * 0.9 + np.cos(y * 0.3) - 0.1 * y * y\n\ndef f(y):\n{lines}\n    return y\n", space)
    return space["f"]


@pytest.mark.parametrize(
    ("make", "counts"),
    [(recursive, (24, 48)), (reduced, (24, 60)), (nested, (32, 40)), (alternating, (31, 61)), (repeated_lines, (60, 120))],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_kernels_do_not_grow_with_the_count(make: Callable[[int], Callable[[Any], Any]], counts: tuple[int, int]) -> None:
    short, long = (compiled(irgrad.grad(make(n)), 0.7) for n in counts)
    assert short.stats().kernels == long.stats().kernels
    assert long.stats().kernels_compiled == 0


def test_a_second_function_with_the_same_bodies_compiles_nothing() -> None:
    compiled(irgrad.grad(nested(4)), 0.7)

    def other(x: Any) -> Any:
        for p in range(3):
            for q in range(5):
                x = x + 0.25 * np.sin(x * (0.3 * p + 0.7 * q))
            x = np.cos(x)
        return x

    assert compiled(irgrad.grad(other), 0.7).stats().kernels_compiled == 0


def test_a_second_process_loads_its_kernels() -> None:
    compiled(irgrad.grad(alternating(11)), 0.7)
    LIBRARY.forget()
    again = compiled(irgrad.grad(alternating(11)), 0.7).stats()
    assert again.kernels_compiled == 0
    assert again.kernels_loaded > 0


def test_a_threshold_met_by_rounding_is_counted() -> None:
    """A comparison that compiled code decides otherwise than numpy: the retrace finds the known path."""
    jitted = irgrad.jit(lambda x: x * 2.0 if np.sum(x * 1.0) > 0.0 else x * 3.0, compile_after=1)
    x = np.ones(3)
    jitted(x)
    (variant,) = jitted.variants
    table = variant.program.tables
    table[1] = 1 - table[1]  # plant: the compiled guard expects the other outcome
    np.testing.assert_array_equal(jitted(x), 2.0 * x)
    assert jitted.stats().guard_rounding == 1


def recurrence(x: Any) -> Any:
    a = np.zeros(len(x))
    a[0] = x[0]
    for i in range(1, len(x)):
        a[i] = np.sin(a[i - 1]) + x[i] * a[i - 1]
    return np.sum(a * a)


def gauss_seidel(a: Any) -> Any:
    a = a * 1.0
    n = a.shape[0]
    for i in range(1, n - 1):
        for j in range(1, n - 1):
            a[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1])
    return np.sum(a * a)


@pytest.mark.parametrize(
    ("f", "shapes", "writes"),
    [(recurrence, ((100,), (700,)), lambda n: n), (gauss_seidel, ((8, 8), (26, 26)), lambda n: (n - 2) ** 2)],
)
def test_element_writes_cost_what_they_write(f: Any, shapes: Any, writes: Any, rng: np.random.Generator) -> None:
    """Forward and adjoint: a row each per write, no buffer twice, and no kernel that depends on the size."""
    small, large = (compiled(irgrad.grad(f), rng.normal(size=shape) * 0.3) for shape in shapes)
    assert small.stats().kernels == large.stats().kernels
    for jitted, shape in ((small, shapes[0]), (large, shapes[1])):
        assert num_rows(jitted) <= 2 * writes(shape[0]) + 6
        assert jitted.stats().arena_bytes <= 8 * 7 * np.prod(shape) + 2048


@pytest.mark.parametrize("derive", [irgrad.grad, lambda f: lambda x: irgrad.make_jvp(f)(x)(x)], ids=["adjoint", "tangent"])
def test_eager_derivatives_of_element_writes_are_linear_in_memory(derive: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=2000) * 0.3
    gradient = derive(recurrence)
    gradient(x[:10])
    tracemalloc.start()
    try:
        gradient(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3500 * len(x) < 0.25 * 8 * len(x) ** 2


def test_a_few_steps_on_large_arrays_are_one_pass_over_memory() -> None:
    """Where arrays are small, the kernels do not depend on the number of steps; where they are large, the steps share one."""

    def chain(count: int) -> Any:
        def total(x: Any) -> Any:
            for _ in range(count):
                x = np.tanh(1.1 * x + 0.1)
            return np.sum(x)

        return irgrad.grad(total)

    def stats(count: int, size: int) -> Any:
        return irgrad.jit(chain(count)).compile(np.linspace(0, 1, size)).stats()

    large = stats(4, 40_000)
    assert large.kernels == 1
    assert large.arena_bytes < 1000
    assert stats(4, 400).kernels == stats(6, 400).kernels > 1
