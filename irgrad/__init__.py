"""irgrad: gradients of numpy programs at native speed.

``irgrad.grad`` and its relatives differentiate ordinary functions; ``irgrad.jit`` compiles them; ``irgrad.trace`` shows the graph.
"""

import irgrad.ops as _ops  # noqa: F401, I001  (declares the primitives: first)
import irgrad.frontend.handlers as _handlers  # noqa: F401  (teaches tracers numpy's functions)
from irgrad import errors
from irgrad import operators as _operators
from irgrad.operators import *  # noqa: F403
from irgrad.runtime.explain import explain
from irgrad.runtime.graphs import optimized, trace
from irgrad.runtime.jit import jit
from irgrad.runtime.stats import Stats
from irgrad.version import __version__

__all__ = ["Stats", "__version__", "errors", "explain", "jit", "optimized", "trace", *_operators.__all__]  # noqa: PLE0604
