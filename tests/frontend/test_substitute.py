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
from typing import Any

import numpy as np
import pytest

from irgrad.frontend.captured import Origin
from irgrad.frontend.context import CURRENT
from irgrad.frontend.names import default_names, stand_in
from irgrad.frontend.ownership import is_user_class, is_user_function
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import EagerTrace
from irgrad.frontend.tracer import Tracer
from tests.support.substitution import BOTH, HEADER, NAMES, Box, checks, eager, graph, module, texts

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


LOCALS = {
    "exec and a local variable": "def f(x):\n  y = 1\n  exec('y = 2')\n  return y",
    "exec, then eval": "def f(x):\n  exec('y = 2')\n  try:\n    return eval('y')\n  except NameError:\n    return None",
    "eval in a class body": "def f(x):\n  class A:\n    exec('y = 2')\n    z = eval('y + 1')\n  return A.y, A.z",
    "locals()": "def f(x):\n  y = 1\n  locals()['y'] = 2\n  return y, sorted(locals())",
    "eval of an argument": "def f(x):\n  x = x + 1\n  return eval('x')",
}


@BOTH
@pytest.mark.parametrize("source", LOCALS.values(), ids=LOCALS)
def test_local_variables_are_this_pythons(source: str, make: Callable[[], Substitution]) -> None:
    f = module(source)["f"]
    assert make().function(f)(2) == f(2)


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
