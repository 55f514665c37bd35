"""Bodies of loops at run time: linked once into programs of their own, and run by native runners, or by Python where a body has rows
that only Python can do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.codegen.compile import LIBRARY, SIGNATURE, Counts
from irgrad.codegen.layout import ARRAY, FAILED, HOST
from irgrad.codegen.loops import PLANS, Linked, parts, scan_parts, while_parts
from irgrad.codegen.program import FIRST_INPUT, Argument
from irgrad.errors import RuntimeGuardError
from irgrad.ir.aval import Aval
from irgrad.ir.body import Body
from irgrad.ir.evaluate import evaluate
from irgrad.ir.plan import contiguous
from irgrad.ir.recording import Recording
from irgrad.ir.template import TemplateTable
from irgrad.runtime.link import LinkCounts, Linker
from irgrad.runtime.run import host
from irgrad.runtime.tree import PathTree

Call = Callable[[Body, Sequence[Any]], list[Any]]

LONG = 800  # records of a body that are one template: it runs very often, so that fewer rows count for more than shared ones
_numbers = itertools.count()


def link(body: Body) -> Linked:
    """The program of a body, made on first use."""
    if body.linked is None:
        tree = PathTree()
        leaf = tree.attach(Recording(body.records, [], list(body.outputs), ["array"] * len(body.outputs)))
        leaf.form = (None, ["array"] * len(body.outputs))
        arguments = [Argument(ARRAY, np.ndarray, a.dtype, a.shape, _strides(a)) for a in body.inputs]
        program = Linker(tree, TemplateTable(LONG), arguments, []).link(LinkCounts())
        body.linked = Linked(f"body:{next(_numbers)}", program)
    return body.linked


def _strides(aval: Aval) -> tuple[int, ...]:
    return tuple(stride * aval.dtype.itemsize for stride in contiguous(aval.shape))


def link_all(params: dict[str, Any]) -> list[Linked]:
    """Link the bodies among the params of a loop."""
    bodies = [each for param in params.values() for each in (param if type(param) is tuple else (param,)) if type(each) is Body]
    return [link(body) for body in bodies]


def run_loop(kind: str, params: dict[str, Any], operands: Sequence[Any], avals: Sequence[Aval]) -> Any:
    """The packed result of a loop or branch on concrete operands, which have (or are converted to) these avals.

    Raises numpy's error where an operation of a body fails (an index out of range, a matrix without a factorisation).
    """
    linked = link_all(params)
    arrays = [np.ascontiguousarray(np.asarray(o, a.dtype)) for o, a in zip(operands, avals, strict=True)]
    out = np.zeros(max(result_words(kind, params), 1))
    if any(each.program.hosts for each in linked):
        _HOSTED[kind](params, arrays, out, _call)
    else:
        plan = PLANS[kind](params)
        kernel = LIBRARY.get(plan.source, Counts())
        memory = np.empty(plan.work + 64, np.uint8)
        start = memory.ctypes.data
        names = {each.name: each.address for each in linked}
        pointers = plan.pointers(start + -start % 64, out.ctypes.data, [a.ctypes.data for a in arrays])
        table = np.array([names[p] if type(p) is str else p for p in pointers], np.int64)
        sizes = np.array(plan.sizes or [0], np.int64)
        if SIGNATURE(kernel.address)(table.ctypes.data, sizes.ctypes.data) != 0:
            _HOSTED[kind](params, arrays, out, _reference)  # raises numpy's own error
    return out[: result_words(kind, params)]


def result_parts(kind: str, params: dict[str, Any]) -> list[Aval]:
    """What is packed in the result of a loop or branch."""
    if kind == "scan":
        return scan_parts(params["body"], params["length"], params["carries"], params["saved"])
    if kind == "while_loop":
        return while_parts(params["body"])
    return list(params["branches"][0].results)


def result_words(kind: str, params: dict[str, Any]) -> int:
    return parts(result_parts(kind, params))[1]


# ---- bodies with host rows ----


def _call(body: Body, inputs: Sequence[Any]) -> list[Any]:
    """One run of a body with Python doing its host rows."""
    program = body.linked.program
    context = program.context()
    arrays = [np.ascontiguousarray(value) for value in inputs]
    outs = [np.empty(aval.shape, aval.dtype) for aval in body.results]
    for k, array in enumerate([*arrays, *outs]):
        context.bases[FIRST_INPUT + k] = array.ctypes.data
    try:
        code = _drive(program.address, context.address, 0)
        while code & 15 == HOST:
            host(program.hosts[code >> 4], context)
            code = _drive(program.address, context.address, (code >> 4) + 1)
    finally:
        program.release(context)
    if code & 15 == FAILED:
        raise RuntimeGuardError("an operation in the body of a loop failed: an index out of range or a singular matrix")
    return outs


def _reference(body: Body, inputs: Sequence[Any]) -> list[Any]:
    """One run of a body by numpy alone."""
    with np.errstate(all="ignore"):
        found = evaluate(
            body.graph, *[np.reshape(x, a.shape) if a.shape else np.ravel(x)[0] for x, a in zip(inputs, body.inputs, strict=True)]
        )
    return [np.asarray(value, aval.dtype) for value, aval in zip(found, body.results, strict=True)]


def _drive(address: int, bases: int, row: int) -> int:
    from irgrad.codegen import driver

    return int(driver.drive(address, bases, row))


def _pack(out: Any, offset: int, value: Any, at: int = 0) -> None:
    """Write a value into a packed result, `at` bytes behind the start of a part."""
    raw = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    start = 8 * offset + at
    out.view(np.uint8)[start : start + len(raw)] = raw


def _hosted_scan(params: dict[str, Any], arrays: list[Any], out: Any, call: Call) -> None:
    body: Body = params["body"]
    carries, xs, length = params["carries"], params["xs"], params["length"]
    consts = len(body.inputs) - carries - xs
    results = body.results
    offsets, _ = parts(scan_parts(body, length, carries, params["saved"]))
    if params["counted"]:
        length = int(arrays.pop().reshape(-1)[0])
        if length > params["length"]:
            raise RuntimeGuardError(f"a while_loop takes more than max_steps = {params['length']} iterations")
    state = [a.reshape(v.shape) for a, v in zip(arrays[consts : consts + carries], results[:carries], strict=True)]
    for t in range(length):
        i = length - 1 - t if params["reverse"] else t
        if params["saved"]:
            for k, value in enumerate(state):
                _pack(out, offsets[len(results) + k], value, i * value.nbytes)
        found = call(body, [*arrays[:consts], *state, *[x[i] for x in arrays[consts + carries :]]])
        state = found[:carries]
        for k, value in enumerate(found[carries:]):
            _pack(out, offsets[carries + k], value, i * value.nbytes)
    for k, value in enumerate(state):
        _pack(out, offsets[k], value)


def _hosted_while(params: dict[str, Any], arrays: list[Any], out: Any, call: Call) -> None:
    body: Body = params["body"]
    offsets, _ = parts(while_parts(body))
    consts, state = arrays[: len(arrays) - len(body.results)], arrays[len(arrays) - len(body.results) :]
    count = 0
    while bool(np.ravel(call(params["test"], [*consts, *state])[0])[0]):
        if count == params["max_steps"]:
            raise RuntimeGuardError(f"a while_loop takes more than max_steps = {count} iterations")
        state = call(body, [*consts, *state])
        count += 1
    for k, value in enumerate([*state, np.int64(count)]):
        _pack(out, offsets[k], value)


def _hosted_branch(params: dict[str, Any], arrays: list[Any], out: Any, call: Call) -> None:
    branches = params["branches"]
    body: Body = branches[min(max(int(np.ravel(arrays[0])[0]), 0), len(branches) - 1)]
    for offset, value in zip(parts(body.results)[0], call(body, arrays[1:]), strict=True):
        _pack(out, offset, value)


_HOSTED = {"scan": _hosted_scan, "while_loop": _hosted_while, "cond": _hosted_branch, "checkpoint": _hosted_branch}
