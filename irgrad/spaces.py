"""Vector spaces of values, as autograd's users write rules and checks with them: `vspace`, `VSpace`, `SparseObject`, `Box`.

irgrad adds derivatives leaf by leaf: a type of the user's is differentiated when it is registered as a pytree (`irgrad.pytree.register`,
`register_dataclass`), and then has a space here too. A type that is no pytree is differentiated as one value (`irgrad.elements`) when
`VSpace.register` gives it a space of its own and `Box.register` a class for its traced values, as autograd's programs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import irgrad.numpy as inp
from irgrad import elements
from irgrad.errors import TraceError
from irgrad.frontend.context import current
from irgrad.frontend.trace import here
from irgrad.frontend.tracer import Tracer
from irgrad.pytree import flatten, is_registered, tree_map, unflatten

__all__ = ["Box", "SparseObject", "VSpace", "getval", "isbox", "vspace"]


class _BoxType(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return type(instance) is Tracer or type.__instancecheck__(cls, instance)


class Box(metaclass=_BoxType):
    """What ``isinstance(x, Box)`` asks: is `x` a traced value? Traced values are made by irgrad only.

    A subclass stands for traced values of a class of the user's, one operation each: `register` says which, and the class needs a
    space, too (`VSpace.register`). Its methods are the user's: primitives, and what looks at `_value`, the value itself.
    """

    __array_ufunc__ = None  # numpy leaves operators to the class
    _value: Any
    _node: Any  # the traced value
    _trace: Any

    def __init__(self, value: Any, node: Any) -> None:
        for name, given in (("_value", value), ("_node", node), ("_trace", node._trace)):
            object.__setattr__(self, name, given)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"<traced {type(self._value).__name__}: {self._value!r}>"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TraceError(f"a traced {type(self._value).__name__} is no array ({here()}); make what computes with it a primitive")

    @classmethod
    def register(cls, value_type: type) -> None:
        """Let this class stand for traced values of `value_type`. Instances of a pytree have leaves that are traced instead."""
        if not is_registered(value_type):
            elements.register(value_type, cls)


def isbox(x: Any) -> bool:
    """Is `x` a traced value?"""
    return isinstance(x, Box)


def getval(x: Any) -> Any:
    """The concrete value of a traced one, to look at; anything else is itself. No derivative passes through it."""
    return elements.held_by(elements.unboxed(x))


# ---- spaces ----


class VSpace:
    """The vector space of a value. A subclass for a type of the user's defines `zeros`, `_add`, `_scalar_mul` and `_inner_prod`."""

    mappings: dict[type, Callable[[Any], VSpace]] = elements.SPACES
    iscomplex = False
    size: int
    shape: Any

    def __init__(self, value: Any) -> None:
        pass

    def zeros(self) -> Any:
        """The neutral element of `add`."""
        raise NotImplementedError(f"{type(self).__name__}.zeros")

    def ones(self) -> Any:
        """All ones; 1+1j where complex."""
        raise NotImplementedError(f"{type(self).__name__}.ones")

    def standard_basis(self) -> Iterator[Any]:
        """The unit vectors, one after the other."""
        raise NotImplementedError(f"{type(self).__name__}.standard_basis")

    def randn(self) -> Any:
        """Normally distributed entries."""
        raise NotImplementedError(f"{type(self).__name__}.randn")

    def add(self, x: Any, y: Any) -> Any:
        """The sum. Of boxes, this and `scalar_mul`, `inner_prod` and `covector` are primitives with derivatives of any order."""
        return _operation("add", self, x, y)

    def mut_add(self, x: Any, y: Any) -> Any:
        """``x + y`` where `x` may be changed; None stands for zero."""
        return self._mut_add(self.zeros() if x is None else x, y)

    def scalar_mul(self, x: Any, a: Any) -> Any:
        return _operation("scalar_mul", self, x, a)

    def inner_prod(self, x: Any, y: Any) -> Any:
        """A real number."""
        return _operation("inner_prod", self, x, y)

    def covector(self, x: Any) -> Any:
        return _operation("covector", self, x)

    def _add(self, x: Any, y: Any) -> Any:
        return x + y

    def _mut_add(self, x: Any, y: Any) -> Any:
        x += y
        return x

    def _scalar_mul(self, x: Any, a: Any) -> Any:
        return x * a

    def _inner_prod(self, x: Any, y: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._inner_prod")

    def _covector(self, x: Any) -> Any:
        return x

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}_{self.__dict__}"

    @classmethod
    def register(cls, value_type: type, vspace_maker: Callable[[Any], VSpace] | None = None) -> None:
        """Let `vspace` answer this space for values of a type."""
        VSpace.mappings[value_type] = cls if vspace_maker is None else vspace_maker


def _operation(name: str, space: VSpace, *values: Any) -> Any:
    """An operation of a space, as a primitive where it is one of the user's and a value is traced."""
    if not isinstance(space, (ArraySpace, TreeSpace)) and any(isinstance(value, Box) for value in values):
        from irgrad import space_operations

        return getattr(space_operations, name)(space, *values)
    return getattr(space, f"_{name}")(*values)


class ArraySpace(VSpace):
    """Of an array or a number: a complex entry counts as two."""

    def __init__(self, value: Any) -> None:
        plain = np.asarray(getval(value))
        self.shape = plain.shape
        self.dtype = plain.dtype
        self.ndim = plain.ndim
        self.iscomplex = plain.dtype.kind == "c"
        self.size = plain.size * (2 if self.iscomplex else 1)

    def zeros(self) -> Any:
        trace = current()
        records = trace is not None and (trace.is_graph or trace.marks > 0)
        return (inp if records else np).zeros(self.shape, self.dtype)

    def ones(self) -> Any:
        return np.full(self.shape, 1 + 1j if self.iscomplex else 1, self.dtype)

    def standard_basis(self) -> Iterator[Any]:
        for place in np.ndindex(self.shape):
            for unit in (1.0, 1j) if self.iscomplex else (1.0,):
                made = np.zeros(self.shape, self.dtype)
                made[place] = unit
                yield made

    def randn(self) -> Any:
        made = np.random.randn(*self.shape)
        return np.asarray(made + 1j * np.random.randn(*self.shape) if self.iscomplex else made, self.dtype)[()]

    def _inner_prod(self, x: Any, y: Any) -> Any:
        made = inp.sum(inp.multiply(inp.conj(x), y))
        return inp.real(made) if self.iscomplex else made

    def _covector(self, x: Any) -> Any:
        return inp.conj(x)


class TreeSpace(VSpace):
    """Of a pytree: the spaces of its leaves together."""

    def __init__(self, value: Any) -> None:
        leaves, self.structure = flatten(value)
        self.leaves = [vspace(leaf) for leaf in leaves]
        self.size = sum(leaf.size for leaf in self.leaves)
        self.iscomplex = any(leaf.iscomplex for leaf in self.leaves)
        self.shape = unflatten(self.structure, self.leaves)

    def _map(self, f: Callable[..., Any], *values: Any) -> Any:
        columns = [flatten(value)[0] for value in values]
        return unflatten(self.structure, [f(leaf, *entries) for leaf, *entries in zip(self.leaves, *columns, strict=True)])

    def zeros(self) -> Any:
        return self._map(lambda s: s.zeros())

    def ones(self) -> Any:
        return self._map(lambda s: s.ones())

    def randn(self) -> Any:
        return self._map(lambda s: s.randn())

    def standard_basis(self) -> Iterator[Any]:
        for i, space in enumerate(self.leaves):
            for unit in space.standard_basis():
                yield unflatten(self.structure, [unit if k == i else other.zeros() for k, other in enumerate(self.leaves)])

    def _add(self, x: Any, y: Any) -> Any:
        return self._map(lambda s, a, b: s.add(a, b), x, y)

    def _mut_add(self, x: Any, y: Any) -> Any:
        return self._map(lambda s, a, b: s.mut_add(a, b), x, y)

    def _scalar_mul(self, x: Any, a: Any) -> Any:
        return tree_map(lambda leaf: leaf * a, x)

    def _inner_prod(self, x: Any, y: Any) -> Any:
        pairs = zip(self.leaves, flatten(x)[0], flatten(y)[0], strict=True)
        return sum(space.inner_prod(a, b) for space, a, b in pairs)

    def _covector(self, x: Any) -> Any:
        return self._map(lambda s, a: s.covector(a), x)


def vspace(value: Any) -> VSpace:
    """The vector space of a value: of an array, a number, any pytree of those, or a type registered with `VSpace.register`.

    Raises TypeError for a value that has none.
    """
    plain = getval(value)
    maker = VSpace.mappings.get(type(plain))
    if maker is not None:
        return maker(plain)
    if isinstance(plain, (np.ndarray, np.number, float, complex)) or (isinstance(plain, int) and not isinstance(plain, bool)):
        if np.asarray(plain).dtype.kind in "iufc":
            return ArraySpace(plain)
    elif is_registered(type(plain)):
        return TreeSpace(value)
    known = [np.ndarray, float, complex, list, tuple, dict, *VSpace.mappings]
    raise TypeError(f"Can't find vector space for value {plain!r} of type {type(plain)}. Valid types are {known}")


class SparseObject:
    """A cotangent that is added in place: ``mut_add(x)`` adds it to `x`, a value of the space `vs`, and returns the sum."""

    def __init__(self, vs: VSpace, mut_add: Callable[[Any], Any]) -> None:
        self.vs = vs
        self.mut_add = mut_add

    def dense(self) -> Any:
        """The cotangent itself."""
        return self.mut_add(self.vs.zeros())
