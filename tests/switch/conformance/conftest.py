"""The bed of each switch, made once; and the table of known differences applied to the cases.

A case takes the fixture `sw` and so runs on quake and on Open vSwitch. Where differences.py says that Open vSwitch does
otherwise than the specification, its case is expected to fail, strictly: should it pass one day, the table is wrong.
quake has no such table.
"""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.namespaces import NEEDS_ROOT

from . import switches
from .bed import PORTS, Bed
from .controller import accept, listen
from .differences import DIFFERENCES
from .network import network


def pytest_configure(config: pytest.Config) -> None:
    """Known marks."""
    config.addinivalue_line("markers", "clause(*names): the clauses of the specification that a case is for")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases that Open vSwitch is known to fail, with the clause that decides them."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or callspec.params.get("bed") != "ovs":
            continue
        name = item.name.replace("ovs-", "", 1).replace("[ovs]", "")
        difference = DIFFERENCES.get(name)
        if difference is not None:
            item.add_marker(pytest.mark.xfail(strict=True, reason=f"{difference.clause}: {difference.ovs}"))


@pytest.fixture(scope="session", params=["quake", "ovs"])
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """A running switch with four wires and three controllers."""
    name = request.param
    reason = switches.missing(name) or NEEDS_ROOT
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(switches.home())
        net = stack.enter_context(network(name, PORTS))
        paths = [where / f"c{n}" for n in range(3)]
        listeners = [stack.enter_context(listen(path)) for path in paths]
        running = stack.enter_context(switches.START[name](where, net, paths))
        controllers = [accept(listener) for listener in listeners]
        for controller in controllers:
            stack.enter_context(controller.socket)
        yield Bed(running, net, controllers[0], controllers[1:])


@pytest.fixture
def sw(bed: Bed) -> Bed:
    """The bed, emptied."""
    bed.reset()
    return bed
