"""The demo fits real data, says what it did, and leaves graphs that can be read back."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import irgrad
from irgrad.__main__ import main
from irgrad.data import load_iris
from irgrad.demo import write_picture
from irgrad.ir.parser import parse


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What one run of the demo printed, and its folder."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["demo", "--save", str(folder), "--seed", "0"]) == 0
    return printed.getvalue(), folder


def test_iris_is_the_data_of_the_paper() -> None:
    iris = load_iris()
    assert iris.lengths.shape == (150, 4)
    assert iris.columns == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    assert iris.names == ("setosa", "versicolor", "virginica")
    assert iris.lengths[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    assert iris.lengths[[34, 37]].tolist() == [[4.9, 3.1, 1.5, 0.2], [4.9, 3.6, 1.4, 0.1]]  # wrong in some copies
    assert np.bincount(iris.species).tolist() == [50, 50, 50]
    means = [iris.lengths[iris.species == k].mean(axis=0) for k in range(3)]  # table 1 of the paper
    wanted = [[5.006, 3.428, 1.462, 0.246], [5.936, 2.770, 4.260, 1.326], [6.588, 2.974, 5.552, 2.026]]
    np.testing.assert_allclose(means, wanted, rtol=0, atol=1e-12)


def test_both_models_generalise(shown: tuple[str, Path]) -> None:
    shares = [float(share) for share in re.findall(r"held-out accuracy: \d+ of 50 = ([\d.]+)%", shown[0])]
    assert len(shares) == 2
    assert min(shares) >= 90.0


def test_progress_times_and_passes_are_shown(shown: tuple[str, Path]) -> None:
    text = shown[0]
    losses = [float(loss) for loss in re.findall(r"iteration +\d+: loss ([\d.]+)", text)]
    assert losses[0] == pytest.approx(np.log(3), abs=1e-4)  # the regression starts from nothing known
    assert min(losses) < 0.15
    assert len(re.findall(r"eager [\d.]+ us, compiled [\d.]+ us: [\d.]+ times faster", text)) == 2
    assert len(re.findall(r"tracing [\d.]+, passes [\d.]+, compiling [\d.]+ \(.*\), linking [\d.]+", text)) == 2
    assert len(re.findall(r"\d+ nodes before optimisation, \d+ after", text)) == 2
    assert {"dce", "simplify", "cse"} <= set(re.findall(r"^     ([a-z]+) +", text, re.MULTILINE))
    differences = [float(number) for number in re.findall(r"relative to the largest entry: (\S+)", text)]
    assert max(differences) < 1e-12


def test_graphs_are_written_and_read_back(shown: tuple[str, Path]) -> None:
    folder = shown[1]
    for model in ("regression", "network"):
        before, after = (parse((folder / f"{model}.{when}.txt").read_text(encoding="utf-8")) for when in ("before", "after"))
        assert len(before.nodes()) > len(after.nodes()) > 20
        assert "models.py:" in str(before)
        assert "def kernel_" in (folder / f"{model}.kernels.txt").read_text(encoding="utf-8")
        assert {file.suffix for file in folder.glob(f"{model}.before.*")} in ({".txt", ".svg"}, {".txt", ".dot"})


def test_the_copied_models_are_the_users_own(shown: tuple[str, Path]) -> None:
    models = load(shown[1] / "models.py")
    x, targets = np.linspace(-1.0, 1.0, 12).reshape(3, 4), np.eye(3)
    params = models.unpack(np.linspace(-1.0, 1.0, 67), 4, 8, 3)

    def loss(params: Any) -> Any:
        return -np.sum(targets * models.log_softmax(models.forward(params, x)))

    found = irgrad.grad(loss)(params)
    assert found["hidden"]["w"].shape == (4, 8)
    step = 1e-6
    moved = {**params, "output": {**params["output"], "b": params["output"]["b"] + step * np.eye(3)[1]}}
    assert found["output"]["b"][1] == pytest.approx((loss(moved) - loss(params)) / step, abs=1e-5)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("copied_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("drawn", [True, False])
def test_a_picture_is_svg_or_else_dot(drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irgrad.demo.to_svg", lambda graph: "<svg/>" if drawn else None)
    write_picture(irgrad.trace(np.sin)(1.0), tmp_path / "sine.before")
    path = tmp_path / ("sine.before.svg" if drawn else "sine.before.dot")
    text = path.read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag == "svg" if drawn else text.startswith("digraph")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"{irgrad.__version__}\n"


BAD_COMMANDS = {
    "demo --seed -1": "argument --seed: a seed is a whole number from 0 on, not '-1'",
    "demo --seed one": "argument --seed: a seed is a whole number from 0 on, not 'one'",
    "dmo": "invalid choice: 'dmo' (choose from",
    "": "the following arguments are required: COMMAND",
}


@pytest.mark.parametrize(("command", "message"), BAD_COMMANDS.items())
def test_bad_commands_are_refused(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["demo", "--save", str(tmp_path / "file" / "below")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("irgrad demo: ")
    assert str(tmp_path / "file") in error
