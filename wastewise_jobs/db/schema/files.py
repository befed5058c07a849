"""The SQL files that make the schema: where they are, and the order they run in."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from wastewise_jobs.errors import DatabaseUnusableError

_DROPPED = re.compile(r"DROP TABLE (?:IF EXISTS )?(\w+)")


def migrations_dir() -> Path:
    """Find the SQL files: package data in a wheel, the sibling folder in a checkout."""
    package = Path(__file__).parents[2]
    packaged = package / "_migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"


@dataclass(frozen=True, slots=True)
class MigrationFiles:
    """The names, without `.sql`, of one folder's migrations, each kind in the order it runs."""

    folder: Path
    numbered: tuple[str, ...]
    post_apply: tuple[str, ...]
    post_apply_hash: str

    def text(self, name: str) -> str:
        return (self.folder / f"{name}.sql").read_text(encoding="utf-8")

    def dropped_by(self, name: str) -> list[str]:
        """The tables that a file may drop."""
        path = self.folder / f"{name}.sql"
        return _DROPPED.findall(path.read_text(encoding="utf-8")) if path.exists() else []


def read_files(folder: Path) -> MigrationFiles:
    """List a folder: `0001_x.sql` is numbered, `post-apply.x.sql` is not, a rollback is neither."""
    names = sorted(path.stem for path in folder.glob("*.sql"))
    post_apply = tuple(name for name in names if name.startswith("post-apply"))
    numbered = (n for n in names if n not in post_apply and not n.endswith(".rollback"))
    texts = hashlib.sha256()
    for name in post_apply:
        texts.update(name.encode() + b"\0" + (folder / f"{name}.sql").read_bytes() + b"\0")
    files = MigrationFiles(folder, tuple(numbered), post_apply, texts.hexdigest())
    if not files.numbered:
        raise DatabaseUnusableError(f"{folder} holds no migrations: the installation is broken")
    return files
