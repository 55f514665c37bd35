"""Primitives of the user: any Python function as one operation, with derivative rules of its own.

A call runs the function on concrete values and records one node. Compiled code calls back into Python for it; its rules are
ordinary functions that are traced, so they compile and have derivatives themselves. A node is never merged with another one, for
the function may be anything; what nobody reads is dropped.

Arguments are any pytrees, by position or keyword: numeric leaves are data, everything else is static and decides the path.
Results are numbers, arrays, and pytrees of those with one dtype, which travel as one vector. A rule sees the arguments as the
function does, with tracers for numbers. Limits: the function must not close over traced values; an argument that is a container
costs one call of its rule per leaf.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any

import numpy as np

import irgrad.numpy as inp
from irgrad.elements import BOXES, SPACES, Element, boxed, element, held_by, unboxed
from irgrad.errors import DifferentiationError, MissingRuleError, RuntimeGuardError, TraceError
from irgrad.frontend.context import CURRENT, current
from irgrad.frontend.draws import fingerprint, watch
from irgrad.frontend.generators import Foreign
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.storage import present, resolve_all
from irgrad.frontend.trace import Trace, describe, here
from irgrad.frontend.tracer import Tracer
from irgrad.frontend.views import ObjectView
from irgrad.ir.aval import Aval, as_kind, aval_of
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import NONE, NonDiff, Primitive, nondiff
from irgrad.ir.value import Number, Static
from irgrad.operators import call_user, traced_form
from irgrad.passes.batch import single_jvp, single_vjp
from irgrad.pytree import LEAF, Structure, flatten, unflatten
from irgrad.spaces import Box, SparseObject, VSpace, vspace

__all__ = [
    "Box", "JVPNode", "SparseObject", "UserPrimitive", "VJPNode", "VSpace", "def_linear", "defjvp", "defjvp_argnum", "defjvp_argnums",
    "defvjp", "defvjp_argnum", "defvjp_argnums", "notrace_primitive", "primitive", "register_notrace", "vspace",
]  # fmt: skip

Name = int | str  # an argument: its position, or its name where it is only given by keyword
Rule = Callable[..., Any]
_NUMBERS = (int, float, complex, np.number, np.bool_)
_DEPRECATED = "The {} method is deprecated. See the update guide and tutorial: irgrad.extend.defvjp(f, maker), maker(ans, *args)(g)"


class VJPNode:
    """Stands for reverse mode in `register_notrace`."""


class JVPNode:
    """Stands for forward mode in `register_notrace`."""


# ---- the form of a call ----


class _Static:
    """A static argument in the identity of a node: equal type and value; an object that cannot tell is only itself."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static) or type(self.value) is not type(other.value):
            return False
        if self.value is other.value:
            return True
        try:
            return bool(np.array_equal(self.value, other.value) if isinstance(self.value, np.ndarray) else self.value == other.value)
        except Exception:  # the user's own comparison may raise anything
            return False

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            return hash(type(self.value))

    def __repr__(self) -> str:
        if self.value is None or isinstance(self.value, (bool, int, str, bytes)):
            return repr(self.value)
        return getattr(self.value, "__qualname__", type(self.value).__name__)  # no address: equal graphs print alike


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The aval of a node, and of the leaves that are packed into it where the result is a container."""

    aval: Aval
    structure: Structure | None = None
    leaves: tuple[Aval, ...] = ()

    def __str__(self) -> str:
        return str(self.aval) if self.structure is None else f"a container of {', '.join(map(str, self.leaves)) or 'nothing'}"

    def same(self, other: Result) -> bool:
        """Equal but for the kind of scalars."""
        alike = all(a.same_array(b) for a, b in zip(self.leaves, other.leaves, strict=False))
        return self.structure == other.structure and self.aval.same_array(other.aval) and alike

    def pack(self, value: Any) -> Any:
        """A result, or its tangent, as the value of its node."""
        if self.structure is None:
            return value
        leaves, _ = flatten(value)
        if not leaves:
            return inp.zeros(0, self.aval.dtype)
        return inp.concatenate([inp.reshape(inp.asarray(leaf), (-1,)) for leaf in leaves]).astype(self.aval.dtype)

    def unpack(self, vector: Any) -> Any:
        """The result, or its cotangent, from that of its node."""
        if self.structure is None:
            return vector
        pieces: list[Any] = []
        at = 0
        for leaf in self.leaves:
            piece = vector[at : at + leaf.size].reshape(leaf.shape) if leaf.kind == "array" else vector[at]
            if leaf.dtype != self.aval.dtype:
                piece = (piece if leaf.dtype.kind == "c" else piece.real).astype(leaf.dtype)
            pieces.append(piece)
            at += leaf.size
        return unflatten(self.structure, pieces)


_UNKNOWN = Result(Aval((), np.dtype(np.float64)))


class _Call:
    """What a call is besides its numbers; a param of its node. `kinds` has a `_Static` in place of the kind of a static leaf."""

    __slots__ = ("kinds", "names", "owners", "result", "structures")

    def __init__(self, names: tuple[str, ...], structures: tuple[Structure, ...], kinds: tuple[Any, ...]) -> None:
        self.names = names
        self.structures = structures
        self.kinds = kinds
        self.result: Result = _UNKNOWN
        leaves = iter(kinds)
        self.owners = [  # of each operand: its argument, and its place among the leaves of that
            (argument, place)
            for argument, structure in enumerate(structures)
            for place in range(structure.num_leaves)
            if type(next(leaves)) is str
        ]

    def _key(self) -> tuple[Any, ...]:
        return self.names, self.structures, self.kinds, self.result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        texts = [repr(k) if type(k) is _Static else "." for k in self.kinds]
        args = self.trees(texts)
        first = len(args) - len(self.names)
        return ", ".join([*map(str, args[:first]), *(f"{name}={value}" for name, value in zip(self.names, args[first:], strict=True))])

    def trees(self, leaves: Sequence[Any]) -> list[Any]:
        """Leaves of all arguments as the arguments."""
        made: list[Any] = []
        at = 0
        for structure in self.structures:
            made.append(unflatten(structure, leaves[at : at + structure.num_leaves]))
            at += structure.num_leaves
        return made

    def arguments(self, operands: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments with these operands."""
        data = iter(operands)
        trees = self.trees([k.value if type(k) is _Static else next(data) for k in self.kinds])
        first = len(trees) - len(self.names)
        return trees[:first], dict(zip(self.names, trees[first:], strict=True))

    def concrete(self, operands: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """`arguments` for values read from memory, where every number is a 0-d array: scalars and Python numbers as they were."""
        kinds = [k for k in self.kinds if type(k) is str]
        return self.arguments([as_kind(value, kind) for value, kind in zip(operands, kinds, strict=True)])

    def argument(self, index: int) -> tuple[Name, int, Structure]:
        """Of an operand: its argument, its place in that, and the argument's structure."""
        argument, place = self.owners[index]
        first = len(self.structures) - len(self.names)
        return argument if argument < first else self.names[argument - first], place, self.structures[argument]


def _is_data(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray):
        return leaf.dtype.kind in "biufc"
    return isinstance(leaf, _NUMBERS) and not isinstance(leaf, bool) and not (isinstance(leaf, int) and not -(2**63) <= leaf < 2**63)


# ---- primitives ----


class UserPrimitive:
    """A function that is one operation; the result of `primitive`. Rules are added with `defvjp` and its relatives."""

    __irgrad__ = True

    def __init__(self, fun: Callable[..., Any], differentiable: bool = True) -> None:
        if not callable(fun):
            raise TypeError(f"primitive expects a function, got {type(fun).__name__} ({here()})")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.name: str = getattr(fun, "__name__", type(fun).__name__)
        self.vjps: dict[Name, Rule | None] = {}
        self.jvps: dict[Name, Rule | None] = {}
        self.any_vjp: Rule | None = None  # one rule for all arguments, in place of `vjps`
        self.any_jvp: Rule | None = None
        written = "".join(c if c.isalnum() else "_" for c in self.name)
        none = nondiff("declared without derivatives")
        vjp, jvp = (single_vjp(self._vjp), single_jvp(self._jvp)) if differentiable else (none, none)
        self.op = Primitive(f"user_{written}", self._evaluate, self._aval, vjp, jvp, traits=NONE, host=True)

    def __repr__(self) -> str:
        return f"<irgrad primitive {self.name}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> str:
        return getattr(self.fun, "__qualname__", self.name)  # by reference: the decorated name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        flat = [([a], LEAF) if type(a) is Tracer else flatten(a) for a in (*args, *kwargs.values())]
        leaves = [unboxed(leaf) for own, _ in flat for leaf in own]
        traced = next((leaf for leaf in leaves if type(leaf) is Tracer), None)
        trace = current() if traced is None else traced._trace
        if trace is None or (traced is None and not trace.is_graph):
            return self._run(args, kwargs)
        for leaf in leaves:
            if type(leaf) is Tracer:
                trace.check(leaf)
        if trace.storages and not trace.raw:  # what written arrays hold now
            leaves = resolve_all(trace, leaves, True)
        if isinstance(trace, GraphTrace):
            leaves = [outside(trace, leaf) for leaf in leaves]
        kinds = tuple([aval_of(concrete_of(leaf)).kind if _is_data(concrete_of(leaf)) else _Static(leaf) for leaf in leaves])
        call = _Call(tuple(kwargs), tuple([structure for _, structure in flat]), kinds)
        operands = [leaf for leaf, kind in zip(leaves, kinds, strict=True) if type(kind) is str]
        value = self._run(*call.arguments([held_by(operand) for operand in operands]))
        if not trace.is_graph and isinstance(self.op.vjp, NonDiff):
            return value
        form = self._form(value, bool(operands))
        if form is None:
            return value
        call.result = form
        if form.structure is None:
            value = element(trace, value) if type(value) in BOXES else value
            return boxed(record(trace, self.op, operands, {"call": call}, value))
        return form.unpack(record(trace, self.op, operands, {"call": call}, untraced(form.pack, (value,), {})))

    def _run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return unboxed(untraced(self.fun, args, kwargs))

    def _form(self, value: Any, has_data: bool) -> Result | None:
        """The form of a result; None for a constant that no node can hold.

        Raises TraceError for a result that depends on data and cannot be recorded.
        """
        if type(value) in BOXES:
            return Result(Aval((), np.dtype(np.float64), "scalar"))
        leaves, structure = flatten(value)
        for leaf in leaves:
            if type(unboxed(leaf)) is Tracer:
                raise TraceError(
                    f"{self.name} returned a traced value ({here()}); a primitive sees its arguments only: pass what it closes over as one"
                )
            if not _is_data(leaf) and not isinstance(leaf, bool):
                if not has_data:
                    return None
                raise TraceError(
                    f"{self.name} returned {type(leaf).__name__} ({here()}); a primitive returns numbers and arrays, or containers of them"
                )
        avals = tuple([aval_of(leaf) for leaf in leaves])
        if structure is LEAF:
            return Result(avals[0])
        dtypes = {aval.dtype for aval in avals}
        if len(dtypes) > 1 and any(dtype.kind not in "fc" for dtype in dtypes):
            listed = ", ".join(map(str, avals))
            raise TraceError(
                f"{self.name} returned a container of {listed} ({here()}); return arrays of one dtype, or write a primitive for each"
            )
        dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.float64)
        return Result(Aval((sum(aval.size for aval in avals),), dtype), structure, avals)

    # -- what a node of this primitive means -------------------------------------------------------------------------

    def _evaluate(self, *operands: Any, call: _Call) -> Any:
        """The function once more, on values read from memory. Raises RuntimeGuardError where the form of the result has changed."""
        value = self._run(*call.concrete(operands))
        form = self._form(value, True)
        if form is None or not form.same(call.result):
            raise RuntimeGuardError(f"{self.name} returned {_shown(value)}; the trace holds for {call.result}")
        return form.pack(value)

    @staticmethod
    def _aval(*avals: Aval, call: _Call) -> Aval:
        return call.result.aval.with_kind("array")

    def _vjp(self, b: Builder, index: int, ct: Any, out: Any, *operands: Any, call: _Call) -> Any:
        name, place, structure = call.argument(index)
        args, kwargs = call.arguments([readable(o) for o in operands])
        ans, g = call.result.unpack(readable(out)), call.result.unpack(readable(ct))
        if self.any_vjp is not None:
            found = call_user(call_user(self.any_vjp, self._position(name), ans, tuple(args), kwargs), g)
        else:
            maker = self._rule("vjp", self.vjps, name)
            found = None if maker is None else call_user(call_user(_traced(maker), ans, *args, **kwargs), g)
        if found is None:
            return None
        what = f"vjp of {self.name} wrt argnum {name!r}"
        if structure is not LEAF:
            leaves, got = flatten(found)
            if got != structure:
                raise DifferentiationError(f"the {what} returned {_shown(found)}; expected the structure {structure}")
            found = leaves[place]
        return _checked(b, found, operands[index], what)

    def _jvp(self, b: Builder, tangents: Sequence[Any], out: Any, *operands: Any, call: _Call) -> Any:
        args, kwargs = call.arguments([readable(o) for o in operands])
        ans = call.result.unpack(readable(out))
        total: Any = None
        for argument, structure in enumerate(call.structures):
            mine = [k for k, (owner, _) in enumerate(call.owners) if owner == argument]
            if all(tangents[k] is None for k in mine):
                continue
            name = call.argument(mine[0])[0]
            leaves: list[Any] = [None] * structure.num_leaves
            for k in mine:
                leaves[call.owners[k][1]] = b.zeros_like(operands[k]) if tangents[k] is None else readable(tangents[k])
            g = unflatten(structure, leaves)
            if self.any_jvp is not None:
                found = call_user(self.any_jvp, self._position(name), g, ans, tuple(args), kwargs)
            else:
                rule = self._rule("jvp", self.jvps, name)
                found = None if rule is None else call_user(_traced(rule), g, ans, *args, **kwargs)
            if found is None:
                continue
            what = f"jvp of {self.name} wrt argnum {name!r}"
            if call.result.structure is not None and flatten(found)[1] != call.result.structure:
                raise DifferentiationError(f"the {what} returned {_shown(found)}; expected the structure {call.result.structure}")
            found = _checked(b, call.result.pack(found), out, what)
            total = found if total is None else b.add(total, found)
        return total

    def _rule(self, mode: str, rules: Mapping[Name, Rule | None], name: Name) -> Rule | None:
        """The rule for an argument. Raises MissingRuleError where there is none."""
        if name not in rules:
            name = self._position(name)
        if name not in rules:
            raise MissingRuleError(f"{mode.upper()} of {self.name} wrt argnum {name!r} not defined; define it with irgrad.extend.def{mode}")
        return rules[name]

    def _position(self, name: Name) -> Name:
        """The position of a parameter that was given by keyword, if it has one."""
        if isinstance(name, str):
            try:
                parameters = inspect.signature(self.fun).parameters.values()
            except (TypeError, ValueError):
                return name
            positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
            return positional.index(name) if name in positional else name
        return name

    # -- methods of autograd's older primitives ----------------------------------------------------------------------

    def defgrad(self, maker: Rule, argnum: int = 0) -> None:
        """Deprecated: `defvjp` for one argument."""
        warnings.warn(_DEPRECATED.format("defgrad"), stacklevel=2)
        self.vjps[argnum] = maker

    def defvjp(self, vjp: Rule, argnum: int = 0) -> None:
        """Deprecated: a rule ``vjp(g, ans, vs, gvs, *args)``; `vs` and `gvs` have shape and dtype of argument and result."""
        warnings.warn(_DEPRECATED.format("defvjp"), stacklevel=2)
        self.vjps[argnum] = lambda ans, *args, **kwargs: lambda g: _traced(vjp)(g, ans, args[argnum], ans, *args, **kwargs)

    def defvjp_is_zero(self, argnums: Iterable[int] = (0,)) -> None:
        """Deprecated: no derivative flows through these arguments."""
        warnings.warn(_DEPRECATED.format("defvjp_is_zero"), stacklevel=2)
        self.vjps.update(dict.fromkeys(argnums))


# ---- values ----


def untraced(fun: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call `fun`, which may do anything, while no trace records."""
    trace = current()
    if isinstance(trace, GraphTrace):
        watch(trace)
    token = CURRENT.set(None)
    try:
        return fun(*args, **kwargs)
    finally:
        CURRENT.reset(token)
        if isinstance(trace, GraphTrace):
            trace.drawn = fingerprint()


def record(trace: Trace, op: Primitive, operands: Sequence[Any], params: dict[str, Any], value: Any) -> Tracer:
    """A node whose value is known, at the user's site."""
    if not isinstance(trace, GraphTrace):
        tracer = Tracer(trace, value, op, tuple(operands), params, len(trace.tape))
        trace.tape.append(tracer)
        return tracer
    if not trace.inside:
        trace.locate()
    return trace.record(op, tuple([o if type(o) is Tracer else trace.lift(o) for o in operands]), params, value)


def concrete_of(leaf: Any) -> Any:
    return present(leaf).value if type(leaf) is Tracer else leaf


def readable(operand: Any) -> Any:
    """An operand of a rule as the user's rules see it: a tracer, an array or a number; a box or a value of a registered type."""
    if type(operand) is Static:
        return np.asarray(operand.value)[()]
    return operand.value if type(operand) is Number else boxed(operand)


def outside(trace: GraphTrace, leaf: Any) -> Any:
    """A function or an instance as it is outside the trace, where compiled code will call it."""
    substitution = trace.substitution
    if substitution is None or not (
        isinstance(leaf, (FunctionType, MethodType, functools.partial)) or issubclass(type(leaf), (ObjectView, Foreign))
    ):
        return leaf
    substitution._originals = None  # noqa: SLF001  made anew: copies have been added since
    return substitution.unwrapped(leaf)


def _traced(fun: Rule) -> Rule:
    """The form of a rule that records in the open trace; itself where values are concrete."""
    trace = current()
    return fun if trace is None or not (trace.is_graph or trace.marks) else traced_form(trace, fun)


def _checked(b: Builder, found: Any, like: Any, what: str) -> Any:
    """A derivative that broadcasts with the value it belongs to; a plain number is data to a kernel."""
    shape = b.shape(like)
    if isinstance(found, SparseObject):
        found = call_user(found.dense)
    if type(getattr(like, "value", like)) is Element:
        found = unboxed(found)
        if type(held_by(found)) not in SPACES:
            raise DifferentiationError(f"the {what} returned {_shown(found)}; expected a value of a type with a space of its own")
        return found if type(found) is Tracer else Element(found)
    if not _is_data(concrete_of(found)) or not _broadcasts(np.shape(concrete_of(found)), shape):
        raise DifferentiationError(f"the {what} returned {_shown(found)}; expected a number or an array of the shape {shape}")
    return found if type(found) is Tracer or isinstance(found, np.ndarray) else b.number(found)


def _broadcasts(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    if one == other:
        return True
    try:
        return np.broadcast_shapes(one, other) in (one, other)
    except ValueError:
        return False


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {', '.join(describe(leaf) for leaf in flatten(value)[0]) or 'nothing'}"
    return describe(value)


# ---- public ----


def primitive(fun: Callable[..., Any]) -> UserPrimitive:
    """Make `fun`, any Python function of numbers and arrays, one operation that is not looked into. A decorator.

    Give it derivatives with `defvjp` (reverse mode) and `defjvp` (forward mode).
    """
    return UserPrimitive(fun)


def notrace_primitive(fun: Callable[..., Any]) -> UserPrimitive:
    """Like `primitive`, for a function without derivatives: its result is a constant of the derivatives around it."""
    return UserPrimitive(fun, differentiable=False)


def register_notrace(node_type: type, fun: UserPrimitive) -> None:
    """Say that a primitive has no derivatives in reverse mode (`VJPNode`) or forward mode (`JVPNode`)."""
    target = _primitive("register_notrace", fun)
    if node_type not in (VJPNode, JVPNode):
        raise TypeError(f"register_notrace expects VJPNode or JVPNode, got {node_type!r} ({here()})")
    none = nondiff("declared without derivatives")
    target.op = dataclasses.replace(target.op, vjp=none) if node_type is VJPNode else dataclasses.replace(target.op, jvp=none)


def defvjp(fun: UserPrimitive, *makers: Rule | None, argnums: Iterable[Name] | None = None) -> None:
    """Reverse-mode rules, one for each argument: ``maker(ans, *args, **kwargs)`` gives ``vjp(g)``.

    `ans` is the result and `g` its cotangent; the vjp returns the cotangent of the argument, which may have more or fewer
    axes of extent 1 than it. A maker None says that no derivative flows. `argnums` names the arguments if they are not the
    first ones: positions, or names of keyword-only parameters.
    """
    target = _primitive("defvjp", fun)
    _check_rules("vjp", target, makers)
    target.vjps.update(zip(itertools.count() if argnums is None else argnums, makers, strict=False))


def defvjp_argnum(fun: UserPrimitive, maker: Rule) -> None:
    """One reverse-mode rule for all arguments: ``maker(argnum, ans, args, kwargs)`` gives ``vjp(g)``."""
    _primitive("defvjp_argnum", fun).any_vjp = lambda argnum, ans, args, kwargs: _traced(maker)(argnum, ans, args, kwargs)


def defvjp_argnums(fun: UserPrimitive, maker: Rule) -> None:
    """One reverse-mode rule for all arguments at once: ``maker(argnums, ans, args, kwargs)`` gives ``vjp(g) -> one for each``."""

    def one(argnum: Name, ans: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rule:
        vjp = _traced(maker)((argnum,), ans, args, kwargs)
        return lambda g: next(iter(vjp(g)))

    _primitive("defvjp_argnums", fun).any_vjp = one


def defjvp(fun: UserPrimitive, *rules: Rule | str | None, argnums: Iterable[Name] | None = None) -> None:
    """Forward-mode rules, one for each argument: ``rule(g, ans, *args, **kwargs)`` gives the tangent of the result.

    `g` is the tangent of the argument. "same" says that `fun` is linear in it; None that no derivative flows.
    """
    target = _primitive("defjvp", fun)
    _check_rules("jvp", target, rules)
    for name, rule in zip(itertools.count() if argnums is None else argnums, rules, strict=False):
        target.jvps[name] = _linear(target, name) if isinstance(rule, str) else rule


def defjvp_argnum(fun: UserPrimitive, rule: Rule) -> None:
    """One forward-mode rule for all arguments: ``rule(argnum, g, ans, args, kwargs)`` gives the tangent of the result."""
    _primitive("defjvp_argnum", fun).any_jvp = lambda argnum, g, ans, args, kwargs: _traced(rule)(argnum, g, ans, args, kwargs)


def defjvp_argnums(fun: UserPrimitive, rule: Rule) -> None:
    """One forward-mode rule for all arguments at once: ``rule(argnums, gs, ans, args, kwargs)`` gives the tangent of the result."""
    _primitive("defjvp_argnums", fun).any_jvp = lambda argnum, g, ans, args, kwargs: _traced(rule)((argnum,), (g,), ans, args, kwargs)


def def_linear(fun: UserPrimitive) -> None:
    """Forward-mode rules of a function that is linear in each argument."""
    target = _primitive("def_linear", fun)
    target.any_jvp = lambda argnum, g, ans, args, kwargs: _linear(target, argnum)(g, ans, *args, **kwargs)


def _primitive(what: str, fun: Any) -> UserPrimitive:
    if not isinstance(fun, UserPrimitive):
        raise TypeError(
            f"{what} expects what irgrad.extend.primitive returned, got {describe(fun)} ({here()}); decorate the function with @primitive"
        )
    return fun


def _check_rules(mode: str, target: UserPrimitive, rules: Sequence[Any]) -> None:
    for rule in rules:
        if rule is not None and not callable(rule) and not (mode == "jvp" and rule == "same"):
            expected = "a function or None" if mode == "vjp" else "a function, 'same' or None"
            raise TypeError(f"Bad {mode.upper()} {rule!r} for {target.name} ({here()}); expected {expected}")


def _linear(target: UserPrimitive, name: Name) -> Rule:
    def rule(g: Any, ans: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(name, str):
            return target(*args, **{**kwargs, name: g})
        return target(*args[:name], g, *args[name + 1 :], **kwargs)

    return rule
