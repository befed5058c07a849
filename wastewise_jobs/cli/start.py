"""What every command does first."""

from typing import Any

from wastewise_jobs.cli.arguments import option_of
from wastewise_jobs.errors import ConfigurationError, InvalidInputError
from wastewise_jobs.logs import configure_logging
from wastewise_jobs.settings import Settings, load_settings


def start(*, quiet: bool = False, **flags: Any) -> Settings:  # noqa: ANN401 - any field's value
    """The settings, with the flags that were given over them; logs are set up.

    `quiet` logs from WARNING on, unless LOG_LEVEL says otherwise.
    """
    settings = settings_with(**flags)
    asked = "log_level" in settings.model_fields_set
    level = "WARNING" if quiet and not asked else settings.log_level
    configure_logging(level, settings.log_format)
    return settings


def settings_with(**flags: Any) -> Settings:  # noqa: ANN401 - any field's value
    """The settings, with the flags that were given over them; a wrong one is named as a flag."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return load_settings(**given)
    except ConfigurationError as error:
        name = error.variable.lower()
        if name not in given:
            raise
        raise InvalidInputError(option_of(name), error.problem) from None
