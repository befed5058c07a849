"""What every command does first."""

from typing import Any

from wastewise_jobs.logs import configure_logging
from wastewise_jobs.settings import Settings, load_settings


def start(**flags: Any) -> Settings:  # noqa: ANN401 - any field's value
    """The settings, with the flags that were given over them; logs are set up."""
    settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
    configure_logging(settings.log_level, settings.log_format)
    return settings
