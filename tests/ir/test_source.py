from __future__ import annotations

from pathlib import Path

from irgrad.ir.source import Source


def test_source_prints_base_name_and_line(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text("def f(x):\n    if x > 0:\n        return x\n")
    source = Source(str(path), 2, "f")
    assert str(source) == "model.py:2"
    assert source.text == "if x > 0:"
    assert source.is_known


def test_unknown_source_has_no_line() -> None:
    unknown = Source("unknown", 0, "")
    assert not unknown.is_known
    assert unknown.text == ""
    assert Source("no/such/file.py", 3, "f").text == ""
