"""An operator as an object: a derivative of a function, called like the function.

Called outside any trace it opens an eager one; called inside a trace it records there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from irgrad.errors import ConcretizationError, DifferentiationError, IrgradError, PlainArrayError
from irgrad.frontend.context import CURRENT, current
from irgrad.frontend.names import default_names
from irgrad.frontend.overlaps import may_share
from irgrad.frontend.ready import Later, Ready, ready
from irgrad.frontend.storage import SharedArguments
from irgrad.frontend.stores import may_write
from irgrad.frontend.substitute import Substitution
from irgrad.frontend.trace import EagerTrace, Trace, here
from irgrad.operators.arguments import Argnum, is_data
from irgrad.operators.messages import name_of
from irgrad.pytree import flatten

_PLAIN: weakref.WeakSet[Any] = weakref.WeakSet()  # codes of functions that ran with plain arrays for what is not differentiated
_STORING: weakref.WeakSet[Any] = weakref.WeakSet()  # and of those that did not: they put traced values into such arrays
_ATTEMPTS = 4  # in a row, to find a form that serves more than one call
_CHEAP = 1 << 14  # bytes of arrays that are copied at every call
_STORES = (ConcretizationError, PlainArrayError)  # what it comes to
Compute: TypeAlias = "Callable[[Operator, Trace, tuple[Any, ...], dict[str, Any]], Any]"


class _Kept:
    """Contents of a call's arrays, and where numpy's random numbers are, before a run that may have to be repeated.

    The `first` call of a function keeps all of it, later ones what costs a few microseconds.
    """

    __slots__ = ("arrays", "complete", "first", "state")

    def __init__(self, arrays: Sequence[Any], first: bool) -> None:
        self.first = first
        self.complete = first or not arrays or (arrays[0].nbytes if len(arrays) == 1 else sum([a.nbytes for a in arrays])) <= _CHEAP
        self.arrays = [(leaf, leaf.tobytes()) for leaf in arrays if leaf.flags.writeable] if self.complete else []
        self.state = np.random.get_state(legacy=False) if first else None

    def changed(self) -> bool:
        """Has the run written into an argument? What it read before is not what rules saw then."""
        return any(array.tobytes() != content for array, content in self.arrays)

    def restore(self) -> bool:
        """Put all back; False where it was not kept."""
        for array, content in self.arrays:
            array[...] = np.frombuffer(content, array.dtype).reshape(array.shape)
        if self.state is not None:
            np.random.set_state(self.state)
        return self.complete


def _arrays(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The plain arrays among the arguments of a call."""
    found: list[Any] = []
    for tree in (*args, *kwargs.values()) if kwargs else args:
        kind = type(tree)
        if kind is np.ndarray and tree.dtype.kind != "O":
            found.append(tree)
        elif kind is not float and kind is not np.float64 and kind is not int:
            found += [leaf for leaf in flatten(tree)[0] if type(leaf) is np.ndarray and leaf.dtype.kind != "O"]
    return found


def _code_of(fun: Any) -> Any:
    return getattr(getattr(fun, "__func__", fun), "__code__", None)


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
        self.code = _code_of(fun)
        self.ready: Ready | None = None  # the form of `fun` in eager runs
        self.attempts = 0  # to find one, in a row
        self.plain = False  # a run with plain arrays for what is not differentiated was right
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
        if trace is not None:
            return self.compute(self, trace, args, kwargs)
        code = self.code
        if _STORING and code in _STORING:
            return self._run(args, kwargs, True)[0]
        failed: Exception | None = None
        if not self.plain and code not in _PLAIN and may_write(self.fun):
            result, failed = self._first(args, kwargs)
            if failed is None:
                return result
        arrays = _arrays(args, kwargs)
        kept = _Kept(arrays, not self.plain and code not in _PLAIN)
        try:
            result, _ = self._run(args, kwargs, False, arrays)
        except (*_STORES, SharedArguments, ValueError) as error:
            if not isinstance(error, SharedArguments):
                if not (isinstance(error, _STORES) or isinstance(error.__cause__, _STORES) or "read-only" in str(error)):
                    raise
                if not kept.restore():
                    self.plain = False
                    _PLAIN.discard(code)  # what it has done to its arguments is not known: the next call begins with a copy of them
                    raise
            if failed is not None:
                raise
            return self._again(args, kwargs, error)
        if arrays and kept.changed():
            kept.restore()
            if failed is not None:
                raise failed
            return self._again(args, kwargs, None)
        if kept.first and code is not None:
            _PLAIN.add(code)
        self.plain = True
        return result

    def _first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Exception | None]:
        """The first call of a function that may write into arrays: all of them traced, which tells whether later calls have to do so.

        The result, or the error where not all of it can be traced: a plain run shows whether it has to be.
        """
        state = np.random.get_state(legacy=False)
        try:
            result, stores = self._run(args, kwargs, True)
        except DifferentiationError:
            raise
        except (IrgradError, TypeError, ValueError, AttributeError) as error:
            np.random.set_state(state)
            return None, error
        if self.code is not None:
            (_STORING if stores else _PLAIN).add(self.code)
        self.plain = not stores
        return result, None

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], full: bool, arrays: Sequence[Any] = ()) -> tuple[Any, bool]:
        """Compute in an eager trace of its own; in a `full` one all arrays are traced, from arguments and captured names.

        The result, and whether a full trace was needed.
        """
        trace = EagerTrace()
        trace.full, trace.near = full, full or may_share(arrays)
        substitution = trace.substitution = self._substitution(trace)
        token = CURRENT.set(trace)
        try:
            result = self.compute(self, trace, args, kwargs)
        finally:
            CURRENT.reset(token)
            trace.close()
            substitution.finish()
        return result, trace.needs_full

    def _substitution(self, trace: EagerTrace) -> Any:
        """What runs copies of the user's functions in a trace."""
        names = default_names()
        if trace.full:
            return Substitution(lambda value, origin: trace.input(value, origin) if is_data(value) else None, names)
        kept = self.ready
        if kept is None or not kept.holds():
            self.ready = kept = ready(self.fun, names) if self.attempts < _ATTEMPTS else None
            self.attempts += 1
        elif self.attempts:
            self.attempts = 0
        return Substitution(None, names) if kept is None else Later(self.fun, kept.form, names)

    def _again(self, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception | None) -> Any:
        """A second run, where a plain array was to take a traced value or was changed: `u.copy()`, say, of an argument.

        Raises `error` if it does not help.
        """
        try:
            result, _ = self._run(args, kwargs, True)
        except DifferentiationError:
            raise
        except IrgradError:
            if error is None:
                raise
        else:
            if self.code is not None and not isinstance(error, SharedArguments):
                _STORING.add(self.code)
            return result
        raise error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "code": None, "plain": False, "ready": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.code = _code_of(self.fun)

    def __repr__(self) -> str:
        return f"<{self.__name__}>"
