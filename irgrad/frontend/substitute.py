"""Name substitution: a user's function -> a copy in whose body names mean their traced forms.

The copy runs the same code object with a `Globals` mapping (LOAD_GLOBAL honours the `__missing__` of a dict subclass, nested
functions and comprehensions included) and with copies of its cells. A name that means numpy, math, a builtin or a user's
function resolves to its traced form, copy or handler; with `wrap` given (graph tracing), captured arrays and floats become
tracers and everything else that the trace relies on becomes a `Guard`. Nothing is resolved before it is used.

Instances of user classes are seen through a *view*: an object of a subclass made once per class, whose attributes come from
the original and whose methods, properties and operators run as copies. With `wrap` its writes stay in the view until
`finish`; without, they go to the original at once. `finish` puts back what the run wrote outside itself and names it.

Limits: functions found in classes, in containers (without `wrap`) and by libraries run as they are; objects with `__slots__`
or of library classes are shared, not copied; `x is self` compares a view with the object it stands for, and without `wrap` a view
that the run stores in a container stays there.
"""

from __future__ import annotations

import builtins
import copyreg
import functools
import importlib
import operator
import os.path
import site
import sys
import sysconfig
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np

from irgrad.frontend.captured import (
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
)  # fmt: skip
from irgrad.frontend.tracer import METHODS, Tracer

Wrap = Callable[[Any, Origin], Any]

MAX_LEAVES = 10_000  # of one captured container; a larger one is guarded by identity
ATOMS = frozenset({int, bool, str, bytes, type(None)})
_MUTABLE = frozenset({list, dict, OrderedDict, set})
_PLAIN = ATOMS | _MUTABLE | {float, complex, tuple, frozenset, np.ndarray, np.float64}  # raw without wrap
_CACHED = type(functools.lru_cache(lambda: None))

# -- whose code is it --------------------------------------------------------------------------------------------------


def _library_roots() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [site.getusersitepackages(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    return tuple(sorted({os.path.join(path, "") for path in paths if path}))


_LIBRARY = _library_roots()


@functools.lru_cache(maxsize=4096)
def is_user_file(file: str) -> bool:
    """Is a source file neither irgrad's, the standard library's nor an installed package's?"""
    if file.startswith("<"):
        return not file.startswith(("<frozen", "<irgrad"))
    parts = file.replace("\\", "/").split("/")
    return "site-packages" not in parts and "dist-packages" not in parts and not os.path.abspath(file).startswith(_LIBRARY)


def is_user_function(function: FunctionType) -> bool:
    """Does the user own the code? Text that was exec'd belongs to the module it runs in."""
    file = function.__code__.co_filename
    if file[:1] == "<" and is_user_file(file):
        module_file = dict.get(function.__globals__, "__file__")
        return module_file is None or is_user_file(module_file)
    return is_user_file(file)


def is_user_module(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return module.__name__ == "__main__" or (file is not None and is_user_file(file))


def is_user_class(cls: type) -> bool:
    module = sys.modules.get(cls.__module__)
    return module is None or is_user_module(module) or cls.__module__ == "__main__"


@functools.lru_cache(maxsize=4096)
def _class_body_names(code: CodeType) -> tuple[str, ...]:
    """Names that class bodies inside `code` load: before 3.13 LOAD_NAME does not ask `__missing__`."""
    if sys.version_info >= (3, 13):
        return ()
    found: dict[str, None] = {}
    stack = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    while stack:
        inner = stack.pop()
        if not inner.co_flags & 1:  # CO_OPTIMIZED: a function
            found.update(dict.fromkeys(inner.co_names))
        stack.extend(constant for constant in inner.co_consts if isinstance(constant, CodeType))
    return tuple(found)


# -- names that mean something else ------------------------------------------------------------------------------------


class Names(dict[int, Any]):
    """``id(object) -> replacement``; holds the objects, so that an id stays theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.originals: list[Any] = []

    def add(self, original: Any, replacement: Any) -> None:
        self.originals.append(original)
        self[id(original)] = replacement
        if isinstance(replacement, _StandInType):
            _STAND_INS[original] = replacement

    def add_module(self, original: ModuleType, replacement: Any) -> None:
        """The module and every public name whose replacement is another object."""
        self.add(original, replacement)
        for name in dir(replacement):
            old, new = vars(original).get(name), getattr(replacement, name)
            if not name.startswith("_") and old is not None and old is not new and (callable(old) or isinstance(old, ModuleType)):
                self.add(old, new)

    @functools.cached_property
    def builtins(self) -> dict[str, Any]:
        return _builtins(self)


def _builtins(names: Mapping[int, Any]) -> dict[str, Any]:
    """The builtins with an import that substitutes what is imported inside a function."""

    def substituted_import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        traced = type(globals) is Globals
        module = builtins.__import__(name, globals.source if traced else globals, locals, fromlist, level)
        found = names.get(id(module))
        if found is not None:
            return found
        if traced and globals.substitution is not None and isinstance(module, ModuleType):
            return globals.substitution.module(module)
        return module

    return {**vars(builtins), "__import__": substituted_import}


class _StandInType(type):
    """Metaclass of a type that stands for another one everywhere but in a call."""

    original: type
    convert: Callable[..., Any]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return type.__getattribute__(cls, "convert")(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.original)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.original

    def __hash__(cls) -> int:
        return hash(cls.original)

    def __repr__(cls) -> str:
        return repr(cls.original)


def stand_in(original: type, convert: Callable[..., Any]) -> type:
    """A type that is `original` to isinstance, ==, hash, numpy's dtypes and class patterns, and calls `convert`."""
    space: dict[str, Any] = {"original": original, "convert": staticmethod(convert), "__module__": original.__module__}
    space["__qualname__"] = original.__qualname__
    space["dtype"] = np.dtype(original)  # read by np.dtype(stand-in); no instance is ever made
    return _StandInType(original.__name__, (original,), space)


def _item(x: Any) -> Any:
    """A traced scalar as a traced Python number."""
    return x if type(x) is not Tracer or type(x.value) in (bool, int, float, complex) else METHODS["item"](x)


def _float(x: Any = 0.0, /) -> Any:
    if type(x) is not Tracer:
        return float(x)
    item: Any = _item(x)
    value: Any = item.value if type(item) is Tracer else item
    if value is item or isinstance(value, complex):
        return float(value)  # type: ignore[arg-type]
    return item if type(value) is float else cast("Any", item) * 1.0


def _complex(*args: Any, **kwargs: Any) -> Any:
    if not any(type(a) is Tracer for a in (*args, *kwargs.values())):
        return complex(*args, **kwargs)
    parts = dict(zip(("real", "imag"), args, strict=False), **kwargs)
    real, imag = _item(parts.get("real", 0.0)), _item(parts.get("imag", 0.0))
    return real + 0j if "imag" not in parts else real + imag * 1j


FLOAT = stand_in(float, _float)
COMPLEX = stand_in(complex, _complex)
_STAND_INS: dict[type, type] = {float: FLOAT, complex: COMPLEX}


class _TypeOf(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not TYPE:
            return super().__call__(*args, **kwargs)
        if len(args) != 1 or kwargs:
            return type(*args, **kwargs)
        kind = type(args[0])
        if kind is Tracer or issubclass(kind, _View):
            kind = args[0].__class__
        return _STAND_INS.get(kind, kind)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type) if cls is TYPE else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, type) if cls is TYPE else super().__subclasscheck__(subclass)

    def __eq__(cls, other: object) -> bool:
        return other is cls or (cls is TYPE and other is type)

    def __hash__(cls) -> int:
        return hash(type) if cls is TYPE else super().__hash__()


TYPE: Any = _TypeOf("type", (type,), {"__module__": "builtins"})  # type(t) of a traced float is (the stand-in of) float


class _Super:
    """`super()` of a view: the methods it finds run as copies."""

    __slots__ = ("real", "substitution")

    def __init__(self, real: Any, substitution: Substitution) -> None:
        object.__setattr__(self, "real", real)
        object.__setattr__(self, "substitution", substitution)

    def __getattribute__(self, name: str) -> Any:
        found = getattr(object.__getattribute__(self, "real"), name)
        if type(found) is MethodType and type(found.__func__) is FunctionType:
            return MethodType(object.__getattribute__(self, "substitution").copy(found.__func__), found.__self__)
        return found


def _super(*args: Any) -> Any:
    if not args:
        frame = sys._getframe(1)
        here = frame.f_locals
        if "__class__" not in here or not frame.f_code.co_argcount:
            raise RuntimeError("super(): no arguments")
        args = (here["__class__"], here[frame.f_code.co_varnames[0]])
    real: Any = builtins.super(*args)
    if len(args) == 2 and isinstance(type(args[1]), type) and issubclass(type(args[1]), _View):
        return _Super(real, _state(args[1]).substitution)
    return real


def _eval(source: Any, globals: Any = None, locals: Any = None, /) -> Any:
    return _run(eval, source, globals, locals, "eval", sys._getframe(1))


def _exec(source: Any, globals: Any = None, locals: Any = None, /, **kwargs: Any) -> None:
    _run(exec, source, globals, locals, "exec", sys._getframe(1), **kwargs)


def _run(run: Any, source: Any, globals_: Any, locals_: Any, mode: str, frame: Any, **kwargs: Any) -> Any:
    if globals_ is None:
        globals_ = frame.f_globals
        locals_ = frame.f_locals if locals_ is None else locals_
    code = source if isinstance(source, CodeType) else compile(source.strip() if mode == "eval" else source, "<string>", mode)
    if type(globals_) is Globals:
        globals_.load(code.co_names)
        globals_.load(_class_body_names(code))
    return run(code, globals_, locals_, **kwargs)


def _scalar_type(original: type[np.generic]) -> type:
    """A numpy scalar type whose call converts traced values."""
    core: Any = importlib.import_module("irgrad.frontend.handlers.core")

    def impl(trace: Any, x: Any) -> Any:
        made = core.cast(trace, x, original)
        return core.alias(made, made.value[()]) if isinstance(made.value, np.ndarray) and made.value.ndim == 0 else made

    def convert(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and type(args[0]) is Tracer:
            return core.run(args[0]._trace, original.__name__, impl, args, kwargs)
        return original(*args, **kwargs)

    return stand_in(original, convert)


_defaults: Names | None = None
_SCALARS = (np.float16, np.float32, np.float64, np.complex64, np.complex128, np.int8, np.int16, np.int32, np.int64, np.uint8)  # fmt: skip


def default_names() -> Names:
    """What names mean in a traced function: irgrad.numpy for numpy, traced mathematics for math, builtins that trace."""
    global _defaults
    if _defaults is None:
        names = Names()
        for original, replacement in ((float, FLOAT), (complex, COMPLEX), (type, TYPE), (super, _super), (eval, _eval), (exec, _exec)):
            names.add(original, replacement)
        for name in ("numpy", "numpy.linalg", "numpy.fft", "numpy.random"):
            space = _public(f"irgrad.{name}")
            if name == "numpy":
                scalars = {scalar: _scalar_type(scalar) for scalar in _SCALARS} if space else {}
                space.update({alias: scalars[space[alias]] for alias in list(space) if _is_scalar(space[alias], scalars)})
                space.update({part: names[id(getattr(np, part))] for part in ("linalg", "fft", "random") if id(getattr(np, part)) in names})
            _add_space(names, name, space)
        for name in ("scipy.special", "scipy.linalg", "scipy.integrate", "scipy.stats"):
            if name in sys.modules:
                _add_space(names, name, _public(f"irgrad.{name}"))
        pymath = _public("irgrad.frontend.handlers.pymath")
        for name in ("math", "cmath"):
            _add_space(names, name, pymath.get(name.upper(), {}))
        _defaults = names
    return _defaults


def _is_scalar(item: Any, scalars: dict[Any, type]) -> bool:
    return isinstance(item, type) and item in scalars


def _public(module: str) -> dict[str, Any]:
    """The names of a module; none if there is no such module."""
    try:
        return dict(vars(importlib.import_module(module)))
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("irgrad"):
            raise
        return {}


def _add_space(names: Names, original: str, space: dict[str, Any]) -> None:
    """Let a module mean another name space, presented as a module."""
    if space:
        made = ModuleType(original)
        vars(made).update(space)
        names.add_module(importlib.import_module(original), made)


# -- globals -----------------------------------------------------------------------------------------------------------

_OWN = ("__builtins__", "__name__")
_UNWATCHED = frozenset({*_OWN, "__warningregistry__", "__annotations__"})


class Globals(dict[str, Any]):
    """The globals of copies: names resolve on first use. After `finish` it lets the true globals through."""

    __slots__ = ("placed", "source", "substitution")

    def __init__(self, substitution: Substitution, source: dict[str, Any], builtins_: dict[str, Any]) -> None:
        self.substitution: Substitution | None = substitution
        self.source = source
        self.placed: dict[str, Any] = {}
        self["__builtins__"] = builtins_
        self["__name__"] = source.get("__name__")

    def __missing__(self, name: str) -> Any:
        substitution = self.substitution
        source = self.source
        if substitution is None:
            return source[name]
        if name in source:
            value = substitution.value(source[name], GlobalOrigin(source, name))
        else:
            try:
                value = vars(builtins)[name]
            except KeyError:
                substitution.lacks(GlobalOrigin(source, name))
                raise
            value = substitution.names.get(id(value), value)
        self[name] = self.placed[name] = value
        return value

    def load(self, names: tuple[str, ...]) -> None:
        """Resolve names ahead, for code that does not ask `__missing__`."""
        for name in names:
            if dict.get(self, name, MISSING) is MISSING and (name in self.source or name in vars(builtins)):
                self[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.source

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def finish(self, reasons: list[str]) -> None:
        """Put back what was assigned, and become transparent."""
        substitution = self.substitution
        if substitution is None:
            return
        placed = self.placed
        for name, value in self.items():
            if placed.get(name, MISSING) is not value and name not in _UNWATCHED:
                self.source[name] = substitution.unwrapped(value)
                reasons.append(f"{GlobalOrigin(self.source, name).describe()} is assigned")
        for name in placed:
            if not super().__contains__(name):
                self.source.pop(name, None)
                reasons.append(f"{GlobalOrigin(self.source, name).describe()} is deleted")
        self.substitution = None
        kept = {name: dict.__getitem__(self, name) for name in _OWN}
        self.clear()
        self.update(kept)
        self.placed = {}


class ModuleView(ModuleType):
    """A user's module whose names resolve as they do in its own functions."""

    def __init__(self, module: ModuleType, space: Globals) -> None:
        object.__setattr__(self, "_irgrad", (module, space))
        super().__init__(module.__name__, module.__doc__)

    def __getattribute__(self, name: str) -> Any:
        if name in ("_irgrad", "__class__", "__dict__"):
            return object.__getattribute__(self, name)
        module, space = object.__getattribute__(self, "_irgrad")
        if name in space.source:
            return space[name]
        found = getattr(module, name)  # a module's own __getattr__, or the right error
        if isinstance(found, ModuleType) and space.substitution is not None:
            return space.substitution.module(found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        module, space = self._irgrad
        space[name] = value
        if space.substitution is None or space.substitution.wrap is None:
            setattr(module, name, value)


# -- views of instances ------------------------------------------------------------------------------------------------

_STATE = "__irgrad_state__"
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_INHERITED = frozenset({
    "__new__", "__init__", "__init_subclass__", "__class_getitem__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__",
    "__set_name__", "__subclasshook__", "__class__", "__dict__", "__weakref__", "__slots__", "__reduce__", "__reduce_ex__",
})  # fmt: skip


class _View:
    """Marks the classes of views, and keeps their creation from calling hooks of the user's class."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        pass


class _State:
    """What a view knows. `values` is the original's own dict without wrap, else what has been placed and written so far."""

    __slots__ = ("complete", "label", "original", "placed", "source", "substitution", "values", "written")

    def __init__(self, substitution: Substitution, original: Any, label: Origin) -> None:
        self.substitution = substitution
        self.original = original
        self.label = label
        self.source: dict[str, Any] = original.__dict__
        self.values: dict[str, Any] = self.source if substitution.wrap is None else {}
        self.placed: dict[str, Any] = {}
        self.complete = False
        self.written: set[str] = set()

    def origin(self, name: str) -> Origin:
        return AttributeOrigin(SelfOrigin(self.original, self.label), name)

    def find(self, name: str) -> Any:
        """The instance attribute, or MISSING."""
        values = self.values
        if name in values:
            if values is not self.source or name in self.written:
                return values[name]
            return self.substitution.value(values[name], self.origin(name))
        if self.complete or name not in self.source:
            return MISSING
        value = values[name] = self.placed[name] = self.substitution.value(self.source[name], self.origin(name))
        return value

    def all(self) -> dict[str, Any]:
        if self.values is not self.source and not self.complete:
            for name in self.source:
                self.find(name)
            self.substitution.guard(self.origin("__dict__"), structure_of(self.source), "structure")
            self.complete = True
        return self.values

    def write(self, name: str, value: Any) -> None:
        self.values[name] = value
        self.written.add(name)

    def delete(self, name: str) -> None:
        values = self.all()
        if name not in values:
            raise AttributeError(name)
        del values[name]

    def finish(self, reasons: list[str]) -> None:
        unwrapped = self.substitution.unwrapped
        if self.values is self.source:
            for name in self.written & self.source.keys():
                self.source[name] = unwrapped(self.source[name])
                reasons.append(f"{self.origin(name).describe()} is assigned")
            return
        for name, value in self.values.items():
            if self.placed.get(name, MISSING) is not value:
                self.source[name] = unwrapped(value)
                reasons.append(f"{self.origin(name).describe()} is assigned")
        for name in self.placed:
            if name not in self.values:
                self.source.pop(name, None)
                reasons.append(f"{self.origin(name).describe()} is deleted")


def _state(view: Any) -> _State:
    return object.__getattribute__(view, _STATE)


def _lookup(cls: type, name: str) -> tuple[type, Any]:
    """The class in the MRO that defines `name`, and the definition itself."""
    for each in cls.__mro__:
        if name in each.__dict__:
            return each, each.__dict__[name]
    return cls, MISSING


class _Attribute:
    """A name that the class defines: the instance's own value first, unless the class holds a data descriptor."""

    __slots__ = ("cls", "name")

    def __init__(self, cls: type, name: str) -> None:
        self.cls = cls
        self.name = name

    def __get__(self, view: Any, owner: Any = None) -> Any:
        if view is None:
            return getattr(self.cls, self.name)
        state = _state(view)
        where, definition = _lookup(self.cls, self.name)
        if not hasattr(type(definition), "__set__"):
            found = state.find(self.name)
            if found is not MISSING:
                return found
        if definition is MISSING:
            raise AttributeError(f"{self.cls.__name__!r} object has no attribute {self.name!r}")
        return self.bind(view, state, where, definition)

    def bind(self, view: Any, state: _State, where: type, definition: Any) -> Any:
        substitution = state.substitution
        kind = type(definition)
        origin = AttributeOrigin(SelfOrigin(where), self.name)
        if kind is FunctionType:
            return MethodType(substitution.method(definition, origin), view)
        if kind is property and type(definition.fget) is FunctionType:
            return substitution.copy(definition.fget)(view)
        if kind is staticmethod:
            return substitution.value(definition.__func__, origin)
        if kind is classmethod and type(definition.__func__) is FunctionType:
            return MethodType(substitution.copy(definition.__func__), self.cls)
        if kind is functools.cached_property:
            value = substitution.copy(definition.func)(view)
            state.write(self.name, value)
            return value
        if hasattr(kind, "__get__"):
            return definition.__get__(view, self.cls)
        return substitution.class_value(definition, origin)

    def __set__(self, view: Any, value: Any) -> None:
        state = _state(view)
        definition = _lookup(self.cls, self.name)[1]
        if type(definition) is property and type(definition.fset) is FunctionType:
            state.substitution.copy(definition.fset)(view, value)
        elif hasattr(type(definition), "__set__"):
            definition.__set__(view, value)
        else:
            state.write(self.name, value)

    def __delete__(self, view: Any) -> None:
        definition = _lookup(self.cls, self.name)[1]
        if hasattr(type(definition), "__delete__"):
            definition.__delete__(view)
        else:
            _state(view).delete(self.name)


class _Operator:
    """A special method of the class, run as a copy."""

    __slots__ = ("cls", "name")

    def __init__(self, cls: type, name: str) -> None:
        self.cls = cls
        self.name = name

    def __get__(self, view: Any, owner: Any = None) -> Any:
        if view is None:
            return getattr(self.cls, self.name)
        where, definition = _lookup(self.cls, self.name)
        return MethodType(_state(view).substitution.method(definition, AttributeOrigin(SelfOrigin(where), self.name)), view)


def _view_getattr(view: Any, name: str) -> Any:
    state = _state(view)
    found = state.find(name)
    if found is not MISSING:
        return found
    cls = type(state.original)
    own = _lookup(cls, "__getattr__")[1]
    if type(own) is FunctionType:
        return state.substitution.copy(own)(view, name)
    if not name.startswith("__"):
        state.substitution.lacks(state.origin(name))
    raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")


def _view_setattr(view: Any, name: str, value: Any) -> None:
    if isinstance(_lookup(type(view), name)[1], _Attribute):
        object.__setattr__(view, name, value)
    else:
        _state(view).write(name, value)


def _view_delattr(view: Any, name: str) -> None:
    if isinstance(_lookup(type(view), name)[1], _Attribute):
        object.__delattr__(view, name)
    else:
        _state(view).delete(name)


def _view_replace_dict(view: Any, values: dict[str, Any]) -> None:
    own = _state(view).all()
    own.clear()
    own.update(values)


def _view_eq(view: Any, other: Any) -> Any:
    other = _state(other).original if issubclass(type(other), _View) else other
    return True if other is _state(view).original else NotImplemented


def _view_reduce(view: Any, protocol: Any) -> Any:
    return copyreg.__newobj__, (type(_state(view).original),), dict(_state(view).all())  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=512)
def view_class(cls: type) -> type | None:
    """The class of views of `cls`'s instances, or None where they must be left as they are."""
    *bases, root = cls.__mro__
    if root is not object or not is_user_class(cls) or not cls.__dictoffset__:
        return None
    if type(cls).__module__ not in ("builtins", "abc", "typing"):
        return None  # a metaclass may do anything when a class is made
    for base in bases:
        own = vars(base)
        if not base.__flags__ & _HEAP_TYPE or own.get("__slots__") or "__getattribute__" in own or "__del__" in own:
            return None  # state or effects that a view cannot share
    space: dict[str, Any] = {
        "__slots__": (_STATE,), "__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__,
        "__new__": lambda _, *args, **kwargs: cls(*args, **kwargs), "__class__": property(lambda view: cls),
        "__dict__": property(lambda view: _state(view).all(), _view_replace_dict), "__getattr__": _view_getattr,
    }  # fmt: skip
    if cls.__setattr__ is object.__setattr__:
        space["__setattr__"] = _view_setattr
    if cls.__delattr__ is object.__delattr__:
        space["__delattr__"] = _view_delattr
    if cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__:
        space["__reduce_ex__"] = _view_reduce
    if cls.__eq__ is object.__eq__ and cls.__hash__ is object.__hash__:
        space["__eq__"] = _view_eq
        space["__hash__"] = lambda view: object.__hash__(_state(view).original)
    for base in reversed(bases):
        for name, definition in vars(base).items():
            if not (name.startswith("__") and name.endswith("__")):
                space.setdefault(name, _Attribute(cls, name))
            elif type(definition) is FunctionType and name not in _INHERITED and type(_lookup(cls, name)[1]) is FunctionType:
                space.setdefault(name, _Operator(cls, name))
    try:
        return type(cls)(cls.__name__, (_View, cls), space)
    except TypeError:
        return None


# -- the substitution --------------------------------------------------------------------------------------------------


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
        "_boxes",
        "_builtins",
        "_cells",
        "_class_values",
        "_copied",
        "_functions",
        "_memo",
        "_modules",
        "_nested",
        "_originals",
        "_spaces",
        "_views",
        "guards",
        "inputs",
        "names",
        "wrap",
    )  # fmt: skip

    def __init__(self, wrap: Wrap | None = None, names: Mapping[int, Any] | None = None) -> None:
        self.wrap = wrap
        self.names: Mapping[int, Any] = default_names() if names is None else names
        self.guards: list[Guard] = []
        self.inputs: list[tuple[Origin, Any]] = []
        self._builtins = self.names.builtins if isinstance(self.names, Names) else _builtins(self.names)
        self._spaces: dict[int, Globals] = {}  # by id of the true globals, which the value holds
        self._functions: dict[FunctionType, Any] = {}
        self._cells: dict[int, _Cell] = {}
        self._memo: dict[int, tuple[Any, Any, Origin]] = {}  # arrays and containers by id, which the value holds
        self._copied: list[_Copied] = []
        self._views: dict[int, tuple[Any, Any]] = {}
        self._modules: dict[ModuleType, ModuleView] = {}
        self._class_values: dict[Origin, Any] = {}
        self._boxes: set[type] = {Tracer}
        self._originals: dict[int, tuple[Any, Any]] | None = None
        self._nested = 0

    # -- functions ---------------------------------------------------------------------------------------------------

    def function(self, f: Callable[..., Any]) -> Any:
        """The form of a callable that runs substituted: a copy, or `f` itself where it is not the user's."""
        if type(f) is not FunctionType:
            return self.value(f, SelfOrigin(f))
        if self.wrap is not None and f not in self._functions:
            self.guards.append(Guard(SelfOrigin(f), f, "identity"))
        return self.copy(f)

    def copy(self, f: FunctionType) -> Any:
        """`f` with substituted globals, cells and defaults. One copy per function, so that recursion works."""
        known = self._functions.get(f)
        if known is not None:
            return known
        source = f.__globals__
        if type(source) is Globals:
            if source.substitution is not None:
                return f  # made inside a substituted function
            source = source.source
        if not is_user_function(f):
            return f
        space = self.space(source)
        code = f.__code__
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
        names = _class_body_names(code)
        if names:
            space.load(names)
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
        if f not in self._functions:
            self.guard(origin, f, "identity")
        return self.copy(f)

    # -- values ------------------------------------------------------------------------------------------------------

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
        if boxed is None:
            self.guard(origin, value, "identity" if is_array else "value")
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
            self.guard(origin, value, "identity")
            return value
        is_dict = isinstance(value, dict)
        if ATOMS.issuperset(map(type, value.values() if is_dict else value)):
            return self._flat(kind, value, origin)
        if kind is set:
            self.guard(origin, value, "identity")
            return value
        self.guard(origin, structure_of(value), "structure")
        self._nested += 1
        try:
            if is_dict or kind is list:
                copy: Any = kind()
                self._memo[id(value)] = (value, copy, origin)
                if is_dict:
                    copy.update((key, self.value(item, ItemOrigin(origin, key))) for key, item in value.items())
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
        self.guard(origin, kind(value), "value")
        copy = kind(value)
        self._memo[id(value)] = (value, copy, origin)
        self._copied.append(_Copied(origin, value, copy, kind(value)))
        return copy

    def _other(self, kind: type[Any], value: Any, origin: Origin) -> Any:
        if kind is Tracer or kind is Globals or kind is ModuleView or issubclass(kind, _View):
            return value
        if self.wrap is not None:
            if isinstance(value, (float, complex, np.floating, np.complexfloating, np.ndarray)):
                return self._leaf(value, origin)
            if isinstance(value, (np.generic, frozenset)):
                self.guard(origin, value, "value")
                return value
            if issubclass(kind, tuple) and hasattr(kind, "_fields"):
                return self._container(kind, value, origin)
        self.guard(origin, value, "identity")
        if issubclass(kind, (type, BuiltinFunctionType)):
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
        view = object.__new__(cls)
        object.__setattr__(view, _STATE, _State(self, value, origin))
        self._views[id(value)] = (value, view)
        return view

    def module(self, module: ModuleType) -> Any:
        """A user's module with substituted names; any other one as it is or as `names` has it."""
        found = self.names.get(id(module))
        if found is not None or not is_user_module(module):
            return module if found is None else found
        view = self._modules.get(module)
        if view is None:
            view = self._modules[module] = ModuleView(module, self.space(vars(module)))
        return view

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> list[str]:
        """Put back what the run assigned outside itself; what it was. Copies made so far let true globals through from now on."""
        reasons: list[str] = []
        for cell in self._cells.values():
            self._finish_cell(cell, reasons)
        for _, view in self._views.values():
            if issubclass(type(view), _View):
                _state(view).finish(reasons)
        for each in self._copied:
            self._finish_container(each, reasons)
        for space in self._spaces.values():
            space.finish(reasons)
        return reasons

    def _finish_cell(self, cell: _Cell, reasons: list[str]) -> None:
        try:
            content: Any = cell.new.cell_contents
        except ValueError:
            content = MISSING
        if content is cell.placed:
            return
        if content is MISSING:
            del cell.cell.cell_contents
        else:
            cell.cell.cell_contents = self.unwrapped(content)
        reasons.append(f"{cell.origin.describe()} is assigned")

    def _finish_container(self, each: _Copied, reasons: list[str]) -> None:
        copy, placed = each.copy, each.placed
        if isinstance(copy, dict):
            now = cast("dict[Any, Any]", copy)
            if _identical(now, placed) and _identical(now.values(), placed.values()):
                return
            new = {key: self.unwrapped(value) for key, value in now.items()}
            each.original.clear()
            each.original.update(new)
        elif isinstance(copy, list):
            if _identical(cast("list[Any]", copy), placed):
                return
            each.original[:] = [self.unwrapped(value) for value in cast("list[Any]", copy)]
        else:
            if copy == placed:
                return
            each.original.clear()
            each.original.update(copy)
        reasons.append(f"{each.origin.describe()} is changed")

    def unwrapped(self, value: Any) -> Any:
        """The value as it is outside the run: originals for copies and views, concrete values for tracers."""
        if self._originals is None:
            made = [(copy, f) for f, copy in self._functions.items()]
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
        if kind is list or kind is dict or kind is OrderedDict:
            originals[id(value)] = (value, value)
            for key, item in list(enumerate(value) if kind is list else value.items()):
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
        if isinstance(item, (list, tuple, dict)) and type(item) is not Tracer:
            if id(item) in seen:
                continue
            seen.add(id(item))
            count += len(cast("Any", item))
            if count > MAX_LEAVES:
                return True
            stack.extend(cast("Any", item.values() if isinstance(item, dict) else item))
    return False
