"""Primitives: what an operation means, declared once.

A primitive is a name, its numpy meaning (`evaluate`), its result aval, its derivative rules and the text its scalar form
has in a kernel. Operands are positional values; everything static is a hashable keyword param.

Rules build IR through a builder `b` whose methods are named like primitives (``b.mul(ct, y)``), plus ``b.shape(x)``,
``b.dtype(x)``, ``b.zeros_like(x)``, ``b.number(v)`` (a number that depends on shapes: data to a kernel, where a plain
Python number in a rule is part of its text). The same rule runs on numpy arrays (eager), tracers (inside a trace) and graph nodes.

- ``vjp``: a tuple with one rule per operand, ``rule(b, ct, out, *operands, **params) -> cotangent of that operand``, or
  one function for any number of operands, ``rule(b, index, ct, out, *operands, **params)``.
- ``jvp``: a tuple with one rule per operand, ``rule(b, t, out, *operands, **params) -> contribution to the tangent``, or
  one function ``rule(b, tangents, out, *operands, **params) -> tangent`` where `tangents` holds None for zero.
- A primitive with several results has one packed result and a vjp `Joint`; `pick` takes parts out of it. Its jvp answers with a dict
  of the tangents of its parts.
- An entry None says that no derivative flows through that operand; ``nondiff("reason")`` says so of all of them.
- A rule may return `Update` (add into a buffer of zeros shaped like the operand: indexing) or `Masked` (a cotangent
  that is zero outside a mask: a later elementwise adjoint applies the mask after multiplying).
- Rules do not undo broadcasting or dtype conversion: `passes/adjoint.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from irgrad.ir.aval import Aval

# Facts that passes need about a primitive. Plain integers: they are tested once per recorded operation, where the bit
# operations of enum.Flag cost 2 us each.
Trait: TypeAlias = int
NONE: Trait = 0
PURE: Trait = 1  # same operands, same result: may be merged, moved, dropped
ELEMENTWISE: Trait = 2  # numpy broadcasting, one scalar in per operand, one scalar out
COMMUTATIVE: Trait = 4
LINEAR: Trait = 8  # linear in all operands together: its adjoint makes no new nan
VIEW: Trait = 16  # the result is other strides over operand 0
REDUCTION: Trait = 32  # folds axes of operand 0
CREATION: Trait = 64  # no operands: the result comes from params
UPDATE: Trait = 128  # the result is operand 0 with a region changed: done in place when it is dead
GUARD: Trait = 256  # checks operand 0 against params; no result
IDENTITY: Trait = 512  # marks operand 0
EFFECT: Trait = 1024  # changes something outside: done exactly once, in program order; `evaluate` takes the run's `effects`
PART: Trait = 2048  # real or imaginary parts of operand 0: numpy's are a view, the IR's values of their own


@dataclass(frozen=True, slots=True)
class NonDiff:
    """Says that a primitive has no derivative, and why."""

    reason: str


def nondiff(reason: str) -> NonDiff:
    return NonDiff(reason)


@dataclass(frozen=True, slots=True)
class Update:
    """A cotangent that is added into a buffer: ``buffer = primitive(buffer, *operands, **params)``.

    With a `base`, the cotangent of the result, the buffer is that one: it is changed in place once the rules of all operands have
    read it (so that N writes to an array of N entries cost O(N)), and becomes the operand's cotangent.
    """

    primitive: str
    operands: tuple[Any, ...]
    params: Mapping[str, Any]
    base: Any = None


@dataclass(frozen=True, slots=True)
class Masked:
    """A cotangent that is zero where `mask` is false."""

    value: Any
    mask: Any


@dataclass(frozen=True, slots=True)
class Joint:
    """The vjp of all operands at once, which have work in common: ``rule(b, wanted, ct, out, *operands, **params)``.

    `wanted` are operand positions; the answer maps positions to cotangents. Of a packed result `ct` is the cotangents of parts, by key.
    """

    rule: Callable[..., Mapping[int, Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """The cotangent of one part of a packed result; the parts that nobody reads stay symbolic zeros."""

    key: int
    value: Any


Rules = tuple[Callable[..., Any] | None, ...] | Callable[..., Any] | NonDiff | Joint


@dataclass(frozen=True, eq=False, slots=True)
class Primitive:
    """One operation as declared. Compared and hashed by identity; unique by name in `REGISTRY`."""

    name: str
    evaluate: Callable[..., Any]
    aval: Callable[..., Aval]
    vjp: Rules
    jvp: Rules
    emit: str | Mapping[str, str] | None = None
    traits: Trait = PURE
    captures: tuple[Any, ...] = ()
    operator: Callable[..., Any] | None = None  # the Python operator, which keeps Python numbers Python numbers
    host: bool = False  # runs in Python even when compiled
    in_place: Callable[..., Any] | None = None  # for updates: `evaluate` that changes and returns its first operand

    def has(self, trait: Trait) -> bool:
        return bool(self.traits & trait)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


REGISTRY: dict[str, Primitive] = {}


def primitive(
    name: str,
    *,
    evaluate: Callable[..., Any],
    aval: Callable[..., Aval],
    vjp: Rules,
    jvp: Rules,
    emit: str | Mapping[str, str] | None = None,
    traits: Trait = PURE,
    captures: tuple[Any, ...] = (),
    operator: Callable[..., Any] | None = None,
    host: bool = False,
    in_place: Callable[..., Any] | None = None,
) -> Primitive:
    """Declare a primitive and enter it in `REGISTRY`.

    Raises ValueError if the name is taken.
    """
    if name in REGISTRY:
        raise ValueError(f"primitive {name!r} is declared twice")
    made = Primitive(name, evaluate, aval, vjp, jvp, emit, traits, captures, operator, host, in_place)
    REGISTRY[name] = made
    return made
