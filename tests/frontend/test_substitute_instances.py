"""Views of instances: what a function reads and writes through objects of the user's classes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from irgrad.frontend.names import default_names
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import EagerTrace
from irgrad.frontend.tracer import Tracer
from tests.support.substitution import BOTH, HEADER, checks, eager, graph, module, plain


@dataclass(frozen=True)
class Params:
    w: Any
    n: int = 2

    @functools.cached_property
    def twice(self) -> Any:
        return self.w + self.w


class Base:
    registry: list[Any] = []

    def __init_subclass__(cls) -> None:
        Base.registry.append(cls)


class Model(Base):
    scale = 1.5

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def identity(self, other: Any) -> tuple[Any, ...]:
        return (
            isinstance(self, Model),
            type(self) is Model,
            self.__class__ is Model,
            self == other,
            other == self,
            hash(self) == hash(other),
            self in [other],
        )

    def dictionary(self) -> dict[str, Any]:
        return dict(vars(self))

    def again(self) -> Any:
        return type(self)(w=1)

    def __getattr__(self, name: str) -> Any:
        if name == "virtual":
            return "made"
        raise AttributeError(f"no {name}")


MODEL = Model(w=1.5, n=2)
PARAMS = Params(1.5)


@BOTH
def test_a_view_is_what_it_stands_for(make: Callable[[], Substitution]) -> None:
    subclasses = list(Base.registry)

    def f() -> Any:
        copied = __import__("copy").copy(MODEL)
        return MODEL.identity(raw[0]), MODEL.dictionary(), MODEL.virtual, MODEL.again(), copied, MODEL.scale

    raw = (MODEL,)
    substitution = make()
    same, values, virtual, again, copied, scale = substitution.function(f)()
    assert all(same)
    assert plain(values) == {"w": 1.5, "n": 2} and list(values) == ["w", "n"]
    assert virtual == "made"
    assert type(again) is Model and again.w == 1
    assert type(copied) is Model and plain(copied.w) == 1.5
    assert plain(scale) == 1.5
    assert Base.registry == subclasses
    assert substitution.finish() == []


@BOTH
def test_frozen_dataclasses_are_seen_through(make: Callable[[], Substitution]) -> None:
    def f() -> Any:
        try:
            PARAMS.n = 3  # type: ignore[misc]
        except AttributeError as error:
            return str(error), PARAMS.w, PARAMS.n

    text, w, n = make().function(f)()
    assert text == "cannot assign to field 'n'" and plain(w) == 1.5 and n == 2


@BOTH
def test_a_missing_attribute_is_an_attribute_error(make: Callable[[], Substitution]) -> None:
    f = module(HEADER + "a = A()\ndef f(): return a.nothing")["f"]
    with pytest.raises(AttributeError, match="'A' object has no attribute 'nothing'"):
        make().function(f)()


UNVIEWED = {
    "slots": "class A:\n  __slots__ = ('w',)\na = A()\na.w = 1.5",
    "del": "class A:\n  def __del__(self): pass\na = A()",
    "list": "class A(list): pass\na = A()",
    "metaclass": "class M(type): pass\nclass A(metaclass=M): pass\na = A()",
    "getattribute": "class A:\n  def __getattribute__(self, n): return 1\na = A()",
    "enum": "import enum\nclass A(enum.Enum):\n  x = 1\na = A.x",
    "exception": "class A(ValueError): pass\na = A()",
    "library": "import decimal\na = decimal.Context()",
    "lock": "import threading\na = threading.Lock()",
}


@BOTH
@pytest.mark.parametrize("source", UNVIEWED.values(), ids=UNVIEWED)
def test_other_objects_are_shared_and_guarded_by_identity(source: str, make: Callable[[], Substitution]) -> None:
    space = module(source + "\ndef f(): return a")
    substitution = make()
    assert substitution.function(space["f"])() is space["a"]
    check, _ = checks(substitution)
    assert check()
    space["a"] = None
    assert check() == (make is eager)


def test_irgrad_objects_and_tracers_are_left_alone() -> None:
    trace = EagerTrace()
    space: dict[str, Any] = {"__name__": "__main__", "t": Tracer(trace, np.ones(2), None, (), {}, 0), "d": default_names, "b": trace}
    exec("def f(): return t, d, b", space)
    for make in (eager, graph):
        assert all(found is space[name] for found, name in zip(make().function(space["f"])(), "tdb", strict=True))
