"""Collections while recording: none, and what was recorded is old at once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.tracer import Tracer
from irgrad.runtime import garbage
from irgrad.runtime.garbage import paused_gc

NUM = 20_000


class Node:
    """Something that may refer to itself."""

    other: Any = None


@pytest.fixture(autouse=True)
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage._Moved, "objects", 0)
    monkeypatch.setattr(garbage._Moved, "old", 0)
    gc.collect()
    yield
    gc.collect()


def test_new_objects_are_old_behind_a_pause() -> None:
    with paused_gc():
        assert not gc.isenabled()
        made = [[k] for k in range(NUM)]
    assert gc.isenabled()
    assert gc.get_count()[0] < NUM // 2
    young = {id(each) for generation in (0, 1) for each in gc.get_objects(generation)}
    assert not young & {id(each) for each in made}
    assert any(each is made[7] for each in gc.get_objects(2))


def test_a_few_objects_stay_young() -> None:
    with paused_gc():
        made = [[k] for k in range(100)]
    young = {id(each) for generation in (0, 1) for each in gc.get_objects(generation)}
    assert {id(each) for each in made} <= young


def test_collections_stay_off_where_they_were() -> None:
    gc.disable()
    try:
        with paused_gc():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_frozen_objects_stay_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with paused_gc():
            made = [[k] for k in range(NUM)]
        assert gc.get_freeze_count() >= frozen - NUM // 2 > 0 and len(made) == NUM
    finally:
        gc.unfreeze()


def test_garbage_among_what_is_moved_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "MANY", 3 * NUM)
    node = Node()
    node.other = node
    seen = weakref.ref(node)
    with paused_gc():
        kept = [[[k] for k in range(NUM)]]
        del node
    assert seen() is not None
    for _ in range(3):
        with paused_gc():
            kept.append([[k] for k in range(NUM)])
    assert seen() is None


def test_a_long_trace_is_not_collected_over() -> None:
    def loss(x: Any) -> Any:
        for _ in range(400):
            x = np.sin(x) * 0.9 + 0.1
        return x

    looked_at: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looked_at.append(gc.get_count()[0])

    compiled = irgrad.jit(irgrad.grad(loss))
    gc.callbacks.append(note)
    try:
        compiled(0.5)
    finally:
        gc.callbacks.remove(note)
    assert compiled.stats().recorded_ops > 2000
    assert all(count < 2000 for count in looked_at)


def test_values_of_a_trace_are_gone_without_a_collection() -> None:
    def fun(x: Any, y: Any) -> Any:
        for _ in range(3):
            x = np.tanh(x * y)
        return np.sum(x)

    x = np.linspace(0.0, 1.0, 500)
    gc.disable()
    try:
        for derivative in (irgrad.grad(fun), irgrad.jacobian(fun), irgrad.jit(irgrad.grad(fun)), irgrad.jit(irgrad.hessian(fun))):
            before = {id(each) for each in gc.get_objects() if type(each) is Tracer}
            for _ in range(3):
                derivative(x[:20], 0.5)
            assert not [each for each in gc.get_objects() if type(each) is Tracer and id(each) not in before], derivative
    finally:
        gc.enable()
