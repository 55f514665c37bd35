"""All cases, by name, in the order of the table."""

from __future__ import annotations

from benchmarks.case import Case
from benchmarks.cases import derivatives, elementwise, gather, inplace, loops, matmul, scalar, sequences, signals, solves

FAMILIES = (scalar, elementwise, matmul, signals, solves, gather, derivatives, loops, sequences, inplace)
CASES: dict[str, Case] = {case.name: case for family in FAMILIES for case in family.CASES}
