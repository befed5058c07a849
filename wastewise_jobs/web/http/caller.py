"""Who asks, as the credential says it. Nothing in a body, a query or a header can change it."""

from dataclasses import dataclass
from uuid import UUID

READ, WRITE, ADMIN = "read", "write", "admin"
ALL_SCOPES = frozenset({READ, WRITE, ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """A user; `scopes` limits what this credential of theirs may do. `admin` implies the rest."""

    user_id: UUID
    scopes: frozenset[str]

    @property
    def admin(self) -> bool:
        """Sees everybody's jobs and projects, and may use /api/admin."""
        return ADMIN in self.scopes

    @property
    def sees_only(self) -> UUID | None:
        """The user whose rows this caller may see; None means everybody's."""
        return None if self.admin else self.user_id

    def may(self, scope: str) -> bool:
        """Whether the credential covers the scope."""
        return scope in self.scopes or self.admin


NOBODY = Caller(UUID(int=0), frozenset())
