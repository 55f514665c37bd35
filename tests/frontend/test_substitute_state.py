"""Captured state enters as inputs and is guarded; writes outside the run are put back and reported."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import EagerTrace
from irgrad.frontend.tracer import Tracer
from tests.support.substitution import BOTH, HEADER, NAMES, checks, eager, graph, module, plain, texts

# -- captured state: what f() captures, what becomes an input -------------------------------------------------------------

CAPTURED = {
    "float": ("W = 2.5", "W", ["W"]),
    "complex": ("W = 2j", "W", ["W"]),
    "array": ("W = ones(2)", "W", ["W"]),
    "numpy float": ("W = f32(2)", "W", ["W"]),
    "read twice": ("W = 2.5", "(W, W)", ["W"]),
    "int": ("W = 2", "W", []),
    "numpy int": ("W = i64(2)", "W", []),
    "str, bool, None, bytes": ("A, B, C, D = 'a', True, None, b'd'", "(A, B, C, D)", []),
    "list": ("W = [1.0, 2, 'a', ones(2)]", "W", ["W[0]", "W[3]"]),
    "dict": ("W = {'a': 1.0, 3: ones(2), 'n': 2}", "W", ["W['a']", "W[3]"]),
    "tuple": ("W = (1.0, 2)", "W", ["W[0]"]),
    "nested": ("W = {'layers': [(ones(2), 1.0), (ones(3), 2.0)]}", "W", [f"W['layers'][{i}][{j}]" for i in (0, 1) for j in (0, 1)]),
    "named tuple": ("W = Point(1.0, 2)", "(W.x, W.y, type(W) is Point)", ["W[0]"]),
    "ordered dict": ("W = OrderedDict(a=1.0)", "W", ["W['a']"]),
    "ints only": ("W = [1, 2, 3]", "W", []),
    "set": ("W = {1, 2}", "W", []),
    "frozen set": ("W = frozenset({1.5})", "W", []),
    "namespace": ("W = SimpleNamespace(a=1.0, b=[2.0])", "(W.a, W.b)", ["W.a", "W.b[0]"]),
    "instance": ("W = A()\nW.a, W.n, W.l, W.unused = 1.0, 2, [3.0], 4.0", "(W.a, W.n, W.l)", ["W.a", "W.l[0]"]),
    "class value": ("A.rate = 1.5\nW = A()\nV = A()", "(W.rate, V.rate)", ["A.rate"]),
    "instance over class": ("A.rate = 1.5\nW = A()\nW.rate = 2.5", "W.rate", ["W.rate"]),
    "dataclass": ("W = Data(1.0, 2)", "(W.a, W.n, W == W)", ["W.a"]),
    "partial": ("W = partial(A, 1.5)", "W.args[0]", ["W.args[0]"]),
    "dtype and type": ("W = f32\nV = dtype('f4')", "(W, V)", []),
    "array twice": ("W = ones(2)\nX = W", "(W, X)", ["W"]),
    "a cycle": ("W = [1.0]\nW.append(W)", "W[1][1][0]", ["W[0]"]),
}


@pytest.mark.parametrize(("state", "body", "inputs"), CAPTURED.values(), ids=CAPTURED)
@pytest.mark.parametrize("place", ["global", "cell"])
def test_captured_numbers_become_inputs(place: str, state: str, body: str, inputs: list[str]) -> None:
    if place == "cell":
        f = module(HEADER + "def make():\n" + textwrap.indent(state, "  ") + f"\n  return lambda: {body}\nf = make()")["f"]
    else:
        f = module(HEADER + state + f"\ndef f(): return {body}")["f"]
    expected = f()
    substitution = graph()
    assert plain(substitution.function(f)()) == plain(expected)
    assert texts(substitution) == inputs
    check, read = checks(substitution)
    assert check()
    assert all(found is box.value for found, (_, box) in zip(read(), substitution.inputs, strict=True))
    assert substitution.finish() == []
    bare = Substitution(None, NAMES)
    assert plain(bare.function(f)()) == plain(expected)
    assert bare.guards == [] and bare.inputs == [] and bare.finish() == []


@pytest.mark.parametrize("state", ["W = 2.5", "W = ones(2)", "W = [1.0, 2]", "W = Point(1.0, 2.0)"])
def test_without_wrap_values_are_the_same_objects(state: str) -> None:
    space = module(HEADER + state + "\ndef f(x=W): return W, x")
    assert all(found is space["W"] for found in eager().function(space["f"])())


def test_rebinding_numbers_costs_nothing_and_changing_the_rest_is_seen() -> None:
    space = module(HEADER + "W = [1.0, ones(2)]\nN = 3\nS = 'a'\ndef h(): return N\ndef f(b=1.5, *, k='x'): return W, h(), S, b, k")
    substitution = graph()
    substitution.function(space["f"])()
    check, read = checks(substitution)
    assert texts(substitution) == ["b", "W[0]", "W[1]"]
    space["W"] = [7.0, space["W"][1]]
    space["f"].__defaults__ = (2.5,)
    assert check() and read()[:2] == (2.5, 7.0)
    for name, value in (("N", 4), ("S", "b"), ("N", True), ("N", 3.0), ("h", lambda: 3), ("W", [1.0]), ("W", (1.0, 2.0)), ("W", None)):
        kept = space[name]
        space[name] = value
        assert not check(), name
        space[name] = kept
        assert check()
    del space["S"]
    assert not check()


def test_attributes_are_reread_and_guarded() -> None:
    space = module(HEADER + "W = A()\nW.a, W.n = 1.5, 2\nA.g = lambda self: self.n * self.a\ndef f(): return W.g()")
    substitution = graph()
    assert substitution.function(space["f"])() == 3.0
    check, read = checks(substitution)
    w = space["W"]
    w.a = 4.5
    assert check() and read() == (4.5,)
    w.n = 3
    assert not check()
    w.n = 2
    space["A"].g = lambda self: 0
    assert not check()


def test_code_replaced_in_place_is_seen() -> None:
    space = module("def h(): return 1\ndef f(): return h()\ndef other(): return 2")
    for name in ("h", "f"):
        substitution = graph()
        substitution.function(space["f"])()
        check, _ = checks(substitution)
        assert check()
        space[name].__code__ = space["other"].__code__
        assert not check()


def test_an_absent_attribute_is_guarded() -> None:
    space = module(HEADER + "W = A()\ndef f(): return getattr(W, 'bias', None)")
    substitution = graph()
    assert substitution.function(space["f"])() is None
    check, _ = checks(substitution)
    assert check()
    space["W"].bias = 1.0
    assert not check()


def test_a_refused_value_is_left_and_guarded() -> None:
    space = module("W = 1.5\ndef f(): return W")
    substitution = Substitution(lambda value, origin: None, NAMES)
    assert substitution.function(space["f"])() == 1.5
    check, _ = checks(substitution)
    assert check() and substitution.inputs == []
    space["W"] = 2.5
    assert not check()


def test_a_huge_container_is_left_and_guarded_by_identity() -> None:
    space = module("W = [[1.0] * 100] * 3 + [float(i) for i in range(20000)]\ndef f(): return W")
    substitution = graph()
    assert substitution.function(space["f"])() is space["W"]
    assert substitution.inputs == []
    check, _ = checks(substitution)
    assert check()
    space["W"] = list(space["W"])
    assert not check()


def test_siblings_share_cells_and_containers() -> None:
    space = module(
        """
        def make():
            n, log = 1.5, [0.5]
            def add():
                nonlocal n
                n = n + 1
                log.append(n)
            def get(): return n, log
            return add, get
        add, get = make()
        def f():
            add()
            return get()
        """
    )
    substitution = graph()
    n, log = substitution.function(space["f"])()
    assert n == 2.5 and plain(log) == [0.5, 2.5]
    assert sorted(substitution.finish()) == [
        "log (closure of make.<locals>.add) is changed",
        "n (closure of make.<locals>.add) is assigned",
    ]
    assert space["get"]() == (2.5, [0.5, 2.5])


# -- writes outside the run ----------------------------------------------------------------------------------------------

IMPURE = {  # state, body, what is reported, an expression for the state afterwards, its value, reported without wrap too
    "global": ("N = 1", "global N\n    N = N + 1", ["N (global of __main__) is assigned"], "N", 2, True),
    "new global": ("", "global N\n    N = 1.5", ["N (global of __main__) is assigned"], "N", 1.5, True),
    "traced global": (
        "W = 1.5\nL = None",
        "global L\n    L = [W, (W,), {'a': W}]",
        ["L (global of __main__) is assigned"],
        "L",
        [1.5, (1.5,), {"a": 1.5}],
        True,
    ),
    "deleted global": ("N = 1", "global N\n    N\n    del N", ["N (global of __main__) is deleted"], "'N' in globals()", False, True),
    "helper as global": (
        "H = None\ndef h(): return 1",
        "global H\n    H = h",
        ["H (global of __main__) is assigned"],
        "H is h",
        True,
        True,
    ),
    "append": ("L = [1]", "L.append(2)", ["L (global of __main__) is changed"], "L", [1, 2], False),
    "append a number": ("W = 1.5\nL = []", "L.append(W)", ["L (global of __main__) is changed"], "L", [1.5], False),
    "item": ("W = 1.5\nL = [0.5, 1]", "L[0] = W", ["L (global of __main__) is changed"], "L", [1.5, 1], False),
    "dict": ("D = {'a': 1.5}", "D['b'] = D['a']", ["D (global of __main__) is changed"], "D", {"a": 1.5, "b": 1.5}, False),
    "dict delete": ("D = {'a': 1.5, 'b': 2}", "del D['b']", ["D (global of __main__) is changed"], "D", {"a": 1.5}, False),
    "inner list": ("D = {'a': [1.5]}", "D['a'].append(2)", ["D['a'] (global of __main__) is changed"], "D", {"a": [1.5, 2]}, False),
    "set": ("S = {1}", "S.add(2)", ["S (global of __main__) is changed"], "S", {1, 2}, False),
    "attribute": ("M = A()\nM.n = 1", "M.n += 1", ["M.n (global of __main__) is assigned"], "M.n", 2, True),
    "new attribute": ("M = A()\nM.w = 1.5", "M.last = M.w", ["M.last (global of __main__) is assigned"], "M.last", 1.5, True),
    "class default": ("A.n = 1\nM = A()", "M.n += 1", ["M.n (global of __main__) is assigned"], "M.n, A.n", (2, 1), True),
    "deleted attribute": ("M = A()\nM.n = 1", "del M.n", ["M.n (global of __main__) is deleted"], "hasattr(M, 'n')", False, False),
    "through __dict__": ("M = A()\nM.n = 1", "M.__dict__['n'] = 2", ["M.n (global of __main__) is assigned"], "M.n", 2, False),
    "namespace": ("M = SimpleNamespace(w=1.5)", "M.w = 2", ["M (global of __main__) is changed"], "M.w", 2, False),
    "property": ("M = P()", "M.v = 3", ["M._v (global of __main__) is assigned"], "M.v", 3, True),
    "stored instance": ("M = A()\nL = []", "L.append(M)", ["L (global of __main__) is changed"], "L[0] == M", True, False),
    "function attribute": ("def h(): h.n = h.n + 1\nh.n = 1", "h()", ["h.__dict__ (attribute of function) is changed"], "h.n", 2, False),
    "default": ("def h(log=[]): log.append(1)", "h()", ["log (default of h) is changed"], "h.__defaults__[0]", [1], False),
}


@BOTH
@pytest.mark.parametrize(("state", "body", "reasons", "after", "value", "bare"), IMPURE.values(), ids=IMPURE)
def test_writes_are_put_back_and_reported(
    state: str, body: str, reasons: list[str], after: str, value: Any, bare: bool, make: Callable[[], Substitution]
) -> None:
    header = HEADER + "class P:\n  @property\n  def v(self): return self._v\n  @v.setter\n  def v(self, x): self._v = x\n"
    space = module(header + state + f"\ndef f():\n    {body}")
    substitution = make()
    substitution.function(space["f"])()
    found = substitution.finish()
    assert found == (reasons if make is graph or bare else [])
    assert eval(after, space) == value


def test_a_traced_value_left_on_an_object_becomes_concrete() -> None:
    trace = EagerTrace()
    x = Tracer(trace, 2.0, None, (), {}, 0)
    f = module(HEADER + "class M:\n  def g(self, x):\n    self.last = x\n    return self.last\nm = M()\nf = m.g")
    for make in (eager, graph):
        substitution = make()
        assert substitution.function(f["f"])(x) is x
        assert substitution.finish() == ["self.last (attribute of M) is assigned"]
        assert f["m"].last == 2.0 and type(f["m"].last) is float
