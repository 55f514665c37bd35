"""Transforms of real signals at half their cost.

The spectrum of a real signal is its own mirror image, conjugated: `fft(x)` is `rfft(x)` and what follows from it. Of ``real(ifft(z))`` only
the part of z with that symmetry matters, so it is an `irfft` of half as many numbers; and where z is the spectrum of a real signal times
something, as in a convolution and its derivatives, the other half is never computed at all. Results differ from numpy's in the last places,
as transforms of other lengths do. Only for float64 along one axis, which numpy transforms as such.
"""

from __future__ import annotations

import numpy as np

from irgrad.ir.graph import Graph, Node, Operand, static_literal
from irgrad.ir.primitive import REGISTRY
from irgrad.ops.fft import SWAPPED
from irgrad.passes.dce import dce
from irgrad.passes.forms import has_own_kernel
from irgrad.passes.result import PassResult, has_fuel

POINTS, SIZE = 64, 512  # of a transform, and numbers in all, from which half of it is worth the work around it


def spectra(graph: Graph) -> PassResult:
    """Turn transforms of which real numbers go in or come out into real ones."""
    result = PassResult(graph)
    nodes = [node for node in graph.nodes() if _is_wanted(node)]
    if nodes:
        halves = {node.index: _Half(graph, node) for node in nodes if _real_operand(node) is not None}
        parts = _RealParts(graph, halves)
        for node in [node for node in nodes if node.index not in halves]:
            users = [user for user, _ in graph.users(node)]
            if len(users) == 1 and users[0].op is not None and users[0].op.name == "real" and not graph.is_output(node) and has_fuel():
                parts.rewrite(node, users[0])
                result.count("real part")
        dce(graph)
        for half in halves.values():
            if half.node in graph and has_fuel():
                graph.replace_uses(half.node, half.whole())
                graph.remove(half.node)
                result.count("real signal")
    return result


def _is_wanted(node: Node) -> bool:
    """Is it a large transform along one axis, by numpy's own loops?"""
    if node.op is None or node.op.name != "fft" or len(node.params["axes"]) != 1 or node.aval.dtype != np.complex128:
        return False
    points = node.aval.shape[node.params["axes"][0]]
    return points >= POINTS and node.aval.size >= SIZE and isinstance(node.operands[0], Node) and has_own_kernel(node)


def _real_operand(node: Node) -> Node | None:
    """The real signal that is transformed, if it is one."""
    x = node.operands[0]
    if isinstance(x, Node) and x.op is not None and x.op.name == "convert":
        x = x.operands[0]
    return x if isinstance(x, Node) and x.aval.dtype == np.float64 else None


class _Half:
    """The first half of the spectrum of a real signal, which is made where it is first asked for."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        (self.axis,) = node.params["axes"]
        self.made: Node | None = None

    def half(self) -> Node:
        if self.made is None:
            signal = _real_operand(self.node)  # as of now: it may be a real part that was rewritten
            assert signal is not None
            inverse, norm = self.node.params["inverse"], self.node.params["norm"]
            params = {"axis": self.axis, "norm": SWAPPED[norm] if inverse else norm}
            self.made = self.add("rfft", signal, **params)
            if inverse:
                self.made = self.add("conj", self.made)
        return self.made

    def whole(self) -> Node:
        """All of the spectrum."""
        half, count = self.half(), (self.node.aval.shape[self.axis] - 1) // 2
        mirrored = _part(self.graph, self.node, half, self.axis, count, count, -1)
        return self.add("concatenate", half, self.add("conj", mirrored), axis=self.axis)

    def add(self, name: str, *operands: Operand, **params: object) -> Node:
        return _added(self.graph, self.node, name, *operands, **params)


def _added(graph: Graph, place: Node, name: str, *operands: Operand, **params: object) -> Node:
    return graph.add_from(place, REGISTRY[name], operands, params)


def _part(graph: Graph, place: Node, x: Operand, axis: int, start: int, count: int, step: int = 1) -> Node:
    """Entries of `x` along one axis."""
    shape = x.aval.shape
    params = {
        "start": tuple(start if k == axis else 0 for k in range(len(shape))),
        "count": tuple(count if k == axis else n for k, n in enumerate(shape)),
        "step": tuple(step if k == axis else 1 for k in range(len(shape))),
        "drop": (),
    }
    return _added(graph, place, "slice", x, **params)


class _RealParts:
    """Rewrites real parts of transforms; what is symmetric of an operand is made once."""

    def __init__(self, graph: Graph, halves: dict[int, _Half]) -> None:
        self.graph = graph
        self.halves = halves
        self.known: dict[tuple[int, int], Node] = {}  # by index of an operand and axis

    def rewrite(self, node: Node, real: Node) -> None:
        """The real part of a transform is an `irfft` of the symmetric part of its operand."""
        (axis,), norm = node.params["axes"], node.params["norm"]
        z = node.operands[0]
        assert isinstance(z, Node)
        spectrum = self.symmetric(node, z, axis)
        if not node.params["inverse"]:
            spectrum, norm = self.add(node, "conj", spectrum), SWAPPED[norm]
        self.graph.replace_uses(real, self.add(node, "irfft", spectrum, axis=axis, n=z.aval.shape[axis], norm=norm))
        self.graph.remove(real)

    def symmetric(self, place: Node, z: Node, axis: int) -> Node:
        """The first half of the symmetric part of z: where z is a spectrum with that symmetry times y, of y, times the spectrum."""
        if (half := self.half(z, axis)) is not None:
            return half
        if z.op is not None and z.op.name == "mul":
            for known, y in (z.operands, z.operands[::-1]):
                if isinstance(y, Node) and y.aval.shape == z.aval.shape and (half := self.half(known, axis)) is not None:
                    return self.add(place, "mul", half, self.mean(place, y, axis))
        return self.mean(place, z, axis)

    def half(self, z: Operand, axis: int) -> Node | None:
        found = self.halves.get(z.index) if isinstance(z, Node) else None
        return found.half() if found is not None and found.axis == axis else None

    def mean(self, place: Node, y: Node, axis: int) -> Node:
        """The first half of the mean of y and its mirror image, conjugated."""
        key = y.index, axis
        made = self.known.get(key)
        if made is None:
            wide = "complex128" if y.aval.dtype.kind == "c" else "float64"
            y = self.add(place, "convert", y, dtype=wide) if y.aval.dtype.name != wide else y
            graph, count = self.graph, y.aval.shape[axis] // 2
            one, others = _part(graph, place, y, axis, 0, 1), _part(graph, place, y, axis, 1, count)
            turned = _part(graph, place, y, axis, y.aval.shape[axis] - 1, count, -1)
            twice = self.add(place, "add", others, self.add(place, "conj", turned))
            rest = self.with_nan(place, self.add(place, "mul", static_literal(0.5, (twice,)), twice), others)
            first = self.with_nan(place, self.add(place, "real", one), one)
            if first.aval.dtype != rest.aval.dtype:
                first = self.add(place, "convert", first, dtype=rest.aval.dtype.name)
            made = self.known[key] = self.add(place, "concatenate", first, rest, axis=axis)
        return made

    def with_nan(self, place: Node, mean: Node, y: Node) -> Node:
        """`irfft` does not read imaginary parts of entries that are their own mirror images: infinity and nan go to the real part."""
        if y.aval.dtype.kind != "c":
            return mean
        part = self.add(place, "imag", y)
        return self.add(place, "add", mean, self.add(place, "mul", static_literal(0.0, (part,)), part))

    def add(self, place: Node, name: str, *operands: Operand, **params: object) -> Node:
        return _added(self.graph, place, name, *operands, **params)
