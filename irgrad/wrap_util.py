"""Names of autograd's module `wrap_util`: operators on functions of one argument, made into operators on functions of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irgrad.util import subvals

__all__ = ["get_doc", "get_name", "unary_to_nary", "wraps"]


def get_name(f: Any) -> str:
    return getattr(f, "__name__", "[unknown name]")


def get_doc(f: Any) -> str:
    return getattr(f, "__doc__", None) or ""


def wraps(fun: Callable[..., Any], namestr: str = "{fun}", docstr: str = "{doc}", **kwargs: Any) -> Callable[[Any], Any]:
    """Give a function a name and a text made from those of `fun`: templates with {fun}, {doc} and the keywords."""

    def named(f: Any) -> Any:
        f.__name__ = namestr.format(fun=get_name(fun), **kwargs)
        f.__doc__ = docstr.format(fun=get_name(fun), doc=get_doc(fun), **kwargs)
        return f

    return named


def unary_to_nary(unary_operator: Callable[..., Any]) -> Callable[..., Any]:
    """An operator ``op(unary_fun, x, *op_args)`` as ``op(fun, argnum=0, *op_args)(*args)``; argnum may be several positions."""

    @wraps(unary_operator)
    def nary_operator(fun: Callable[..., Any], argnum: Any = 0, *op_args: Any, **op_kwargs: Any) -> Callable[..., Any]:
        if type(argnum) not in (int, tuple, list):
            raise AssertionError(argnum)

        @wraps(fun, "{op}_of_{fun}_wrt_argnum_{argnum}", op=get_name(unary_operator), argnum=argnum)
        def nary_f(*args: Any, **kwargs: Any) -> Any:
            places = (argnum,) if isinstance(argnum, int) else tuple(argnum)

            def unary_f(x: Any) -> Any:
                new = [(argnum, x)] if isinstance(argnum, int) else zip(places, x, strict=True)
                return fun(*subvals(args, new), **kwargs)

            x = args[argnum] if isinstance(argnum, int) else tuple([args[i] for i in places])
            return unary_operator(unary_f, x, *op_args, **op_kwargs)

        return nary_f

    return nary_operator
