"""What a pass reports, and the fuel that bounds rewriting when a wrong answer is bisected."""

from __future__ import annotations

from dataclasses import dataclass, field

from irgrad.config import CONFIG
from irgrad.ir.graph import Graph


@dataclass
class PassResult:
    """The graph after a pass, whether it changed, and counts of what was done."""

    graph: Graph
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return any(self.counts.values())

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


def has_fuel() -> bool:
    """May one more rewrite be done? Uses up one unit of IRGRAD_FUEL."""
    if CONFIG.fuel is None:
        return True
    if CONFIG.fuel <= 0:
        return False
    CONFIG.fuel -= 1
    return True
