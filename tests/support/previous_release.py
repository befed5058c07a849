"""The release before this one, as its commit has it, in an environment of its own."""

import io
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

COMMIT = "32eb950"
ROOT = Path(__file__).parents[2]


def install(folder: Path) -> str:
    """Unpack it there; returns the Python that imports it. Skips where the commit is missing."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", COMMIT, "wastewise_jobs", "migrations"],
        capture_output=True,
        check=False,
    )
    if packed.returncode:
        pytest.skip(f"this clone does not have the previous release, commit {COMMIT}")
    source = folder / "release"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(source, filter="data")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # Its own package before anything else; what it depends on is the same as today's.
    (site / "release.pth").write_text(f"{source}\n{sysconfig.get_path('purelib')}\n")
    found = subprocess.run(
        [python, "-c", "import wastewise_jobs; print(wastewise_jobs.__file__)"],
        capture_output=True,
        check=True,
        text=True,
        cwd=folder,
    )
    assert found.stdout.strip() == str(source / "wastewise_jobs" / "__init__.py"), sys.executable
    return str(python)
