"""Bodies from bodies: a recorded body is run again on a trace of its own, and derivatives of it are recorded behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.extend import concrete_of
from irgrad.frontend.body_trace import BodyTrace, Constants, freeze_body
from irgrad.frontend.context import CURRENT
from irgrad.frontend.names import default_names
from irgrad.frontend.recorder import RecordBuilder
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import Aval
from irgrad.ir.body import Body
from irgrad.ir.primitive import Primitive
from irgrad.ir.value import Number, Static
from irgrad.operators.run import write
from irgrad.passes.adjoint import reverse
from irgrad.passes.tangent import forward

Params = dict[str, Any]
Step = Callable[[BodyTrace, Primitive, tuple[Any, ...], Params, int], Any]
Build = Callable[[BodyTrace, list[Tracer]], list[Tracer]]
Derived = tuple[list[Body], list[Any]]  # the bodies, and constants that derivative rules of the user brought in


def derive(names: Sequence[str], samples: Sequence[Any], builds: Sequence[Build]) -> Derived:
    """Bodies with the same inputs, one for each of `builds`, which records it from its input values and answers with its results."""
    constants = Constants()
    finished: list[tuple[BodyTrace, list[Tracer]]] = []
    for name, build in zip(names, builds, strict=True):
        trace = BodyTrace(name, None, constants)
        trace.substitution = substitution = Substitution(None, default_names())
        trace.inside = True
        inputs = [trace.argument(sample) for sample in samples]
        token = CURRENT.set(trace)
        try:
            with np.errstate(all="ignore"):
                finished.append((trace, build(trace, inputs)))
        finally:
            CURRENT.reset(token)
            substitution.finish()
    bodies = [freeze_body(name, trace, outputs) for name, (trace, outputs) in zip(names, finished, strict=True)]
    for trace, _ in finished:
        trace.close()
    return bodies, constants.sources


def sample(operand: Any, aval: Aval) -> Any:
    """A concrete operand as a value of this aval to trace with."""
    value = operand.value if type(operand) in (Static, Number) else concrete_of(operand)
    array = np.asarray(value, aval.dtype)
    return array.reshape(aval.shape) if aval.shape else array.reshape(-1)[0]


def first_row(operand: Any, aval: Aval) -> Any:
    """The first of stacked values, or zeros where there is none."""
    rows = np.asarray(concrete_of(operand))
    return sample(rows[0], aval) if len(rows) else blank(aval)


def blank(aval: Aval) -> Any:
    return np.zeros(aval.shape, aval.dtype) if aval.shape else aval.dtype.type(0)


def recorded(trace: BodyTrace, op: Primitive, operands: tuple[Any, ...], params: Params) -> Tracer:
    """One operation on values of this trace, computed and recorded."""
    concrete = [o.value if type(o) is Tracer or type(o) is Static else o for o in operands]
    return trace.record(op, operands, params, op.evaluate(*concrete, **params))


def _plainly(trace: BodyTrace, op: Primitive, operands: tuple[Any, ...], params: Params, depth: int) -> Tracer:
    return recorded(trace, op, operands, params)


def saving(trace: BodyTrace, op: Primitive, operands: tuple[Any, ...], params: Params, depth: int) -> Tracer:
    """A step of `replay` where a reverse walk is to follow."""
    return recorded(trace, op, operands, {**params, "saved": True} if op.name == "scan" else params)


def replay(trace: BodyTrace, body: Body, inputs: Sequence[Any], step: Step = _plainly) -> list[Any]:
    """Record a body again on other inputs; its results. `step` does one operation, with `depth` loops of the body around it."""
    values: list[Any] = []
    segment = None
    for record in body.records:
        op, params = record.op, record.params
        if op is None:
            values.append(inputs[params["input"]])
            continue
        if record.segment != segment:
            segment = record.segment
            trace.new_segment(body.depths[segment])
        trace.site = record.site
        operands = tuple([values[o] if type(o) is int else o if type(o) is Static else o.value for o in record.operands])
        values.append(step(trace, op, operands, params, body.depths[segment]))
    return [values[index] for index in body.outputs]


def pulled(trace: BodyTrace, seeds: Sequence[tuple[Tracer, Tracer]], wanted: Sequence[Tracer]) -> list[Tracer]:
    """Record the cotangents of `wanted` inputs from (value, cotangent) pairs; one value may have several."""
    stop = len(trace.tape)

    def work(b: RecordBuilder) -> list[Tracer]:
        cts: dict[int, Any] = {}
        for value, ct in seeds:
            cts[value.index] = ct if value.index not in cts else b.add(cts[value.index], ct)
        found = reverse(trace.tape, 0, stop, cts, wanted, b)
        return [_dense(b, ct, like) for ct, like in zip(found, wanted, strict=True)]

    result: list[Tracer] = write(trace, work)
    return result


def pushed(trace: BodyTrace, tangents: Sequence[tuple[Tracer, Tracer]], wanted: Sequence[Tracer]) -> list[Tracer]:
    """Record the tangents of `wanted` values from (input, tangent) pairs."""
    stop = len(trace.tape)

    def work(b: RecordBuilder) -> list[Tracer]:
        seeds = {value.index: t for value, t in tangents}
        found = forward(trace.tape, 0, stop, seeds, wanted, b)
        return [_dense(b, t, like) for t, like in zip(found, wanted, strict=True)]

    result: list[Tracer] = write(trace, work)
    return result


def _dense(b: RecordBuilder, derivative: Any, like: Tracer) -> Any:
    if derivative is None:
        return b.zeros_like(like)
    if type(derivative) is Tracer:
        return derivative
    return b.full(derivative, shape=b.shape(like), dtype=b.dtype(like).name)
