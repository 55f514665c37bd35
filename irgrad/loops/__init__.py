"""Structured loops and branches: `scan`, `fori_loop`, `while_loop`, `cond`, `checkpoint`.

Each is one node with its body as a subgraph: tracing and compiling it costs the same for any number of iterations. Python's own `for`,
`while` and `if` need none of this; these are for loops of many thousands of iterations, and for branches inside of them.
"""

from irgrad.loops import batch as _batch  # noqa: F401  (batching rules)
from irgrad.loops.branches import checkpoint, cond
from irgrad.loops.iterate import fori_loop, scan, while_loop

__all__ = ["checkpoint", "cond", "fori_loop", "scan", "while_loop"]
