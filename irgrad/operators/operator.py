"""An operator as an object: a derivative of a function, called like the function.

Called outside any trace it opens an eager one; called inside a trace it records there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from irgrad.frontend.context import CURRENT, current
from irgrad.frontend.names import default_names
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import EagerTrace, Trace, here
from irgrad.operators.arguments import Argnum
from irgrad.operators.messages import name_of

Compute: TypeAlias = "Callable[[Operator, Trace, tuple[Any, ...], dict[str, Any]], Any]"


class Operator:
    """A derivative of `fun` as a function of the same arguments. Picklable where `fun` is."""

    __irgrad__ = True

    def __init__(self, kind: str, compute: Compute, fun: Callable[..., Any], argnum: Argnum = 0, extra: Any = None) -> None:
        if not callable(fun):
            raise TypeError(f"{kind} expects a function, got {type(fun).__name__} ({here()})")
        self.kind = kind
        self.compute = compute
        self.fun = fun
        self.argnum = argnum
        self.extra = extra
        self.__wrapped__ = fun
        name = name_of(fun)
        self.__name__ = self.__qualname__ = f"{kind}_of_{name}_wrt_argnum_{argnum}"
        self.__module__ = getattr(fun, "__module__", __name__)
        self.__doc__ = (
            f"    {kind} of function {name} with respect to argument number {argnum}. Takes the\n"
            f"    same arguments as {name} but returns the {kind}.\n    "
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current()
        compute = self.compute
        if trace is not None:
            return compute(self, trace, args, kwargs)
        trace = EagerTrace()
        substitution = trace.substitution = Substitution(None, default_names())
        token = CURRENT.set(trace)
        try:
            return compute(self, trace, args, kwargs)
        finally:
            CURRENT.reset(token)
            trace.close()
            substitution.finish()

    def __repr__(self) -> str:
        return f"<{self.__name__}>"
