"""Name substitution: a user's function -> a copy in whose body names mean their traced forms.

The copy runs the same code object with substituted globals (`scopes`) and with copies of its cells. A name that means numpy,
math, a builtin or a user's function resolves to its traced form (`names`), copy or handler; instances of user classes are seen
through views (`views`). With `wrap` given (graph tracing), captured arrays and floats become tracers and everything else that the
trace relies on becomes a `Guard`. Nothing is resolved before it is used. `finish` puts back what the run wrote outside itself
and names it.

Limits: functions found in classes, in containers (without `wrap`) and by libraries run as they are; objects with `__slots__`
or of library classes are shared, not copied.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np

from irgrad.frontend.captured import (
    DICTS,
    MISSING,
    AttributeOrigin,
    CellOrigin,
    DefaultOrigin,
    GlobalOrigin,
    Guard,
    ItemOrigin,
    Origin,
    SelfOrigin,
    structure_of,
)
from irgrad.frontend.classes import guards_of
from irgrad.frontend.generators import bound_to, is_foreign, stand_for
from irgrad.frontend.names import Names, builtins_of, default_names
from irgrad.frontend.ownership import is_user_class, is_user_function, is_user_module
from irgrad.frontend.purity import doubt_of_code, doubt_of_value
from irgrad.frontend.scopes import Globals, KeptGlobals, ModuleView, compares_identity, outside_of
from irgrad.frontend.tracer import Tracer
from irgrad.frontend.unchanged import is_unchanged
from irgrad.frontend.views import ObjectView, make_view, state_of, view_class

Wrap = Callable[[Any, Origin], Any]

MAX_LEAVES = 10_000  # of one captured container; a larger one is guarded by identity
ATOMS = frozenset({int, bool, str, bytes, type(None)})
_MUTABLE = frozenset({list, set, deque}) | DICTS
_HOLDERS = _MUTABLE | {np.ndarray}  # whose bound methods are those of what stands for them
_PLAIN = ATOMS | _MUTABLE | {float, complex, tuple, frozenset, np.ndarray, np.float64}  # raw without wrap
_CACHED = type(functools.lru_cache(lambda: None))


class _Copied(NamedTuple):
    """A container that was copied: what was put in is compared with what is there at the end."""

    origin: Origin
    original: Any
    copy: Any
    placed: Any


class _Cell(NamedTuple):
    origin: CellOrigin
    cell: CellType
    new: CellType
    placed: Any


class Substitution:
    """Copies of a user's functions and of what they capture, for one run. `names` maps ``id(object) -> replacement``.

    With `wrap`, captured floats and arrays become ``wrap(value, origin)`` (None: leave it as it is), listed in `inputs`; what
    else the run relies on is listed in `guards`. Without, only names are substituted.
    """

    __slots__ = (
        "__weakref__",
        "_absent",
        "_boxes",
        "_builtins",
        "_cells",
        "_class_values",
        "_classes",
        "_copied",
        "_functions",
        "_identity",
        "_memo",
        "_modules",
        "_nested",
        "_originals",
        "_spaces",
        "_views",
        "doubt",
        "effects",
        "guards",
        "inputs",
        "names",
        "on_doubt",
        "puts_back",
        "wrap",
    )  # fmt: skip

    def __init__(self, wrap: Wrap | None = None, names: Mapping[int, Any] | None = None) -> None:
        self.wrap = wrap
        self.names: Mapping[int, Any] = default_names() if names is None else names
        self.guards: list[Guard] = []
        self.inputs: list[tuple[Origin, Any]] = []
        self.effects: list[str] = []  # what the run did outside itself by other means than assignment
        self.on_doubt: Callable[[], None] = lambda: None
        self.puts_back = True  # are assignments of the run the user's? Not if it repeats a call
        self.doubt = ""  # what the run relied on that might not be pure (`purity`), looked for with `wrap`
        self._builtins = self.names.builtins if isinstance(self.names, Names) else builtins_of(self.names)
        self._spaces: dict[int, Globals] = {}  # by id of the true globals, which the value holds
        self._functions: dict[FunctionType, Any] = {}
        self._cells: dict[int, _Cell] = {}
        self._memo: dict[int, tuple[Any, Any, Origin]] = {}  # arrays and containers by id, which the value holds
        self._copied: list[_Copied] = []
        self._views: dict[int, tuple[Any, Any]] = {}
        self._modules: dict[ModuleType, ModuleView] = {}
        self._class_values: dict[Origin, Any] = {}
        self._classes: dict[type, list[Guard]] = {}  # those that the run names, with what their code may read
        self._absent: dict[int, tuple[Origin, dict[str, None]]] = {}  # by id of the holder, which the origin holds
        self._boxes: set[type] = {Tracer}
        self._originals: dict[int, tuple[Any, Any]] | None = None
        self._nested = 0
        self._identity = False  # does the code ask which objects are one?

    # -- functions ---------------------------------------------------------------------------------------------------

    def function(self, f: Callable[..., Any]) -> Any:
        """The form of a callable that runs substituted: a copy, or `f` itself where it is not the user's."""
        if type(f) is not FunctionType:
            return self.value(f, SelfOrigin(f))
        if self.wrap is None:
            return f if is_unchanged(f, self.names) else self.copy(f)
        if f not in self._functions:
            self.guards.append(Guard(SelfOrigin(f), f, "identity"))
        return self.copy(f)

    def copy(self, f: FunctionType) -> Any:
        """`f` with substituted globals, cells and defaults. One copy per function, so that recursion works."""
        known = self._functions.get(f)
        if known is not None:
            return known
        source = f.__globals__
        if type(source) is Globals:
            inner = source.substitution
            if inner is not None and (self.wrap is None or inner is self or inner.wrap is not None):
                return f  # made inside a substituted function
            source = source.source
        elif type(source) is KeptGlobals:
            if self.wrap is None:
                return f
            source = source.source
        if not is_user_function(f):
            self.question(doubt_of_value, f)
            return f
        space = self.space(source)
        code = f.__code__
        self.question(doubt_of_code, code)
        self._identity = self._identity or (self.wrap is not None and compares_identity(code))
        closure = f.__closure__
        defaults = f.__defaults__
        todo: list[tuple[_Cell, Any]] = []
        cells = tuple([self._cell(cell, name, f, todo) for cell, name in zip(closure, code.co_freevars, strict=True)]) if closure else None
        copy = FunctionType(code, space, f.__name__, defaults, cells)
        self._functions[f] = copy
        copy.__qualname__ = f.__qualname__
        copy.__module__ = f.__module__
        copy.__doc__ = f.__doc__
        if sys.version_info >= (3, 14):
            copy.__annotate__ = f.__annotate__
        elif f.__annotations__:
            copy.__annotations__ = f.__annotations__
        for made, content in todo:
            value = self.value(content, made.origin)
            made.new.cell_contents = value
            self._cells[id(made.cell)] = made._replace(placed=value)
        if defaults and self._changes(defaults):
            copy.__defaults__ = tuple([self.value(value, DefaultOrigin(f, i)) for i, value in enumerate(defaults)])
        keywords = f.__kwdefaults__
        if keywords:
            copy.__kwdefaults__ = {name: self.value(value, DefaultOrigin(f, name)) for name, value in keywords.items()}
        if f.__dict__:
            self._function_attributes(f, copy)
        ahead = outside_of(code).in_class_bodies
        if ahead:
            space.load(ahead)
        return copy

    def _function_attributes(self, f: FunctionType, copy: FunctionType) -> None:
        if not self._changes(f.__dict__.values()):
            copy.__dict__ = f.__dict__
            return
        parent = SelfOrigin(f)
        copy.__dict__.update({name: self.value(value, AttributeOrigin(parent, name)) for name, value in f.__dict__.items()})
        self._copied.append(_Copied(AttributeOrigin(parent, "__dict__"), f.__dict__, copy.__dict__, dict(copy.__dict__)))

    def _changes(self, values: Collection[Any]) -> bool:
        return self.wrap is not None or not _PLAIN.issuperset(map(type, values))

    def _cell(self, cell: CellType, name: str, f: FunctionType, todo: list[tuple[_Cell, Any]]) -> CellType:
        """The cell of a copy: the true one where its content stays as it is, so that writes go where they belong."""
        known = self._cells.get(id(cell))
        if known is not None:
            return known.new
        try:
            content = cell.cell_contents
        except ValueError:
            return cell
        kind = type(content)
        origin = CellOrigin(cell, name, f.__qualname__)
        if kind in ATOMS or (self.wrap is None and kind in _PLAIN) or (isinstance(content, type) and id(content) not in self.names):
            if name != "__class__" and self.wrap is not None:
                self.value(content, origin)
            made = _Cell(origin, cell, cell, content)
        else:
            made = _Cell(origin, cell, CellType(), MISSING)
            todo.append((made, content))
        self._cells[id(cell)] = made
        return made.new

    def space(self, source: dict[str, Any]) -> Globals:
        """The substituted form of a module's globals."""
        space = self._spaces.get(id(source))
        if space is None:
            space = self._spaces[id(source)] = Globals(self, source, self._builtins)
        return space

    def method(self, f: FunctionType, origin: Origin) -> Any:
        """The copy of a function that a class holds."""
        self.held(origin, f)
        return self.copy(f)

    def held(self, origin: Origin, definition: Any) -> None:
        """The run relies on that very definition being found at `origin`."""
        if origin not in self._class_values:
            self._class_values[origin] = definition
            self.guard(origin, definition, "identity")

    def absent(self, holder: SelfOrigin, name: str) -> None:
        """The run relies on an object or a class having no attribute of its own with that name."""
        if self.wrap is not None:
            known = self._absent.get(id(holder.object))
            if known is None:
                known = self._absent[id(holder.object)] = (AttributeOrigin(holder, "__dict__"), {})
            known[1][name] = None

    # -- values ------------------------------------------------------------------------------------------------------

    def question(self, doubt_of: Callable[[Any], str], what: Any) -> None:
        """Note what is doubtful about `what`, if nothing is known to be so far."""
        if self.wrap is not None and not self.doubt:
            self.doubt = doubt_of(what)
            if self.doubt:
                self.on_doubt()

    def guard(self, origin: Origin, expected: Any, how: str) -> None:
        """The run relies on what is found at `origin`."""
        if self.wrap is not None and type(origin) is not SelfOrigin:
            self.guards.append(Guard(origin, expected, how))

    def lacks(self, origin: Origin) -> None:
        """The run relies on nothing being there."""
        self.guard(origin, MISSING, "missing")

    def value(self, value: Any, origin: Origin) -> Any:
        """What a captured value is in the run."""
        found = self.names.get(id(value))
        if found is not None:
            self.question(doubt_of_value, value)
            self.guard(origin, value, "identity")
            return found
        kind = type(value)
        if kind is FunctionType:
            self.guard(origin, value, "identity")
            return self.copy(value)
        if self.wrap is None:
            return value if kind in _PLAIN else self._other(kind, value, origin)
        if kind in ATOMS:
            self.guards.append(Guard(origin, value, "identity" if value is None else "value"))
            return value
        if kind is float or kind is complex or kind is np.ndarray:
            return self._leaf(value, origin)
        if kind in _MUTABLE or kind is tuple:
            return self._container(kind, value, origin)
        return self._other(kind, value, origin)

    def global_value(self, source: dict[str, Any], name: str) -> Any:
        """`value` of a name in the true globals."""
        value = source[name]
        if self.wrap is None:  # the origin would not be asked for
            found = self.names.get(id(value))
            if found is not None or type(value) in _PLAIN:
                return value if found is None else found
        return self.value(value, GlobalOrigin(source, name))

    def class_value(self, value: Any, origin: Origin) -> Any:
        """A plain value that a class holds: the same for all instances."""
        if origin not in self._class_values:
            self._class_values[origin] = self.value(value, origin)
        return self._class_values[origin]

    def _leaf(self, value: Any, origin: Origin) -> Any:
        is_array = isinstance(value, np.ndarray)
        if is_array and id(value) in self._memo:
            return self._alias(value, origin)
        assert self.wrap is not None
        boxed = self.wrap(value, origin)
        if boxed is None or boxed is value:
            self.guard(origin, value.copy() if is_array else value, "value")
            boxed = value
        else:
            self._boxes.add(type(boxed))
            self.inputs.append((origin, boxed))
        if is_array:
            self._memo[id(value)] = (value, boxed, origin)
        return boxed

    def _alias(self, value: Any, origin: Origin) -> Any:
        """An array or container that was reached before by another way."""
        _, made, first = self._memo[id(value)]
        if origin != first:
            self.guard(origin, first, "alias")
        return made

    def _container(self, kind: type, value: Any, origin: Origin) -> Any:
        if id(value) in self._memo:
            return self._alias(value, origin)
        if not self._nested and _is_large(value):
            self.question(doubt_of_value, value)
            self.guard(origin, value, "identity")
            return value
        is_dict = isinstance(value, dict)
        if ATOMS.issuperset(map(type, value.values() if is_dict else value)):
            return self._flat(kind, value, origin)
        if kind is set:
            self.question(doubt_of_value, value)
            self.guard(origin, value, "identity")
            return value
        self.guard(origin, structure_of(value), "structure")
        self._nested += 1
        try:
            if is_dict or kind is list or kind is deque:
                copy: Any = value.copy()  # with what it knows beside its items
                copy.clear()
                self._memo[id(value)] = (value, copy, origin)
                if is_dict:
                    copy.update({key: self.value(item, ItemOrigin(origin, key)) for key, item in value.items()})
                else:
                    copy.extend([self.value(item, ItemOrigin(origin, i)) for i, item in enumerate(value)])
                self._copied.append(_Copied(origin, value, copy, dict(copy) if is_dict else list(copy)))
                return copy
            items = [self.value(item, ItemOrigin(origin, i)) for i, item in enumerate(value)]
        finally:
            self._nested -= 1
        copy = value if all(map(operator.is_, items, value)) else tuple.__new__(kind, items)
        self._memo[id(value)] = (value, copy, origin)
        return copy

    def _flat(self, kind: type, value: Any, origin: Origin) -> Any:
        """A container of ints, strings and the like: one guard by value."""
        if kind not in _MUTABLE:
            self.guard(origin, value, "value")
            return value
        self.guard(origin, value.copy(), "value")
        copy = value.copy()
        self._memo[id(value)] = (value, copy, origin)
        self._copied.append(_Copied(origin, value, copy, value.copy()))
        return copy

    def _other(self, kind: type[Any], value: Any, origin: Origin) -> Any:
        if kind is Tracer or kind is Globals or kind is KeptGlobals or kind is ModuleView or issubclass(kind, ObjectView):
            return value
        if self.wrap is not None:
            if isinstance(value, (float, complex, np.floating, np.complexfloating, np.ndarray)):
                return self._leaf(value, origin)
            if isinstance(value, (np.generic, frozenset)):
                if type(value) is frozenset:
                    self.question(doubt_of_value, value)
                self.guard(origin, value, "value")
                return value
            if issubclass(kind, tuple) and hasattr(kind, "_fields"):
                return self._container(kind, value, origin)
        self.question(doubt_of_value, value)
        self.guard(origin, value, "identity")
        if is_foreign(value):
            return self.foreign(value, origin)
        owner = bound_to(value)
        if owner is not None:
            return getattr(self.foreign(owner, origin), value.__name__)
        if kind is BuiltinFunctionType and type(held := value.__self__) in _HOLDERS:
            return getattr(self.value(held, AttributeOrigin(origin, "__self__")), value.__name__)
        if issubclass(kind, (type, BuiltinFunctionType)):
            if self.wrap is not None and issubclass(kind, type) and value not in self._classes and is_user_class(value):
                self._classes[value] = guards_of(value, origin)
            return value
        if issubclass(kind, ModuleType):
            return self.module(value)
        if kind is MethodType:
            return self._bound(value)
        if kind is functools.partial:
            return self._partial(value, SelfOrigin(value, origin))
        if kind is staticmethod:
            return self.copy(value.__func__) if type(value.__func__) is FunctionType else value
        if kind is _CACHED and type(value.__wrapped__) is FunctionType and is_user_function(value.__wrapped__):
            return self.copy(value.__wrapped__)
        if kind is np.vectorize:
            return self.names[id(np.vectorize)].of(value) if id(np.vectorize) in self.names else value
        if kind.__module__.startswith("numba.") and type(getattr(value, "py_func", None)) is FunctionType:
            return self.copy(value.py_func)
        if kind is SimpleNamespace:
            return self._namespace(value, SelfOrigin(value, origin)) if self.wrap is not None else value
        return self._view(kind, value, origin)

    def _bound(self, method: MethodType) -> Any:
        function = method.__func__
        if type(function) is not FunctionType:
            return method
        copy = self.copy(function)
        return method if copy is function else MethodType(copy, self.value(method.__self__, SelfOrigin(method.__self__)))

    def _partial(self, value: functools.partial[Any], origin: Origin) -> Any:
        function = self.value(value.func, AttributeOrigin(origin, "func"))
        args = [self.value(a, ItemOrigin(AttributeOrigin(origin, "args"), i)) for i, a in enumerate(value.args)]
        keywords = AttributeOrigin(origin, "keywords")
        return functools.partial(function, *args, **{name: self.value(a, ItemOrigin(keywords, name)) for name, a in value.keywords.items()})

    def _namespace(self, value: SimpleNamespace, origin: Origin) -> Any:
        known = self._views.get(id(value))
        if known is not None:
            return known[1]
        copy = SimpleNamespace()
        self._views[id(value)] = (value, copy)
        source = vars(value)
        self.guard(AttributeOrigin(origin, "__dict__"), structure_of(source), "structure")
        for name, item in source.items():
            setattr(copy, name, self.value(item, AttributeOrigin(origin, name)))
        self._copied.append(_Copied(origin, source, vars(copy), dict(vars(copy))))
        return copy

    def _view(self, kind: type, value: Any, origin: Origin) -> Any:
        known = self._views.get(id(value))
        if known is not None:
            return known[1]
        cls = view_class(kind)
        if cls is None:
            return value
        view = make_view(cls, self, value, origin)
        self._views[id(value)] = (value, view)
        return view

    def foreign(self, generator: Any, origin: Origin) -> Any:
        """What stands for a random generator whose draws a trace does not see."""
        known = self._views.get(id(generator))
        if known is None:
            known = self._views[id(generator)] = (generator, stand_for(generator, origin.describe()))
        return known[1]

    def module(self, module: ModuleType) -> Any:
        """A user's module with substituted names; any other one as it is or as `names` has it."""
        found = self.names.get(id(module))
        if is_foreign(module):
            return self.foreign(module, SelfOrigin(module))
        if found is not None or not is_user_module(module):
            return module if found is None else found
        view = self._modules.get(module)
        if view is None:
            view = self._modules[module] = ModuleView(module, self.space(vars(module)))
        return view

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> list[str]:
        """Put back what the run assigned outside itself; what it was. Copies made so far let true globals through from now on."""
        if not (self._spaces or self._cells or self._views or self._copied):
            return self.effects
        reasons = list(self.effects)
        if self._identity and len(places := [origin for _, _, origin in self._memo.values()]) > 1:
            self.guards.append(Guard(places[0], tuple(places[1:]), "distinct"))
        self.guards += [Guard(origin, tuple(names), "lacks") for origin, names in self._absent.values()]
        for cell in self._cells.values():
            self._finish_cell(cell, reasons)
        for _, view in self._views.values():
            if issubclass(type(view), ObjectView):
                state_of(view).finish(reasons)
        for each in self._copied:
            self._finish_container(each, reasons)
        for space in self._spaces.values():
            space.finish(reasons)
        return reasons

    def class_guards(self, captured: Collection[Origin]) -> list[Guard]:
        """Guards on what classes that the run names may read, but for inputs and for what the run has changed. Call it at the end."""
        return [guard for guards in self._classes.values() for guard in guards if guard.origin not in captured and guard.holds()]

    def _finish_cell(self, cell: _Cell, reasons: list[str]) -> None:
        try:
            content: Any = cell.new.cell_contents
        except ValueError:
            content = MISSING
        if content is cell.placed:
            return
        if content is MISSING and self.puts_back:
            del cell.cell.cell_contents
        elif self.puts_back:
            cell.cell.cell_contents = self.unwrapped(content)
        reasons.append(f"{cell.origin.describe()} is assigned")

    def _finish_container(self, each: _Copied, reasons: list[str]) -> None:
        copy, placed = each.copy, each.placed
        if isinstance(copy, dict):
            now = cast("dict[Any, Any]", copy)
            if _identical(now, placed) and _identical(now.values(), placed.values()):
                return
            if self.puts_back:
                new = {key: self.unwrapped(value) for key, value in now.items()}
                each.original.clear()
                each.original.update(new)
        elif isinstance(copy, (list, deque)):
            if _identical(cast("list[Any]", copy), placed):
                return
            if self.puts_back:
                items = [self.unwrapped(value) for value in cast("list[Any]", copy)]
                each.original.clear()
                each.original.extend(items)
        else:
            if copy == placed:
                return
            if self.puts_back:
                each.original.clear()
                each.original.update(copy)
        reasons.append(f"{each.origin.describe()} is changed")

    def unwrapped(self, value: Any) -> Any:
        """The value as it is outside the run: originals for copies and views, concrete values for tracers."""
        if self._originals is None:
            made: list[tuple[Any, Any]] = [(copy, f) for f, copy in self._functions.items()]
            made += [(copy, original) for original, copy, _ in self._memo.values()]
            made += [(view, original) for original, view in self._views.values()]
            made += [(view, module) for module, view in self._modules.items()]
            self._originals = {id(copy): (copy, original) for copy, original in made}
        return self._unwrap(value, self._originals)

    def _unwrap(self, value: Any, originals: dict[int, tuple[Any, Any]]) -> Any:
        known = originals.get(id(value))
        if known is not None:
            return known[1]
        kind: type[Any] = type(value)
        if kind in self._boxes:
            return value.value
        if kind is list or kind is deque or kind in DICTS:
            originals[id(value)] = (value, value)
            for key, item in list(value.items() if kind in DICTS else enumerate(value)):
                value[key] = self._unwrap(item, originals)
        elif kind is tuple or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            items = [self._unwrap(item, originals) for item in value]
            return value if all(map(operator.is_, items, value)) else tuple.__new__(kind, items)
        elif kind is MethodType:
            return MethodType(self._unwrap(value.__func__, originals), self._unwrap(value.__self__, originals))
        return value


def _identical(a: Collection[Any], b: Collection[Any]) -> bool:
    return len(a) == len(b) and all(map(operator.is_, a, b))


def _is_large(value: Any) -> bool:
    """Has a container more leaves than can be watched?"""
    stack = [value]
    seen: set[int] = set()
    count = 0
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple, dict, deque)) and type(item) is not Tracer:
            if id(item) in seen:
                continue
            seen.add(id(item))
            count += len(cast("Any", item))
            if count > MAX_LEAVES:
                return True
            stack.extend(cast("Any", item.values() if isinstance(item, dict) else item))
    return False
