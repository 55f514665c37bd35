"""Origins of values that reach a trace where names are not substituted: in installed packages, through class attributes and slots.

A plain array or float that enters an operation is looked for, by identity, where the user frames around the operation can have
found it: in globals their code names, and in attributes (their code names them too) of those globals, of local variables and
of their classes, one container deep. What is found is an input, read again at each call. Plain values of the same places that
may steer the program are guarded. What is not found stays a constant, and so is what an object holds that the run has made and dropped:
nothing can change it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType, FrameType, MemberDescriptorType, ModuleType
from typing import Any

import numpy as np

from irgrad.frontend.captured import AttributeOrigin, GlobalOrigin, Guard, ItemOrigin, Origin, SelfOrigin
from irgrad.frontend.ownership import is_user_class
from irgrad.frontend.scopes import Globals, named_globals
from irgrad.frontend.sites import Activation, code_info
from irgrad.frontend.tracer import Tracer

_PLAIN = (bool, int, str, float, type(None))
_MOST = 64  # elements of a container that are looked at


def true_globals(frame: FrameType) -> dict[str, Any]:
    """The module's own globals of a frame, whose code may run on substituted ones."""
    globals_ = frame.f_globals
    return getattr(globals_, "source", globals_)


def find_origin(value: Any, frames: Iterator[FrameType]) -> Origin | None:
    """The place from which user code around an operation got `value`, None where it is not found."""
    for frame in frames:
        if isinstance(value, float) and any(constant is value for constant in frame.f_code.co_consts):
            return None
        for origin, found in places(frame):
            if found is value:
                return origin
            inner = _inside(found, value, origin)
            if inner is not None:
                return inner
    return None


def _inside(container: Any, value: Any, origin: Origin) -> Origin | None:
    if isinstance(container, (list, tuple)) and len(container) <= _MOST:
        return next((ItemOrigin(origin, i) for i, item in enumerate(container) if item is value), None)
    if isinstance(container, dict) and len(container) <= _MOST:
        return next((ItemOrigin(origin, key) for key, item in container.items() if item is value), None)
    return None


def places(frame: FrameType) -> Iterator[tuple[Origin, Any]]:
    """Named globals, and attributes that the code names of those and of local variables, with what is there now."""
    code, globals_ = frame.f_code, true_globals(frame)
    names = code.co_names
    for name in named_globals(code):
        if name in globals_:
            holder = globals_[name]
            yield GlobalOrigin(globals_, name), holder
            yield from _attributes(holder, GlobalOrigin(globals_, name), names)
    for holder in list(frame.f_locals.values()):
        yield from _attributes(holder, SelfOrigin(holder), names)


def _attributes(holder: Any, origin: Origin, names: tuple[str, ...]) -> Iterator[tuple[Origin, Any]]:
    """Attributes of an object, a class or a module that can be read without running code."""
    if isinstance(holder, (np.ndarray, np.generic, *_PLAIN)):
        return
    own = getattr(holder, "__dict__", None) if not isinstance(holder, ModuleType) else vars(holder)
    classes = holder.__mro__ if isinstance(holder, type) else type(holder).__mro__
    for name in names:
        if isinstance(own, dict) and name in own:
            yield AttributeOrigin(origin, name), own[name]
            continue
        for cls in classes:
            if name in cls.__dict__:
                found = cls.__dict__[name]
                if isinstance(found, MemberDescriptorType) and not isinstance(holder, type):
                    with suppress(AttributeError):
                        yield AttributeOrigin(origin, name), found.__get__(holder)
                elif not hasattr(found, "__get__"):
                    yield AttributeOrigin(origin, name), found
                break


class Finder:
    """The search of one trace: what it found, and guards on the plain values that the searched code may have read."""

    def __init__(self, base: FrameType | None, found: Callable[[Origin, Any], None]) -> None:
        self.base = base
        self.found = found
        self.guards: list[Guard] = []
        self.inputs: list[Tracer] = []  # what stands for what was found
        self._searched: dict[CodeType, bool] = {}

    def searches(self, activation: Activation | None) -> bool:
        """May the code get floats from places that substitution does not reach?"""
        if activation is None or activation.frame is None:
            return False
        known = self._searched.get(activation.code)
        if known is None:
            frame = activation.frame
            known = self._searched[activation.code] = not isinstance(frame.f_globals, Globals) or _names_class_state(frame)
            if known:
                self.guards += [Guard(o, v, "value") for o, v in places(frame) if isinstance(v, (bool, int, str)) and type(v) in _PLAIN]
        activation.searched = known
        return known

    def find(self, value: Any, frame: FrameType | None) -> Origin | None:
        """The place where the user's frames from `frame` on have `value`."""
        origin = find_origin(value, self._user_frames(frame))
        if origin is not None:
            self.found(origin, value)
        return origin

    def forget_made(self, captured: dict[Any, Any]) -> None:
        """Make constants of what was found in objects that nobody has any more: the run has made them. Call it when the run has ended."""
        places = [*captured, *(guard.origin for guard in self.guards), *(tracer.params["origin"] for tracer in self.inputs)]
        roots = {id(root): root for root in map(_root, places) if type(root) is SelfOrigin and is_user_class(type(root.object))}
        held: dict[int, Any] = {}
        for root in roots.values():
            with suppress(TypeError):  # an object with slots
                held[id(root.object)] = weakref.ref(root.object)
        keys = {each: id(root.object) for each, root in roots.items() if id(root.object) in held}
        for each in keys:
            roots[each].object = None
        dead = {key for key, reference in held.items() if reference() is None}
        for each, key in keys.items():
            roots[each].object = held[key]()

        def is_dead(origin: Origin) -> bool:
            return keys.get(id(_root(origin))) in dead

        if not dead:
            return
        self.guards = [guard for guard in self.guards if not is_dead(guard.origin)]
        for tracer in self.inputs:
            if is_dead(tracer.params["origin"]):
                tracer.params["origin"] = None
                if isinstance(tracer.value, np.ndarray):
                    tracer.value = np.array(tracer.value)  # its owner may change it
        for origin in [origin for origin in captured if is_dead(origin)]:
            del captured[origin]

    def _user_frames(self, frame: FrameType | None) -> Iterator[FrameType]:
        while frame is not None and frame is not self.base:
            if not code_info(frame.f_code).internal:
                yield frame
            frame = frame.f_back


def _root(origin: Origin) -> Origin:
    while isinstance(origin, (AttributeOrigin, ItemOrigin)):
        origin = origin.parent
    return origin


def _names_class_state(frame: FrameType) -> bool:
    """Does the code name a user's class with an attribute that the class holds, or an object with slots?"""
    names = frame.f_code.co_names
    if any(
        isinstance(vars(cls).get(name), MemberDescriptorType)
        for held in frame.f_locals.values()
        for cls in type(held).__mro__
        for name in names
    ):
        return True
    return any(
        isinstance(holder, type)
        and is_user_class(holder)
        and any(True for _ in _attributes(holder, SelfOrigin(holder), frame.f_code.co_names))
        for holder in (true_globals(frame).get(name) for name in named_globals(frame.f_code))
    )
