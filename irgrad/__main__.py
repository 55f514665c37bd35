"""`python -m irgrad`: the demo and the version."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from irgrad.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "version":
        print(__version__)
        return 0
    from irgrad.demo import demo

    try:
        demo(options.save, options.seed)
    except OSError as error:
        print(f"irgrad demo: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m irgrad", description="A graph-capture compiler with a differentiable IR for numpy code.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="fit two classifiers to Fisher's iris data with compiled gradients", description=(
        "Fit a logistic regression and a network to Fisher's iris data with scipy.optimize and compiled gradients; show accuracy, "
        "graphs and times."))  # fmt: skip
    demo.add_argument("--save", type=Path, metavar="DIR", help="folder for models, graphs and kernels (default: a new temporary one)")
    demo.add_argument("--seed", type=_seed, default=0, metavar="N", help="decides what is held out and where a fit starts (default: 0)")
    commands.add_parser("version", help="print the version")
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 on, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
