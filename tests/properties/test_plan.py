"""Whatever the API server accepts, planners plan: without raising, twice the same, and never too good too early."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tephra.api.validate import validate_object
from tephra.bus.messages import Announcement, Attachment, AttachmentState, SiloReport, ThingVisorReport
from tephra.plan.base import BusAccess, BusPublish, BusState, Plan
from tests.support import worlds
from tests.support.manifests import candidates
from tests.support.worlds import World, condition, told_silo

SPACES = {"ThingVisor": "things", "VThing": "things", "VSilo": "tenant"}


def objects(kind: str) -> st.SearchStrategy[worlds.Manifest]:
    """Objects of a kind that the API server accepts, as it holds them."""
    valid = candidates(kind).filter(lambda manifest: not validate_object(manifest))
    return valid.map(lambda m: worlds.custom(kind, m["metadata"]["name"], m["spec"], SPACES.get(kind, "")))


ANY = st.one_of(*map(objects, ("Flavour", "ThingVisorType", "ThingVisor", "VThing", "VSilo")))


@given(ANY)
def test_any_object_alone_is_planned(item: worlds.Manifest) -> None:
    hand = World(item)
    assert hand.plan(item) == hand.plan(item)
    assert hand.lose(item).plan(item).status is None


@given(objects("Flavour"), objects("VSilo"))
def test_any_silo_of_any_flavour_is_planned(flavour: worlds.Manifest, silo: worlds.Manifest) -> None:
    silo["spec"]["flavour"] = flavour["metadata"]["name"]
    hand = World(flavour, silo)
    plan = hand.plan(silo)
    hand.perform(plan)
    assert hand.plan(silo) == hand.plan(silo)


@given(objects("ThingVisorType"), objects("ThingVisor"), st.lists(st.text(max_size=150), max_size=3, unique=True))
def test_any_visor_of_any_type_is_planned(type_: worlds.Manifest, visor: worlds.Manifest, things: list[str]) -> None:
    visor["spec"]["type"] = type_["metadata"]["name"]
    hand = World(type_, visor).say(worlds.visor_report(*things), f"things.{visor['metadata']['name']}")
    plan = hand.plan(visor)
    hand.perform(plan)
    assert hand.plan(visor) == hand.plan(visor)


IDS = ("things/hello/a", "things/hello/b", "things/hello/none")
SILO_REPORTS = st.builds(
    SiloReport,
    observed_generation=st.integers(1, 3),
    revision=st.sampled_from(["", "right", "wrong"]),
    epoch=st.just(1),
    broker_ready=st.booleans(),
    credentials_epoch=st.integers(0, 1),
    v_things=st.lists(
        st.builds(Attachment, id=st.sampled_from(IDS), state=st.sampled_from(AttachmentState)), max_size=3
    ).map(tuple),
)
VISOR_REPORTS = st.builds(
    ThingVisorReport,
    observed_generation=st.integers(1, 3),
    epoch=st.sampled_from([worlds.LONG_AGO, int(worlds.NOW * 1000) - 1000]),
    v_things=st.lists(
        st.builds(Announcement, thing=st.sampled_from("ab")), max_size=2, unique_by=lambda a: a.thing
    ).map(tuple),
)


@given(
    report=st.none() | SILO_REPORTS,
    visor=st.none() | VISOR_REPORTS,
    ids=st.lists(st.sampled_from(IDS), unique=True),
    ready=st.booleans(),
    connected=st.booleans(),
)
def test_a_silo_is_ready_only_when_everything_confirms(
    report: SiloReport | None, visor: ThingVisorReport | None, ids: list[str], ready: bool, connected: bool
) -> None:
    item = worlds.silo(*ids, generation=2)
    hand = World(worlds.flavour(), worlds.visor(), worlds.vthing("hello.a", "hello/a"), item).say(visor)
    plan = hand.plan(item)
    told = told_silo(plan)
    assert told is not None
    if report and report.revision == "right":
        report = report.model_copy(update={"revision": told.revision})
    hand.perform(plan, ready=ready).say(report)
    hand.bus = replace(hand.bus, connected=connected)
    plan = hand.plan(item)
    if condition(plan, "Ready")[0] != "True":
        return
    assert plan.settled
    assert ready
    assert connected
    assert report is not None
    assert (report.observed_generation, report.revision) == (2, told.revision)
    assert report.broker_ready
    assert {each.id for each in report.v_things if each.state is AttachmentState.ATTACHED} >= set(ids)
    assert told_silo(plan) == told


@given(report=st.none() | VISOR_REPORTS, ready=st.booleans(), connected=st.booleans())
def test_a_visor_is_ready_only_when_everything_confirms(
    report: ThingVisorReport | None, ready: bool, connected: bool
) -> None:
    item = worlds.visor(2)
    hand = World(worlds.visor_type(), item).say(report)
    hand.perform(hand.plan(item), ready=ready)
    hand.bus = replace(hand.bus, connected=connected)
    plan = hand.plan(item)
    good = ready and connected and report is not None and report.observed_generation == 2
    assert (condition(plan, "Ready")[0] == "True") is good
    assert plan.settled is good


@given(ANY, st.booleans())
def test_summary_conditions_agree(item: worlds.Manifest, connected: bool) -> None:
    hand = World(item)
    hand.bus = BusState(connected=connected)
    plan = hand.plan(item)
    assert plan.status is not None
    _agree(plan)
    if not connected:
        assert not any(isinstance(action, BusAccess | BusPublish) for action in plan.actions)


def _agree(plan: Plan) -> None:
    """kstatus: good, in progress or failed, never two of them; each condition once."""
    types = [each["type"] for each in (plan.status or {})["conditions"]]
    assert len(types) == len(set(types))
    ready, working, stalled = (condition(plan, name)[0] for name in ("Ready", "Reconciling", "Stalled"))
    assert (working == "True") is not plan.settled
    assert not (working and stalled)
    assert ready != "True" or not (working or stalled)
