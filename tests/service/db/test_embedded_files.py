"""Whoever else is on the machine can neither block the embedded server nor be given its folders."""

import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import reachable_folder
from wastewise_jobs.db.embedded import files as embedded_files
from wastewise_jobs.db.embedded.files import check_home, open_lock
from wastewise_jobs.db.embedded.server import embedded_postgres
from wastewise_jobs.errors import ConfigurationError, DatabaseUnusableError

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
NOBODY = pwd.getpwnam("nobody")


def nobody_locks(path: Path) -> bool:
    """Whether somebody else can take the lock, and so keep us from it."""
    command = ["/bin/sh", "-c", 'exec 9<"$1" && flock -n 9', "sh", str(path)]
    held = subprocess.run(command, user=NOBODY.pw_uid, cwd="/", capture_output=True, check=False)
    return held.returncode == 0


def test_a_link_in_the_place_of_the_sockets_folder_gives_nothing_away(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    link = tmp_path / "s"
    link.symlink_to(victim)
    user = NOBODY if os.geteuid() == 0 else None
    with pytest.raises(DatabaseUnusableError, match="is not a private folder"):
        embedded_files._make_private(link, user)
    assert victim.stat().st_uid == os.geteuid()


def test_a_folder_becomes_a_link_between_the_look_and_the_gift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "s"
    victim.mkdir(mode=0o700)
    fstat = os.fstat

    def swap(number: int) -> os.stat_result:
        if not folder.is_symlink():
            folder.rename(tmp_path / "away")
            folder.symlink_to(victim)
        return fstat(number)

    monkeypatch.setattr(os, "fstat", swap)
    embedded_files._make_private(folder, NOBODY if os.geteuid() == 0 else None)
    assert victim.stat().st_uid == os.geteuid()


@AS_ROOT
def test_nobody_else_can_hold_a_lock_of_ours() -> None:
    home = reachable_folder()
    path = home / "start.lock"
    # As an earlier release left it.
    path.touch(mode=0o644)
    assert nobody_locks(path)
    with open_lock(path):
        assert not nobody_locks(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lock_that_others_may_open_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "start.lock"
    old = os.umask(0)
    try:
        with open_lock(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_a_lock_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "name").hardlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        open_lock(tmp_path / "link")
    with pytest.raises(ConfigurationError, match="is not ours alone"):
        open_lock(tmp_path / "name")


@AS_ROOT
def test_a_lock_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "start.lock"
    path.touch()
    os.chown(path, NOBODY.pw_uid, -1)
    with pytest.raises(ConfigurationError, match="is not ours alone"):
        open_lock(path)


async def test_a_home_in_which_anybody_writes_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigurationError, match=r"WASTEWISE_HOME: .* anybody may write there"):
        async with embedded_postgres(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@AS_ROOT
def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY.pw_uid, -1)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        check_home(tmp_path)
