"""From a finished trace to a recording: values are dropped, operations get their interned identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.sites import is_carried
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import GUARD
from irgrad.ir.recording import DYNAMIC, INTERNED, TINY, Data, Input, Record, Recording
from irgrad.ir.value import Static

_FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)


def freeze(trace: GraphTrace, outputs: list[Any], number_input: Callable[[Tracer], int]) -> Recording:
    """The recording of `trace` with these output leaves; `number_input` gives each input its number in the program."""
    records: list[Record] = []
    inputs: list[Input] = []
    aval_id, code_of = INTERNED.aval, INTERNED.code
    counter = 0
    depths = trace.depths
    written = trace.written
    carriers: dict[Any, bool] = {}
    for tracer in trace.tape:
        op = tracer.op
        value = tracer.value
        if op is None:
            number = number_input(tracer)
            aval = _aval(value)
            inputs.append(Input(tracer.index, tracer.params["origin"], value))
            records.append(Record(None, (), {"input": number}, aval, -1, None, code_of(("input", number, aval))))
            continue
        operands: list[Any] = []
        for operand in tracer.operands:
            kind = type(operand)
            if kind is Tracer:
                operands.append(operand.index)
            elif kind is Static:
                operands.append(operand)
            else:
                counter += 1
                operands.append(_data(operand, counter))
        params = tracer.params
        if op.traits & GUARD:
            records.append(Record(op, tuple(operands), params, 0, tracer.segment, tracer.site, code_of((op, params["kind"]))))
            continue
        aval = aval_id(value.shape, value.dtype) if type(value) is np.ndarray else _aval(value)
        key: Any = (op, aval)
        if params:
            if op.name in DYNAMIC and np.size(tracer.operands[0].value) > TINY:
                key = (op, aval, params["count"], params["step"], params["drop"])
            else:
                key = (op, aval, *sorted(params.items()))
        site = tracer.site
        carried = False
        if depths[tracer.segment] and site is not None:
            place = (site[0].code, site[1], site[0].parent_lasti)
            known = carriers.get(place)
            if known is None:
                known = carriers[place] = is_carried(site)
            carried = known and tracer.index not in written and np.size(value) <= TINY
        records.append(Record(op, tuple(operands), params, aval, tracer.segment, site, code_of(key), carried))
    results: list[Any] = []
    kinds: list[str] = []
    for output in outputs:
        if type(output) is Tracer:
            results.append(output.index)
            kinds.append(_kind(output.value))
        else:
            results.append((output,))
            kinds.append("constant")
    return Recording(records, inputs, results, kinds)


def _aval(value: Any) -> int:
    if isinstance(value, (np.ndarray, np.generic)):
        return INTERNED.aval(value.shape, value.dtype)
    array = np.asarray(value)
    return INTERNED.aval((), array.dtype)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "array"
    return "scalar" if isinstance(value, np.generic) else "python"


def _data(value: Any, counter: int) -> Data:
    """A literal; equal Python float objects (the constants of a loop body) are one."""
    if type(value) is float:
        return Data(value, _FLOAT64, id(value))
    if type(value) is int:
        return Data(value, _INT64, -counter)
    return Data(value, np.asarray(value).dtype, -counter)
