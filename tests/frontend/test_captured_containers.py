"""Captured containers, arrays of objects and bound methods that change between calls: the answers are Python's."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad

X = np.array([1.0, 2.0, 3.0])
Made = tuple[Callable[[Any], Any], Callable[[int], Any]]


def _default_dict() -> Made:
    held = defaultdict(float, a=1.0)
    return lambda x: x * held["a"] + len(held), lambda i: held.update({"a": i + 2.0} if i < 3 else {f"k{i}": 1.0})


def _default_dict_of_default_dicts() -> Made:
    held: Any = defaultdict(lambda: defaultdict(lambda: 1.0))
    held["w"]["b"], held["arrays"]["z"] = 2.0, np.ones(3)

    def change(i: int) -> None:
        held["w"]["b"] = i + 1.0
        held["arrays"]["z"][0] = i

    return lambda x: x * held["w"]["b"] + held["arrays"]["z"], change


def _missing_key() -> Made:
    held: Any = defaultdict(lambda: 2.0)
    return lambda x: x * held["a"] + len(held), lambda i: held.pop("a") if i == 2 else held.update(a=i + 1.0)


def _counter() -> Made:
    held = Counter("aab")
    return lambda x: x * held["a"] + held["nothing"], lambda i: held.update("a")


def _counting() -> Made:
    held: Any = Counter()

    def f(x: Any) -> Any:
        held["calls"] += 1
        return x * held["calls"]

    return f, lambda i: None


def _deque_read() -> Made:
    held = deque([1.0, 2.0], maxlen=2)
    return lambda x: x * held[0] + len(held), lambda i: held.appendleft(i + 0.5)


def _deque_of_integers() -> Made:
    held = deque([1, 2], maxlen=2)
    return lambda x: x * held[0] + len(held), lambda i: held.appendleft(i)


def _deque_written() -> Made:
    held = deque([1.0, 2.0], maxlen=2)

    def f(x: Any) -> Any:
        held.append(held[-1] + 1)
        return x * held[0]

    return f, lambda i: None


def _objects() -> Made:
    held = np.array([1.0, "a"], dtype=object)

    def change(i: int) -> None:
        held[0] = float(i)

    return lambda x: x * held[0], change


def _strings() -> Made:
    held = np.array(["a", "b"])

    def change(i: int) -> None:
        held[0] = "ab"[i % 2]

    return lambda x: x if held[0] == "a" else x * x, change


def _records() -> Made:
    held = np.zeros(2, dtype=[("a", "f8"), ("b", "i4")])

    def change(i: int) -> None:
        held["a"][0] = i

    return lambda x: x + held["a"][0], change


class _Own(np.ndarray):
    pass


def _subclass() -> Made:
    held = np.ones(3).view(_Own)

    def change(i: int) -> None:
        held[0] = i

    return lambda x: np.asarray(x * held), change


def _append() -> Made:
    held: list[float] = []
    append = held.append

    def f(x: Any) -> Any:
        append(1.0)
        return x * len(held)

    return f, lambda i: None


def _pop() -> Made:
    held = [float(i) for i in range(9)]
    pop = held.pop
    return lambda x: x * pop(), lambda i: None


def _get() -> Made:
    held = {"a": 1.0}
    get = held.get
    return lambda x: x * get("a", 0.0), lambda i: held.update(a=i + 2.0)


def _item() -> Made:
    held = np.ones(3)
    item = held.item
    return lambda x: x * item(0), lambda i: held.__setitem__(0, i + 2.0)


def _builtin_hidden_later() -> Made:
    space: dict[str, Any] = {}
    exec("def f(x):\n    return x * abs(-2.0)", space)

    def change(i: int) -> None:
        if i == 2:
            space["abs"] = lambda value: value * 7
        elif i == 4:
            del space["abs"]

    return space["f"], change


CASES = [
    _default_dict, _default_dict_of_default_dicts, _missing_key, _counter, _counting, _deque_read, _deque_of_integers, _deque_written,
    _objects, _strings, _records, _subclass, _append, _pop, _get, _item, _builtin_hidden_later,
]  # fmt: skip


@pytest.mark.parametrize("make", CASES)
def test_what_changes_between_calls_is_seen(make: Callable[[], Made]) -> None:
    expected, change_expected = make()
    traced, change = make()
    fast = irgrad.jit(traced)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # those that write keep running eagerly
        for i in range(7):
            np.testing.assert_array_equal(fast(X), expected(X), err_msg=f"call {i}")
            change_expected(i)
            change(i)


def test_captured_containers_of_the_library_are_compiled() -> None:
    for held in (defaultdict(float, a=2.0), Counter({"a": 2.0}), {"a": 2.0}):  # type: ignore[dict-item]
        fast = irgrad.jit(irgrad.grad(lambda x, held=held: np.sum(x * x * held["a"])))
        for rate in (2.0, 3.0, 4.0):
            held["a"] = rate
            np.testing.assert_allclose(fast(X), 2 * rate * X, rtol=1e-15)
        assert fast.stats().eager_calls == 1 and fast.stats().paths == 1


def test_pad_of_a_number() -> None:
    x = np.array(3.0)
    for wrapped in (irgrad.grad, lambda f: irgrad.jit(irgrad.grad(f), compile_after=1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert [wrapped(lambda v: np.sum(np.pad(x, 0, constant_values=v)))(2.0) for _ in range(3)] == [0.0] * 3
        assert wrapped(lambda a: np.sum(np.pad(a, 0, constant_values=2.0)))(x) == 1.0


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("kind", ["matrix", "masked"])
def test_arrays_with_operators_of_their_own_are_refused(kind: str) -> None:
    """A product of entries would not be what numpy computes; numpy's own array of the values may be used."""
    held: Any = np.matrix(np.eye(3)) if kind == "matrix" else np.ma.array(np.ones((3, 3)), mask=np.eye(3))
    x = np.arange(9.0).reshape(3, 3)
    eager, compiled = irgrad.grad(lambda x: np.sum(x * held)), irgrad.jit(irgrad.grad(lambda x: np.sum(x @ held)))
    for call in (eager, compiled, irgrad.jit(lambda x: x * held)):
        with pytest.raises(irgrad.errors.TraceError, match="operators of its own"):
            call(x)
    np.testing.assert_array_equal(irgrad.grad(lambda x: np.sum(x * np.asarray(held)))(x), np.asarray(held))
    np.testing.assert_array_equal(irgrad.jit(lambda x: x * np.asarray(held), compile_after=1)(x), x * np.asarray(held))


def test_which_captured_objects_are_one_is_guarded() -> None:
    """Both ways round, where the code asks."""
    held: dict[str, Any] = {"a": [1.0, 2.0], "b": [1.0, 2.0], "p": np.ones(3), "q": np.ones(3)}
    functions: list[Callable[[Any], Any]] = [
        lambda x: x * (2.0 if held["a"] is held["b"] else 3.0) * sum(held["a"]),
        lambda x: x * len({id(item) for item in held.values()}),
        lambda x: x * (np.sum(held["p"]) if held["p"] is held["q"] else np.sum(held["p"] + held["q"])),
    ]
    compiled = [irgrad.jit(f, compile_after=1) for f in functions]
    for key, value in (("b", held["b"]), ("b", held["a"]), ("q", held["p"]), ("b", [1.0, 2.0]), ("q", np.ones(3)), ("p", held["q"])):
        held[key] = value
        for f, g in zip(functions, compiled, strict=True):
            assert [g(1.5), g(1.5)] == [f(1.5)] * 2


def test_paths_do_not_repeat_the_guards_of_others() -> None:
    power, names = 2, ["a", "b"]

    def f(x: Any, bound: float) -> Any:
        total = 0.0
        while total < bound:
            total = total + x**power / len(names)
        return total

    fast = irgrad.jit(irgrad.grad(f), compile_after=1)
    fast(1.0, 0.3)
    (variants,) = fast._signatures.values()
    before = len(variants[0].guards)
    assert [fast(1.0, n / 2 - 0.2) for n in range(1, 8)] == [float(n) for n in range(1, 8)]
    assert fast.stats().paths == 7 and len(variants[0].guards) == before


def test_names_of_instances_and_classes_that_hide_others() -> None:
    """What is found in a class is looked for in the instance and in the classes before it, at every call."""

    class Base:
        weights = np.ones(3)
        offset = property(lambda self: 2.0)

        def scaled(self, x: Any) -> Any:
            return x * self.weights

        @classmethod
        def tripled(cls, x: Any) -> Any:
            return x * 3.0

        def __mul__(self, x: Any) -> Any:
            return x + 1.0

    class Model(Base):
        def __getattr__(self, name: str) -> Any:
            return 3.0

    def shared(self: Any, x: Any) -> Any:
        return x * x

    Base.shared = shared  # type: ignore[attr-defined]
    model: Any = Model()

    def f(x: Any) -> Any:
        return np.sum(model.scaled(x) * model.made_up + model.offset * model.tripled(x) + model * x + shared(None, x) * model.shared(x))

    changes: list[tuple[Any, str, Any]] = [
        (model, "made_up", 5.0), (Base, "offset", property(lambda self: 7.0)), (Base, "tripled", classmethod(lambda cls, x: x)),
        (Model, "offset", property(lambda self: 11.0)), (Base, "__mul__", lambda self, x: x - 4.0), (Model, "__mul__", lambda self, x: x),
        (Model, "weights", np.arange(3.0)), (model, "weights", 5.0), (model, "scaled", lambda x: x), (Base, "shared", lambda self, x: x),
        (model, "shared", lambda x: x * 4.0), (Model, "__getattr__", lambda self, name: 9.0),
    ]  # fmt: skip
    fast, slope = irgrad.jit(f, compile_after=1), irgrad.jit(irgrad.grad(f), compile_after=1)
    for holder, name, value in [(Base, "weights", Base.weights), *changes]:
        setattr(holder, name, value)
        for _ in range(2):
            assert np.isclose(fast(X), f(X), rtol=1e-12), name
            np.testing.assert_allclose(slope(X), irgrad.grad(f)(X), rtol=1e-12, err_msg=name)
    for name in ("shared", "scaled", "weights", "made_up"):
        delattr(model, name)
        assert np.isclose(fast(X), f(X), rtol=1e-12), name
