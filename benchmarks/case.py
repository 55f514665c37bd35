"""What a benchmark is: a function of a numpy namespace, its inputs by size, and its gradient written by hand where a limit is wanted.

Data come as arguments, sizes of loops from the case. A function written by hand for one peer computes the gradient of the same loss; it
is checked against the others before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_WRITTEN = "not written"
SIZES = ("tiny", "S", "M", "L")
DERIVATIVES = ("grad", "hvp", "jacobian", "hessian")


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark.

    `make(np, size)` gives the function, `inputs(size)` its arguments, `argnum` what to differentiate. `derivative` is one of DERIVATIVES:
    the gradient of a loss, the product of its Hessian with the last of `inputs`, its Hessian, or the Jacobian of a function with array
    values.

    `forms` holds the same function for a peer that cannot run the source as it stands (no item assignment, no such function). `numba(size)`
    gives the derivative as explicit loops in plain Python, for Numba to compile; `lax(jax, size)` the derivative with JAX's own loops.

    `sizes` says what a size name stands for; one that is missing is the next smaller one. `flops(size)` counts those of the matrix products
    that the derivative cannot do without, for the limit that BLAS sets. `skip` holds why a peer cannot run, `slow` why it runs only by name
    or from size M on, `pending` why irgrad cannot yet.
    """

    name: str
    make: Callable[[Any, Any], Callable[..., Any]]
    inputs: Callable[[Any], tuple[Any, ...]]
    sizes: Mapping[str, Any]
    argnum: int | tuple[int, ...] = 0
    derivative: str = "grad"
    forms: Mapping[str, Callable[[Any, Any], Callable[..., Any]]] = field(default_factory=dict)
    numba: Callable[[Any], Callable[..., Any]] | None = None
    lax: Callable[[Any, Any], Callable[..., Any]] | None = None
    flops: Callable[[Any], int] | None = None
    skip: Mapping[str, str] = field(default_factory=dict)
    slow: Mapping[str, str] = field(default_factory=dict)
    pending: str = ""

    def size(self, name: str) -> Any:
        """What the size name stands for here."""
        return next((self.sizes[known] for known in reversed(SIZES[: SIZES.index(name) + 1]) if known in self.sizes), self.sizes["S"])

    def has_size(self, name: str) -> bool:
        """Whether the name stands for a size of its own."""
        return name in self.sizes or name == "tiny"

    def form(self, peer: str) -> Callable[[Any, Any], Callable[..., Any]]:
        """The function as the peer runs it."""
        return self.forms.get(peer, self.make)

    def why_not(self, peer: str, size: str, named: bool = False) -> str:
        """Why `peer` has no figure here; empty where it has one."""
        if peer in ("irgrad", "eager") and self.pending:
            return self.pending
        if peer in self.skip:
            return self.skip[peer]
        if (peer == "numba" and self.numba is None) or (peer == "jax-lax" and self.lax is None):
            return NOT_WRITTEN
        if peer in self.slow and size in ("tiny", "S") and not named:
            return f"{self.slow[peer]}: only from --size M on or with --peers {peer}"
        return ""
