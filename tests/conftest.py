"""For all tests: graphs are verified after every pass, kernels go to a store of the session, random numbers are seeded.

A path is traced and linked by the second call that meets it: most tests are about what compiled code answers. Those with the fixture
`turns` leave it to later calls.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.config import CONFIG

_made: list[str] = []


def pytest_configure() -> None:
    """Workers of one session inherit the store through the environment; a store chosen by the user is left in place."""
    if not os.environ.get("IRGRAD_STORE"):
        _made.append(tempfile.mkdtemp(prefix="irgrad-tests-"))
        os.environ["IRGRAD_STORE"] = _made[0]
    CONFIG.store = Path(os.environ["IRGRAD_STORE"])
    CONFIG.check = True
    CONFIG.path_share = 0


def pytest_unconfigure() -> None:
    for folder in _made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's name: the same numbers whichever tests run, in whatever order."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(params=[False, True], ids=["eager", "jit"])
def wrap(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """What a test calls functions through: nothing, or `jit`."""
    return irgrad.jit if request.param else lambda f: f


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels run as Python."""
    monkeypatch.setattr(CONFIG, "evaluate", True)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """New paths are traced and linked by later calls, a share of each, as users have it."""
    monkeypatch.setattr(CONFIG, "path_share", 33)
