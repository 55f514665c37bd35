"""Loops and branches for many seeds at once: the same loop, whose bodies are recorded again with an axis for the seeds.

What a body computes from values of the program alone stays as it is. Which carries depend on the seeds is a fixed point over the body, as
in `rules.moving`. A result of several parts is a batch whose `value` is the list of the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.body_trace import BodyTrace
from irgrad.frontend.recorder import RecordBuilder
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval
from irgrad.ir.body import Body
from irgrad.ir.primitive import REGISTRY, Primitive
from irgrad.ir.value import Number, Static
from irgrad.loops.derive import Step, blank, derive, first_row, recorded, replay, sample
from irgrad.loops.primitives import pick_params
from irgrad.operators.run import write
from irgrad.passes.batch import BatchBuilder, Unbatched
from irgrad.passes.batch_rules import RULES, Batched

Flags = tuple[bool, ...]
Params = Mapping[str, Any]


class _Made:
    """Bodies made for a batch, constants of theirs, and which results of each depend on the seeds."""

    def __init__(self, bodies: list[Body], sources: list[Any], results: list[Flags]) -> None:
        self.bodies = bodies
        self.sources = sources
        self.results = results


def _made(b: BatchBuilder, bodies: Sequence[Body], batched: Flags, samples: Sequence[Any], wanted: Sequence[Flags]) -> _Made:
    """The bodies with the inputs `batched` as batches; the results `wanted`, and those that depend on them, are batches."""
    key = ("batch", b.count, b.last, tuple(bodies), batched, tuple(wanted))
    known: _Made | None = bodies[0].derived.get(key)
    if known is not None:
        return known
    avals = bodies[0].inputs
    given = [blank(Aval(b.whole(a.shape), a.dtype)) if flag else s for a, flag, s in zip(avals, batched, samples, strict=True)]
    results: list[Flags] = []

    def builder(body: Body, forced: Flags) -> Any:
        def build(trace: BodyTrace, inputs: list[Tracer]) -> list[Tracer]:
            def work(inner: RecordBuilder) -> list[Tracer]:
                batch = BatchBuilder(inner, b.count, b.last, b.limit)
                values = [Batched(x, a.shape, a.dtype) if flag else x for x, a, flag in zip(inputs, avals, batched, strict=True)]
                outs = replay(trace, body, values, _step(batch))
                flags = tuple(type(out) is Batched or force for out, force in zip(outs, forced, strict=True))
                results.append(flags)
                return [batch.dense(out).value if flag else out for out, flag in zip(outs, flags, strict=True)]

            recorded: list[Tracer] = write(trace, work)
            return recorded

        return build

    names = [f"{body.name}_batch" for body in bodies]
    made, sources = derive(names, given, [builder(body, forced) for body, forced in zip(bodies, wanted, strict=True)])
    found = bodies[0].derived[key] = _Made(made, sources, results)
    return found


def _step(batch: BatchBuilder) -> Step:
    """Operations on inputs of which some are batches."""

    def step(trace: BodyTrace, op: Primitive, operands: tuple[Any, ...], params: dict[str, Any], depth: int) -> Any:
        if not any(type(o) is Batched for o in operands):
            return recorded(trace, op, operands, params)
        if REGISTRY.get(op.name) is not op:  # a primitive of the user's
            raise Unbatched
        batch.in_loop = depth > 0
        boxed = [o if type(o) in (Tracer, Batched, Static) else Number(o) for o in operands]
        return batch.batched(op, boxed, params)

    return step


def _flags(operands: Sequence[Any]) -> Flags:
    return tuple(type(o) is Batched for o in operands)


def _plain(b: BatchBuilder, operands: Sequence[Any], batched: Flags) -> list[Any]:
    return [b.dense(o).value if flag else o for o, flag in zip(operands, batched, strict=True)]


def _parts(kind: str, b: BatchBuilder, packed: Any, params: dict[str, Any], batched: Sequence[bool], avals: Sequence[Aval]) -> list[Any]:
    """The parts of a packed result: batches of values of these avals where `batched`."""
    found: list[Any] = []
    for each, flag, aval in zip(pick_params(kind, params), batched, avals, strict=True):
        value = b.inner.pick(packed, **each)
        found.append(Batched(value, aval.shape, aval.dtype) if flag else value)
    return found


def _packed(parts: list[Any]) -> Batched:
    return Batched(parts, (len(parts),), np.dtype(np.float64))


def _carried(
    b: BatchBuilder, bodies: Sequence[Body], batched: Flags, samples: Sequence[Any], consts: int, carries: int
) -> tuple[_Made, Flags]:
    """Bodies of a loop, the last one its step; which inputs are batches, with the carries that become some."""
    while True:
        state = batched[consts : consts + carries]
        step = (*state, *(False,) * (len(bodies[-1].results) - carries))
        wanted = [*((False,) * len(body.results) for body in bodies[:-1]), step]
        made = _made(b, bodies, batched, samples, wanted)
        grown = made.results[-1][:carries]
        if grown == state:
            return made, batched
        batched = (*batched[:consts], *grown, *batched[consts + carries :])


def _scan(b: BatchBuilder, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    body: Body = params["body"]
    length, carries, num_xs = params["length"], params["carries"], params["xs"]
    avals, first = body.inputs, len(body.inputs) - num_xs
    consts = first - carries
    given, count = operands[: len(avals)], operands[len(avals) :]
    samples = [
        None if type(o) is Batched else first_row(o, a) if k >= first else sample(o, a)
        for k, (o, a) in enumerate(zip(given, avals, strict=True))
    ]
    samples = [blank(a) if s is None else s for s, a in zip(samples, avals, strict=True)]
    made, batched = _carried(b, [body], _flags(given), samples, consts, carries)
    plain = _plain(b, given, batched)
    if not b.last:  # rows of a scan come first
        for k in range(first, len(avals)):
            if batched[k]:
                plain[k] = b.inner.transpose(plain[k], axes=(1, 0, *range(2, len(avals[k].shape) + 2)))
    new = {**params, "body": made.bodies[0]}
    packed = b.inner.scan(*made.sources, *plain, *count, **new)
    results = body.results
    stacks = [*zip(made.results[0], results, strict=True)][carries:]
    if params["saved"]:
        stacks += [*zip(made.results[0], results, strict=True)][:carries]
    flags = [*made.results[0][:carries], *(flag for flag, _ in stacks)]
    shapes = [*results[:carries], *(Aval((length, *aval.shape), aval.dtype) for _, aval in stacks)]
    found = _parts("scan", b, packed, new, flags, shapes)
    if not b.last:
        for k in range(carries, len(found)):
            if flags[k]:
                value = b.inner.transpose(found[k].value, axes=(1, 0, *range(2, len(shapes[k].shape) + 1)))
                found[k] = Batched(value, shapes[k].shape, shapes[k].dtype)
    return _packed(found)


def _while(b: BatchBuilder, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    test, body = params["test"], params["body"]
    carries = len(body.results)
    samples = [blank(a) if type(o) is Batched else sample(o, a) for o, a in zip(operands, body.inputs, strict=True)]
    made, batched = _carried(b, [test, body], _flags(operands), samples, len(body.inputs) - carries, carries)
    if made.results[0][0]:
        raise Unbatched
    new = {**params, "test": made.bodies[0], "body": made.bodies[1]}
    packed = b.inner.while_loop(*made.sources, *_plain(b, operands, batched), **new)
    flags = [*made.results[1], False]
    return _packed(_parts("while_loop", b, packed, new, flags, [*body.results, Aval((), np.dtype(np.int64))]))


def _branch(b: BatchBuilder, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    branches: tuple[Body, ...] = params["branches"]
    index, *given = operands
    if type(index) is Batched:
        raise Unbatched
    results = branches[0].results
    samples = [blank(a) if type(o) is Batched else sample(o, a) for o, a in zip(given, branches[0].inputs, strict=True)]
    batched = _flags(given)
    made = _made(b, branches, batched, samples, [(False,) * len(results)] * len(branches))
    some = tuple(any(each) for each in zip(*made.results, strict=True))
    if any(each != some for each in made.results):
        made = _made(b, branches, batched, samples, [some] * len(branches))
    new = {**params, "branches": tuple(made.bodies)}
    packed = getattr(b.inner, op.name)(index, *made.sources, *_plain(b, given, batched), **new)
    return _packed(_parts(op.name, b, packed, new, some, results))


def _pick(b: BatchBuilder, op: Primitive, operands: Sequence[Any], params: Params) -> Any:
    return operands[0].value[params["part"]]


RULES.update({"scan": _scan, "while_loop": _while, "cond": _branch, "checkpoint": _branch, "pick": _pick})
