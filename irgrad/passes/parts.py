"""Parts of concatenations live in the memory of the whole: the nest that computes a part writes it where it belongs.

A part that is a view, a result, or read through views has memory of its own, and is copied. So is the second use of a part, and what
would be written in rows of a few elements each, which no loop that computes should go by. The concatenation itself computes nothing: it
is there when its parts are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from irgrad.ir.graph import Literal, Node, Operand
from irgrad.ir.plan import View, contiguous, is_view
from irgrad.ir.primitive import REGISTRY, UPDATE
from irgrad.passes.forms import FILLS, REDUCTIONS, has_kernel_dtypes, has_text, is_scalar_form

if TYPE_CHECKING:
    from irgrad.passes.cluster import _Clustering

SHORT = 6  # elements of a row, below which loops over rows take more than a copy
ANYWHERE = frozenset({"dot", "batch_dot", "cumsum", "cumprod", "gather"})  # with kernels of their own that write contiguous memory


def place_parts(clustering: _Clustering) -> None:
    """Let the parts of each concatenation live in its memory, the last one first: parts may be concatenations."""
    for node in reversed(clustering.graph.nodes()):
        if is_joined(node):
            _place(clustering, node)


def is_joined(node: Node) -> bool:
    """Is this a concatenation of more than a few elements, by kernels?"""
    return node.op is not None and node.op.name == "concatenate" and not is_scalar_form(node) and has_kernel_dtypes(node)


def _place(c: _Clustering, node: Node) -> None:
    whole, axis = c.view(node), node.params["axis"]
    is_changed = any(user.op is not None and user.op.has(UPDATE) and not k for user, k in c.graph.users(whole.root))
    sources = c.joined[node.index] = []
    at = 0
    for position, part in enumerate(node.operands):
        if isinstance(part, Literal):
            part = c.as_full(node, part, position)
        region = View(whole.root, whole.strides, whole.offset + at * whole.strides[axis], whole.terms)
        source = _source(c, part, node, is_changed)
        place = None if source is None else _in_shape(part, source, region)
        if _has_short_rows(part, region) and part.index not in c.parts:  # nobody has a view of what lives elsewhere
            part, source = _copied_apart(c, node, position, part)
            place = _in_shape(part, source, region)
        elif source is None or place is None or not _may_live(c, source, place):
            part, source = _copied(c, node, position, part)
            place = _in_shape(part, source, region)
        assert place is not None
        c.views[source.index] = place
        c.parts.add(source.index)
        sources.append(source)
        at += part.aval.shape[axis]


def _copied(c: _Clustering, node: Node, position: int, part: Node) -> tuple[Node, Node]:
    """A copy of a part in its place, without axes of 1 where it has been given them: loops over other parts are without them."""
    op, inner = part.op, part.operands[0] if part.operands else None
    if op is None or op.name != "reshape" or not isinstance(inner, Node) or inner.aval.ndim >= part.aval.ndim or not _is_grown(inner, part):
        source = part = c.copy_before(node, part)
    else:
        source = c.copy_before(node, inner)
        part = c.graph.add_from(node, op, (source,), part.params)
        c.position[part.index] = c.position[source.index]
    c.graph.set_operand(node, position, part)
    return part, source


def _has_short_rows(part: Node, region: View) -> bool:
    """Would a nest write the part in rows of a few elements, and so have no long loop?"""
    wide = [(n, s) for n, s in zip(part.aval.shape, region.strides, strict=True) if n != 1]
    return len(wide) > 1 and wide[-1][1] == 1 and wide[-1][0] < SHORT and wide[-2][1] != wide[-1][0]


def _copied_apart(c: _Clustering, node: Node, position: int, part: Node) -> tuple[Node, Node]:
    """A copy of a part in its place, in a shape that keeps it from the nests that compute parts."""
    grown = c.graph.add_from(node, REGISTRY["reshape"], (part,), {"shape": (1, *part.aval.shape)})
    source = c.copy_before(node, grown)
    back = c.graph.add_from(node, REGISTRY["reshape"], (source,), {"shape": part.aval.shape})
    c.position[grown.index] = c.position[back.index] = c.position[source.index]
    c.graph.set_operand(node, position, back)
    return back, source


def _is_grown(inner: Operand, part: Node) -> bool:
    """Do two shapes differ in axes of 1 alone?"""
    return [n for n in inner.aval.shape if n != 1] == [n for n in part.aval.shape if n != 1]


def _source(c: _Clustering, part: Operand, node: Node, is_changed: bool) -> Node | None:
    """The value that a part is, but for axes of 1, if nobody reads it through another view, or at all where the whole is changed."""
    reader = node
    while isinstance(part, Node) and part.op is not None and part.op.name == "reshape":
        inner = part.operands[0]
        alone = c.graph.num_users(part) == 1 and not c.graph.is_output(part)
        if not alone:
            return None
        reader, part = part, inner
    if not isinstance(part, Node) or part.op is None or c.graph.is_output(part) or part.index in c.parts:
        return None
    users = c.graph.users(part)
    if any(user is not reader and (is_view(user) or (user.op is not None and user.op.has(UPDATE) and not k)) for user, k in users):
        return None
    return part if sum(user is reader for user, _ in users) == 1 and not (is_changed and len(users) > 1) else None


def _may_live(c: _Clustering, part: Node, region: View) -> bool:
    """May the kernel that computes a part write it to a region, and everybody who reads the part read it there?"""
    op = part.op
    assert op is not None
    if op.has(UPDATE) or is_view(part) or not has_kernel_dtypes(part):
        return False
    packed = region.strides == contiguous(part.aval.shape)
    if not packed and any(not _reads_anywhere(user) for user, _ in c.graph.users(part)):
        return False
    if is_joined(part) or has_text(part) or op.name in FILLS or is_scalar_form(part):
        return True
    return packed and op.name in ANYWHERE


def _reads_anywhere(user: Node) -> bool:
    op = user.op
    assert op is not None
    return has_text(user) or op.name in REDUCTIONS or op.name == "concatenate" or is_view(user)


def _in_shape(part: Node, source: Node, region: View) -> View | None:
    """The region in the shape of what the part was made of; None where there are no strides for that."""
    if part is source:
        return region
    if region.strides == contiguous(part.aval.shape):
        return View(region.root, contiguous(source.aval.shape), region.offset, region.terms)
    if not _is_grown(source, part):
        return None
    steps = iter(s for n, s in zip(part.aval.shape, region.strides, strict=True) if n != 1)
    return View(region.root, tuple(0 if n == 1 else next(steps) for n in source.aval.shape), region.offset, region.terms)
