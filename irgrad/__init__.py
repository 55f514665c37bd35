"""irgrad: gradients of numpy programs at native speed.

``irgrad.grad`` and its relatives differentiate ordinary functions; ``irgrad.jit`` compiles them; ``irgrad.trace`` shows the graph.
"""

import irgrad.ops as _ops  # noqa: F401  (declares the primitives)
import irgrad.frontend.handlers as _handlers  # noqa: F401  (teaches tracers numpy's functions)
from irgrad.operators import grad, value_and_grad
from irgrad.runtime.jit import jit

from irgrad.version import __version__
__all__ = ["grad", "jit", "value_and_grad"]
