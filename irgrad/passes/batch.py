"""Batches: the derivative of many seeds in one walk.

`BatchBuilder` is a builder around another one. Derivative rules write to it as to any builder; where an operand is `Batched`, the
operation is recorded once with an axis more, the first one in reverse mode and the last one in forward mode, so that a Jacobian comes
out in numpy's order of axes without a transposition. Rules are linear in what is batched, so the values of the program itself never are.

A seed with a single entry stays one (`Batched.place`) through entrywise operations: nothing is multiplied with the zeros around it, and
the first matrix product takes rows or columns of the matrix. Rules of single operations are in `batch_rules.py`. An operation without
one is done seed by seed on numpy values; where it would have to be recorded, `Unbatched` is raised.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.ir.builder import Builder, EvalBuilder
from irgrad.ir.primitive import ELEMENTWISE, LINEAR, REGISTRY, Primitive
from irgrad.ir.value import Number, Static, Value
from irgrad.ops.rules import broadcast_shapes
from irgrad.passes.batch_rules import RULES, Batched, Write

Shape = tuple[int, ...]


class Unbatched(Exception):
    """An operation that cannot be done for all seeds at once."""


class TooLarge(Exception):
    """A batch of more entries than it may have; `size` is that of the value of one seed."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class BatchBuilder(Builder):
    """Writes rules for `count` seeds at once through the builder `inner`; `last` says where the axis of the seeds is.

    Raises TooLarge for batches of more than `limit` entries, if there is one.
    """

    def __init__(self, inner: Builder, count: int, last: bool, limit: int | None = None) -> None:
        self.inner: Any = inner
        self.count = count
        self.last = last
        self.limit = limit
        self.in_loop = False
        if hasattr(inner, "trace"):
            self.trace = inner.trace

    def bind(self, op: Primitive) -> Callable[..., Any]:
        plain = getattr(self.inner, op.name)

        def call(*operands: Any, **params: Any) -> Any:
            for operand in operands:
                if type(operand) is Batched:
                    return self.batched(op, operands, params)
            return plain(*operands, **params)

        return call

    def batched(self, op: Primitive, operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
        if op.traits & ELEMENTWISE:
            found = self.sparse(op, operands, params)
            if found is None and op.name == "mul":
                found = self.scaled(*operands)
            return self.entrywise(op, operands, params) if found is None else found
        rule = RULES.get(op.name)
        return self.one_by_one(op, operands, params) if rule is None else rule(self, op, operands, params)

    # -- what rules ask ----------------------------------------------------------------------------------------------

    def shape(self, x: Any) -> Shape:
        return x.shape if type(x) is Batched else self.inner.shape(x)

    def dtype(self, x: Any) -> np.dtype[Any]:
        return x.dtype if type(x) is Batched else self.inner.dtype(x)

    def number(self, value: Any) -> Any:
        return self.inner.number(value)

    def zeros_like(self, x: Any) -> Any:
        shape, dtype = self.shape(x), self.dtype(x)
        return Batched(self.inner.zeros(shape=self.whole(shape), dtype=dtype.name), shape, dtype)

    def at(self, node: Any) -> Sequence[Any]:
        found: Sequence[Any] = self.inner.at(node)
        depths = getattr(self.trace, "depths", None)
        self.in_loop = depths is not None and depths[node.segment] > 0
        return found

    def seed(self, node: Any, ct: Any) -> Any:
        """The first cotangent of a walk: data, where the output was made in a loop."""
        if type(ct) is not Batched:
            return self.inner.seed(node, ct)
        depths = getattr(self.trace, "depths", None)
        return ct if depths is None or depths[node.segment] == 0 else self.dense(ct)

    def prepare(self, tape: Sequence[Any], start: int, stop: int, active: bytearray) -> dict[int, tuple[Any, bool]]:
        """As of a single walk, with zeros for each seed."""
        made: dict[int, Any] = {}
        found: dict[int, tuple[Any, bool]] = {}
        for index, (zeros, own) in self.inner.prepare(tape, start, stop, active).items():
            if id(zeros) not in made:
                made[id(zeros)] = self.zeros_like(zeros)
            found[index] = (made[id(zeros)], own)
        return found

    def update(self, op: Primitive, buffer: Any, *operands: Any, **params: Any) -> Any:
        """An update of a buffer that no one else reads, in place."""
        if type(buffer) is Batched or any(type(o) is Batched for o in operands):
            write: Write = RULES[op.name]
            return write(self, op, (buffer, *operands), params, True)
        return self.change(op, buffer, operands, params)

    def change(self, op: Primitive, buffer: Any, operands: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """`update` of what is not batched."""
        if not isinstance(self.inner, EvalBuilder):
            return self.inner.update(op, buffer, *operands, **params)
        values = [o.value if type(o) is Static else o for o in operands]
        return (op.in_place or op.evaluate)(buffer, *values, **params)

    # -- forms -------------------------------------------------------------------------------------------------------

    def axis(self, k: int) -> int:
        """Axis `k` of a value among those of its batch."""
        return k if self.last else k + 1

    def whole(self, shape: Sequence[int], extent: int | None = None) -> Shape:
        """One number for each axis, with one for the axis of the seeds."""
        n = self.count if extent is None else extent
        return (*shape, n) if self.last else (n, *shape)

    def check(self, shape: Shape) -> None:
        if self.limit is not None and math.prod(shape) * self.count > self.limit:
            raise TooLarge(math.prod(shape))

    def rows(self, value: Any, shape: Shape) -> Batched:
        self.check(shape)
        return Batched(value, shape, self.inner.dtype(value))

    def is_batched(self, x: Any) -> bool:
        return type(x) is Batched

    def one(self, dtype: np.dtype[Any]) -> Any:
        """1 as the number of a rule."""
        return dtype.type(1) if isinstance(self.inner, EvalBuilder) else Static(dtype.type(1))

    def vector(self, x: Batched) -> Any:
        """The entries of a batch of single ones."""
        if x.value is None:
            x.value = self.inner.full(self.one(x.dtype), shape=(self.count,), dtype=x.dtype.name)
        return x.value

    def dense(self, x: Any) -> Batched:
        """A batch with all entries."""
        if type(x) is not Batched:
            shape = self.shape(x)
            if not shape:
                return Batched(self.spread(x), shape, self.inner.dtype(x))
            value = self.inner.reshape(x, shape=(*shape, 1)) if self.last else x
            return self.rows(self.inner.broadcast_to(value, shape=self.whole(shape)), shape)
        if x.place is None:
            return self.multiplied(x)
        self.check(x.shape)
        n, count = math.prod(x.shape), self.count
        if n == 1:
            flat = self.vector(x)
        else:
            start, step = (x.place * count, count + 1) if self.last else (x.place, n + 1)
            region = {"start": (start,), "count": (count,), "step": (step,), "drop": ()}
            zeros = self.inner.zeros(shape=(count * n,), dtype=x.dtype.name)
            entries = self.one(x.dtype) if x.value is None else x.value
            flat = self.change(REGISTRY["slice_update"], zeros, (entries,), region)
        whole = self.whole(x.shape)
        return Batched(flat if whole == (count * n,) else self.inner.reshape(flat, shape=whole), x.shape, x.dtype)

    def multiplied(self, x: Batched) -> Batched:
        """A batch of all entries without factors."""
        inner = self.inner
        if x.by_seed is not None:
            factor = x.by_seed if self.last or not x.shape else inner.reshape(x.by_seed, shape=(self.count, *(1,) * len(x.shape)))
            x.value = inner.mul(x.value, factor)
        if x.by_entry is not None:
            x.value = inner.mul(x.value, self.aligned(x.by_entry, len(x.shape)))
        x.by_seed = x.by_entry = None
        return x

    def leading(self, x: Batched) -> Any:
        """The entries of `x` with the seeds along the first axis."""
        value, rank = self.dense(x).value, len(x.shape)
        return self.inner.transpose(value, axes=(rank, *range(rank))) if self.last and rank else value

    def from_leading(self, value: Any, shape: Shape) -> Batched:
        """The inverse of `leading`, for a result of this shape."""
        rank = len(shape)
        return self.rows(self.inner.transpose(value, axes=(*range(1, rank + 1), 0)) if self.last and rank else value, shape)

    def aligned(self, x: Any, rank: int) -> Any:
        """An operand as numpy broadcasts it, in a result of `rank` axes."""
        if type(x) is Batched:
            value = self.dense(x).value
            missing = rank - len(x.shape)
            return value if self.last or not missing else self.inner.reshape(value, shape=(self.count, *(1,) * missing, *x.shape))
        shape = self.inner.shape(x) if self.last else ()
        return self.inner.reshape(x, shape=(*shape, 1)) if shape else x

    # -- entrywise operations ----------------------------------------------------------------------------------------

    def entrywise(self, op: Primitive, operands: Sequence[Any], params: Mapping[str, Any]) -> Batched:
        shape = broadcast_shapes(tuple([self.shape(o) for o in operands]))
        self.check(shape)
        rank = len(shape)
        return self.rows(getattr(self.inner, op.name)(*[self.aligned(o, rank) for o in operands], **params), shape)

    def sparse(self, op: Primitive, operands: Sequence[Any], params: Mapping[str, Any]) -> Batched | None:
        """Of batches of single entries at the same places, where the operation maps zeros to zeros."""
        hot = [o for o in operands if type(o) is Batched]
        first = hot[0]
        if any(o.place is None or o.place != first.place or o.shape != first.shape for o in hot) or not _keeps_zeros(op, operands, hot):
            return None
        if any(self.inner.shape(o) and not _fits(self.inner.shape(o), first.shape) for o in operands if type(o) is not Batched):
            return None
        name, inner = op.name, self.inner
        if first.value is None and len(hot) == 1 and name in ("mul", "identity", "copy", "mark"):
            others = [o for o in operands if o is not first]
            if not others:
                return first
            if len(others) == 1 and inner.dtype(others[0]) == first.dtype and type(others[0]) not in (Static, Number):
                return Batched(self.spread(self.picked(others[0], first)), first.shape, first.dtype, first.place)
        made = getattr(inner, name)(*[self.vector(o) if type(o) is Batched else self.picked(o, first) for o in operands], **params)
        return Batched(self.spread(made), first.shape, inner.dtype(made), first.place)

    def scaled(self, x: Any, y: Any) -> Batched | None:
        """The product of a batch of all entries and a value of the program that broadcasts with each; done later.

        None in loops, all iterations of which are to be alike, and for other products.
        """
        batch, other = (x, y) if type(x) is Batched else (y, x)
        if self.in_loop or type(other) is Batched or batch.place is not None or not batch.shape or type(other) in (Static, Number):
            return None
        inner = self.inner
        if not isinstance(other, (Value, np.ndarray, np.generic)) or inner.dtype(other) != batch.dtype:
            return None
        if not _fits(inner.shape(other), batch.shape):
            return None
        factor = other if batch.by_entry is None else inner.mul(batch.by_entry, other)
        return Batched(batch.value, batch.shape, batch.dtype, None, batch.by_seed, factor)

    def picked(self, x: Any, like: Batched) -> Any:
        """The entries of `x`, a value of the program, that meet those of `like`."""
        shape = self.inner.shape(x)
        if not shape:
            return x
        if shape != like.shape:
            x = self.inner.broadcast_to(x, shape=like.shape)
        size = math.prod(like.shape)
        if len(like.shape) != 1:
            x = self.inner.reshape(x, shape=(size,))
        if self.count == size:
            return x
        return self.inner.slice(x, start=(like.place,), count=(self.count,), step=(1,), drop=())

    def spread(self, value: Any) -> Any:
        """A number as a vector over the seeds."""
        shape = (self.count,)
        if self.inner.shape(value):
            return value
        if isinstance(value, Value) or isinstance(self.inner, EvalBuilder):
            return self.inner.broadcast_to(value, shape=shape)
        return self.inner.full(value, shape=shape, dtype=self.inner.dtype(value).name)

    # -- seed by seed ------------------------------------------------------------------------------------------------

    def one_by_one(self, op: Primitive, operands: Sequence[Any], params: Mapping[str, Any]) -> Batched:
        return self.each(lambda _, *values: op.evaluate(*values, **params), *operands)

    def each(self, function: Callable[..., Any], *operands: Any) -> Any:
        """``function(builder, *operands)`` for each seed on values of its own; raises Unbatched where they would have to be recorded.

        The function is linear in what is batched; None stands for zero.
        """
        if not isinstance(self.inner, EvalBuilder):
            raise Unbatched
        values = [self.leading(o) if type(o) is Batched else o.value if type(o) is Static else o for o in operands]
        found = [
            function(self.inner, *[v[j] if type(o) is Batched else v for o, v in zip(operands, values, strict=True)])
            for j in range(self.count)
        ]
        if all(each is None for each in found):
            return None
        if any(isinstance(each, np.generic) and type(each) is not each.dtype.type for each in found):
            raise Unbatched  # a value of a type of the user's, where derivatives expect a number
        shape = broadcast_shapes(tuple([np.shape(each) for each in found if each is not None]))
        return self.from_leading(np.stack([np.broadcast_to(0.0 if each is None else each, shape) for each in found]), shape)


def _keeps_zeros(op: Primitive, operands: Sequence[Any], hot: Sequence[Any]) -> bool:
    """Is the operation zero where all that is batched is?"""
    if op.name == "mul":
        return len(hot) == 1
    if op.name == "div":
        return len(hot) == 1 and operands[0] is hot[0]
    if op.name == "where":
        return type(operands[0]) is not Batched and all(type(o) is Batched or _is_zero(o) for o in operands[1:])
    return bool(op.traits & LINEAR) and all(type(o) is Batched or _is_zero(o) for o in operands)


def _is_zero(x: Any) -> bool:
    """Is it a zero that a rule wrote down?"""
    value = x.value if type(x) is Static else x
    return isinstance(value, (int, float, complex)) and value == 0


def _fits(shape: Shape, to: Shape) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False))


def single_vjp(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A vjp rule of operands by number that sees the cotangent of one seed: it may do with it what Python can do with a value."""

    @functools.wraps(rule)
    def wrapped(b: Builder, index: int, ct: Any, out: Any, *operands: Any, **params: Any) -> Any:
        if isinstance(b, BatchBuilder):
            return b.each(lambda one, each: rule(one, index, each, out, *operands, **params), ct)
        return rule(b, index, ct, out, *operands, **params)

    return wrapped


def single_jvp(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A jvp rule of all tangents that sees those of one seed."""

    @functools.wraps(rule)
    def wrapped(b: Builder, tangents: Sequence[Any], out: Any, *operands: Any, **params: Any) -> Any:
        if isinstance(b, BatchBuilder):
            return b.each(lambda one, *each: rule(one, each, out, *operands, **params), *tangents)
        return rule(b, tangents, out, *operands, **params)

    return wrapped
