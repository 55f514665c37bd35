"""What several recordings of one function have in common: is a path known, and do they agree?"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.recording import Recording
from irgrad.runtime.tree import PathNode, PathTree


def known_leaf(tree: PathTree, outcome: tuple[int, ...]) -> PathNode | None:
    """The leaf where these outcomes of guards lead; None where that is no known path."""
    node = tree.root
    for value in outcome:
        if node is None or node.guard is None:
            return None
        node = node.children.get(value)
    return node if node is not None and node.is_leaf else None


def outputs_differ(a: Recording, b: Recording) -> str:
    """How the results of two recordings of one path differ; empty if they do not."""
    if len(a.outputs) != len(b.outputs):
        return "the results have different structures"
    for x, y in zip(a.outputs, b.outputs, strict=True):
        if type(x) is tuple and type(y) is tuple:
            if not _same_constant(x[0], y[0]):
                return "a constant result"
        elif x != y:
            return "other values are returned"
    return ""


def _same_constant(x: Any, y: Any) -> bool:
    if x is y:
        return True
    try:
        return type(x) is type(y) and bool(np.all(np.asarray(x == y)) or (x != x and y != y))
    except Exception:
        return False


def contradiction_of(tree: PathTree, recording: Recording) -> str:
    """Where a recording contradicts the paths of a tree; empty where it does not."""
    return (tree.differs(recording) or "") if tree.root is not None else ""


def differ(earlier: Recording, recording: Recording) -> str:
    """How two recordings of one path differ; empty if they do not."""
    alone = PathTree()
    alone.attach(earlier)
    return alone.differs(recording) or outputs_differ(earlier, recording)
