"""Records that are known to be alike are cut into the same instances as if each was looked at."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from irgrad.frontend import replay
from irgrad.frontend.record import freeze
from irgrad.ir.blocks import Block
from irgrad.ir.recording import Recording
from irgrad.ir.template import TemplateTable
from irgrad.runtime import instances
from irgrad.runtime.signature import call_form
from irgrad.runtime.tracing import trace_call
from irgrad.runtime.tree import PathTree, analyse
from tests.support.repeated import OPERATORS, PROGRAMS, X, carried

pytestmark = pytest.mark.filterwarnings("ignore:Output seems independent")


def recording_of(f: Any) -> Recording:
    traced = trace_call(f, call_form((X,), {}))
    inputs: list[Any] = []
    found = freeze(traced.trace, traced.outputs, lambda t: (inputs.append(t), len(inputs))[1])
    traced.trace.close()
    return found


def described(recording: Recording, blocks: list[Block], table: TemplateTable) -> list[Any]:
    """All that analysis finds out about a path."""
    tree = PathTree()
    tree.attach(Recording(recording.records, recording.inputs, recording.outputs, recording.kinds, recording.guards, blocks))
    analyse(tree, table)
    found: list[Any] = []
    for node in tree.nodes():
        found.append((node.start, node.end, sorted(node.uses), sorted(node.asked), sorted(node.limb.external)))
        for i in node.instances:
            literals = [(d.value, d.dtype) for d in i.literals]
            found.append((i.template.key, bytes(i.template.exported), list(i.values), i.externals, literals, i.starts, i.results()))
    return found


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_instances(name: str, operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "REPEATED", 3)
    recording = recording_of(OPERATORS[operator](PROGRAMS[name]))
    expected = described(recording, [], TemplateTable())
    table = TemplateTable()
    assert described(recording, recording.blocks, table) == expected
    assert described(recording, recording.blocks, table) == expected  # with the forms of the first
    assert described(recording, recording.blocks, TemplateTable(20)) == described(recording, [], TemplateTable(20))


def test_few_instances_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recording_of(OPERATORS["grad"](carried))
    assert len(recording.blocks) >= 20
    covered = sum(block.last - block.first for block in recording.blocks)
    assert covered > 0.7 * len(recording.records)
    looked = [0]
    plain = instances._instance

    def counted(*args: Any) -> Any:
        looked[0] += 1
        return plain(*args)

    monkeypatch.setattr(instances, "_instance", counted)
    found = described(recording, recording.blocks, TemplateTable())
    assert len(found) > 40
    assert looked[0] <= 10


def test_blocks_lie_in_order_and_apart() -> None:
    for name, f in PROGRAMS.items():
        blocks = recording_of(OPERATORS["jacobian"](f)).blocks
        assert all(a.last <= b.first for a, b in pairwise(blocks)), name
        assert all(x < block.first for block in blocks for x in block.externals)
        assert all(len(set(block.externals)) == len(block.externals) for block in blocks)
    assert np.isfinite(X).all()
