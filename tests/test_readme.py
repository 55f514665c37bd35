"""Documentation that runs: the Python blocks of README.md and docs/*.md, in order, one name space for each file.

A block fenced ``python`` runs; ``python no-run`` does not. A block fenced ``text`` right after it is what it prints, where ``...``
stands for anything. A block whose first line is ``# name.py`` runs as that file, so that source lines in what it prints are its own.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*) *([\w-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


@dataclass
class Block:
    """Code of a page from `line` on, and what it prints, if the page says so."""

    line: int
    code: str
    printed: str | None = None


def blocks_of(text: str) -> list[Block]:
    """The blocks of a page that run."""
    blocks: list[Block] = []
    end = -1
    for found in FENCE.finditer(text):
        language, mark, body = found.groups()
        if language == "python" and not mark:
            blocks.append(Block(text.count("\n", 0, found.start(3)), body))
            end = found.end()
        elif language == "text" and end >= 0 and not text[end : found.start()].strip():
            blocks[-1].printed = body
            end = -1
        else:
            end = -1
    return blocks


def run(block: Block, page: Path, folder: Path, space: dict[str, Any]) -> str:
    """What the block prints."""
    named = re.match(r"# (\w+\.py)\n", block.code)
    file = folder / (named.group(1) if named else f"{page.stem}_{block.line}.py")
    source = block.code if named else "\n" * block.line + block.code  # line numbers of the page
    file.write_text(source, encoding="utf-8")
    space["__file__"] = str(file)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(source, str(file), "exec"), space)
    return shown.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_and_print_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": page.stem}
    for block in blocks_of(page.read_text(encoding="utf-8")):
        shown = run(block, page, tmp_path, space)
        if block.printed is not None and not doctest.OutputChecker().check_output(block.printed, shown, LOOSE):
            pytest.fail(f"{page.name}, line {block.line}: the page says\n{block.printed}\nthe block prints\n{shown}", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert missing == []


def test_a_page_that_is_wrong_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="line 1: the page says\n3\n\nthe block prints\n2\n"):
        test_blocks_run_and_print_what_the_page_says(page, tmp_path, monkeypatch)
