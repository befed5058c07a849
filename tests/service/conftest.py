from collections.abc import AsyncIterator

import pytest

from tests.support.channels import channel_settings
from tests.support.receivers import Receiver, receiver
from wastewise_jobs.settings import Settings


@pytest.fixture
async def outside() -> AsyncIterator[Receiver]:
    """All services that alerts go to, on one port."""
    async with receiver() as found:
        yield found


@pytest.fixture
def settings(outside: Receiver) -> Settings:
    """Every channel leads to `outside`."""
    return channel_settings(outside.url)
