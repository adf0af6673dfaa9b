"""What the benchmark of subscriptions stands on: classes that are offered, and the bound that nobody beats."""

import numpy as np

from bench.placement.acceptance import clairvoyant
from bench.placement.subscriptions import offered_classes, stream
from tephra.placement import Node, Policy, Residual, Site, Topology, generate
from tephra.placement.chains import chain
from tephra.placement.network import anchor_delay
from tephra.placement.simulate import Kind, replay


def test_every_class_sold_has_a_data_centre_within_it() -> None:
    rng = np.random.default_rng(3)
    topology = generate.with_data_centres(rng, generate.waxman(rng, 30, side_us=20_000), 3)
    raw = [generate.chain(rng, f"c{number}", topology, 5) for number in range(20)]
    sold, raised = offered_classes(topology, raw), 0
    for before, after in zip(raw, sold, strict=True):
        delay = anchor_delay(topology, topology.site_index[after.endpoints[0].site])[topology.node_site].min()
        for old, new in zip(before.functions, after.functions, strict=True):
            assert new.max_delay_us is None or new.max_delay_us >= delay
            assert new.max_delay_us == old.max_delay_us or (old.max_delay_us or 0) < delay
            raised += new != old
    assert raised > 0


def test_nobody_accepts_more_than_the_clairvoyant_bound() -> None:
    topology, arrivals = stream("waxman-20", 4, (6,), 40, 20)
    requests = tuple(arrival.request for arrival in arrivals)
    forever = [arrival._replace(until=float("inf")) for arrival in arrivals]
    events = replay(Residual.of(topology), forever, lambda residual, request: chain.place(residual, request, Policy()))
    accepted = sum(event.kind is Kind.ACCEPTED for event in events)
    assert 0 < accepted <= clairvoyant(topology, requests) < len(requests)
    huge = Topology(tuple(Site(site.name, _grown(site.nodes)) for site in topology.sites), topology.links)
    assert clairvoyant(huge, requests) == len(requests)


def _grown(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(Node(node.name, 1_000 * node.cpu_m, 1_000 * node.memory_mib) for node in nodes)
