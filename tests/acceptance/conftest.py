import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import reachable_folder
from tests.support.commands import processes_of


@pytest.fixture
def home() -> Iterator[Path]:
    """A place for an embedded server, of which nothing may run at the end of the test."""
    folder = reachable_folder()
    yield folder
    assert processes_of(folder) == []
    shutil.rmtree(folder)
