"""Fixtures of the cluster tests: `cluster` is a running Kubernetes of two real nodes, one for the whole session."""

import os
from collections.abc import Iterator

import pytest

from tests.support import bed


@pytest.fixture(scope="session")
def cluster() -> Iterator[bed.Bed]:
    """The cluster that TEPHRA_TEST_KUBECONFIG names, else a fresh one."""
    existing = bed.given()
    if existing:
        yield existing
        return
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root; run as root, or name one by TEPHRA_TEST_KUBECONFIG")
    with bed.fresh(
        2, "--node-label", "node-1=tephra.dev/site=rome", "--node-label", "node-2=tephra.dev/site=oslo"
    ) as made:
        yield made
