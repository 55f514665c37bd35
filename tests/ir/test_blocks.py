"""Blocks: records that are made when somebody asks for one, and not before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.record import freeze
from irgrad.frontend.tracer import Tracer
from irgrad.ir.blocks import Block, Records, aval_at, inputs_of, is_input, joined
from irgrad.ir.recording import Recording
from irgrad.runtime.sightings import differ
from irgrad.runtime.signature import call_form
from irgrad.runtime.tracing import trace_call

X = np.linspace(0.1, 0.9, 6)


def sweeps(count: int, shift: int = 0, late: int = 0) -> Any:
    def f(x: Any) -> Any:
        a = np.concatenate([x, x * 2.0])
        for k in range(count):
            i = (k + shift) % 10 + 1
            a[i] = (0.2 if k == late else 0.25) * (a[i - 1] + a[i + 1])
        return np.sum(a * a)

    return f


def recording_of(f: Any, x: Any = X) -> Recording:
    traced = trace_call(f, call_form((x,), {}))
    inputs: list[Any] = []
    found = freeze(traced.trace, traced.outputs, lambda t: (inputs.append(t), len(inputs))[1])
    traced.trace.close()
    return found


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks somebody has asked for a record."""
    count = [0]
    plain = Records.write

    def write(self: Records, block: Block) -> None:
        count[0] += 1
        plain(self, block)

    monkeypatch.setattr(Records, "write", write)
    return count


def test_a_longer_loop_has_no_more_records(written: list[int]) -> None:
    irgrad.jit(irgrad.grad(sweeps(300))).compile(X)  # the shapes are known from here on
    seen = []
    for count in (300, 1200):
        before = written[0]
        fast = irgrad.jit(irgrad.grad(sweeps(count))).compile(X)
        seen.append(written[0] - before)
        np.testing.assert_allclose(fast(X), irgrad.grad(sweeps(count))(X), rtol=1e-12)
    assert max(seen) <= 16


def test_records_are_there_when_asked_for() -> None:
    recording_of(irgrad.grad(sweeps(200)))
    records = recording_of(irgrad.grad(sweeps(200))).records
    assert isinstance(records, Records)
    block = next(item for item in records.items if type(item) is Block)
    assert aval_at(records, block.first) == block.mould.entries[0].aval
    assert not is_input(records, block.first)
    assert inputs_of(records, 0, len(records)) == [k for k, record in enumerate(records) if record.op is None]
    assert all(type(item) is not Block for item in records.items)
    assert records[block.first].op is block.mould.entries[0].op
    assert records[block.first : block.last] == list(records)[block.first : block.last]


def test_two_recordings_are_compared_by_blocks(written: list[int]) -> None:
    recording_of(irgrad.grad(sweeps(200)))
    first, second = (recording_of(irgrad.grad(sweeps(200))) for _ in range(2))
    before = written[0]
    assert differ(first, second) == ""
    assert written[0] - before <= 8


@pytest.mark.parametrize("other", [sweeps(200, shift=1), sweeps(200, late=197), sweeps(200, late=-1), sweeps(201)])
def test_a_difference_is_found(other: Any) -> None:
    for f in (other, sweeps(200)):
        recording_of(irgrad.grad(f))
    assert differ(recording_of(irgrad.grad(sweeps(200))), recording_of(irgrad.grad(other))) != ""


def test_the_beginning_of_one_path_with_the_rest_of_another() -> None:
    recording_of(irgrad.grad(sweeps(200)))
    a, b = (recording_of(irgrad.grad(sweeps(200))).records for _ in range(2))
    assert isinstance(b, Records)
    block = [item for item in b.items if type(item) is Block][200]
    both = joined(a, b, block.last - 1)  # within a block
    assert len(both) == len(a)
    for x, y in zip(both, a, strict=True):
        assert (x.code, x.segment, [o if type(o) is int else o.value for o in x.operands]) == (
            y.code, y.segment, [o if type(o) is int else o.value for o in y.operands],
        )  # fmt: skip


def test_cotangents_of_called_functions_are_dropped() -> None:
    """Sites in a function that a loop calls are no two times the same object."""

    def step(a: Any, x: Any) -> Any:
        b = np.tanh(a * x)
        return b + 0.1 * a

    def f(x: Any) -> Any:
        a = x
        for _ in range(200):
            a = step(a, x)
        return np.sum(a)

    for _ in range(2):
        traced = trace_call(irgrad.grad(f), call_form((X,), {}))
        kept = sum(type(t) is Tracer for t in traced.trace.tape)
        traced.trace.close()
    assert kept <= 4 * 200 + 40
