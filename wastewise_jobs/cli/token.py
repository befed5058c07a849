"""`token`: a bearer token for the API, for development and for operators who hold the secret."""

from typing import Annotated
from uuid import UUID

import typer


def token(
    *,
    user: Annotated[UUID, typer.Option(help="The user (UUID) that the token speaks for.")],
    admin: Annotated[bool, typer.Option("--admin", help="May see and do everything.")] = False,
    hours: Annotated[
        float, typer.Option(min=0.01, max=8760, help="How long the token is good for.")
    ] = 12.0,
) -> None:
    """Print a bearer token.

    Signed with JWT_SECRET, or with the secret in WASTEWISE_HOME when the embedded server is used.
    """
    from wastewise_jobs.cli.arguments import somebody
    from wastewise_jobs.cli.credentials import make_token
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.errors import ConfigurationError
    from wastewise_jobs.settings import generated_secret

    somebody(user)
    settings = start()
    if settings.jwt_secret is None and not (settings.embedded and not settings.auth_configured):
        if settings.jwt_jwks_url:
            raise ConfigurationError("JWT_SECRET", "is not set: JWT_JWKS_URL's issuer makes tokens")
        raise ConfigurationError(
            "JWT_SECRET", "is needed to sign tokens for DATABASE_URL's service"
        )
    secret = settings.jwt_secret or generated_secret(settings.wastewise_home)
    typer.echo(
        make_token(
            secret.get_secret_value(),
            user=user,
            lifetime_seconds=int(hours * 3600),
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            admin=admin,
        )
    )
