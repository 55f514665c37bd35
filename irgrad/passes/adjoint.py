"""Reverse and forward accumulation over a linear IR.

`reverse` walks values in reverse program order and calls the vjp rule of each; `forward` walks them in program order with
the jvp rules. Both write through a builder, so the same code computes on numpy values (eager mode), records tracers
(inside a trace: derivatives of derivatives) and appends nodes to a graph. Neither knows an operation by name.

Invariants: a cotangent has the shape of its value; zeros are symbolic (absent) until an `Update` needs a buffer, and such a
buffer is changed in place only by this pass, which owns it. Values that are not inexact have no cotangent. Cotangents
that are zero outside a mask stay so through elementwise rules, views and sums (the NaN of a branch not taken never reaches
the result). The accumulation order is fixed. Cotangents may alias each other and read-only views; results do too.
Follows Griewank and Walther, Evaluating Derivatives (2nd ed., 2008), chapter 3.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from irgrad.errors import MissingRuleError
from irgrad.ir.aval import dtype_name
from irgrad.ir.builder import Builder, EvalBuilder
from irgrad.ir.primitive import ELEMENTWISE, LINEAR, REDUCTION, REGISTRY, VIEW, Joint, Masked, NonDiff, Part, Primitive, Update
from irgrad.ir.value import Static, Value

_float64 = np.float64
_ndarray = np.ndarray
_MOVES = VIEW | REDUCTION


# ---- eager values ----


def _quotient(x: Any, y: Any) -> Any:
    try:
        return x / y
    except ZeroDivisionError:  # of Python numbers
        return np.true_divide(x, y)


SMALL = 1024  # entries of an array that is made faster than a view of one number


def _filled(x: Any, *, shape: tuple[int, ...]) -> Any:
    """A number in all places of a small array; any other broadcast is a view."""
    if type(x) is _float64 and (not shape or (len(shape) == 1 and shape[0] <= SMALL) or math.prod(shape) <= SMALL):
        made = np.empty(shape)
        made.fill(x)
        return made
    return REGISTRY["broadcast_to"].evaluate(x, shape=shape)


class Concrete(EvalBuilder):
    """`EvalBuilder` for one walk over numpy values: Python's operators cost a tenth of a ufunc on scalars."""

    _fast: Mapping[str, Callable[..., Any]] = {
        "add": operator.add,
        "sub": operator.sub,
        "mul": operator.mul,
        "neg": operator.neg,
        "div": _quotient,
        "broadcast_to": _filled,
    }

    def bind(self, op: Primitive) -> Callable[..., Any]:
        return self._fast.get(op.name, op.evaluate)


CONCRETE = Concrete()


def find_active(tape: Sequence[Any], start: int, stop: int, wanted: Sequence[Any]) -> bytearray:
    """Which of tape[start:stop] depend on a wanted value by a way that derivatives flow, as flags indexed from `start`."""
    active = bytearray(stop - start)
    for value in wanted:
        active[value.index - start] = 1
    if stop == start:
        return active
    extend_active(tape, start, start, stop, active)
    return active


def extend_active(tape: Sequence[Any], start: int, first: int, last: int, active: bytearray) -> None:
    """`find_active` of tape[first:last], where it is known what is active before."""
    if first == last:
        return
    kind = type(tape[first])  # one class for all values of a tape: the test on the hot path is an identity
    for i in range(first, last):
        node = tape[i]
        for k, o in enumerate(node.operands):
            if type(o) is kind and o.index >= start and active[o.index - start]:
                rules = node.op.vjp
                if type(rules) is NonDiff:
                    break
                if type(rules) is tuple and k < len(rules) and rules[k] is None:
                    continue
                active[i - start] = 1
                break


def reverse(
    tape: Sequence[Any],
    start: int,
    stop: int,
    seeds: Mapping[int, Any],
    wanted: Sequence[Any],
    b: Builder,
    all_active: bool = False,
    detached: bool = False,
    active: bytearray | None = None,
) -> list[Any]:
    """Cotangents of the `wanted` values, None for zero, from the cotangents `seeds` by index of values in tape[start:stop].

    `all_active` says that every value there depends on a wanted one; `detached` that the tape is finished and the rules
    see its concrete values whatever the builder; `active` is what `find_active` answers, if known. Raises MissingRuleError
    where a rule is needed and missing.
    """
    with np.errstate(all="ignore"):
        if active is None and not all_active:
            if not detached and hasattr(b, "find_active"):
                active = b.find_active(tape, start, stop, wanted, extend_active)
            if active is None:
                active = find_active(tape, start, stop, wanted)
        if isinstance(b, EvalBuilder):
            walk: _Reverse = _ConcreteReverse(CONCRETE, seeds, start, active)
            walk.run(tape, stop, wanted)
        else:
            walk = _Reverse(b, seeds, start, active)
            walk.run_recorded(tape, stop, wanted, detached)
        return [walk.cts.get(value.index) for value in wanted]


class _Reverse:
    """One reverse walk: cotangents and masks by index, and which buffers the walk owns."""

    def __init__(self, b: Builder, seeds: Mapping[int, Any], start: int, active: bytearray | None) -> None:
        self.b = b
        self.cts: dict[int, Any] = dict(seeds)
        self.masks: dict[int, Any] = {}
        self.owned: set[int] = set()
        self.carried: tuple[int, Update] | None = None  # what is left to do with it once all operands have theirs
        self.blank: set[int] = set()  # cotangents that are still the zeros they began as
        self.start = start
        self.active = active

    def run(self, tape: Sequence[Any], stop: int, wanted: Sequence[Any]) -> None:
        raise NotImplementedError

    def run_recorded(self, tape: Sequence[Any], stop: int, wanted: Sequence[Any], detached: bool) -> None:
        b: Any = self.b
        start, active, cts = self.start, self.active, self.cts
        if not detached and active is not None and hasattr(b, "prepare"):
            for index, ct in cts.items():
                cts[index] = b.seed(tape[index], ct)
            for index, (zeros, own) in b.prepare(tape, start, stop, active).items():
                if index in cts:
                    cts[index] = b.add(zeros, cts[index])
                    continue
                cts[index] = zeros
                self.blank.add(index)
                if own:
                    self.owned.add(index)
        keep = {value.index for value in wanted}
        stretch = functools.partial(self.stretch, tape, keep, detached)
        replays = b.replays(tape, start, stop, active, keep) if not detached and active is not None and hasattr(b, "replays") else None
        if replays is None:
            stretch(start, stop)
        else:
            replays.walk(self, stretch)
        for i in keep & self.blank:
            del cts[i]

    def stretch(self, tape: Sequence[Any], keep: set[int], detached: bool, start: int, stop: int) -> None:
        """Visit tape[start:stop] backwards."""
        b: Any = self.b
        first, active, cts = self.start, self.active, self.cts
        kind: Any = type(tape[start]) if stop > start else Value
        for i in range(stop - 1, start - 1, -1):
            if i not in cts or i in keep:
                continue
            ct = cts.pop(i)
            if i in self.blank or (active is not None and not active[i - first]):
                continue
            node = tape[i]
            if detached:
                values: Sequence[Any] = [o.value if type(o) is kind or type(o) is Static else o for o in node.operands]
                out = node.value
            else:
                values, out = b.at(node), node
            self.visit(kind, node, ct, values, out)

    def visit(self, kind: Any, node: Any, ct: Any, values: Sequence[Any], out: Any) -> None:
        """Add the cotangents that `ct` of `node` gives to its operands."""
        op: Primitive = node.op
        rules = op.vjp
        if isinstance(rules, NonDiff):
            return
        mask = self.masks.pop(node.index, None) if self.masks else None
        wanted = self.wanted(kind, node, values)
        if type(rules) is Joint:
            for k, c in rules.rule(self.b, wanted, ct, out, *values, **node.params).items():
                if c is not None:
                    self.accept(op, rules.rule, node.operands[k].index, values[k], c, None, out, values, node.params)
            return
        for k in wanted:
            target, value = node.operands[k].index, values[k]
            rule = rule_of(op, rules, k)
            if rule is None:
                continue
            c = rule(self.b, ct, out, *values, **node.params)
            if c is not None:
                self.accept(op, rule, target, value, c, mask, out, values, node.params)
        if self.carried is not None:
            self.carry(node.index)

    def wanted(self, kind: Any, node: Any, values: Sequence[Any]) -> list[int]:
        """The operands that a derivative is asked for."""
        start, active, b = self.start, self.active, self.b
        return [
            k
            for k, o in enumerate(node.operands)
            if type(o) is kind and o.index >= start and (active is None or active[o.index - start]) and b.dtype(values[k]).kind in "fc"
        ]

    def accept(
        self,
        op: Primitive,
        rule: Callable[..., Any],
        target: int,
        value: Any,
        c: Any,
        mask: Any,
        out: Any,
        values: Sequence[Any],
        params: Mapping[str, Any],
    ) -> None:
        """Fit one contribution to its operand and add it to what is there; `mask` is that of the result."""
        kind = type(c)
        b = self.b
        if kind is Update:
            if c.base is None:
                self.update(target, value, c)
            else:
                self.carried = (target, c)
            return
        if kind is Part:
            self.part(target, c)
            return
        if kind is Masked:
            c, mask = c.value, c.mask
        elif mask is not None:
            traits = op.traits
            if not traits & ELEMENTWISE:
                mask = self.moved(op, rule, mask, out, values, params)
            elif not traits & LINEAR:
                c = b.where(mask, c, 0.0)
        fitted = self.fit(c, value)
        if fitted is None:
            return
        if mask is not None:
            mask = self.fit_mask(mask, value)
        self.add(target, fitted, mask)

    def moved(self, op: Primitive, rule: Callable[..., Any], mask: Any, out: Any, values: Sequence[Any], params: Any) -> Any:
        """The mask behind a view or a sum: moved as the cotangent is. None where that is no plain move."""
        if not (op.traits & LINEAR and op.traits & _MOVES):
            return None
        shape = self.b.shape(out)
        if self.b.shape(mask) != shape:
            mask = self.b.broadcast_to(mask, shape=shape)
        mask = rule(self.b, mask, out, *values, **params)
        return None if type(mask) is Update else mask

    def fit_mask(self, mask: Any, value: Any) -> Any:
        """The mask of a cotangent that was summed to its operand: where any of the summed entries counts."""
        shape, have = self.b.shape(value), self.b.shape(mask)
        if have == shape:
            return mask
        extra = len(have) - len(shape)
        axes = tuple(i for i in range(len(have)) if i < extra or (shape[i - extra] == 1 and have[i] != 1))
        if axes:
            mask = self.b.reduce_any(mask, axes=axes)
            if self.b.shape(mask) != shape and len(self.b.shape(mask)) < len(shape):
                folded = tuple(1 if i < 0 or i in axes else have[i] for i in range(extra, extra + len(shape)))
                mask = self.b.reshape(mask, shape=folded)
        return mask

    def add(self, target: int, c: Any, mask: Any) -> None:
        cts = self.cts
        old = cts.get(target)
        if old is None:
            cts[target] = c
            if mask is not None:
                self.masks[target] = mask
            return
        if target in self.blank:
            self.blank.discard(target)
            self.join(target, old, c)
            if mask is not None:
                self.masks[target] = mask
            return
        if self.masks:
            previous = self.masks.pop(target, None)
            if mask is not None and previous is not None:
                self.masks[target] = mask if mask is previous else self.b.logical_or(mask, previous)
        self.join(target, old, c)

    def join(self, target: int, old: Any, c: Any) -> None:
        self.cts[target] = self.b.add(old, c)
        self.owned.discard(target)

    def fit(self, c: Any, value: Any) -> Any:
        return fit(self.b, c, value)

    def part(self, target: int, part: Part) -> None:
        """Add to the cotangents of the parts of a packed result."""
        parts = self.cts.get(target)
        if type(parts) is not dict:  # none yet, or zeros that it began as
            parts = self.cts[target] = {}
            self.blank.discard(target)
            self.owned.discard(target)
        old = parts.get(part.key)
        parts[part.key] = part.value if old is None else self.b.add(old, part.value)

    def update(self, target: int, value: Any, change: Update) -> None:
        """Apply an indexed add to the cotangent of `target`, in place where this walk owns the buffer."""
        b: Any = self.b
        op = REGISTRY[change.primitive]
        buffer = self.cts.get(target)
        self.masks.pop(target, None)
        self.blank.discard(target)
        ct = fit_dtype(b, change.operands[0], b.dtype(value))
        if buffer is None:
            buffer = b.zeros_like(value)
            self.owned.add(target)
        if target in self.owned:
            self.cts[target] = b.update(op, buffer, ct, *change.operands[1:], **change.params)
        else:
            self.cts[target] = getattr(b, op.name)(buffer, ct, *change.operands[1:], **change.params)
            self.owned.add(target)

    def carry(self, index: int) -> None:
        """Make the cotangent of a result, changed in a region, that of the operand it was an update of."""
        assert self.carried is not None
        b: Any = self.b
        (target, change), self.carried = self.carried, None
        op = REGISTRY[change.primitive]
        if index in self.owned:
            made = b.update(op, change.base, *change.operands, **change.params)
        else:
            made = getattr(b, op.name)(change.base, *change.operands, **change.params)
        self.hand_over(target, made)

    def hand_over(self, target: int, buffer: Any) -> None:
        """A buffer of the walk as (a part of) the cotangent of `target`."""
        if target in self.cts and target not in self.blank:
            self.add(target, buffer, None)
            return
        self.blank.discard(target)
        self.masks.pop(target, None)
        self.cts[target] = buffer
        self.owned.add(target)


class _ConcreteReverse(_Reverse):
    """The walk over numpy values, with the common case of each step in line."""

    def run(self, tape: Sequence[Any], stop: int, wanted: Sequence[Any]) -> None:
        b, start, active, cts, masks = self.b, self.start, self.active, self.cts, self.masks
        if stop == start:
            return
        kind = type(tape[start])
        keep = {value.index for value in wanted}
        first = max(keep, default=start)
        accept = self.accept
        for i in range(stop - 1, start - 1, -1):
            if i not in cts or (i <= first and i in keep) or (active is not None and not active[i - start]):
                continue
            ct = cts.pop(i)
            node = tape[i]
            op = node.op
            rules = op.vjp
            operands = node.operands
            params = node.params
            values = [o.value if type(o) is kind or type(o) is Static else o for o in operands]
            if type(rules) is not tuple:
                self.visit(kind, node, ct, values, node.value)
                continue
            mask = masks.pop(i, None) if masks else None
            out = node.value
            k = -1
            for operand in operands:
                k += 1
                if type(operand) is not kind:
                    continue
                target = operand.index
                if active is not None and (target < start or not active[target - start]):
                    continue
                rule = rules[k] if k < len(rules) else rule_of(op, rules, k)
                if rule is None:
                    continue
                c = rule(b, ct, out, *values, **params) if params else rule(b, ct, out, *values)
                if c is None:
                    continue
                value = values[k]
                type_ = type(c)
                if mask is not None or type_ is Update or type_ is Masked or type_ is Part:
                    accept(op, rule, target, value, c, mask, out, values, params)
                    continue
                wants = type(value)
                if type_ is _ndarray is wants:
                    if c.dtype is not value.dtype or c.shape != value.shape:
                        c = fit_concrete(c, value)
                        if c is None:
                            continue
                elif type_ is not _float64 or (wants is not float and wants is not _float64):
                    c = fit_concrete(c, value)
                    if c is None:
                        continue
                if target not in cts:
                    cts[target] = c
                elif masks:
                    self.add(target, c, None)
                else:
                    self.join(target, cts[target], c)
            if self.carried is not None:
                self.carry(i)

    def visit(self, kind: Any, node: Any, ct: Any, values: Sequence[Any], out: Any) -> None:
        op: Primitive = node.op
        rules: Any = op.vjp
        if type(rules) is not FunctionType or (self.masks and node.index in self.masks):
            super().visit(kind, node, ct, values, out)
            return
        for k in self.wanted(kind, node, values):
            c = rules(self.b, k, ct, out, *values, **node.params)
            if c is not None:
                self.accept(op, rules, node.operands[k].index, values[k], c, None, out, values, node.params)
        if self.carried is not None:
            self.carry(node.index)

    def carry(self, index: int) -> None:
        assert self.carried is not None
        (target, change), self.carried = self.carried, None
        op = REGISTRY[change.primitive]
        evaluate = (op.in_place if index in self.owned else None) or op.evaluate
        self.hand_over(target, evaluate(change.base, *change.operands, **change.params))

    def join(self, target: int, old: Any, c: Any) -> None:
        if target in self.owned:
            np.add(old, c, out=old, casting="unsafe")
        else:
            total = old + c
            self.cts[target] = total
            if type(total) is _ndarray:
                self.owned.add(target)

    def fit(self, c: Any, value: Any) -> Any:
        return fit_concrete(c, value)

    def update(self, target: int, value: Any, change: Update) -> None:
        op = REGISTRY[change.primitive]
        if value.dtype.kind not in "fc":
            return
        if self.masks:
            self.masks.pop(target, None)
        buffer = self.cts.get(target)
        ct = change.operands[0]
        if buffer is None:
            buffer = np.zeros(value.shape, value.dtype)
        elif target not in self.owned:
            buffer = np.array(buffer)
        self.owned.add(target)
        if type(ct) is Static:
            ct = ct.value
        if np.iscomplexobj(ct) and value.dtype.kind != "c":
            ct = ct.real
        evaluate = op.in_place or op.evaluate
        self.cts[target] = evaluate(buffer, ct, *change.operands[1:], **change.params)


def fit_concrete(c: Any, value: Any) -> Any:
    """`c` summed to the shape of `value` and cast to its dtype (numpy values); None where `value` is not inexact."""
    kind = type(value)
    if kind is float or kind is int or kind is complex or kind is bool:
        dtype = np.dtype(kind)
        shape: tuple[int, ...] = ()
    else:
        dtype, shape = value.dtype, value.shape
    if dtype.kind not in "fc":
        return None
    if type(c) is Static:
        c = c.value
    if (c.shape if isinstance(c, (np.ndarray, np.generic)) else np.shape(c)) != shape:
        c = sum_to(c, shape)
    if not isinstance(c, (np.ndarray, np.generic)):
        c = np.asarray(c)[()]
    if c.dtype == dtype:
        return c
    if c.dtype.kind == "c" and dtype.kind != "c":
        c = c.real
    return c if c.dtype == dtype else c.astype(dtype)


def sum_to(c: Any, shape: tuple[int, ...]) -> Any:
    """Sum a numpy value over broadcast axes down to `shape`."""
    if type(c) is not _ndarray:
        c = np.asarray(c)
    axes = _summed_axes(c.shape, shape)
    if axes is None:
        return np.broadcast_to(c, shape)  # a rule may answer with a smaller value, as 0.0 from where
    total = np.add.reduce(c, axis=axes)
    return total if total.shape == shape else total.reshape(shape)


@functools.lru_cache(maxsize=4096)
def _summed_axes(have: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes to sum over from a shape to one that broadcasts to it; None where `shape` does not."""
    extra = len(have) - len(shape)
    if extra < 0 or any(a != n and n != 1 for a, n in zip(have[extra:], shape, strict=True)):
        return None
    return tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 and have[extra + i] != 1)


def fit(b: Builder, c: Any, value: Any) -> Any:
    """`c` summed to the shape of `value` and cast to its dtype, through a builder."""
    shape, have = b.shape(value), b.shape(c)
    if have != shape:
        axes = _summed_axes(have, shape)
        if axes is None:
            c = b.broadcast_to(c, shape=shape)
        else:
            if axes:
                c = b.reduce_sum(c, axes=axes)
            if b.shape(c) != shape:
                c = b.reshape(c, shape=shape)
    return fit_dtype(b, c, b.dtype(value))


def fit_dtype(b: Builder, c: Any, dtype: np.dtype[Any]) -> Any:
    have = b.dtype(c)
    if have == dtype:
        return c
    if have.kind == "c" and dtype.kind != "c":
        c = b.real(c)
        have = b.dtype(c)
    return c if have == dtype else b.convert(c, dtype=dtype_name(dtype))


# ---- rules ----


def rule_of(op: Primitive, rules: Any, k: int) -> Callable[..., Any] | None:
    """The vjp rule of operand `k`; None where no derivative flows. Raises MissingRuleError where none was given."""
    if type(rules) is tuple:
        if k >= len(rules):
            raise missing(op, "VJP", k)
        return rules[k]
    if rules is None:
        raise missing(op, "VJP", k)
    return lambda b, ct, out, *values, **params: rules(b, k, ct, out, *values, **params)


def missing(op: Primitive, mode: str, argnum: int) -> MissingRuleError:
    """The error for a rule that is needed and not there."""
    return MissingRuleError(f"{mode} of {op.name} wrt argnum {argnum} not defined; define it with irgrad.extend.def{mode.lower()}")
