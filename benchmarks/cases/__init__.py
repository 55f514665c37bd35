"""All cases, by name, in the order of the table."""

from __future__ import annotations

from benchmarks.case import Case
from benchmarks.cases import dense, loops, scalar

CASES: dict[str, Case] = {case.name: case for family in (scalar, loops, dense) for case in family.CASES}
