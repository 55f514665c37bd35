"""A user's function that scipy calls: on concrete values, outside every trace, and again inside traces for its derivatives.

What the function closes over may be traced. Such values are found in its cells, its defaults and the functions and containers in
them, and become explicit `leaves`; `bind` makes the function anew with other values in their place. Two callbacks are equal where
they are the same code over equal values, so that a function that is defined anew in every call is recognised. Limit: traced
values in attributes of objects are not found; a result that is traced where a concrete one is needed is then an error.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from irgrad.errors import IrgradError, TraceError
from irgrad.extend import concrete_of, outside
from irgrad.frontend.context import current
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers.core import unsupported
from irgrad.frontend.scopes import Globals, KeptGlobals
from irgrad.frontend.trace import describe, here
from irgrad.frontend.tracer import Tracer
from irgrad.operators import call_user
from irgrad.operators.run import in_trace
from irgrad.runtime.jit import jit
from irgrad.scipy._wrap import module_names


class _Slot:
    """The place of a traced value."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class _Function:
    """A function to make: code, true globals, and templates of cells and defaults."""

    __slots__ = ("cells", "code", "defaults", "keywords", "name", "space")

    def __init__(self, code: CodeType, space: dict[str, Any], name: str) -> None:
        self.code = code
        self.space = space
        self.name = name
        self.cells: tuple[Any, ...] | None = None
        self.defaults: Any = None
        self.keywords: Any = None


class _Container:
    """A list, tuple, dict or partial function to make."""

    __slots__ = ("keys", "kind", "parts")

    def __init__(self, kind: type, keys: list[Any], parts: list[Any]) -> None:
        self.kind = kind
        self.keys = keys
        self.parts = parts


class Callback:
    """See the module. `leaves` are the traced values that `fun` closes over."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.leaves: list[Any] = []
        self.name = getattr(fun, "__name__", type(fun).__name__)
        self.template = self._template(fun, {})

    def _template(self, value: Any, known: dict[int, Any]) -> Any:
        """`value` with slots for traced values; itself where there are none."""
        kind = type(value)
        if kind is Tracer:
            self.leaves.append(value)
            return _Slot(len(self.leaves) - 1)
        if id(value) in known:
            return known[id(value)][1]
        if kind is FunctionType:
            return self._function(value, known)
        if kind is MethodType:
            trace = current()
            return outside(trace, value) if isinstance(trace, GraphTrace) else value
        if kind is functools.partial:
            return self._container(value, kind, [], [value.func, list(value.args), dict(value.keywords)], known)
        if kind is list or kind is tuple:
            return self._container(value, kind, [], list(value), known)
        if kind is dict:
            return self._container(value, kind, list(value), list(value.values()), known)
        return value

    def _container(self, value: Any, kind: type, keys: list[Any], items: list[Any], known: dict[int, Any]) -> Any:
        before = len(self.leaves)
        made = [self._template(item, known) for item in items]
        plain = len(self.leaves) == before and all(a is b for a, b in zip(made, items, strict=True))
        return value if plain else _Container(kind, keys, made)

    def _function(self, fun: FunctionType, known: dict[int, Any]) -> Any:
        trace = current()
        value = outside(trace, fun) if isinstance(trace, GraphTrace) else fun
        if type(value) is not FunctionType:
            return value
        space = value.__globals__
        made = _Function(value.__code__, space.source if isinstance(space, (Globals, KeptGlobals)) else space, value.__name__)
        known[id(fun)] = (fun, made)
        before = len(self.leaves)
        if value.__closure__:
            made.cells = tuple(_Empty if _is_empty(cell) else self._template(cell.cell_contents, known) for cell in value.__closure__)
        made.defaults = None if value.__defaults__ is None else self._template(list(value.__defaults__), known)
        made.keywords = None if value.__kwdefaults__ is None else self._template(dict(value.__kwdefaults__), known)
        if len(self.leaves) == before and not isinstance(space, (Globals, KeptGlobals)):
            known[id(fun)] = (fun, value)
            return value
        return made

    def bind(self, leaves: Sequence[Any]) -> Callable[..., Any]:
        """The function with these values in place of its leaves; in an open trace, its traced form."""
        return functools.partial(call_user, in_trace(_made(self.template, leaves, {})))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callback) and _same(self.template, other.template, [])

    def __hash__(self) -> int:
        return hash(self.template.code) if isinstance(self.template, _Function) else hash(self.name)

    def __repr__(self) -> str:
        return self.name


class _Empty:
    """A cell without a value."""


def _is_empty(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _made(template: Any, leaves: Sequence[Any], known: dict[int, Any]) -> Any:
    kind = type(template)
    if kind is _Slot:
        return leaves[template.index]
    if kind is _Function:
        if id(template) in known:
            return known[id(template)]
        cells = None if template.cells is None else tuple(CellType() for _ in template.cells)
        fun = FunctionType(template.code, template.space, template.name, None, cells)
        known[id(template)] = fun
        for cell, content in zip(cells or (), template.cells or (), strict=True):
            if content is not _Empty:
                cell.cell_contents = _made(content, leaves, known)
        if template.defaults is not None:
            fun.__defaults__ = tuple(_made(template.defaults, leaves, known))
        if template.keywords is not None:
            fun.__kwdefaults__ = _made(template.keywords, leaves, known)
        return fun
    if kind is _Container:
        items = [_made(item, leaves, known) for item in template.parts]
        if template.kind is functools.partial:
            fun, args, keywords = items
            return functools.partial(fun, *args, **keywords)
        return dict(zip(template.keys, items, strict=True)) if template.kind is dict else template.kind(items)
    return template


def _same(a: Any, b: Any, pairs: list[tuple[Any, Any]]) -> bool:
    """Equal templates: the same code, slots at the same places, values that are identical or plainly equal."""
    if a is b or any(x is a and y is b for x, y in pairs):
        return True
    if type(a) is not type(b):
        return False
    if type(a) is _Slot:
        return bool(a.index == b.index)
    if type(a) is _Function:
        pairs.append((a, b))
        same = a.code is b.code and a.space is b.space
        return same and all(_same(getattr(a, part), getattr(b, part), pairs) for part in ("cells", "defaults", "keywords"))
    if type(a) is _Container:
        return a.kind is b.kind and a.keys == b.keys and _same(a.parts, b.parts, pairs)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y, pairs) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key], pairs) for key in a)
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    try:
        return bool(a == b)
    except Exception:  # a comparison of the user's may raise anything
        return False


# ---- functions of ours that are called often: eager at first, compiled when they are worth it ----

COMPILE_AFTER = 200  # calls
MAX_COMPILED = 64
_uses: OrderedDict[Any, list[Any]] = OrderedDict()


def compiled_later(key: Any, fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun`, which is compiled after `COMPILE_AFTER` calls under equal keys; eager again if it cannot be."""
    entry = _uses.get(key)
    if entry is None:
        entry = _uses[key] = [0, None]
        if len(_uses) > MAX_COMPILED:
            _uses.popitem(last=False)

    def call(*args: Any) -> Any:
        entry[0] += 1
        if entry[0] < COMPILE_AFTER:
            return fun(*args)
        if entry[1] is None:
            entry[1] = jit(fun, compile_after=1)
        try:
            return entry[1](*args)
        except IrgradError:
            entry[1] = fun
            return fun(*args)

    return call


def concrete_result(value: Any, name: str) -> Any:
    """What a callback returned on concrete values. Raises TraceError where it is traced, or complex."""
    if any(np.iscomplexobj(v) for v in (value if isinstance(value, (list, tuple)) else (value,))):
        raise TraceError(f"{name} returned a complex value ({here()}); expected real numbers, give real and imaginary parts")
    if type(value) is Tracer or (isinstance(value, (list, tuple)) and any(type(v) is Tracer for v in value)):
        raise TraceError(
            f"{name} reads a traced value ({describe(concrete_of(value))}) from the attribute of an object ({here()}); pass it in args"
        )
    return value


# ---- functions of scipy that take callbacks and are not traced ----


def without_callbacks(module: ModuleType, **impls: Callable[..., Any]) -> dict[str, Any]:
    """`module_names` of a module whose other functions refuse traced values that a function argument closes over, too."""
    prefix = module.__name__.removeprefix("scipy.")
    made = module_names(module, **impls)
    for name, form in made.items():
        if name not in impls and isinstance(getattr(module, name, None), FunctionType):
            made[name] = _checked(form, f"{prefix}.{name}")
    return made


def _checked(form: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(form)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if current() is not None and any(_closes_over_traced(v) for v in (*args, *kwargs.values())):
            unsupported(name, library="scipy")
        return form(*args, **kwargs)

    return checked


def _closes_over_traced(value: Any) -> bool:
    return callable(value) and type(value) is not Tracer and not isinstance(value, type) and bool(Callback(value).leaves)
