"""Bodies of loops at run time: linked once into programs of their own, and run by native runners, or by Python where a body has rows
that only Python can do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.codegen import entry
from irgrad.codegen.compile import LIBRARY, SIGNATURE, Counts
from irgrad.codegen.layout import ARRAY, FAILED, HOST
from irgrad.codegen.loops import PLANS, Linked, parts, scan_parts, while_parts
from irgrad.codegen.program import FIRST_INPUT, Argument
from irgrad.errors import RuntimeGuardError
from irgrad.ir.aval import Aval
from irgrad.ir.body import Body
from irgrad.ir.evaluate import evaluate
from irgrad.ir.plan import contiguous
from irgrad.ir.primitive import UPDATE
from irgrad.ir.recording import Record, Recording
from irgrad.ir.template import TemplateTable
from irgrad.runtime.link import Linker
from irgrad.runtime.lowering import LinkCounts
from irgrad.runtime.memory import Buffer, Place
from irgrad.runtime.run import host
from irgrad.runtime.tree import PathNode, PathTree

Call = Callable[[Body, Sequence[Any]], list[Any]]

LONG = 800  # records of a body that are one template: it runs very often, so that fewer rows count for more than shared ones
_numbers = itertools.count()


class _Lending(Linker):
    """Links a body that may change some of its inputs in place: carries whose next value is an update of them.

    Here a result may take over the memory of an input, so that bases are not apart.

    `lent` maps inputs to the results that may take over their memory; those that do are in `kept`.
    """

    is_apart = False

    def __init__(self, body: Body, lent: dict[int, int]) -> None:
        tree = PathTree()
        leaf = tree.attach(Recording(body.records, [], list(body.outputs), ["array"] * len(body.outputs)))
        leaf.form = (None, ["array"] * len(body.outputs))
        arguments = [Argument(ARRAY, np.ndarray, a.dtype, a.shape, _strides(a)) for a in body.inputs]
        self.lent = lent
        self.kept: set[int] = set()
        super().__init__(tree, TemplateTable(LONG), arguments, [])

    def input(self, record: Record) -> Place:
        place = super().input(record)
        number = record.params["input"]
        if number in self.lent:
            place.buffer = Buffer(0, self.arguments[number].dtype.itemsize * math.prod(self.arguments[number].shape), 1, number, True)
        return place

    def leaf(self, node: PathNode, places: dict[int, Place], outputs: list[int]) -> None:
        for number, result in self.lent.items():
            value = outputs[result]
            place = places[value]
            home = (FIRST_INPUT + number, contiguous(self.arguments[number].shape))
            if (place.ref, place.strides) == home and outputs.count(value) == 1:
                self.kept.add(number)
                places[value] = Place(FIRST_INPUT + self.num_inputs + result, place.strides)  # there is nothing to copy
        super().leaf(node, places, outputs)


def link(body: Body) -> Linked:
    """The program of a body, made on first use."""
    if body.linked is None:
        body.linked = Linked(f"body:{next(_numbers)}", _Lending(body, {}).link(LinkCounts(exact=True)))  # of functions of both kinds
    return body.linked


def link_in_place(body: Body, carries: int, xs: int) -> Linked:
    """The program of a loop's body that changes in place those carries that it only updates."""
    key = ("in place", carries)
    if key not in body.derived:
        consts = len(body.inputs) - carries - xs
        lent = {consts + k: k for k in range(carries) if _updates(body, consts + k, body.outputs[k])}
        body.derived[key] = link(body)
        while lent:
            linker = _Lending(body, lent)
            program = linker.link(LinkCounts(exact=True))
            if linker.kept == lent.keys():  # what is changed in place and then copied all the same would change the first carry
                kept = frozenset(number - consts for number in lent)
                body.derived[key] = Linked(f"body:{next(_numbers)}", program, kept)
                break
            lent = {number: k for number, k in lent.items() if number in linker.kept}
    found: Linked = body.derived[key]
    return found


def _updates(body: Body, number: int, index: int) -> bool:
    """Is this value input `number` with parts of it written?"""
    while (record := body.records[index]).op is not None and record.op.has(UPDATE):
        index = record.operands[0]
        if type(index) is not int:
            return False
    return record.op is None and record.params["input"] == number


def _strides(aval: Aval) -> tuple[int, ...]:
    return tuple(stride * aval.dtype.itemsize for stride in contiguous(aval.shape))


def link_all(params: dict[str, Any]) -> list[Linked]:
    """Link the bodies among the params of a loop."""
    bodies = [each for param in params.values() for each in (param if type(param) is tuple else (param,)) if type(each) is Body]
    if "xs" in params and not params["saved"]:
        return [link(bodies[0]), link_in_place(bodies[0], params["carries"], params["xs"])]
    if "test" in params:
        carries = len(params["body"].results)
        return [link(params["test"]), link(params["body"]), link_in_place(params["body"], carries, 0)]
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
        drive = entry.native().drive
        code = drive(program.address, context.address, 0)
        while code & 15 == HOST:
            host(program.hosts[code >> 4], context)
            code = drive(program.address, context.address, (code >> 4) + 1)
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
