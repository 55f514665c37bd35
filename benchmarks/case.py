"""What a benchmark is: a function of a numpy namespace, its inputs by size, and its gradient written by hand where a limit is wanted.

Data come as arguments, sizes of loops from the case. A function written by hand for one peer computes the gradient of the same loss; it
is checked against the others before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_WRITTEN = "not written"
SIZES = ("tiny", "S", "M")


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark.

    `make(np, size)` gives the loss, `inputs(size)` its arguments, `argnum` what to differentiate. `numba(size)` gives the gradient as
    explicit loops in plain Python, for Numba to compile; `lax(jax, size)` the gradient with JAX's own loops. `sizes` says what a size
    name stands for; one that is missing is S. `skip` holds why a peer cannot run, `slow` why it runs only by name or at size M.
    """

    name: str
    make: Callable[[Any, Any], Callable[..., Any]]
    inputs: Callable[[Any], tuple[Any, ...]]
    sizes: Mapping[str, Any]
    argnum: int | tuple[int, ...] = 0
    numba: Callable[[Any], Callable[..., Any]] | None = None
    lax: Callable[[Any, Any], Callable[..., Any]] | None = None
    skip: Mapping[str, str] = field(default_factory=dict)
    slow: Mapping[str, str] = field(default_factory=dict)

    def size(self, name: str) -> Any:
        return self.sizes.get(name, self.sizes["S"])

    def why_not(self, peer: str, size: str, named: bool = False) -> str:
        """Why `peer` has no figure here; empty where it has one."""
        if peer in self.skip:
            return self.skip[peer]
        if (peer == "numba" and self.numba is None) or (peer == "jax-lax" and self.lax is None):
            return NOT_WRITTEN
        if peer in self.slow and size != "M" and not named:
            return f"{self.slow[peer]}: only with --size M or --peers {peer}"
        return ""
