"""ndarray methods and attributes that no function has: astype, item access as methods, and what writes in place."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from irgrad.errors import TraceError
from irgrad.frontend.handlers.core import alias, cast, fresh, handles, handles_method, unsupported
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import ATTRIBUTES, METHODS, Tracer


@handles_method("astype")
def astype(trace: Trace, x: Any, dtype: Any, order: Any = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    target = np.dtype(dtype)
    if not np.can_cast(x.dtype, target, casting):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast array data from {x.dtype!r} to {target!r} according to the rule {casting!r}")
    made = cast(trace, x, target)
    return made if made is not x else fresh(trace, x) if copy else alias(x)


@handles(getattr(np, "astype", None))
def astype_function(trace: Trace, x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    made = cast(trace, x, np.dtype(dtype))
    return made if made is not x else fresh(trace, x) if copy else alias(x)


def _writes(name: str, instead: str) -> None:
    @handles_method(name)
    def write(trace: Trace, x: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise TraceError(f"ndarray.{name} writes into a traced array, which is not supported yet ({here()}); {instead}")


_writes("resize", "use np.reshape or np.concatenate")


def _untraced(name: str, instead: str) -> None:
    @handles_method(name)
    def method(trace: Trace, x: Any, *args: Any, **kwargs: Any) -> NoReturn:
        unsupported(f"ndarray.{name}", instead)


_untraced("view", "use astype")
_untraced("tobytes", "compute it outside the traced function")
_untraced("tofile", "compute it outside the traced function")
_untraced("dump", "compute it outside the traced function")
_untraced("dumps", "compute it outside the traced function")
_untraced("byteswap", "compute it outside the traced function")
_untraced("as_integer_ratio", "use numpy's functions, np.mean for statistics.mean")
ATTRIBUTES["flags"] = lambda x: x.value.flags
ATTRIBUTES["strides"] = lambda x: x.value.strides
ATTRIBUTES["device"] = lambda x: "cpu"


@handles_method("to_device")
def to_device(trace: Trace, x: Any, device: Any, /, *, stream: Any = None) -> Any:
    if device != "cpu" or stream is not None:
        raise ValueError(f"Unsupported device: {device!r}, the only one is 'cpu'")
    return alias(x)


def _copied(self: Tracer, *memo: Any) -> Any:
    """``copy.copy`` and ``copy.deepcopy``; numbers need none."""
    return METHODS["copy"](self) if isinstance(self.form, (np.ndarray, np.generic)) else self


setattr(Tracer, "__copy__", _copied)
setattr(Tracer, "__deepcopy__", _copied)
