"""The runs that the tests of all formats share."""

from __future__ import annotations

import pytest

from interchange.running import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))
