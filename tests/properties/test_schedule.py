"""Every scheduler on random workflows and platforms: the checker agrees, and no bound is above an optimum."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tephra.placement.schedule.model import Edge, Platform, Task, Vcpu, Vm, Workflow
from tephra.placement.schedule.solve import PLANNERS, schedule
from tests.support.workflows import valid

NETWORKS = ("near", "far")
TYPES = "xyz"


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """Up to seven tasks with edges from earlier to later ones."""
    count = draw(st.integers(1, 7))
    kinds, work = st.sampled_from(TYPES), st.integers(1, 50)
    usage, size = st.integers(1, 600), st.integers(0, 9_000)
    tasks = tuple(Task(f"t{n}", draw(kinds), draw(work), draw(usage), draw(size)) for n in range(count))
    pairs = [(one, other) for other in range(count) for one in range(other)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return Workflow(tasks, tuple(Edge(f"t{a}", f"t{b}", draw(size)) for a, b in chosen))


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    """One to three VMs of one or two vCPUs in two networks, with some images present and perhaps a cap."""
    vms = tuple(
        Vm(f"vm{number}", draw(st.sampled_from(NETWORKS)), frozenset(draw(st.sets(st.sampled_from(TYPES)))))
        for number in range(draw(st.integers(1, 3)))
    )
    vcpus = tuple(
        Vcpu(f"{vm.name}-{number}", vm.name, vm.name, draw(st.integers(500, 5_000)))
        for vm in vms
        for number in range(draw(st.integers(1, 2)))
    )
    bandwidth = {(a, b): 10 if a == b else 3 for a in NETWORKS for b in NETWORKS}
    images = {kind: draw(st.integers(0, 20_000)) for kind in TYPES}
    return Platform(vms, vcpus, bandwidth, "near", "near", images, draw(st.sampled_from([None, 600, 1_000])))


@settings(max_examples=60, deadline=None)
@given(workflows(), platforms(), st.integers(1, 3))
def test_a_limit_of_vcpus_is_kept_wherever_images_are(workflow: Workflow, platform: Platform, limit: int) -> None:
    given_ = workflow, platform
    ours, best = (valid(given_, schedule(*given_, solver=name, limit=limit, seconds=5)) for name in ("aware", "exact"))
    assert max(len({run.vcpu for run in result.runs}) for result in (ours, best)) <= limit
    assert best.lower_bound_us <= best.makespan_us <= ours.makespan_us


@settings(max_examples=60, deadline=None)
@given(workflows(), platforms())
def test_every_schedule_is_valid_and_the_optimum_is_not_beaten(workflow: Workflow, platform: Platform) -> None:
    given_ = workflow, platform
    best = valid(given_, schedule(*given_, solver="exact", seconds=5))
    ours = valid(given_, schedule(*given_))
    assert ours.lower_bound_us <= best.makespan_us <= ours.makespan_us
    for name in PLANNERS:
        peer = valid(given_, schedule(*given_, solver=name))
        assert best.lower_bound_us <= peer.makespan_us
        assert ours.makespan_us <= peer.makespan_us or name in {"cap", "com", "cuv-fix"}
