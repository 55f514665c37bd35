"""Where in the user's program a value comes from."""

from __future__ import annotations

import linecache
import os.path
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's program; `note` says more where the line alone does not (a loop iteration, a rule)."""

    file: str
    line: int
    function: str
    note: str = ""

    @property
    def text(self) -> str:
        """The line itself without its indentation; empty if the file cannot be read."""
        return linecache.getline(self.file, self.line).strip() if self.line > 0 else ""

    @property
    def is_known(self) -> bool:
        return self.line > 0

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}" if self.is_known else self.file
