"""Origins of values that reach a trace where names are not substituted: in installed packages, through class attributes and slots.

A plain array or float that enters an operation is looked for, by identity, where the user frames around the operation can have
found it: in globals their code names, and in attributes (their code names them too) of those globals, of local variables and
of their classes, one container deep. What is found is an input, read again at each call. Plain values of the same places that
may steer the program are guarded. What is not found stays a constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FrameType, MemberDescriptorType, ModuleType
from typing import Any

import numpy as np

from irgrad.frontend.captured import AttributeOrigin, GlobalOrigin, Guard, ItemOrigin, Origin, SelfOrigin

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
    for name in names:
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
                    try:
                        yield AttributeOrigin(origin, name), found.__get__(holder)
                    except AttributeError:
                        pass
                elif not hasattr(found, "__get__"):
                    yield AttributeOrigin(origin, name), found
                break


def steering_guards(frame: FrameType, seen: set[CodeType]) -> list[Guard]:
    """Guards on the plain values in the places of a frame, once for each code."""
    if frame.f_code in seen:
        return []
    seen.add(frame.f_code)
    return [Guard(origin, value, "value") for origin, value in places(frame) if type(value) in _PLAIN and value is not None]
