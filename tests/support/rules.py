"""Applies derivative rules without the adjoint pass: a small tape, and checks of a primitive against finite differences.

Inner products are Re(sum(a * b)), which fits the complex convention: a cotangent of z = x + iy is du/dx - i du/dy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.ir.builder import Builder
from irgrad.ir.primitive import Joint, Masked, NonDiff, Primitive, Update
from irgrad.ir.value import Value

STEP = 1e-5
RTOL = 2e-6


def require(holds: Any, message: str) -> None:
    """An assertion that holds under ``python -O`` too."""
    if not holds:
        raise AssertionError(message)


class Node(Value):
    """A recorded result with its value; `op` None marks an input."""

    __slots__ = ("active", "index", "op", "operands", "params", "value")

    def __init__(self, op: Primitive | None, operands: tuple[Any, ...], params: dict[str, Any], index: int, value: Any) -> None:
        self.op, self.operands, self.params, self.index, self.value = op, operands, params, index, value
        self.active = op is None or any(isinstance(o, Node) and o.active for o in operands)  # does it depend on an input?


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, Node) else x


class Tape(Builder):
    """Evaluates and records."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def input(self, value: Any) -> Node:
        return self._record(None, (), {}, value)

    def _record(self, op: Primitive | None, operands: tuple[Any, ...], params: dict[str, Any], value: Any) -> Node:
        node = Node(op, operands, params, len(self.nodes), value)
        self.nodes.append(node)
        return node

    def apply(self, op: Primitive, *operands: Any, **params: Any) -> Node:
        return self._record(op, operands, params, op.evaluate(*map(value_of, operands), **params))

    def bind(self, op: Primitive) -> Callable[..., Any]:
        return lambda *operands, **params: self.apply(op, *operands, **params)

    def shape(self, x: Any) -> tuple[int, ...]:
        return np.shape(value_of(x))

    def dtype(self, x: Any) -> np.dtype[Any]:
        return np.result_type(value_of(x))

    def number(self, value: Any) -> Any:
        return value

    def zeros_like(self, x: Any) -> Any:
        return np.zeros(self.shape(x), self.dtype(x))

    def gradient(self, out: Node, ct: Any, inputs: Sequence[Node]) -> list[Any]:
        """Cotangents of `inputs` for the cotangent `ct` of `out`, recorded on this tape."""
        cts: dict[int, Any] = {out.index: ct}
        for node in reversed(self.nodes[: out.index + 1]):
            if node.op is None or node.index not in cts:
                continue
            incoming = cts.pop(node.index)
            for index, operand in enumerate(node.operands):
                if isinstance(operand, Node) and operand.active and self.dtype(operand).kind in "fc":
                    given = vjp(self, node.op, index, incoming, node, node.operands, node.params)
                    if given is not None:
                        held = cts.get(operand.index)
                        cts[operand.index] = given if held is None else self.add(held, given)
        return [cts.get(node.index, self.zeros_like(node)) for node in inputs]


def sum_to(b: Builder, ct: Any, x: Any) -> Any:
    """`ct` with shape, realness and dtype of the operand `x`."""
    shape = b.shape(x)
    if b.shape(ct) != shape:
        full = np.broadcast_shapes(b.shape(ct), shape)
        if b.shape(ct) != full:
            ct = b.broadcast_to(ct, shape=full)
        lead = len(full) - len(shape)
        axes = tuple(i for i, n in enumerate(full) if i < lead or (shape[i - lead] == 1 and n != 1))
        ct = b.reshape(b.reduce_sum(ct, axes=axes), shape=shape)
    if b.dtype(ct).kind == "c" and b.dtype(x).kind != "c":
        ct = b.real(ct)
    return ct if b.dtype(ct) == b.dtype(x) else b.convert(ct, dtype=b.dtype(x).name)


def vjp(b: Builder, op: Primitive, index: int, ct: Any, out: Any, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The cotangent of one operand, shaped like it; None if none flows."""
    if isinstance(op.vjp, NonDiff):
        return None
    if isinstance(op.vjp, Joint):
        given = op.vjp.rule(b, [index], ct, out, *operands, **params).get(index)
        every = [k for k, o in enumerate(operands) if isinstance(o, Node) and o.active]
        together = op.vjp.rule(b, every, ct, out, *operands, **params).get(index)
        require(np.array_equal(value_of(given), value_of(together)), f"{op.name}: cotangent {index} depends on which are asked for")
    elif isinstance(op.vjp, tuple):
        rule = op.vjp[index]
        given = None if rule is None else rule(b, ct, out, *operands, **params)
    else:
        given = op.vjp(b, index, ct, out, *operands, **params)
    if isinstance(given, Masked):
        value, mask = np.broadcast_arrays(value_of(given.value), value_of(given.mask))
        require(mask.dtype == bool, f"{op.name}: mask of dtype {mask.dtype}")
        require(not value[~mask].any(), f"{op.name}: cotangent is not zero outside its mask")
        given = given.value
    if isinstance(given, Update):
        base = b.zeros_like(operands[index]) if given.base is None else given.base
        return getattr(b, given.primitive)(base, *given.operands, **given.params)
    return None if given is None else sum_to(b, given, operands[index])


def jvp(b: Builder, op: Primitive, tangents: tuple[Any, ...], out: Any, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The tangent of the result; zeros if none flows."""
    total: Any = None
    if isinstance(op.jvp, tuple):
        for rule, t in zip(op.jvp, tangents, strict=True):
            part = None if rule is None or t is None else rule(b, t, out, *operands, **params)
            if part is not None:
                total = part if total is None else b.add(total, part)
    elif not isinstance(op.jvp, NonDiff):
        total = op.jvp(b, tangents, out, *operands, **params)
    if total is None:
        return b.zeros_like(out)
    return total if b.shape(total) == b.shape(out) else b.broadcast_to(total, shape=b.shape(out))


# ---- checks ----


def inner(a: Any, b: Any) -> float:
    return float(np.real(np.sum(np.multiply(a, b))))


def random_like(rng: np.random.Generator, x: Any) -> Any:
    x = np.asarray(x)
    draw = rng.standard_normal(x.shape)
    if x.dtype.kind == "c":
        draw = draw + 1j * rng.standard_normal(x.shape)
    return np.asarray(draw, x.dtype)


def active_operands(operands: Sequence[Any]) -> list[int]:
    return [i for i, x in enumerate(operands) if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "fc"]


def check_rules_agree(op: Primitive, operands: Sequence[Any], params: dict[str, Any], rng: np.random.Generator) -> None:
    """ct . (J t) from the jvp equals (ct J) . t from the vjp, all operands together and one by one."""
    active = active_operands(operands)
    for chosen in [active] + [[i] for i in active]:
        tape = Tape()
        nodes = [tape.input(x) if i in chosen else x for i, x in enumerate(operands)]
        with np.errstate(all="ignore"):
            out = tape.apply(op, *nodes, **params)
            if not chosen or tape.dtype(out).kind not in "fc":
                return
            tangents = [random_like(rng, operands[i]) for i in chosen]
            ct = random_like(rng, out.value)
            full = tuple(tangents[chosen.index(i)] if i in chosen else None for i in range(len(operands)))
            forward = value_of(jvp(tape, op, full, out, tuple(nodes), params))
            cts = [value_of(c) for c in tape.gradient(out, ct, [nodes[i] for i in chosen])]
        for i, c in zip(chosen, cts, strict=True):
            require(np.shape(c) == np.shape(operands[i]), f"{op.name}: cotangent {i} has shape {np.shape(c)}")
            require(np.result_type(c) == np.result_type(operands[i]), f"{op.name}: cotangent {i} has dtype {np.result_type(c)}")
        with np.errstate(all="ignore"):
            left, right = inner(ct, forward), sum(inner(c, t) for c, t in zip(cts, tangents, strict=True))
            scale = 1.0 + float(np.sum(np.abs(np.multiply(ct, forward))))
        eps = max(float(np.finfo(np.result_type(x)).eps) for x in (out.value, *(operands[i] for i in chosen)))
        same = abs(left - right) <= 100 * eps * scale if np.isfinite(left) else not np.isfinite(right)
        require(same, f"{op.name}: ct . (J t) is {left} by jvp and {right} by vjp")


def check_against_differences(
    op: Primitive, operands: Sequence[Any], params: dict[str, Any], rng: np.random.Generator, order: int = 2
) -> None:
    """Reverse mode against central differences along one random direction: of the op, then of its gradient."""
    active = active_operands(operands)
    if not active:
        return
    with np.errstate(all="ignore"):
        sample = op.evaluate(*operands, **params)
    if np.result_type(sample).kind not in "fc":
        return
    weight = random_like(rng, sample)
    direction = [random_like(rng, operands[i]) for i in active]
    second = [random_like(rng, operands[i]) for i in active]

    def functionals(shift: float, order: int) -> tuple[list[float], list[list[Any]]]:
        """The functionals of order 0, 1, ... at a shifted point, and the gradient of each."""
        tape = Tape()
        nodes = list(operands)
        for i, v in zip(active, direction, strict=True):
            nodes[i] = tape.input(np.asarray(operands[i] + shift * v))
        inputs = [nodes[i] for i in active]
        out = tape.apply(op, *nodes, **params)
        gradient = tape.gradient(out, weight, inputs)
        values, gradients = [inner(weight, out.value)], [[value_of(g) for g in gradient]]
        if order == 2:
            values.append(sum(inner(u, value_of(g)) for u, g in zip(second, gradient, strict=True)))
            total = [np.zeros(np.shape(x.value), tape.dtype(x)) for x in inputs]
            for u, g in zip(second, gradient, strict=True):
                if isinstance(g, Node):
                    total = [a + value_of(c) for a, c in zip(total, tape.gradient(g, u, inputs), strict=True)]
            gradients.append(total)
        return values, gradients

    with np.errstate(all="ignore"):
        _, gradients = functionals(0.0, order)
        above, _ = functionals(STEP, order)
        below, _ = functionals(-STEP, order)
    for k in range(order):
        expected = (above[k] - below[k]) / (2 * STEP)
        got = sum(inner(g, v) for g, v in zip(gradients[k], direction, strict=True))
        scale = 1.0 + abs(expected) + abs(above[k])
        require(abs(got - expected) <= RTOL * scale, f"{op.name}: derivative of order {k + 1} is {got}; differences give {expected}")
