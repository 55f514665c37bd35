"""Copies of user functions: names mean their traced forms, captured state is entered, writes are put back and named."""

from __future__ import annotations

import collections
import functools
import gc
import math
import sys
import textwrap
import timeit
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from irgrad.frontend.captured import Origin, compile_checks
from irgrad.frontend.context import CURRENT
from irgrad.frontend.names import Names, default_names, stand_in
from irgrad.frontend.ownership import is_user_class, is_user_function
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import EagerTrace
from irgrad.frontend.tracer import Tracer


class Box:
    """A stand-in for a tracer: shows what was wrapped."""

    def __init__(self, value: Any, origin: Origin) -> None:
        self.value = value
        self.origin = origin

    def __repr__(self) -> str:
        return f"Box({self.value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and bool(np.all(self.value == other.value))

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Any:
        return self.value + (other.value if isinstance(other, Box) else other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return self.value * (other.value if isinstance(other, Box) else other)

    __rmul__ = __mul__


def traced_sin(x: Any) -> Any:
    return ("traced sin", x)


class TracedMath:
    sin = staticmethod(traced_sin)
    pi = math.pi


class TracedNumpy:
    array = staticmethod(lambda x: ("traced array", x))
    sum = staticmethod(lambda x: ("traced sum", x))
    pi = np.pi


def fake_names() -> Names:
    names = Names()
    for original, replacement in default_names().items():
        if original in {id(float), id(complex), id(type), id(super), id(eval), id(exec)}:
            names[original] = replacement
    names.add(math, TracedMath)
    names.add(math.sin, traced_sin)
    names.add(np, TracedNumpy)
    names.add(np.sum, TracedNumpy.sum)
    return names


NAMES = fake_names()


def eager() -> Substitution:
    return Substitution(None, NAMES)


def graph() -> Substitution:
    return Substitution(Box, NAMES)


def module(source: str, name: str = "__main__") -> dict[str, Any]:
    """The globals of a user's module."""
    space: dict[str, Any] = {"__name__": name, "__builtins__": __builtins__}
    exec(compile(textwrap.dedent(source), "<model>", "exec"), space)
    return space


def texts(substitution: Substitution) -> list[str]:
    return [origin.text() for origin, _ in substitution.inputs]


def checks(substitution: Substitution) -> tuple[Callable[[], bool], Callable[[], tuple[Any, ...]]]:
    return compile_checks(substitution.guards, [origin for origin, _ in substitution.inputs])


BOTH = pytest.mark.parametrize("make", [eager, graph])
TRACED = ("traced sin", 2)

# -- names: every row defines f, which must give TRACED for 2 -------------------------------------------------------------

NAMED = {
    "module": "import math\ndef f(x): return math.sin(x)",
    "function": "from math import sin\ndef f(x): return sin(x)",
    "renamed": "from math import sin as s\ndef f(x): return s(x)",
    "nested": "import math\ndef f(x):\n  def g(y): return math.sin(y)\n  return g(x)",
    "lambda": "import math\ndef f(x): return (lambda y: math.sin(y))(x)",
    "comprehension": "import math\ndef f(x): return [math.sin(y) for y in [x]][0]",
    "nested comprehension": "import math\ndef f(x): return [[math.sin(y) for y in [z]] for z in [x]][0][0]",
    "generator": "import math\ndef f(x):\n  def g():\n    yield math.sin(x)\n  return next(g())",
    "generator expression": "import math\ndef f(x): return next(math.sin(y) for y in [x])",
    "helper": "import math\ndef h(x): return math.sin(x)\ndef f(x): return h(x)",
    "recursion": "import math\ndef f(x, n=3): return math.sin(x) if n == 0 else f(x, n - 1)",
    "mutual recursion": "import math\ndef g(x, n): return math.sin(x) if n == 0 else f(x, n - 1)\ndef f(x, n=3): return g(x, n)",
    "recursive closure": """
        import math
        def make():
            def g(x, n=2): return math.sin(x) if n == 0 else g(x, n - 1)
            return g
        f = make()""",
    "default": "import math\ndef f(x, sin=math.sin): return sin(x)",
    "keyword default": "import math\ndef f(x, *, sin=math.sin): return sin(x)",
    "cell": "import math\ndef make(m):\n  return lambda x: m.sin(x)\nf = make(math)",
    "cell of a cell": "import math\ndef make(m):\n  def g(x): return m.sin(x)\n  return lambda x: g(x)\nf = make(math)",
    "decorated": """
        import functools, math
        def twice(g):
            @functools.wraps(g)
            def inner(*args): return g(*args)
            return inner
        @twice
        def f(x): return math.sin(x)""",
    "wrapped attribute": """
        import functools, math
        def plain(g):
            return functools.wraps(g)(lambda x: None)
        @plain
        def g(x): return math.sin(x)
        def f(x): return g.__wrapped__(x)""",
    "partial": "import functools, math\ndef g(k, x): return math.sin(x)\nh = functools.partial(g, 1)\ndef f(x): return h(x)",
    "top partial": "import functools, math\ndef g(k, x): return math.sin(x)\nf = functools.partial(g, 1)",
    "cached": "import functools, math\n@functools.lru_cache\ndef g(x): return math.sin(x)\ndef f(x): return g(x)",
    "static": "import math\n@staticmethod\ndef g(x): return math.sin(x)\ndef f(x): return g(x)",
    "map": "import math\ndef f(x): return list(map(math.sin, [x]))[0]",
    "inner import": "def f(x):\n  import math\n  return math.sin(x)",
    "inner from import": "def f(x):\n  from math import sin\n  return sin(x)",
    "inner import as": "def f(x):\n  import math as m\n  return m.sin(x)",
    "class body": "import math\nN = 2\ndef f(x):\n  class A:\n    y = math.sin(N)\n  return A.y",
    "method of an inner class": "import math\ndef f(x):\n  class A:\n    def y(self): return math.sin(x)\n  return A().y()",
    "eval": "import math\ndef f(x): return eval('math.sin(x)')",
    "exec": "import math\ndef f(x):\n  space = {}\n  exec('y = math.sin(2)', globals(), space)\n  return space['y']",
    "globals()": "import math\ndef f(x): return globals()['math'].sin(x)",
    "globals().get": "import math\ndef f(x): return globals().get('math').sin(x) if 'math' in globals() else None",
    "bound method": "import math\nclass A:\n  def g(self, x): return math.sin(x)\nf = A().g",
    "class method": "import math\nclass A:\n  @classmethod\n  def g(cls, x): return math.sin(x)\nf = A.g",
    "callable instance": "import math\nclass A:\n  def __call__(self, x): return math.sin(x)\nf = A()",
    "instance": "import math\nclass A:\n  def __call__(self, x): return math.sin(x)\na = A()\ndef f(x): return a(x)",
    "self.helper": "import math\nclass A:\n  def h(self, x): return math.sin(x)\n  def g(self, x): return self.h(x)\nf = A().g",
    "inherited helper": "import math\nclass B:\n  def h(s, x): return math.sin(x)\nclass A(B):\n  def g(s, x): return s.h(x)\nf = A().g",
    "super": """
        import math
        class B:
            def g(self, x): return math.sin(x)
        class A(B):
            def g(self, x): return super().g(x)
        f = A().g""",
    "super of super": """
        import math
        class C:
            def g(self, x): return math.sin(x)
        class B(C):
            def g(self, x): return super().g(x)
        class A(B):
            def g(self, x): return super(A, self).g(x)
        f = A().g""",
    "property": "import math\nclass A:\n  @property\n  def y(self): return math.sin(2)\na = A()\ndef f(x): return a.y",
    "static method": "import math\nclass A:\n  @staticmethod\n  def g(x): return math.sin(x)\na = A()\ndef f(x): return a.g(x)",
    "operator": "import math\nclass A:\n  def __getitem__(self, x): return math.sin(x)\na = A()\ndef f(x): return a[x]",
    "function attribute of an instance": "import math\nclass A: pass\na = A()\na.sin = math.sin\ndef f(x): return a.sin(x)",
    "nested instance": "import math\nclass A:\n  def g(self, x): return math.sin(x)\na = A()\na.b = A()\ndef f(x): return a.b.g(x)",
    "async": """
        import math
        async def g(x): return math.sin(x)
        def f(x):
            try:
                g(x).send(None)
            except StopIteration as stop:
                return stop.value""",
}


@BOTH
@pytest.mark.parametrize("source", NAMED.values(), ids=NAMED)
def test_names_resolve_to_traced_forms(source: str, make: Callable[[], Substitution]) -> None:
    f = module(source)["f"]
    substitution = make()
    assert substitution.function(f)(2) == TRACED
    assert substitution.finish() == []
    assert checks(substitution)[0]()


@BOTH
@pytest.mark.parametrize("source", NAMED.values(), ids=NAMED)
def test_the_original_is_left_as_it_was(source: str, make: Callable[[], Substitution]) -> None:
    f = module(source)["f"]

    def outcome() -> Any:
        return f(2)

    before = outcome()
    substitution = make()
    assert substitution.function(f)(2) == TRACED
    substitution.finish()
    assert outcome() == before != TRACED


@BOTH
def test_warm_inline_caches_do_not_matter(make: Callable[[], Substitution]) -> None:
    f = module(
        "import math\nK = 1\ndef f(x):\n  t = 0\n  for i in range(3): t = math.sin(x) if K else t\n  return [t for j in range(2)][0]"
    )["f"]
    for _ in range(200):
        f(2)
    for _ in range(3):
        assert make().function(f)(2) == TRACED
    assert f(2) == math.sin(2)


@BOTH
def test_a_function_in_a_container_is_copied_with_wrap_only(make: Callable[[], Substitution]) -> None:
    f = module(
        "import math\ndef g(x): return math.sin(x)\nLAYERS = [g, (g, {'k': g})]\ndef f(x): return LAYERS[0](x), LAYERS[1][1]['k'](x)"
    )["f"]
    plain = math.sin(2)
    assert make().function(f)(2) == ((plain, plain) if make is eager else (TRACED, TRACED))


@BOTH
@pytest.mark.parametrize(
    ("body", "name"),
    [("return missing", "missing"), ("class A:\n    y = missing", "missing"), ("return [missing for _ in [1]]", "missing")],
)
def test_a_missing_name_is_a_name_error(body: str, name: str, make: Callable[[], Substitution]) -> None:
    f = module(f"def f():\n  {body}")["f"]
    with pytest.raises(NameError, match=f"name '{name}' is not defined"):
        make().function(f)()


def test_a_missing_name_is_guarded() -> None:
    space = module("def f():\n  try: return W\n  except NameError: return None")
    substitution = graph()
    assert substitution.function(space["f"])() is None
    check, _ = checks(substitution)
    assert check()
    space["W"] = 1
    assert not check()


@BOTH
def test_a_copy_looks_like_its_original(make: Callable[[], Substitution]) -> None:
    def f(x: int, y: float = 2.0, *, z: str = "a") -> None:
        """Does nothing."""

    f.note = [1]  # type: ignore[attr-defined]
    f.__qualname__ = "elsewhere.f"
    copy = make().function(f)
    assert copy is not f
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__dict__", "__code__"):
        assert getattr(copy, name) == getattr(f, name), name
    assert make().function(copy) is not None


def test_library_functions_stay_as_they_are() -> None:
    substitution = graph()
    for f in (np.linalg.norm, textwrap.dedent, functools.reduce, len, default_names, print, operator_like):
        copied = substitution.function(f)
        assert (copied is f) == (f is not operator_like), f


def operator_like(x: Any) -> Any:
    return x


def test_whose_code_it_is() -> None:
    for file, owned in (
        ("<stdin>", True),
        ("<ipython-input-1>", True),
        ("<string>", True),
        ("<frozen importlib>", False),
        (textwrap.__file__, False),
    ):
        code = compile("def g(): pass", file, "exec")
        space: dict[str, Any] = {}
        exec(code, space)
        assert is_user_function(space["g"]) is owned, file
    space = {"__file__": np.__file__}
    exec("def g(): pass", space)
    assert not is_user_function(space["g"])
    assert is_user_class(Box)
    assert not is_user_class(collections.Counter)
    assert not is_user_class(int)
    assert not is_user_class(Substitution)


def test_one_copy_per_function_and_functions_made_inside_are_kept() -> None:
    f = module("import math\ndef h(x): return x\ndef f(x): return (lambda: h)")["f"]
    substitution = eager()
    copy = substitution.function(f)
    assert substitution.function(f) is copy
    inner = copy(2)
    assert substitution.function(inner) is inner
    assert inner() is inner()
    assert Substitution(None, NAMES).function(inner) is inner


def test_a_function_that_outlives_the_run_sees_the_true_globals() -> None:
    space = module("import math\nW = 1\ndef f(x): return lambda: (math.sin(2), W)")
    for make in (eager, graph):
        substitution = make()
        leaked = substitution.function(space["f"])(2)
        substitution.finish()
        space["W"] = 7
        assert leaked() == (math.sin(2), 7)
        again = make()
        assert again.function(leaked)()[0] == TRACED


def test_objects_with_py_func_are_replaced_by_its_copy() -> None:
    dispatcher = type("Dispatcher", (), {"__module__": "numba.core.registry", "__call__": lambda self, x: None})()
    space = module("import math\ndef g(x): return math.sin(x)\ndef f(x): return d(x)")
    dispatcher.py_func = space["g"]
    space["d"] = dispatcher
    for make in (eager, graph):
        assert make().function(space["f"])(2) == TRACED


@BOTH
def test_user_modules_are_seen_through(make: Callable[[], Substitution], tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "irgrad_model.py").write_text(
        textwrap.dedent(
            """
            import math
            W = 2.5
            def loss(x): return math.sin(x)
            def __getattr__(name):
                if name == "odd": return "ODD"
                raise AttributeError(name)
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    space = module(
        """
        import irgrad_model as model
        def f(x): return model.loss(x)
        def g(x):
            import irgrad_model
            from irgrad_model import loss
            return loss(x), irgrad_model.W, model.W, model.odd
        def h(x): model.W = x
        """
    )
    try:
        substitution = make()
        assert substitution.function(space["f"])(2) == TRACED
        found = substitution.function(space["g"])(2)
        assert found[0] == TRACED
        assert found[3] == "ODD"
        assert found[1] is found[2]
        assert texts(substitution) == (["W"] if make is graph else [])
        substitution.function(space["h"])(4)
        assert substitution.finish() == ["W (global of irgrad_model.py) is assigned"]
        assert space["model"].W == 4
    finally:
        sys.modules.pop("irgrad_model", None)


# -- builtins that trace --------------------------------------------------------------------------------------------------

FLOATS = {
    "isinstance": ("isinstance(1.5, float), isinstance(1, float), isinstance(1, (int, float))", (True, False, True)),
    "call": ("float('2.5'), float(), complex('1j'), complex(1, imag=2)", (2.5, 0.0, 1j, 1 + 2j)),
    "type is": ("type(1.5) is float, type(1.5) == float, type(1) is int, type(1j) is complex, type('a') is str", (True,) * 5),
    "type in": ("type(1.5) in (float, int), {float: 1}[type(1.5)], type(1.5) in KINDS, TABLE[type(1.5)]", (True, 1, True, 1)),
    "type name": ("type(1.5).__name__, type(1.5)(3), type(1.5)('2')", ("float", 3.0, 2.0)),
    "three argument type": ("type('A', (), {'x': 1}).x", 1),
    "dtype": (
        "np_.zeros(1, float).dtype.name, np_.dtype(complex).name, np_.ones(1, dtype=int).astype(float).dtype == float",
        ("float64", "complex128", True),
    ),
    "method": ("float.fromhex('0x1p3'), float.__name__, str(float)", (8.0, "float", "<class 'float'>")),
    "issubclass": (
        "issubclass(bool, float), issubclass(float, float), issubclass(np_.float64, float), isinstance(float, type)",
        (False, True, True, True),
    ),
    "map": ("list(map(float, ['1', 2]))", [1.0, 2.0]),
    "match": ("matched(1.5), matched(1)", (1.5, None)),
    "metaclass": ("[type(c).__name__ for c in [meta()]][0]", "Meta"),
}


@BOTH
@pytest.mark.parametrize(("expression", "expected"), FLOATS.values(), ids=FLOATS)
def test_float_complex_and_type_mean_the_same_for_plain_values(expression: str, expected: Any, make: Callable[[], Substitution]) -> None:
    space = module(
        f"""
        KINDS = (float, int)
        TABLE = {{float: 1}}
        def matched(x):
            match x:
                case float(y): return y
            return None
        def meta():
            class Meta(type): pass
            class A(metaclass=Meta): pass
            return A
        def f(): return {expression}
        """
    )
    space["np_"] = types.SimpleNamespace(zeros=np.zeros, ones=np.ones, dtype=np.dtype, float64=np.float64)
    assert space["f"]() == expected
    assert make().function(space["f"])() == expected


def test_type_and_isinstance_of_a_traced_number() -> None:
    t = EagerTrace()
    x = Tracer(t, 2.0, None, (), {}, 0)
    t.tape.append(x)
    f = module("def f(x): return type(x) is float, isinstance(x, float), float(x), type(x)(x)")["f"]
    found = eager().function(f)(x)
    assert found[:2] == (True, True)
    assert found[2] is x and found[3] is x


def test_a_stand_in_for_a_numpy_scalar_type() -> None:
    made = stand_in(np.float32, lambda x: ("made", x))
    assert made(1) == ("made", 1)
    assert np.zeros(1, made).dtype == np.float32
    assert isinstance(np.float32(1), made) and made == np.float32 and hash(made) == hash(np.float32)


def test_default_names_trace_numpy_and_math() -> None:
    trace = EagerTrace()
    x = Tracer(trace, 2.0, None, (), {}, 0)
    trace.tape.append(x)
    space = module(
        """
        import math
        import numpy as np
        from math import exp
        from numpy import float32 as f32, array as arr
        def f(x):
            traced = math.sin(x), exp(x), np.array([x, 1.0]), arr([x]), np.float64(x), f32(x), np.int64(x), complex(x)
            traced += (np.linalg.norm(arr([x, x])),)
            a = np.zeros(2, np.float32)
            plain = a.dtype == np.float32, np.issubdtype(np.float64, np.floating), np.issubdtype(a.dtype, f32), isinstance(f32(1), f32)
            return traced, plain, type(np.float64(1)) is np.float64, np.dtype(f32).name, np.finfo(np.float64).eps == np.finfo(float).eps
        """
    )
    substitution = Substitution(None)
    token = CURRENT.set(trace)
    try:
        traced, *plain = substitution.function(space["f"])(x)
    finally:
        CURRENT.reset(token)
        substitution.finish()
    assert all(type(t) is Tracer for t in traced)
    assert [t.dtype.name for t in traced[2:7]] == ["float64", "float64", "float64", "float32", "int64"]
    assert plain == [(True,) * 4, True, "float32", True]


def test_a_failing_wrap_leaves_the_cells_as_they_are() -> None:
    def refuse(value: Any, origin: Origin) -> Any:
        raise OSError(origin.describe())

    space = module("def make(w):\n  return lambda: w\nf = make(1.5)")
    substitution = Substitution(refuse, NAMES)
    with pytest.raises(OSError, match=r"w \(closure of make.<locals>.<lambda>\)"):
        substitution.function(space["f"])
    assert substitution.finish() == []
    assert space["f"]() == 1.5


def test_default_names_hold_what_they_map() -> None:
    names = default_names()
    assert names is default_names()
    assert names[id(float)]("1.5") == 1.5
    assert all(id(original) in names for original in names.originals)


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
HEADER = """
from numpy import ones, float32 as f32, int64 as i64, dtype
from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from functools import partial
from dataclasses import dataclass
Point = namedtuple("Point", "x y")
class A: pass
@dataclass
class Data:
    a: float
    n: int
"""


def plain(value: Any) -> Any:
    """Without boxes."""
    if isinstance(value, Box):
        return plain(value.value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


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


# -- views of instances ---------------------------------------------------------------------------------------------------


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


# -- cost and memory ------------------------------------------------------------------------------------------------------


@BOTH
def test_nothing_outlives_the_run(make: Callable[[], Substitution]) -> None:
    space = module(HEADER + "class M:\n  def g(self): return self.w\nm = M()\nm.w = ones(2)\nL = [ones(2)]\ndef f(): return m.g(), L, f")
    substitution = make()
    copy = substitution.function(space["f"])
    copy()
    substitution.finish()
    refs = [weakref.ref(substitution), weakref.ref(copy)]
    del substitution, copy
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_without_wrap_a_run_costs_little() -> None:
    f = module("import math\nW = 1.5\ndef h(x): return x\ndef f(x): return h(math.pi * W) + len((x,))")["f"]

    def run() -> None:
        substitution = Substitution(None, NAMES)
        substitution.function(f)(1.0)
        substitution.finish()

    run()
    assert min(timeit.repeat(run, number=200, repeat=5)) / 200 < 100e-6  # about 8 us; the bound is for a busy machine


ALONE = {
    "arithmetic": (lambda x: x * x + 1.0, True),
    "methods": (lambda x: x.sum().real, True),
    "a name": (lambda x: np.sin(x), False),
    "a builtin": (lambda x: float(x), False),
    "a free variable": ((lambda scale: lambda x: scale * x)(np.float64(2.0)), True),
    "an inner function": (lambda x: (lambda y: y)(x), True),
    "a default": (lambda x, g=math.sin: g(x), False),
}


@pytest.mark.parametrize(("f", "alone"), ALONE.values(), ids=ALONE)
def test_a_function_whose_names_mean_themselves_is_not_copied_eagerly(f: Callable[..., Any], alone: bool) -> None:
    assert (eager().function(f) is f) == alone
    assert graph().function(f) is not f
