"""The public form of a module of numpy or scipy: handled functions record, everything else callable refuses traced arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from irgrad.frontend.documented import UNTRACED, explain_later, explained
from irgrad.frontend.handlers.core import PUBLIC, find_in_call, unsupported


def public_names(module: ModuleType) -> dict[str, Any]:
    """Every public name of a module in its traced form; types, constants and submodules are the module's own.

    Names that the module makes on first use are left out: asking for them would import them.
    """
    return {name: explained(form) for name, form in forms_of(module).items()}


def forms_of(module: ModuleType) -> dict[str, Any]:
    """`public_names`, functions without their documentation."""
    there = vars(module)
    return {name: _form(there[name], f"{module.__name__}.{name}") for name in dir(module) if name in there and not name.startswith("_")}


def fill(space: dict[str, Any], module: ModuleType, own: Sequence[str] = ()) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """Give a module of irgrad's the public names of numpy's, but for its `own` ones; functions on first use, when they are documented.

    The forms by name, and what the module has as ``__getattr__``.
    """
    forms = {name: form for name, form in forms_of(module).items() if name not in own}
    there = vars(module)
    space.update({name: form for name, form in forms.items() if form is there[name]})
    space["__all__"] = sorted({*forms, *own})

    def find(name: str) -> Any:
        if name not in forms:
            raise AttributeError(f"module {space['__name__']!r} has no attribute {name!r}")
        return space.setdefault(name, explained(forms[name]))

    return forms, find


def late_names(module: ModuleType) -> list[str]:
    """Public names that a module makes on first use."""
    return [name for name in dir(module) if name not in vars(module) and not name.startswith("_")]


def public_form(item: Any, name: str) -> Any:
    """One name in its traced form."""
    return explained(_form(item, name))


def _form(item: Any, name: str) -> Any:
    try:
        known = PUBLIC.get(item)
    except TypeError:  # not hashable: no function
        return item
    if known is not None:
        return known
    return item if isinstance(item, (type, ModuleType)) or not callable(item) else _guarded(item, name)


def _guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function itself, which refuses traced arguments instead of losing them; `name` begins with its library."""
    library, _, rest = name.partition(".")

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if find_in_call(args, kwargs) is not None:
            unsupported(rest, library=library)
        return function(*args, **kwargs)

    guarded.__name__ = guarded.__qualname__ = getattr(function, "__name__", name)
    explain_later(guarded, function, more=UNTRACED)
    guarded.__wrapped__ = function  # type: ignore[attr-defined]
    return guarded if not isinstance(function, np.ufunc) else _with_methods(guarded, function)


def _with_methods(guarded: Callable[..., Any], ufunc: np.ufunc) -> Callable[..., Any]:
    """The attributes of a ufunc without a lowering."""
    for name in ("nin", "nout", "nargs", "ntypes", "types", "identity", "signature", "reduce", "accumulate", "outer", "reduceat", "at"):
        setattr(guarded, name, getattr(ufunc, name))
    return guarded
