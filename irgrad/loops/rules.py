"""Derivatives of loops and branches: loops and branches again, so that they have derivatives of any order.

- jvp of a scan: one scan over carries and their tangents. vjp: a scan in the opposite direction over the carries that each iteration
  began with (kept by the forward scan, which stores nothing else): its body runs the body again and then backwards; its carries are
  the cotangents of the carries and of the constants.
- A while loop has tangents as a while loop. Backwards it becomes a scan whose trip count is data: the number of iterations is
  known by then, and there is room for the next power of two of them; a guard says that it is enough (`max_steps` says so in a body).
- The derivative of a branch is the same branch of the derivatives. A checkpoint is a branch without an alternative.

Only what is asked for is carried: which carries have derivatives is a fixed point over the body (Griewank and Walther, Evaluating
Derivatives, 2nd ed., 2008, section 6.2).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from irgrad.codegen.loops import stacked, while_parts
from irgrad.errors import DifferentiationError
from irgrad.extend import concrete_of
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import here
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval
from irgrad.ir.body import Body
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.value import Number, Static
from irgrad.loops.derive import Derived, blank, derive, first_row, pulled, pushed, replay, sample, saving

ROOM = 16  # iterations of a while loop that there is room for at least, in reverse mode


def is_saving(b: Builder) -> bool:
    """Is what is recorded here going to be walked backwards?"""
    trace = getattr(b, "trace", None)
    return trace is not None and trace.saving > 0


def dense(b: Builder, derivative: Any, aval: Aval) -> Any:
    """A derivative as an operand of this aval; None for zeros."""
    if derivative is None:
        return b.zeros(shape=aval.shape, dtype=aval.dtype.name)
    if type(derivative) is Static or type(derivative) is Number or not hasattr(derivative, "dtype"):
        value = derivative.value if type(derivative) in (Static, Number) else derivative
        return b.full(Static(aval.dtype.type(value)) if hasattr(b, "trace") else value, shape=aval.shape, dtype=aval.dtype.name)
    return derivative


def take(b: Builder, kind: str, packed: Any, params: dict[str, Any]) -> list[Any]:
    """A function of the number of a part that takes it out of a packed result."""
    from irgrad.loops.primitives import pick_params

    found = pick_params(kind, params)
    return [lambda each=each: b.pick(packed, **each) for each in found]


class _Scan:
    """The operands of a scan by their roles."""

    def __init__(self, operands: Sequence[Any], params: dict[str, Any]) -> None:
        body: Body = params["body"]
        self.body = body
        self.params = params
        self.num_carries = carries = params["carries"]
        self.num_consts = consts = len(body.inputs) - carries - params["xs"]
        self.num_ys = len(body.results) - carries
        self.consts = list(operands[:consts])
        self.init = list(operands[consts : consts + carries])
        self.xs = list(operands[consts + carries : len(body.inputs)])
        self.count = list(operands[len(body.inputs) :])

    def samples(self) -> list[Any]:
        inputs = self.body.inputs
        first = self.num_consts + self.num_carries
        plain = [sample(o, a) for o, a in zip([*self.consts, *self.init], inputs[:first], strict=True)]
        return plain + [first_row(x, a) for x, a in zip(self.xs, inputs[first:], strict=True)]

    def moving(self, active: Sequence[int], forward: bool) -> tuple[list[int], list[int]]:
        """Which carries and ys have derivatives, with respect to these inputs."""
        bits = sum(1 << k for k in active)
        return moving(self.body, self.num_consts, self.num_carries, bits, forward)


def moving(body: Body, consts: int, carries: int, bits: int, forward: bool) -> tuple[list[int], list[int]]:
    flows, results = body.flows(forward), body.results
    while True:
        more = bits
        for k in range(carries):
            if flows[k] & bits:
                more |= 1 << (consts + k)
        if more == bits:
            break
        bits = more
    inexact = [aval.dtype.kind in "fc" for aval in results]
    found = [k for k in range(carries) if inexact[k] and bits >> (consts + k) & 1]
    return found, [k for k in range(len(results) - carries) if inexact[carries + k] and flows[carries + k] & bits]


# ---- scan ----


def scan_vjp(b: Any, wanted: Sequence[int], cts: Mapping[int, Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    if not params["saved"]:
        params = {**params, "saved": True}
        out = b.scan(*operands, **params)
    s = _Scan(operands, params)
    body, nk, nc, ny = s.body, s.num_consts, s.num_carries, s.num_ys
    wanted = [k for k in wanted if k < len(body.inputs)]
    carried, _ = s.moving(wanted, False)
    reached = functools.reduce(operator.or_, body.flows(), 0)
    consts = [k for k in wanted if k < nk and reached >> k & 1]
    xs = [k - nk - nc for k in wanted if k >= nk + nc]
    ys = sorted(k - nc for k in cts if nc <= k < nc + ny)
    stacks = [k for k in carried if nc + ny + k in cts]
    key = ("vjp", *map(tuple, (carried, consts, xs, ys, stacks)))
    if key not in body.derived:
        body.derived[key] = _scan_pull(s, carried, consts, xs, ys, stacks)
    (made,), sources = body.derived[key]
    parts = take(b, "scan", out, params)
    results, length = body.results, params["length"]
    saved = [parts[nc + ny + k]() for k in range(nc)]
    state = [dense(b, cts.get(k), results[k]) for k in carried] + [dense(b, None, body.inputs[k]) for k in consts]
    rows = stacked(results, length)
    others = [dense(b, cts[nc + k], rows[nc + k]) for k in ys] + [dense(b, cts[nc + ny + k], rows[k]) for k in stacks]
    new = {
        **params, "body": made, "reverse": not params["reverse"], "saved": is_saving(b),
        "carries": len(state), "xs": nc + len(s.xs) + len(others),
    }  # fmt: skip
    packed = b.scan(*sources, *s.consts, *state, *saved, *s.xs, *others, *s.count, **new)
    found = take(b, "scan", packed, new)
    answer = {nk + k: found[i]() for i, k in enumerate(carried) if nk + k in wanted}
    answer |= {k: found[len(carried) + i]() for i, k in enumerate(consts)}
    return answer | {nk + nc + k: found[len(state) + i]() for i, k in enumerate(xs)}


def _scan_pull(s: _Scan, carried: list[int], consts: list[int], xs: list[int], ys: list[int], stacks: list[int]) -> Derived:
    """The body of the scan backwards: constants; cotangents of carries and constants; carries, xs, cotangents of ys and of kept carries."""
    body, nk, nc = s.body, s.num_consts, s.num_carries
    given = s.samples()
    results = body.results
    samples = [
        *given[:nk], *[blank(results[k]) for k in carried], *[blank(body.inputs[k]) for k in consts], *given[nk:],
        *[blank(results[nc + k]) for k in ys], *[blank(results[k]) for k in stacks],
    ]  # fmt: skip

    def build(trace: Any, inputs: list[Tracer]) -> list[Tracer]:
        at = iter(inputs)
        fixed = [next(at) for _ in range(nk)]
        ct_carry = [next(at) for _ in carried]
        ct_const = [next(at) for _ in consts]
        state = [next(at) for _ in range(nc)]
        row = [next(at) for _ in s.xs]
        outs = replay(trace, body, [*fixed, *state, *row], saving)
        seeds = [(outs[k], ct) for k, ct in zip(carried, ct_carry, strict=True)]
        seeds += [(outs[nc + k], next(at)) for k in ys]
        seeds += [(state[k], next(at)) for k in stacks]
        seeds += [(fixed[k], ct) for k, ct in zip(consts, ct_const, strict=True)]
        return pulled(trace, seeds, [*[state[k] for k in carried], *[fixed[k] for k in consts], *[row[k] for k in xs]])

    return derive([f"{body.name}_vjp"], samples, [build])


def scan_jvp(b: Any, tangents: Sequence[Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    s = _Scan(operands, params)
    body, nk, nc, ny = s.body, s.num_consts, s.num_carries, s.num_ys
    active = [k for k, t in enumerate(tangents[: len(body.inputs)]) if t is not None]
    carried, ys = s.moving(active, True)
    consts = [k for k in active if k < nk]
    xs = [k - nk - nc for k in active if k >= nk + nc]
    if not carried and not ys:
        return {}
    key = ("jvp", *map(tuple, (carried, consts, xs, ys)))
    if key not in body.derived:
        body.derived[key] = _scan_push(s, carried, consts, xs, ys)
    (made,), sources = body.derived[key]
    inputs, length = body.inputs, params["length"]
    d_consts = [dense(b, tangents[k], inputs[k]) for k in consts]
    d_init = [dense(b, tangents[nk + k], inputs[nk + k]) for k in carried]
    rows = stacked(inputs[nk + nc :], length)
    d_xs = [dense(b, tangents[nk + nc + k], rows[k]) for k in xs]
    new = {
        **params, "body": made, "saved": params["saved"] or is_saving(b), "carries": nc + len(d_init), "xs": len(s.xs) + len(d_xs),
    }  # fmt: skip
    packed = b.scan(*sources, *s.consts, *d_consts, *s.init, *d_init, *s.xs, *d_xs, *s.count, **new)
    found = take(b, "scan", packed, new)
    count = nc + len(d_init)
    answer = {k: found[nc + i]() for i, k in enumerate(carried)}
    answer |= {nc + k: found[count + i]() for i, k in enumerate(ys)}
    if params["saved"]:
        answer |= {nc + ny + k: found[count + len(ys) + nc + i]() for i, k in enumerate(carried)}
    return answer


def _scan_push(s: _Scan, carried: list[int], consts: list[int], xs: list[int], ys: list[int]) -> Derived:
    body, nk, nc = s.body, s.num_consts, s.num_carries
    given = s.samples()
    avals = body.inputs
    samples = [
        *given[:nk], *[blank(avals[k]) for k in consts], *given[nk : nk + nc], *[blank(avals[nk + k]) for k in carried],
        *given[nk + nc :], *[blank(avals[nk + nc + k]) for k in xs],
    ]  # fmt: skip

    def build(trace: Any, inputs: list[Tracer]) -> list[Tracer]:
        at = iter(inputs)
        fixed = [next(at) for _ in range(nk)]
        ts = [(fixed[k], next(at)) for k in consts]
        state = [next(at) for _ in range(nc)]
        ts += [(state[k], next(at)) for k in carried]
        row = [next(at) for _ in s.xs]
        ts += [(row[k], next(at)) for k in xs]
        outs = replay(trace, body, [*fixed, *state, *row])
        found = pushed(trace, ts, [*[outs[k] for k in carried], *[outs[nc + k] for k in ys]])
        return [*outs[:nc], *found]

    return derive([f"{body.name}_jvp"], samples, [build])


# ---- while ----


def while_vjp(b: Any, wanted: Sequence[int], cts: Mapping[int, Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    body: Body = params["body"]
    parts = take(b, "while_loop", out, params)
    count = parts[len(body.results)]()
    length = _room(b, count, params)
    new = {
        "body": body, "length": length, "reverse": False, "saved": True, "counted": True, "carries": len(body.results), "xs": 0,
    }  # fmt: skip
    kept = b.scan(*operands, count, **new)
    return scan_vjp(b, wanted, cts, kept, *operands, count, **new)


def _room(b: Any, count: Any, params: dict[str, Any]) -> int:
    """How many iterations there is to be room for."""
    trace = getattr(b, "trace", None)
    limit: int | None = params["max_steps"]
    if limit is not None:
        return limit
    steps = int(concrete_of(count))
    if not isinstance(trace, GraphTrace):
        return steps
    if trace.is_body:
        raise DifferentiationError(
            f"reverse mode through a while_loop inside the body of another loop, a branch or a checkpoint ({here()}) needs to know how "
            "many iterations there can be: give max_steps, use irgrad.fori_loop or irgrad.scan, or forward mode (make_jvp)"
        )
    room = ROOM
    while True:  # one guard for each power of two, so that paths share what comes before
        trace.guard(trace.call(REGISTRY["less_equal"], (count, room), {}), "bool", steps <= room)
        if steps <= room:
            return room
        room *= 2


def while_jvp(b: Any, tangents: Sequence[Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    test, body = params["test"], params["body"]
    nc = len(body.results)
    nk = len(body.inputs) - nc
    active = [k for k, t in enumerate(tangents) if t is not None]
    carried, _ = moving(body, nk, nc, sum(1 << k for k in active), True)
    consts = [k for k in active if k < nk]
    inputs = body.inputs
    key = ("while_jvp", test, tuple(carried), tuple(consts))
    if key not in body.derived:
        given = [sample(o, a) for o, a in zip(operands, inputs, strict=True)]
        samples = [
            *given[:nk], *[blank(inputs[k]) for k in consts], *given[nk:], *[blank(inputs[nk + k]) for k in carried],
        ]  # fmt: skip
        first = nk + len(consts)

        def ask(trace: Any, values: list[Tracer]) -> list[Tracer]:
            return replay(trace, test, [*values[:nk], *values[first : first + nc]])

        def build(trace: Any, values: list[Tracer]) -> list[Tracer]:
            state = values[first : first + nc]
            ts = [(values[k], values[nk + i]) for i, k in enumerate(consts)]
            ts += [(state[k], values[first + nc + i]) for i, k in enumerate(carried)]
            outs = replay(trace, body, [*values[:nk], *state])
            return [*outs, *pushed(trace, ts, [outs[k] for k in carried])]

        body.derived[key] = derive([test.name, f"{body.name}_jvp"], samples, [ask, build])
    (asked, made), sources = body.derived[key]
    d_consts = [dense(b, tangents[k], inputs[k]) for k in consts]
    d_init = [dense(b, tangents[nk + k], inputs[nk + k]) for k in carried]
    new = {**params, "test": asked, "body": made}
    packed = b.while_loop(*sources, *operands[:nk], *d_consts, *operands[nk:], *d_init, **new)
    found = take(b, "while_loop", packed, new)
    assert len(found) == len(while_parts(made))
    return {k: found[nc + i]() for i, k in enumerate(carried)}


# ---- branches ----


def _branch_vjp(
    kind: str, b: Any, wanted: Sequence[int], cts: Mapping[int, Any], operands: tuple[Any, ...], params: dict[str, Any]
) -> dict[int, Any]:
    branches: tuple[Body, ...] = params["branches"]
    first = branches[0]
    asked = [k - 1 for k in wanted if k > 0]
    outs = sorted(cts)
    key = (kind, "vjp", branches, tuple(asked), tuple(outs))
    if key not in first.derived:
        samples = [sample(o, a) for o, a in zip(operands[1:], first.inputs, strict=True)] + [blank(first.results[k]) for k in outs]

        def builder(body: Body) -> Any:
            def build(trace: Any, values: list[Tracer]) -> list[Tracer]:
                inputs = values[: len(body.inputs)]
                results = replay(trace, body, inputs, saving)
                seeds = [(results[k], values[len(inputs) + i]) for i, k in enumerate(outs)]
                return pulled(trace, seeds, [inputs[k] for k in asked])

            return build

        first.derived[key] = derive([f"{body.name}_vjp" for body in branches], samples, [builder(body) for body in branches])
    made, sources = first.derived[key]
    new = {**params, "branches": tuple(made)}
    given = [dense(b, cts[k], first.results[k]) for k in outs]
    packed = getattr(b, kind)(operands[0], *sources, *operands[1:], *given, **new)
    found = take(b, kind, packed, new)
    return {k + 1: found[i]() for i, k in enumerate(asked)}


def _branch_jvp(kind: str, b: Any, tangents: Sequence[Any], operands: tuple[Any, ...], params: dict[str, Any]) -> dict[int, Any]:
    branches: tuple[Body, ...] = params["branches"]
    first = branches[0]
    active = [k - 1 for k, t in enumerate(tangents) if k > 0 and t is not None]
    bits = sum(1 << k for k in active)
    flows = [body.flows(True) for body in branches]
    outs = [k for k, aval in enumerate(first.results) if aval.dtype.kind in "fc" and any(each[k] & bits for each in flows)]
    if not outs:
        return {}
    key = (kind, "jvp", branches, tuple(active))
    if key not in first.derived:
        samples = [sample(o, a) for o, a in zip(operands[1:], first.inputs, strict=True)] + [blank(first.inputs[k]) for k in active]

        def builder(body: Body) -> Any:
            def build(trace: Any, values: list[Tracer]) -> list[Tracer]:
                inputs = values[: len(body.inputs)]
                ts = [(inputs[k], values[len(inputs) + i]) for i, k in enumerate(active)]
                results = replay(trace, body, inputs)
                return pushed(trace, ts, [results[k] for k in outs])

            return build

        first.derived[key] = derive([f"{body.name}_jvp" for body in branches], samples, [builder(body) for body in branches])
    made, sources = first.derived[key]
    new = {**params, "branches": tuple(made)}
    given = [dense(b, tangents[k + 1], first.inputs[k]) for k in active]
    packed = getattr(b, kind)(operands[0], *sources, *operands[1:], *given, **new)
    found = take(b, kind, packed, new)
    return {k: found[i]() for i, k in enumerate(outs)}


def branch_vjp(b: Any, wanted: Sequence[int], cts: Mapping[int, Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    return _branch_vjp("cond", b, wanted, cts, operands, params)


def branch_jvp(b: Any, tangents: Sequence[Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    return _branch_jvp("cond", b, tangents, operands, params)


def checkpoint_vjp(b: Any, wanted: Sequence[int], cts: Mapping[int, Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    return _branch_vjp("checkpoint", b, wanted, cts, operands, params)


def checkpoint_jvp(b: Any, tangents: Sequence[Any], out: Any, *operands: Any, **params: Any) -> dict[int, Any]:
    return _branch_jvp("checkpoint", b, tangents, operands, params)
