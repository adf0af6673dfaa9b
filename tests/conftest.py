"""Fixtures for every tier; each is made once, when the first test asks for it.

`bare_api_server` and `api_server` are etcd and kube-apiserver alone, without and with our CRDs;
`cluster` is a running Kubernetes of two real nodes at sites rome and oslo; `system` is Tephra installed on it with the
chart; `weather` is examples/weather applied and Ready; `quiet_hello` a namespace whose source hardly ever speaks.
"""

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import apiserver, bed
from tests.support.system import ROOT, System, hello

# Time limits per example would make property tests depend on how busy the machine is.
settings.register_profile("tephra", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tephra")


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


@pytest.fixture(scope="session")
def cluster() -> Iterator[bed.Bed]:
    """The cluster that TEPHRA_TEST_KUBECONFIG names, else a fresh one."""
    existing = bed.given()
    if existing:
        yield existing
        return
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root; run as root, or name one by TEPHRA_TEST_KUBECONFIG")
    sites = (f"--node-label=node-{number}=tephra.dev/site={site}" for number, site in ((1, "rome"), (2, "oslo")))
    with bed.fresh(2, *sites) as made:
        yield made


@pytest.fixture(scope="session")
def system(cluster: bed.Bed) -> System:
    """Tephra installed from the chart with the images of build/images; `make images` makes those."""
    archives = sorted(str(path) for path in (ROOT / "build/images").glob("*.tar"))
    assert archives, "build/images is empty: run `make images` first"
    if cluster.name:
        cluster.command("load", *archives)
    made = System(cluster.kubeconfig, cluster.assets)
    made.install()
    return made


@pytest.fixture(scope="session")
def weather(system: System) -> None:
    """examples/weather, applied and Ready."""
    system.apply(ROOT / "examples/weather")
    system.wait("vsilo", "home", "tenant-a")


@pytest.fixture(scope="session")
def quiet_hello(system: System) -> Iterator[str]:
    """`<namespace>/hello` of a ThingVisor with things hello and hello-2 that publishes once an hour."""
    with system.namespace("quiet") as namespace:
        system.apply(hello(namespace, period=3600, things=["hello", "hello-2"]))
        system.wait("thingvisor", "hello", namespace)
        yield f"{namespace}/hello"
