"""Fixtures for every tier: a real API server that starts when the first test asks for it."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support import apiserver


@pytest.fixture(scope="session")
def bare_api_server() -> Iterator[apiserver.ApiServer]:
    """etcd and kube-apiserver, nothing installed. Shared: name what you make uniquely."""
    with apiserver.running() as server:
        yield server


@pytest.fixture(scope="session")
def api_server(bare_api_server: apiserver.ApiServer) -> apiserver.ApiServer:
    """The same with our CRDs."""

    async def install() -> None:
        async with bare_api_server.client() as client:
            await apiserver.install_crds(client)

    asyncio.run(install())
    return bare_api_server
