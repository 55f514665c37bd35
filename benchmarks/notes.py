"""Why a case falls short of a target, what was tried, what it would need: written by hand, printed by `benchmarks.page`."""

from __future__ import annotations

NOTES: dict[str, str] = {}
