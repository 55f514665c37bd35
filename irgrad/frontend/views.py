"""Views: objects that stand for instances of user classes during a run.

A view is an object of a subclass made once per class, whose attributes come from the original and whose methods, properties and
operators run as copies. With `wrap` its writes stay in the view until `finish`; without, they go to the original at once.

Limits: objects with `__slots__` or of library classes have no view; `x is self` compares a view with the object it stands for,
and without `wrap` a view that the run stores in a container stays there.
"""

from __future__ import annotations

import copyreg
import functools
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from irgrad.frontend.captured import MISSING, AttributeOrigin, Origin, SelfOrigin, structure_of
from irgrad.frontend.ownership import is_user_class

if TYPE_CHECKING:
    from irgrad.frontend.substitute import Substitution

_STATE = "__irgrad_state__"
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_INHERITED = frozenset({
    "__new__", "__init__", "__init_subclass__", "__class_getitem__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__",
    "__set_name__", "__subclasshook__", "__class__", "__dict__", "__weakref__", "__slots__", "__reduce__", "__reduce_ex__",
})  # fmt: skip


class ObjectView:
    """Marks the classes of views, and keeps their creation from calling hooks of the user's class."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        pass


class State:
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
        if self.complete:
            return MISSING
        if name not in self.source:
            if values is not self.source:
                self.substitution.absent(SelfOrigin(self.original, self.label), name)
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


def state_of(view: Any) -> State:
    return object.__getattribute__(view, _STATE)


def _lookup(cls: type, name: str) -> tuple[type, Any]:
    """The class in the MRO that defines `name`, and the definition itself."""
    for each in cls.__mro__:
        if name in each.__dict__:
            return each, each.__dict__[name]
    return cls, MISSING


def _unshadowed(substitution: Substitution, cls: type, where: type, name: str) -> Origin:
    """The place of a definition in a class; the run relies on no class in front of it defining the name."""
    for each in cls.__mro__:
        if each is where:
            break
        substitution.absent(SelfOrigin(each), name)
    return AttributeOrigin(SelfOrigin(where), name)


class _Attribute:
    """A name that the class defines: the instance's own value first, unless the class holds a data descriptor."""

    __slots__ = ("cls", "name")

    def __init__(self, cls: type, name: str) -> None:
        self.cls = cls
        self.name = name

    def __get__(self, view: Any, owner: Any = None) -> Any:
        if view is None:
            return getattr(self.cls, self.name)
        state = state_of(view)
        where, definition = _lookup(self.cls, self.name)
        if not hasattr(type(definition), "__set__"):
            found = state.find(self.name)
            if found is not MISSING:
                return found
        if definition is MISSING:
            raise AttributeError(f"{self.cls.__name__!r} object has no attribute {self.name!r}")
        return self.bind(view, state, where, definition)

    def bind(self, view: Any, state: State, where: type, definition: Any) -> Any:
        substitution = state.substitution
        kind = type(definition)
        origin = _unshadowed(substitution, self.cls, where, self.name)
        if kind is FunctionType:
            return MethodType(substitution.method(definition, origin), view)
        if kind is property and type(definition.fget) is FunctionType:
            substitution.held(origin, definition)
            return substitution.copy(definition.fget)(view)
        if kind is staticmethod:
            return substitution.value(definition.__func__, origin)
        if kind is classmethod and type(definition.__func__) is FunctionType:
            return MethodType(substitution.method(definition.__func__, AttributeOrigin(origin, "__func__")), self.cls)
        if kind is functools.cached_property:
            substitution.held(origin, definition)
            value = substitution.copy(definition.func)(view)
            state.write(self.name, value)
            return value
        if hasattr(kind, "__get__"):
            return definition.__get__(view, self.cls)
        return substitution.class_value(definition, origin)

    def __set__(self, view: Any, value: Any) -> None:
        state = state_of(view)
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
            state_of(view).delete(self.name)


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
        substitution = state_of(view).substitution
        return MethodType(substitution.method(definition, _unshadowed(substitution, self.cls, where, self.name)), view)


def _view_getattr(view: Any, name: str) -> Any:
    state = state_of(view)
    found = state.find(name)
    if found is not MISSING:
        return found
    cls = type(state.original)
    where, own = _lookup(cls, "__getattr__")
    if type(own) is FunctionType:
        return state.substitution.method(own, _unshadowed(state.substitution, cls, where, "__getattr__"))(view, name)
    if not name.startswith("__"):
        state.substitution.lacks(state.origin(name))
    raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")


def _view_setattr(view: Any, name: str, value: Any) -> None:
    if isinstance(_lookup(type(view), name)[1], _Attribute):
        object.__setattr__(view, name, value)
    else:
        state_of(view).write(name, value)


def _view_delattr(view: Any, name: str) -> None:
    if isinstance(_lookup(type(view), name)[1], _Attribute):
        object.__delattr__(view, name)
    else:
        state_of(view).delete(name)


def _view_replace_dict(view: Any, values: dict[str, Any]) -> None:
    own = state_of(view).all()
    own.clear()
    own.update(values)


def _view_eq(view: Any, other: Any) -> Any:
    other = state_of(other).original if issubclass(type(other), ObjectView) else other
    return True if other is state_of(view).original else NotImplemented


def _view_reduce(view: Any, protocol: Any) -> Any:
    return copyreg.__newobj__, (type(state_of(view).original),), dict(state_of(view).all())  # type: ignore[attr-defined]


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
        "__dict__": property(lambda view: state_of(view).all(), _view_replace_dict), "__getattr__": _view_getattr,
    }  # fmt: skip
    if cls.__setattr__ is object.__setattr__:
        space["__setattr__"] = _view_setattr
    if cls.__delattr__ is object.__delattr__:
        space["__delattr__"] = _view_delattr
    if cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__:
        space["__reduce_ex__"] = _view_reduce
    if cls.__eq__ is object.__eq__ and cls.__hash__ is object.__hash__:
        space["__eq__"] = _view_eq
        space["__hash__"] = lambda view: object.__hash__(state_of(view).original)
    for base in reversed(bases):
        for name, definition in vars(base).items():
            if not (name.startswith("__") and name.endswith("__")):
                space.setdefault(name, _Attribute(cls, name))
            elif type(definition) is FunctionType and name not in _INHERITED and type(_lookup(cls, name)[1]) is FunctionType:
                space.setdefault(name, _Operator(cls, name))
    try:
        return type(cls)(cls.__name__, (ObjectView, cls), space)
    except TypeError:
        return None


def make_view(cls: type, substitution: Substitution, original: Any, label: Origin) -> Any:
    """A view of `original`, of the class that `view_class` made; `label` is where it was found."""
    view: Any = object.__new__(cls)
    object.__setattr__(view, _STATE, State(substitution, original, label))
    return view
