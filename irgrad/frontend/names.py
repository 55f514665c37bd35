"""What names mean in a traced function: numpy, math, builtins and numpy's scalar types -> their traced forms.

A type that is called (`float`, `np.float64`) becomes a *stand-in*: the type itself to isinstance, ==, hash, numpy's dtypes and
class patterns, and a conversion that keeps traced values traced when called.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from irgrad.frontend.choices import MAX, MIN
from irgrad.frontend.scopes import Globals, outside_of
from irgrad.frontend.tracer import METHODS, Tracer
from irgrad.frontend.views import ObjectView, state_of

if TYPE_CHECKING:
    from irgrad.frontend.substitute import Substitution


class Names(dict[int, Any]):
    """``id(object) -> replacement``; holds the objects, so that an id stays theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.originals: list[Any] = []
        self.scipy: set[str] = set()  # which modules of scipy are known; "" is scipy itself
        self.num_modules = 0  # that were imported when scipy's were looked for

    def add(self, original: Any, replacement: Any) -> None:
        self.originals.append(original)
        self[id(original)] = replacement
        if isinstance(replacement, _StandInType):
            _STAND_INS[original] = replacement

    def add_module(self, original: ModuleType, replacement: Any) -> None:
        """The module and every public name whose replacement is another object."""
        self.add(original, replacement)
        olds, news = vars(original), vars(replacement)
        for name in sorted(news):
            old, new = olds.get(name), news[name]  # what the module imports on first use is the same object in both
            if old is not new and not name.startswith("_") and (callable(old) or isinstance(old, ModuleType)):
                self.add(old, new)

    @functools.cached_property
    def builtins(self) -> dict[str, Any]:
        return builtins_of(self)


def builtins_of(names: Mapping[int, Any]) -> dict[str, Any]:
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


# -- builtins that trace -----------------------------------------------------------------------------------------------


def _item(x: Any) -> Any:
    """A traced scalar as a traced Python number."""
    return x if type(x) is not Tracer or type(x.form) in (bool, int, float, complex) else METHODS["item"](x)


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
        if kind is Tracer or issubclass(kind, ObjectView):
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
    if len(args) == 2 and isinstance(type(args[1]), type) and issubclass(type(args[1]), ObjectView):
        return _Super(real, state_of(args[1]).substitution)
    return real


def _eval(source: Any, globals: Any = None, locals: Any = None, /) -> Any:
    return _run(eval, source, globals, locals, "eval", sys._getframe(1))


def _exec(source: Any, globals: Any = None, locals: Any = None, /, **kwargs: Any) -> None:
    _run(exec, source, globals, locals, "exec", sys._getframe(1), **kwargs)


def _run(run: Any, source: Any, globals_: Any, locals_: Any, mode: str, frame: Any, **kwargs: Any) -> Any:
    if globals_ is None:
        globals_ = frame.f_globals
        if locals_ is None:  # from Python 3.13 on a function's are a copy, not the function's own
            locals_ = frame.f_locals if isinstance(frame.f_locals, dict) else dict(frame.f_locals)
    code = source if isinstance(source, CodeType) else compile(source.strip() if mode == "eval" else source, "<string>", mode)
    if type(globals_) is Globals:
        globals_.load(code.co_names)
        globals_.load(outside_of(code).in_class_bodies)
    return run(code, globals_, locals_, **kwargs)


def _scalar_type(original: type[np.generic]) -> type:
    """A numpy scalar type whose call converts traced values."""
    core: Any = importlib.import_module("irgrad.frontend.handlers.core")

    def impl(trace: Any, x: Any) -> Any:
        made = core.cast(trace, x, original)
        if made is x and trace.choices:  # from here on its type is no longer in doubt
            made = core.apply(trace, "identity", np.positive, x)
        return core.alias(made, made.form[()]) if isinstance(made.form, np.ndarray) and made.form.ndim == 0 else made

    def convert(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and type(args[0]) is Tracer:
            return core.run(args[0]._trace, original.__name__, impl, args, kwargs)
        return original(*args, **kwargs)

    return stand_in(original, convert)


# -- the table ---------------------------------------------------------------------------------------------------------

_BUILTINS: tuple[tuple[Any, Any], ...] = (
    (float, FLOAT), (complex, COMPLEX), (type, TYPE), (super, _super), (eval, _eval), (exec, _exec), (min, MIN), (max, MAX)
)  # fmt: skip
_defaults: Names | None = None
_SCALARS = (np.float16, np.float32, np.float64, np.complex64, np.complex128, np.int8, np.int16, np.int32, np.int64, np.uint8)  # fmt: skip


def default_names() -> Names:
    """What names mean in a traced function: irgrad.numpy for numpy, traced mathematics for math, builtins that trace."""
    global _defaults
    if _defaults is None:
        names = Names()
        for original, replacement in _BUILTINS:
            names.add(original, replacement)
        for name in ("numpy", "numpy.linalg", "numpy.fft", "numpy.random"):
            space, others = _public(f"irgrad.{name}"), {}
            if name == "numpy":
                scalars = {scalar: _scalar_type(scalar) for scalar in _SCALARS} if space else {}
                others = {alias: scalars[value] for alias, value in space.items() if _is_scalar(value, scalars)}
                others |= {part: names[id(getattr(np, part))] for part in ("linalg", "fft", "random") if id(getattr(np, part)) in names}
            _add_space(names, name, space, others)
        pymath = _public("irgrad.frontend.handlers.pymath")
        for name in ("math", "cmath"):
            _add_space(names, name, pymath.get(name.upper(), {}))
        _defaults = names
    _add_scipy(_defaults)
    return _defaults


_SCIPY = ("special", "linalg", "integrate", "stats", "signal", "interpolate", "optimize")


def _add_scipy(names: Names) -> None:
    """scipy and its modules that the program has imported by now."""
    if len(names.scipy) > len(_SCIPY) or len(sys.modules) == names.num_modules:
        return
    names.num_modules = len(sys.modules)
    if "scipy" not in sys.modules:
        return
    for name in _SCIPY:
        if name not in names.scipy and f"scipy.{name}" in sys.modules:
            names.scipy.add(name)
            _add_space(names, f"scipy.{name}", _public(f"irgrad.scipy.{name}"))
    if "" not in names.scipy:
        names.scipy.add("")
        scipy = sys.modules["scipy"]
        names.add(scipy, importlib.import_module(f"irgrad.{scipy.__name__}"))


def _is_scalar(item: Any, scalars: dict[Any, type]) -> bool:
    return isinstance(item, type) and item in scalars


def _public(module: str) -> dict[str, Any]:
    """The names of a module, which stay as they are; none if there is no such module."""
    try:
        found = vars(importlib.import_module(module))
        return {**found.get("_forms", {}), **found}  # functions are among a module's names from their first use on
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("irgrad"):
            raise
        return {}


def _add_space(names: Names, original: str, space: Mapping[str, Any], others: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Let a module mean another name space, with `others` in it, presented as a module."""
    if space:
        made = ModuleType(original)
        vars(made).update(space)
        vars(made).update(others)
        names.add_module(importlib.import_module(original), made)
