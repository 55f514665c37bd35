"""Reverse and forward accumulation: on numpy values, recorded on an eager tape, and recorded in a graph trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import irgrad  # noqa: F401  (declares the primitives, teaches tracers numpy)
from irgrad.errors import MissingRuleError
from irgrad.frontend.context import CURRENT
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.recorder import RecordBuilder
from irgrad.frontend.trace import EagerTrace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.builder import EVAL
from irgrad.ir.primitive import ELEMENTWISE, PURE, REGISTRY, Masked, Primitive, Update, nondiff
from irgrad.ir.value import Static
from irgrad.passes.adjoint import find_active, fit_concrete, reverse, sum_to
from irgrad.passes.tangent import forward

X = np.array([0.3, 0.7, 1.1])
Program = Callable[..., Any]


class Tape:
    """A trace with marked inputs; attributes are primitives on them."""

    def __init__(self, trace: EagerTrace | GraphTrace, *inputs: Any) -> None:
        self.trace = trace
        lifted = [trace.lift(x) for x in inputs]
        self.inputs = [trace.call(REGISTRY["mark"], (x,), {}) for x in lifted]
        self.start = self.inputs[0].index

    def __getattr__(self, name: str) -> Callable[..., Tracer]:
        op = REGISTRY[name]
        return lambda *operands, **params: self.call(op, *operands, **params)

    def call(self, op: Primitive, *operands: Any, **params: Any) -> Tracer:
        if op.has(ELEMENTWISE) and not params:
            return self.trace.apply(op, op.evaluate, *operands)
        return self.trace.call(op, operands, params)

    def pull(self, out: Tracer, ct: Any, recorded: bool = False, detached: bool = False) -> list[Any]:
        b = RecordBuilder(self.trace) if recorded else EVAL
        if recorded and isinstance(self.trace, GraphTrace):
            self.trace.locate()
            self.trace.inside = True
            ct = self.trace.lift(ct)
        return reverse(self.trace.tape, self.start, len(self.trace.tape), {out.index: ct}, self.inputs, b, detached=detached)

    def push(self, out: Tracer, tangents: Sequence[Any], b: Any = EVAL) -> Any:
        seeds = {x.index: t for x, t in zip(self.inputs, tangents, strict=True) if t is not None}
        return forward(self.trace.tape, self.start, len(self.trace.tape), seeds, [out], b)[0]


def eager(*inputs: Any) -> Tape:
    return Tape(EagerTrace(), *inputs)


def graph(*inputs: Any) -> Tape:
    return Tape(GraphTrace(), *inputs)


def value(x: Any) -> Any:
    return x.value if isinstance(x, Static) or type(x) is Tracer else x


def all_ways(program: Program, inputs: Sequence[Any], ct: Any) -> list[list[Any]]:
    """Cotangents of the inputs: concrete, with everything taken as active, recorded eagerly, detached, in a graph."""
    results = []
    recorded = {"recorded": True}
    for make, keywords in ((eager, {}), (eager, recorded), (eager, {**recorded, "detached": True}), (graph, recorded)):
        tape = make(*inputs)
        results.append([value(c) for c in tape.pull(program(tape, *tape.inputs), ct, **keywords)])
    tape = eager(*inputs)
    out = program(tape, *tape.inputs)
    results.append(reverse(tape.trace.tape, 0, len(tape.trace.tape), {out.index: ct}, tape.inputs, EVAL, all_active=True))
    return results


def check(program: Program, inputs: Sequence[Any], ct: Any, *want: Any) -> None:
    for found in all_ways(program, inputs, ct):
        for have, expected in zip(found, want, strict=True):
            if expected is None:
                assert have is None
            else:
                assert np.shape(have) == np.shape(expected) and np.asarray(have).dtype == np.asarray(expected).dtype
                np.testing.assert_allclose(have, expected, rtol=1e-14, atol=1e-300)


@pytest.fixture(autouse=True)
def no_trace() -> Any:
    assert CURRENT.get() is None
    yield
    assert CURRENT.get() is None


# ---- products and sums ----


def test_product_rule() -> None:
    check(lambda t, x, y: t.mul(x, y), (X, 2 * X), np.ones(3), 2 * X, X)


def test_two_uses_of_one_value_add_up() -> None:
    check(lambda t, x: t.mul(x, x), (X,), np.ones(3), 2 * X)
    check(lambda t, x: t.add(t.add(x, x), t.mul(x, x)), (X,), np.ones(3), 2 + 2 * X)


def test_unused_inputs_have_no_cotangent() -> None:
    check(lambda t, x, y: t.neg(x), (X, X), np.ones(3), -np.ones(3), None)


def test_the_output_may_be_an_input() -> None:
    check(lambda t, x: x, (X,), np.ones(3), np.ones(3))


def test_contributions_to_one_value_do_not_change_each_other() -> None:
    def program(t: Tape, x: Any, y: Any) -> Any:
        shared = t.add(x, y)  # one cotangent array for both
        return t.add(t.add(shared, x), t.add(x, t.add(x, y)))

    check(program, (X, X), np.ones(3), 4 * np.ones(3), 2 * np.ones(3))


def test_the_seed_is_not_changed() -> None:
    ct = np.ones(3)
    tape = eager(X)
    (x,) = tape.inputs
    tape.pull(tape.add(tape.add(x, x), tape.add(x, x)), ct)
    np.testing.assert_array_equal(ct, np.ones(3))


# ---- shapes and dtypes ----


def test_broadcast_operands_are_summed() -> None:
    column, scalar = np.array([[1.0], [2.0]]), np.float64(3.0)
    ct = np.arange(6.0).reshape(2, 3)
    check(lambda t, x, y: t.mul(x, y), (column, X), ct, (ct * X).sum(1, keepdims=True), (ct * column).sum(0))
    check(lambda t, x, y: t.mul(x, y), (scalar, X), np.ones(3), np.float64(X.sum()), np.full(3, 3.0))
    check(lambda t, x, y: t.add(t.broadcast_to(x, shape=(2, 3)), y), (X, 1.0), ct, ct.sum(0), np.float64(15.0))


def test_read_only_views_are_accumulated() -> None:
    def program(t: Tape, x: Any) -> Any:
        total = t.reduce_sum(x, axes=(0,))
        return t.add(t.add(total, t.reduce_sum(x, axes=(0,))), t.reduce_sum(t.mul(x, x), axes=(0,)))

    check(program, (X,), np.float64(1.0), 2 + 2 * X)


def test_cotangents_keep_the_dtype_of_their_value() -> None:
    single = X.astype("f4")
    check(lambda t, x, y: t.mul(x, y), (single, X), np.ones(3), X.astype("f4"), single.astype("f8"))
    check(lambda t, x: t.convert(x, dtype="float32"), (X,), np.ones(3, "f4"), np.ones(3))
    z = X + 1j
    check(lambda t, x, z: t.mul(x, z), (X, z), np.full(3, 1 + 1j), ((1 + 1j) * z).real, (1 + 1j) * X)
    check(lambda t, x: t.mul(x, 1j), (1.0,), 1j, np.float64(-1.0))


def test_fit_concrete() -> None:
    assert fit_concrete(np.float32(2), 1.0).dtype == np.float64
    assert fit_concrete(np.ones(3), 2) is None
    assert fit_concrete(1 + 2j, np.float32(1)) == np.float32(1)
    assert fit_concrete(0.0, X).shape == (3,)
    ct = np.ones(3)
    assert fit_concrete(ct, X) is ct


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 1), (2, 3)])
def test_sum_to(shape: tuple[int, ...]) -> None:
    c = np.arange(6.0).reshape(2, 3)
    have = sum_to(c, shape)
    x = np.zeros(shape)
    assert np.shape(have) == shape
    np.testing.assert_allclose(np.sum(have), c.sum())
    np.testing.assert_allclose(have, sum_to(np.broadcast_to(c + x, (2, 3)), shape))


# ---- integers and flat operations ----


def test_integers_and_flat_operations_stop_the_walk() -> None:
    check(lambda t, x: t.mul(t.convert(t.floor(x), dtype="int64"), x), (X,), np.ones(3), np.floor(X))
    check(lambda t, x: t.mul(t.stop_gradient(x), x), (X,), np.ones(3), X)
    check(lambda t, x: t.floor(x), (X,), np.ones(3), None)
    check(lambda t, x, i: t.gather(x, i), (X, np.array([2, 2, 0])), np.ones(3), np.array([1.0, 0.0, 2.0]), None)


def test_find_active_follows_derivatives_only() -> None:
    tape = eager(X, X)
    x, y = tape.inputs
    made = [tape.sin(x), tape.sin(y), tape.floor(x), tape.stop_gradient(x), tape.where(tape.greater(x, 0.5), y, y)]
    made.append(tape.mul(made[0], made[1]))
    active = find_active(tape.trace.tape, tape.start, len(tape.trace.tape), [x])
    assert [bool(active[m.index - tape.start]) for m in made] == [True, False, False, False, False, True]


# ---- indexed adds ----

SLICE: dict[str, Any] = {"count": (1,), "step": (1,), "drop": (0,)}


def test_slices_add_into_one_buffer() -> None:
    def program(t: Tape, x: Any) -> Any:
        parts = [t.slice(x, start=(i,), **SLICE) for i in (0, 2, 2)]
        return t.mul(t.mul(parts[0], parts[1]), parts[2])

    a, _, c = X
    check(program, (X,), np.float64(1.0), np.array([c * c, 0.0, 2 * a * c]))


@pytest.mark.parametrize("dense_first", [True, False])
def test_slices_meet_dense_cotangents(dense_first: bool) -> None:
    def program(t: Tape, x: Any, y: Any) -> Any:
        whole = t.add(x, y)
        first, second = t.slice(x, start=(1,), **SLICE), t.slice(x, start=(1,), **SLICE)
        squares = t.mul(x, x)
        parts = [first, squares, whole, second] if dense_first else [whole, first, second, squares]
        total = parts[0]
        for part in parts[1:]:
            total = t.add(total, part)
        return total

    check(program, (X, X), np.ones(3), 1 + 2 * X + np.array([0.0, 6.0, 0.0]), np.ones(3))


@pytest.mark.parametrize(("make", "recorded"), [(eager, False), (eager, True), (graph, True)])
def test_buffers_are_changed_in_place(monkeypatch: pytest.MonkeyPatch, make: Any, recorded: bool) -> None:
    """T reads of an n-vector cost O(n + T): after the first one no copy is made."""
    copies = []
    buffers = set()

    def evaluate(buffer: Any, x: Any, *, at: int) -> Any:
        copies.append(at)
        return in_place(buffer.copy(), x, at=at)

    def in_place(buffer: Any, x: Any, *, at: int) -> Any:
        buffers.add(id(buffer))
        buffer[at] += x
        return buffer

    declared: dict[str, Any] = {"aval": lambda x, **_: x, "jvp": nondiff("a probe")}
    adder = Primitive("probe_add", evaluate=evaluate, in_place=in_place, vjp=nondiff("a probe"), **declared)
    reader = Primitive(
        "probe", evaluate=lambda x, *, at: x[at], vjp=(lambda b, ct, out, x, *, at: Update("probe_add", (ct,), {"at": at}),), **declared
    )
    monkeypatch.setitem(REGISTRY, "probe_add", adder)
    tape = make(X)
    (x,) = tape.inputs
    total = tape.call(reader, x, at=0)
    for k in range(1, 8):
        total = tape.add(total, tape.call(reader, x, at=k % 3))
    (found,) = tape.pull(total, np.float64(1.0), recorded)
    np.testing.assert_array_equal(value(found), [3.0, 3.0, 2.0])
    assert len(copies) <= (make is graph) and len(buffers) == 1  # what a loop passes on begins as shared zeros: one copy


# ---- masks ----


@pytest.mark.parametrize(
    "program",
    [
        lambda t, x: t.where(t.greater(x, 0.0), t.sqrt(x), 0.0),
        lambda t, x: t.where(t.greater(x, 0.0), t.mul(x, t.log(x)), 0.0),
        lambda t, x: t.where(t.greater(x, 0.0), t.div(t.sin(x), x), 1.0),
        lambda t, x: t.where(t.less_equal(x, 0.0), x, t.exp(t.neg(t.reciprocal(x)))),
        lambda t, x: t.where(t.greater(x, 0.0), t.reshape(t.sqrt(t.reshape(x, shape=(3, 1))), shape=(3,)), 0.0),
        lambda t, x: t.where(t.greater(t.slice(x, start=(0,), **SLICE), 0.0), *(t.reduce_sum(v, axes=(0,)) for v in (t.sqrt(x), x))),
        lambda t, x: t.where(t.greater(x, 0.0), t.broadcast_to(t.sqrt(x), shape=(2, 3)), 0.0),
        lambda t, x: t.maximum(t.where(t.greater(x, 0.0), t.sqrt(x), -1.0), 0.25),
        lambda t, x: t.where(t.greater(x, 0.0), t.add(t.sqrt(x), t.log(x)), 0.0),
    ],
)
def test_a_branch_not_taken_gives_no_nan(program: Program) -> None:
    x = np.array([0.0, 0.5, 2.0])
    with np.errstate(all="ignore"):
        tape = eager(x)
        shape = np.shape(program(tape, *tape.inputs).value)
        results = all_ways(program, (x,), np.ones(shape)[()])
        for (found,) in results:
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found, results[0][0], rtol=1e-14)
        step = 1e-6 * np.array([0.0, 1.0, 1.0])
        up, down = (eager(x + s) for s in (step, -step))
        difference = (program(up, *up.inputs).value - program(down, *down.inputs).value).sum() / 2e-6
        assert results[0][0][1:].sum() == pytest.approx(difference, rel=1e-6)


def test_a_value_used_outside_the_mask_too_keeps_its_nan() -> None:
    x = np.array([0.0, 1.0])
    with np.errstate(all="ignore"):
        for (found,) in all_ways(lambda t, x: t.add(t.where(t.greater(x, 0.0), r := t.sqrt(x), 0.0), r), (x,), np.ones(2)):
            assert np.isinf(found[0]) and found[1] == 1.0


def test_masks_of_two_choices_unite() -> None:
    x = np.array([-1.0, 0.0, 1.0])

    def program(t: Tape, x: Any) -> Any:
        root = t.sqrt(x)
        return t.add(t.where(t.greater(x, 0.5), root, 0.0), t.where(t.greater(x, 0.25), root, 0.0))

    with np.errstate(all="ignore"):
        check(program, (x,), np.ones(3), np.array([0.0, 0.0, 1.0]))


def test_second_derivatives_of_a_masked_root() -> None:
    x = np.array([0.0, 0.25])
    with np.errstate(all="ignore"):
        tape = eager(x)
        (inner,) = tape.pull(tape.where(tape.greater(tape.inputs[0], 0.0), tape.sqrt(tape.inputs[0]), 0.0), np.ones(2), recorded=True)
        (second,) = tape.pull(inner, np.ones(2))
    np.testing.assert_allclose(second, [0.0, -0.25 * 0.25**-1.5])


def test_masked_rules_may_answer_with_masks_of_their_own() -> None:
    half = Primitive(
        "half",
        evaluate=lambda x: x * 0.5,
        aval=lambda x: x,
        vjp=(lambda b, ct, out, x: Masked(b.mul(ct, 0.5), b.greater(x, 0.5)),),
        jvp=nondiff("a probe"),
        traits=ELEMENTWISE | PURE,
    )
    check(lambda t, x: t.call(half, t.neg(x)), (X,), np.ones(3), np.full(3, -0.5))


# ---- rules that are not there ----


def bare(**rules: Any) -> Primitive:
    return Primitive("bare", evaluate=lambda x, y: x * y, aval=lambda x, y: x, **{"vjp": None, "jvp": None, **rules})


def test_missing_rules_are_named_when_they_are_needed() -> None:
    tape = eager(X, X)
    x, y = tape.inputs
    for rules in (None, (lambda b, ct, out, x, y: ct,)):
        out = tape.call(bare(vjp=rules), x, y)
        with pytest.raises(MissingRuleError, match=r"VJP of bare wrt argnum \d not defined; define it with irgrad.extend.defvjp"):
            tape.pull(out, np.ones(3))
    out = tape.call(bare(vjp=(lambda b, ct, out, x, y: b.mul(ct, y),)), tape.sin(x), tape.floor(y))
    np.testing.assert_allclose(tape.pull(out, np.ones(3))[0], np.cos(X) * np.floor(X))
    out = tape.call(bare(jvp=(lambda b, t, out, x, y: t,)), x, y)
    with pytest.raises(NotImplementedError, match="JVP of bare wrt argnum 1 not defined"):
        tape.push(out, (None, X))
    np.testing.assert_array_equal(tape.push(out, (X, None)), X)


def test_rules_for_any_number_of_operands() -> None:
    check(lambda t, x, y: t.concatenate(x, y, x, axis=0), (X, X), np.arange(9.0), np.array([6.0, 8.0, 10.0]), np.array([3.0, 4.0, 5.0]))


# ---- recorded in a graph ----


def test_the_users_literals_stay_data_and_the_rules_numbers_are_text() -> None:
    tape = graph(X)
    (x,) = tape.inputs
    out = tape.mul(tape.square(x), 0.37)
    first = len(tape.trace.tape)
    tape.pull(out, np.ones(3), recorded=True)
    literals = [o for node in tape.trace.tape[first:] for o in node.operands if type(o) is not Tracer]
    assert 0.37 in [o for o in literals if type(o) is float]
    assert Static(np.float64(2.0)) in literals or Static(2.0) in literals


def test_a_loop_invariant_adds_into_one_buffer_made_before_the_loop() -> None:
    tape = graph(X, 0.5)
    x, carry = tape.inputs
    for k in range(3):
        carry = np.sin(carry) * x[k]
    first = len(tape.trace.tape)
    found, _ = tape.pull(carry, np.float64(1.0), recorded=True)
    names = [node.op.name for node in tape.trace.tape[first:] if node.op is not None]
    assert names[0] == "zeros" and names.count("slice_add") == 3
    buffers = {node.operands[0].op.name for node in tape.trace.tape[first:] if node.op is not None and node.op.name == "slice_add"}
    assert buffers == {"zeros", "slice_add"}
    other = eager(X, 0.5)
    x, carry = other.inputs
    for k in range(3):
        carry = np.sin(carry) * x[k]
    np.testing.assert_allclose(found.value, other.pull(carry, np.float64(1.0))[0], rtol=1e-14)


def forms_of_segments(steps: int) -> set[tuple[str, ...]]:
    tape = graph(0.5)
    (carry,) = tape.inputs
    for _ in range(steps):
        carry = np.sin(carry) * 1.5
    first = len(tape.trace.tape)
    tape.pull(carry, np.float64(1.0), recorded=True)
    runs: dict[int, list[str]] = {}
    for node in tape.trace.tape[first:]:
        if node.op is not None:
            runs.setdefault(node.segment, []).append(node.op.name)
    return {tuple(run) for run in runs.values() if "zeros" not in run}


def test_iterations_are_mirrored_in_segments_of_one_form() -> None:
    assert forms_of_segments(4) == forms_of_segments(9)


# ---- forward ----


def test_forward_adds_tangents_and_spreads_them() -> None:
    tape = eager(X, 2.0)
    x, y = tape.inputs
    out = tape.mul(x, y)
    np.testing.assert_allclose(tape.push(out, (X, 1.0)), 3 * X)
    spread = tape.push(tape.add(X, y), (None, np.float64(1.0)))
    np.testing.assert_array_equal(spread, np.ones(3))
    assert tape.push(tape.floor(x), (X, None)) is None
    single = eager(X.astype("f4"))
    assert single.push(single.sin(single.inputs[0]), (np.ones(3, "f4"),)).dtype == np.float32


def test_forward_recorded_is_differentiable() -> None:
    tape = eager(X)
    (x,) = tape.inputs
    tangent = tape.push(tape.sin(x), (np.ones(3),), RecordBuilder(tape.trace))
    np.testing.assert_allclose(tape.pull(tangent, np.ones(3))[0], -np.sin(X))


# ---- random programs ----


def random_program(seed: int) -> Program:
    """Twelve operations on two vectors and a scalar."""

    def program(t: Tape, x: Any, y: Any, s: Any) -> Any:
        rng = np.random.default_rng(seed)
        values = [x, y, s]
        for _ in range(12):
            a, b = (values[i] for i in rng.integers(0, len(values), 2))
            kind = rng.integers(0, 9)
            vector = np.shape(a.value) == (3,)
            if kind == 0 and vector:
                made = t.broadcast_to(t.reduce_sum(a, axes=(0,)), shape=(3,))
            elif kind == 1 and vector:
                made = t.slice(a, start=(int(rng.integers(0, 3)),), **SLICE)
            elif kind == 2 and vector:
                made = t.gather(a, rng.integers(0, 3, 3))
            elif kind == 3:
                made = t.where(t.greater(a, 0.3), t.sin(a), b)
            elif kind == 4:
                made = t.maximum(a, t.mul(b, 0.5))
            elif kind == 5:
                made = t.tanh(t.add(a, b))
            elif kind == 6:
                made = t.div(a, t.add(t.square(b), 1.0))
            else:
                made = t.mul(a, b)
            values.append(made)
        total = values[-1]
        for each in values[3:-1:2]:
            total = t.add(total, each)
        return t.reduce_sum(t.add(total, x), axes=(0,))

    return program


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    """Every way of reverse gives one answer, and reverse and forward are adjoint to each other."""
    program = random_program(seed)
    rng = np.random.default_rng(1000 + seed)
    inputs = (rng.normal(size=3), rng.normal(size=3), float(rng.normal()))
    first, *rest = all_ways(program, inputs, np.float64(1.0))
    for other in rest:
        for have, want in zip(other, first, strict=True):
            assert (have is None) == (want is None)
            if have is not None:
                np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-14)
    tangents = (rng.normal(size=3), rng.normal(size=3), np.float64(rng.normal()))
    tape = eager(*inputs)
    pushed = tape.push(program(tape, *tape.inputs), tangents)
    pulled = sum(np.sum(c * t) for c, t in zip(first, tangents, strict=True) if c is not None)
    assert pushed == pytest.approx(pulled, rel=1e-10, abs=1e-12)
