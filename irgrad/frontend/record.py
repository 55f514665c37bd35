"""From a finished trace to a recording: values are dropped, operations get their interned identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import GUARD, Primitive
from irgrad.ir.recording import DYNAMIC, INTERNED, TINY, Data, Input, Record, Recording
from irgrad.ir.value import Static

_FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)
_ndarray = np.ndarray


def freeze(trace: GraphTrace, outputs: list[Any], number_input: Callable[[Tracer], int]) -> Recording:
    """The recording of `trace` with these output leaves; `number_input` gives each input its number in the program."""
    inputs: list[Input] = []
    results: list[Any] = []
    kinds: list[str] = []
    records = _Records(trace, inputs, number_input).all()
    for output in outputs:
        if type(output) is Tracer:
            results.append(output.index)
            kinds.append(_kind(output.value))
        else:
            results.append((output,))
            kinds.append("constant")
    return Recording(records, inputs, results, kinds)


class _Records:
    """The records of one trace, with what was looked up before: a long trace repeats few operations at few sites."""

    def __init__(self, trace: GraphTrace, inputs: list[Input], number_input: Callable[[Tracer], int]) -> None:
        self.trace = trace
        self.inputs = inputs
        self.number_input = number_input
        self.num_literals = 0
        self.scalars: dict[type, int] = {}  # type of a number -> its aval
        self.avals: dict[Any, int] = {}  # (shape, dtype) of an array -> its aval
        self.codes: dict[tuple[Any, ...], int] = {}  # (op, aval, *params as they were given)

    def all(self) -> list[Record]:
        trace = self.trace
        depths, rules = trace.depths, trace.written.flags(len(trace.tape))
        scalars, codes, avals, is_carried = self.scalars, self.codes, self.avals, trace.sites.is_carried
        records: list[Record] = []
        for tracer in trace.tape:
            op = tracer.op
            if op is None:
                records.append(self.input(tracer))
                continue
            operands = tuple([o.index if type(o) is Tracer else o if type(o) is Static else self.literal(o) for o in tracer.operands])
            params, segment, site, value = tracer.params, tracer.segment, tracer.site, tracer.value
            if op.traits & GUARD:
                records.append(Record(op, operands, params, 0, segment, site, INTERNED.code((op, params["kind"]))))
                continue
            kind = type(value)
            if kind is _ndarray:
                form = (value.shape, value.dtype)
                aval = avals.get(form) or self.array(form)
                tiny = value.size <= TINY
            else:
                aval = scalars.get(kind) or self.scalar(value)
                tiny = True
            if not params:
                code = codes.get((op, aval)) or self.code(op, aval, params)
            elif op.name in DYNAMIC and tracer.operands[0].value.size > TINY:
                code = INTERNED.code((op, aval, params["count"], params["step"], params["drop"]))
            else:
                code = codes.get((op, aval, *params.items())) or self.code(op, aval, params)
            carried = tiny and site is not None and depths[segment] > 0 and not rules[tracer.index] and is_carried(site)
            records.append(Record(op, operands, params, aval, segment, site, code, carried))
        return records

    def input(self, tracer: Tracer) -> Record:
        number = self.number_input(tracer)
        value = tracer.value
        aval = INTERNED.aval(value.shape, value.dtype) if isinstance(value, _ndarray) else self.scalar(value)
        self.inputs.append(Input(tracer.index, tracer.params["origin"], value))
        return Record(None, (), {"input": number}, aval, -1, None, INTERNED.code(("input", number, aval)))

    def scalar(self, value: Any) -> int:
        """The aval of a number, known by its type."""
        dtype = value.dtype if isinstance(value, np.generic) else np.asarray(value).dtype
        aval = self.scalars[type(value)] = INTERNED.aval((), dtype)
        return aval

    def array(self, form: tuple[tuple[int, ...], np.dtype[Any]]) -> int:
        aval = self.avals[form] = INTERNED.aval(*form)
        return aval

    def code(self, op: Primitive, aval: int, params: dict[str, Any]) -> int:
        code = self.codes[op, aval, *params.items()] = INTERNED.code((op, aval, *sorted(params.items())))
        return code

    def literal(self, value: Any) -> Data:
        """A literal; equal Python float objects (the constants of a loop body) are one."""
        self.num_literals += 1
        if type(value) is float:
            return Data(value, _FLOAT64, id(value))
        return Data(value, _INT64 if type(value) is int else np.asarray(value).dtype, -self.num_literals)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "array"
    return "scalar" if isinstance(value, np.generic) else "python"
