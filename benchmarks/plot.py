"""A picture of the ratios: one line a case, one mark a peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MARKS = {"autograd": "v", "jax": "o", "jax-lax": "s", "numba": "D"}


def draw(results: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write an SVG of seconds a call over those of compiled irgrad, with text as text."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "irgrad", "font.size": 8, "path.simplify": True})
    from matplotlib import pyplot

    shown = [result for result in results if "steady" in result["peers"].get("irgrad", {})][::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.17 * len(shown)))
    for peer, mark in MARKS.items():
        points = [(r["peers"][peer]["steady"]["ratio"], k) for k, r in enumerate(shown) if "steady" in r["peers"].get(peer, {})]
        if points:
            axes.plot([x for x, _ in points], [y for _, y in points], mark, markersize=4, label=peer)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_yticks(range(len(shown)), [result["case"] for result in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlabel("time of a call over that of compiled irgrad (right of 1: irgrad is faster)")
    axes.legend(loc="lower right")
    axes.grid(axis="x", linewidth=0.3)
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
