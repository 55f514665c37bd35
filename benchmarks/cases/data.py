"""Inputs that several families use; every draw is seeded."""

from __future__ import annotations

from typing import Any

import numpy


def rng() -> numpy.random.Generator:
    return numpy.random.default_rng(7)


def labels(generator: numpy.random.Generator, rows: int, columns: int) -> Any:
    """One class a row, as ones and zeros."""
    return numpy.eye(columns)[generator.integers(0, columns, rows)]
