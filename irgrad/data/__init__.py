"""Data that ships with irgrad (README.md in this folder names sources and licences), and the models that the demo fits to it."""

from __future__ import annotations

import csv
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Iris(NamedTuple):
    """Fisher's iris data: one row a flower, four lengths in centimetres; `species` indexes `names`."""

    lengths: NDArray[np.float64]
    species: NDArray[np.int64]
    names: tuple[str, ...]
    columns: tuple[str, ...]


def load_iris() -> Iris:
    """Fisher's iris data, 150 flowers in the order of the paper."""
    text = resources.files(__name__).joinpath("iris.csv").read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    names = tuple(dict.fromkeys(row[-1] for row in rows))
    lengths = np.array([[float(cell) for cell in row[:-1]] for row in rows])
    species = np.array([names.index(row[-1]) for row in rows], np.int64)
    return Iris(lengths, species, names, tuple(header[:-1]))
