"""A real API server's judgement of manifests, for the property tests."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.apiserver import ApiServer, refusal

Verdict = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="session")
def judge(api_server: ApiServer) -> Iterator[Verdict]:
    """``judge(manifest)``: what the API server says against creating it ("" when it takes it)."""
    with asyncio.Runner() as runner:
        client = api_server.client()
        yield lambda manifest: runner.run(refusal(client, manifest))
        runner.run(client.close())
