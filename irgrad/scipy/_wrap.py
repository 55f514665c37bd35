"""Public forms of scipy's functions: compositions on traced values, scipy's own otherwise, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from irgrad.frontend.context import current
from irgrad.frontend.documented import UNTRACED, described
from irgrad.frontend.handlers.core import find_in_call, open_trace, run, unsupported
from irgrad.numpy._wrap import public_names


def traced_form(name: str, original: Callable[..., Any], impl: Callable[..., Any], note: str = "") -> Callable[..., Any]:
    """The public form of a scipy function: ``impl(trace, *args)`` where an argument is traced, scipy's own otherwise.

    `note` is for its documentation.
    """

    def public(*args: Any, **kwargs: Any) -> Any:
        if current() is None or find_in_call(args, kwargs) is None:
            return original(*args, **kwargs)
        trace = open_trace(args, kwargs)
        assert trace is not None
        return run(trace, name, impl, args, kwargs)

    public.__name__ = public.__qualname__ = name.rpartition(".")[2]
    public.__doc__ = described(original, impl, f"scipy.{name}", note)
    public.__wrapped__ = original  # type: ignore[attr-defined]
    return public


def guarded(item: Any, name: str) -> Any:
    """A function of scipy that refuses traced values; anything else is itself."""
    if not callable(item):
        return item

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if find_in_call(args, kwargs) is not None:
            unsupported(name, library="scipy")
        return item(*args, **kwargs)

    refuse.__name__ = refuse.__qualname__ = name.rpartition(".")[2]
    refuse.__doc__ = described(item, more=UNTRACED)
    return refuse


def module_names(module: ModuleType, **impls: Callable[..., Any]) -> dict[str, Any]:
    """The public names of a scipy module: `impls` on traced values; what has no handler refuses them."""
    prefix = module.__name__.removeprefix("scipy.")
    own = {name: traced_form(f"{prefix}.{name}", getattr(module, name), impl) for name, impl in impls.items()}
    return public_names(module) | own
