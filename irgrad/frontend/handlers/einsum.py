"""einsum: labels, and contractions of one, two or more operands.

Two operands are one `dot` or `batch_dot` between transposes and reshapes, or a broadcast product where nothing is summed.
More are contracted pairwise in the order that numpy.einsum_path proposes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from irgrad.frontend.handlers.arranging import diagonal_of_view, last_diagonal
from irgrad.frontend.handlers.contraction import matrix_product
from irgrad.frontend.handlers.core import (
    alias,
    apply,
    as_array,
    call,
    cast,
    dtype_of,
    handles,
    refuse,
    reshape,
    shape_of,
    transpose,
)
from irgrad.frontend.handlers.reduction import accumulator
from irgrad.frontend.handlers.shaping import size_of
from irgrad.frontend.storage import follow
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer

Labels = tuple[Any, ...]


@handles(np.einsum)
def einsum(
    trace: Trace, *operands: Any, out: Any = None, dtype: Any = None, optimize: Any = False, order: Any = "K", casting: Any = "safe"
) -> Any:
    refuse("einsum", out=out)
    labels, output, arrays = _parse(trace, operands)
    common = np.dtype(dtype) if dtype is not None else np.result_type(*[dtype_of(x) for x in arrays])
    terms = [_diagonals(trace, cast(trace, x, common), names) for x, names in zip(arrays, labels, strict=True)]
    _check_extents(terms)
    if len(terms) > 2:
        return _pairwise(trace, terms, output)
    if len(terms) == 2:
        return _contract(trace, terms[0], terms[1], output)
    made = _finish(trace, terms[0], output)
    source = arrays[0]
    diagonal = len(labels[0]) > len(output) and set(labels[0]) == set(output)
    if diagonal and type(made) is Tracer and type(source) is Tracer and follow(trace, made)[0].index != follow(trace, source)[0].index:
        trace.fixed.add(made.index)  # numpy's is a view of the diagonal: what is written there would not reach the operand
    return made


Term = tuple[Any, Labels]


def _parse(trace: Trace, operands: tuple[Any, ...]) -> tuple[tuple[Labels, ...], Labels, list[Any]]:
    """Labels per operand, labels of the output, and the array operands."""
    if not operands:
        raise ValueError("must specify the einstein sum subscripts string and at least one operand")
    first = operands[0]
    if isinstance(first, str):
        terms, wanted = _terms(first)
        arrays = [as_array(trace, x) for x in operands[1:]]
    else:
        pairs = operands[: len(operands) // 2 * 2]
        arrays = [as_array(trace, x) for x in pairs[::2]]
        terms = tuple([tuple(term) for term in pairs[1::2]])
        wanted = tuple(operands[-1]) if len(operands) % 2 else None
    if len(terms) != len(arrays):
        raise ValueError(f"einsum: {len(terms)} terms in the subscripts for {len(arrays)} operands")
    labels, output = _resolve(terms, wanted, tuple([len(shape_of(x)) for x in arrays]))
    return labels, output, arrays


@lru_cache(maxsize=1024)
def _terms(subscripts: str) -> tuple[tuple[Labels, ...], Labels | None]:
    """The labels that a subscripts string writes down."""
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    return tuple([_letters(term) for term in inputs.split(",")]), _letters(result) if arrow else None


def _letters(term: str) -> Labels:
    head, dots, tail = term.partition("...")
    if "." in head or "." in tail:
        raise ValueError("einstein sum subscripts string contains a '.' that is not part of an ellipsis ('...')")
    for letter in head + tail:
        if not letter.isalpha():
            raise ValueError(f"invalid subscript {letter!r} in einstein sum subscripts string, subscripts must be letters")
    return (*head, Ellipsis, *tail) if dots else tuple(head)


@lru_cache(maxsize=1024)
def _resolve(terms: tuple[Labels, ...], wanted: Labels | None, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """One label per axis of every operand and of the output: ellipses become numbered labels, aligned at the right."""
    widths = [_ellipsis_width(term, ndim) for term, ndim in zip(terms, ndims, strict=True)]
    dots: Labels = tuple(("...", i) for i in range(max(widths)))
    labels = tuple([_filled(term, dots[len(dots) - width :]) for term, width in zip(terms, widths, strict=True)])
    named = [name for term in labels for name in term]
    if wanted is None:
        output = dots + tuple(sorted(name for name in set(named) - set(dots) if named.count(name) == 1))
    else:
        output = _filled(wanted, dots)
    if len(set(output)) != len(output):
        raise ValueError("einstein sum subscripts string includes an output subscript multiple times")
    for name in output:
        if name not in named:
            raise ValueError(f"einstein sum subscripts string included output subscript {name!r} which never appeared in an input")
    if not set(dots) <= set(output):
        raise ValueError("einstein sum subscripts string has an ellipsis '...' in an input and none in the output")
    return labels, output


def _filled(term: Labels, dots: Labels) -> Labels:
    """A term with its ellipsis replaced."""
    if Ellipsis not in term:
        return term
    at = term.index(Ellipsis)
    return term[:at] + dots + term[at + 1 :]


def _ellipsis_width(term: Labels, ndim: int) -> int:
    """How many axes the ellipsis of a term stands for."""
    named = sum(name is not Ellipsis for name in term)
    if named > ndim or (named < ndim and named == len(term)):
        raise ValueError(f"einstein sum subscripts string has {named} subscripts for an operand of {ndim} dimensions")
    return ndim - named


def _diagonals(trace: Trace, x: Any, names: Labels) -> Term:
    """A label that a term repeats reads the diagonal."""
    while len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        i = names.index(repeated)
        j = names.index(repeated, i + 1)
        shape = shape_of(x)
        if shape[i] != shape[j]:
            raise ValueError(f"dimensions in operand for collapsing index {repeated!r} don't match ({shape[i]} != {shape[j]})")
        rest = tuple(k for k in range(len(shape)) if k not in (i, j))
        made = None if rest else diagonal_of_view(trace, x, 0)
        x = last_diagonal(trace, transpose(trace, x, (*rest, i, j)), 0) if made is None else made
        names = (*(names[k] for k in rest), repeated)
    return x, names


def _check_extents(terms: Sequence[Term]) -> None:
    seen: dict[Any, int] = {}
    for x, names in terms:
        for name, n in zip(names, shape_of(x), strict=True):
            have = seen.get(name, 1)
            if have not in (1, n) and n != 1:
                raise ValueError(f"operands could not be broadcast together: label {name!r} has extents {have} and {n}")
            seen[name] = max(have, n) if 0 not in (have, n) else min(have, n) if 1 not in (have, n) else 0


def _sum_out(trace: Trace, term: Term, keep: Sequence[Any]) -> Term:
    """Sum the labels that nothing else needs."""
    x, names = term
    axes = tuple(i for i, name in enumerate(names) if name not in keep)
    if not axes:
        return term
    have = dtype_of(x)
    if have.kind == "b":
        made = call(trace, "reduce_any", x, axes=axes)
    else:
        made = cast(trace, call(trace, "reduce_sum", cast(trace, x, accumulator(have)), axes=axes), have)
    return made, tuple(name for name in names if name in keep)


def _finish(trace: Trace, term: Term, output: Labels) -> Any:
    x, names = _sum_out(trace, term, output)
    return _ordered(trace, x, names, output)


def _ordered(trace: Trace, x: Any, names: Labels, output: Labels) -> Any:
    return alias(transpose(trace, x, tuple(names.index(name) for name in output)))


def _squeezed(trace: Trace, term: Term, other: Term) -> Term:
    """Drop axes of extent 1 that broadcast against the other term's."""
    x, names = term
    wide = dict(zip(other[1], shape_of(other[0]), strict=True))
    axes = [i for i, name in enumerate(names) if shape_of(x)[i] == 1 and wide.get(name, 1) != 1]
    if not axes:
        return term
    rest = [i for i in range(len(names)) if i not in axes]
    return reshape(trace, x, tuple(shape_of(x)[i] for i in rest)), tuple(names[i] for i in rest)


def _contract(trace: Trace, first: Term, second: Term, output: Labels) -> Any:
    """Two terms to labels `output`."""
    first, second = _squeezed(trace, first, second), _squeezed(trace, second, first)
    first = _sum_out(trace, first, (*output, *second[1]))
    second = _sum_out(trace, second, (*output, *first[1]))
    (x, left), (y, right) = first, second
    shared = [name for name in left if name in right]
    summed = tuple(name for name in shared if name not in output)
    batch = tuple(name for name in shared if name in output)
    rows = tuple(name for name in left if name not in right)
    columns = tuple(name for name in right if name not in left)
    if not summed:
        return _product(trace, first, second, output)
    sizes = dict(zip(left + right, shape_of(x) + shape_of(y), strict=True))
    made_names = batch + rows + columns

    def extent(names: Labels) -> int:
        return size_of([sizes[name] for name in names])

    if batch:
        x = transpose(trace, x, tuple(left.index(n) for n in batch + rows + summed))
        y = transpose(trace, y, tuple(right.index(n) for n in batch + summed + columns))
        stack = tuple(sizes[n] for n in batch)
        x = reshape(trace, x, (*stack, extent(rows), extent(summed)))
        y = reshape(trace, y, (*stack, extent(summed), extent(columns)))
        made = call(trace, "batch_dot", x, y)
    else:
        places = [
            tuple(names.index(n) for n in group) for names, group in ((left, rows), (left, summed), (right, summed), (right, columns))
        ]
        made = matrix_product(trace, x, y, *places)
    return _ordered(trace, reshape(trace, made, tuple(sizes[n] for n in made_names)) if made_names else made, made_names, output)


def _product(trace: Trace, first: Term, second: Term, output: Labels) -> Any:
    """A product without summed labels, by broadcasting."""
    parts = []
    for x, names in (first, second):
        order = [name for name in output if name in names]
        x = transpose(trace, x, tuple(names.index(name) for name in order))
        sizes = dict(zip(order, shape_of(x), strict=True))
        parts.append(reshape(trace, x, tuple(sizes.get(name, 1) for name in output)))
    name, fn = ("bitwise_and", np.bitwise_and) if dtype_of(parts[0]).kind == "b" else ("mul", np.multiply)
    return apply(trace, name, fn, *parts)


def _pairwise(trace: Trace, terms: list[Term], output: Labels) -> Any:
    names = sorted({name for _, term in terms for name in term}, key=str)
    number = {name: i for i, name in enumerate(names)}
    dummy: list[Any] = []
    for x, term in terms:
        dummy += [np.broadcast_to(np.float64(0), shape_of(x)), [number[name] for name in term]]
    path, _ = np.einsum_path(*dummy, [number[name] for name in output], optimize="greedy")
    for step in path[1:]:
        picked = [terms[int(i)] for i in step]
        terms = [t for i, t in enumerate(terms) if i not in step]
        while len(picked) > 1:
            first, second = picked.pop(), picked.pop()
            rest = [name for _, term in (*terms, *picked) for name in term]
            kept = tuple(dict.fromkeys(name for name in first[1] + second[1] if name in rest or name in output))
            picked.append((_contract(trace, first, second, kept), kept))
        terms.append(picked[0])
    return _finish(trace, terms[0], output)
