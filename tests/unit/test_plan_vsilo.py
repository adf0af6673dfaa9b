"""VSilo: what a tenant gets, who is let in, and what the conditions say on the way (contracts §1, §2, §4, §5)."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from tephra.bus.messages import Attachment, AttachmentState
from tephra.bus.roles import Access
from tephra.plan.base import BusAccess, BusForget, BusPublish, BusState, Plan, Settings
from tests.support import worlds
from tests.support.worlds import World, applied, condition, confirm, message, silo, told_silo

THING = "things/hello/a"


def world(*items: worlds.Manifest, **settings: str) -> World:
    base = (worlds.namespace("tenant"), worlds.flavour(), worlds.visor(), worlds.vthing("hello.a", "hello/a"))
    return World(*base, *items, settings=Settings(**settings)).say(worlds.visor_report("a"))


def role_topics(plan: Plan, access: Access) -> set[str]:
    granted = next(action for action in plan.actions if isinstance(action, BusAccess))
    return {rule.topic for rule in granted.role if rule.access is access}


def test_role_is_in_force_before_the_desired_state() -> None:
    plan = world(silo(THING)).plan(silo(THING))
    on_bus = [action for action in plan.actions if isinstance(action, BusAccess | BusPublish)]
    assert [type(action) for action in on_bus] == [BusAccess, BusPublish]
    assert "vThing/things.hello/a/data_out/+" in role_topics(plan, Access.RECEIVE)


def test_ready_only_when_pod_and_controller_confirm() -> None:
    hand, item = world(silo(THING)), silo(THING)
    first = hand.plan(item)
    assert (condition(first, "Ready"), first.settled) == (("False", "Progressing"), False)
    hand.perform(first, ready=False)
    assert condition(hand.plan(item), "Ready") == ("False", "WaitingForPod")
    hand.perform(first)
    assert condition(hand.plan(item), "ControllerReady") == ("False", "WaitingForReport")
    told = told_silo(first)
    assert told is not None
    hand.say(confirm(told, v_things=()))
    pending = hand.plan(item)
    assert (condition(pending, "VThingsAttached"), pending.settled) == (("False", "Progressing"), False)
    hand.say(confirm(told))
    done = hand.plan(item)
    assert (condition(done, "Ready"), done.settled) == (("True", "Ready"), True)
    assert condition(done, "Reconciling") == condition(done, "Stalled") == ("", "")
    assert done.status is not None
    assert (done.status["attached"], done.status["vThings"]) == ("1/1", [{"id": THING, "state": "Attached"}])


def test_edit_is_not_settled_before_it_is_confirmed() -> None:
    hand = world(silo(THING), worlds.vthing("hello.b", "hello/b")).say(worlds.visor_report("a", "b"))
    hand.settle(silo(THING))
    edited = silo(THING, "things/hello/b", generation=2)
    hand.have(edited)
    plan = hand.plan(edited)
    assert (condition(plan, "Ready"), plan.settled) == (("False", "WaitingForReport"), False)
    assert condition(hand.settle(edited), "Ready") == ("True", "Ready")


@pytest.mark.parametrize("change", [{"placement": {"site": "rome"}}, {"exposure": "NodePort"}])
def test_edit_of_a_child_is_not_settled_before_the_child_follows(change: dict[str, Any]) -> None:
    """The controller confirms the new generation at once; the old pod and Service must not count for it."""
    hand = world(silo(THING))
    hand.settle(silo(THING))
    edited = silo(THING, generation=2, **change)
    hand.have(edited)
    told = told_silo(hand.plan(edited))
    assert told is not None
    plan = hand.say(confirm(told)).plan(edited)
    assert (condition(plan, "Ready"), plan.settled) == (("False", "Progressing"), False)
    assert hand.perform(plan).plan(edited).settled


def test_steady_silo_plans_the_same() -> None:
    hand = world(silo(THING))
    done = hand.settle(silo(THING))
    assert hand.plan(silo(THING)) == done


@pytest.mark.parametrize(
    ("access", "marks", "allowed"),
    [
        ({}, {}, True),
        ({"read": {"from": "Same"}}, {}, False),
        ({"read": {"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}}}, {"team": "blue"}, True),
        ({"read": {"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}}}, {"team": "red"}, False),
        ({"read": {"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}}}, {}, False),
    ],
)
def test_access_decides_who_reads(access: dict[str, Any], marks: dict[str, str], allowed: bool) -> None:
    item = silo(THING)
    hand = world(item).have(worlds.visor(access=access), worlds.namespace("tenant", **marks))
    plan = hand.settle(item)
    assert ("vThing/things.hello/a/data_out/+" in role_topics(plan, Access.SUBSCRIBE)) is allowed
    assert condition(plan, "Ready") == (("True", "Ready") if allowed else ("False", "AccessDenied"))
    assert condition(plan, "Stalled")[0] == ("" if allowed else "True")
    assert plan.settled


def test_commands_need_their_own_grant() -> None:
    item = silo(vThings=[{"id": THING, "commands": True}])
    hand = world(item)
    assert "spec.access.command" in message(hand.settle(item))
    hand.have(worlds.visor(access={"command": {"from": "All"}}))
    plan = hand.settle(item)
    assert condition(plan, "Ready") == ("True", "Ready")
    assert "vThing/things.hello/a/data_in/tenant.home" in role_topics(plan, Access.SEND)


def test_a_missing_vthing_leaves_the_rest_unharmed() -> None:
    item = silo("things/hello/typo", THING, "nowhere/none/x")
    plan = world(item).settle(item)
    assert condition(plan, "Ready") == condition(plan, "VThingsAttached") == ("False", "VThingNotFound")
    assert "things/hello/typo" in message(plan)
    assert "(and 1 more)" in message(plan)
    assert plan.status is not None
    assert [each["state"] for each in plan.status["vThings"]] == ["NotFound", "Attached", "NotFound"]
    assert plan.status["attached"] == "1/3"
    assert plan.settled
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", "VThingNotFound")]


def test_nobody_is_called_while_a_new_silo_may_be_ahead_of_its_sources() -> None:
    item = silo("things/late/a")
    hand = world(item)
    hand.now = worlds.NOW - 3597  # three seconds old
    young = hand.settle(item)
    assert (condition(young, "Ready"), young.settled) == (("False", "VThingNotFound"), False)
    assert young.requeue_after == pytest.approx(7)
    hand.now += 8
    assert condition(hand.plan(item), "Stalled") == ("True", "VThingNotFound")


def test_a_starting_thingvisor_is_waited_for() -> None:
    item = silo("things/hello/b")
    hand = world(item).say(worlds.visor_report(epoch=int(worlds.NOW - 4) * 1000))
    waiting = hand.settle(item)
    assert (condition(waiting, "Ready"), waiting.settled) == (("False", "ThingVisorNotReady"), False)
    assert waiting.requeue_after == pytest.approx(6)
    hand.now += 7
    assert condition(hand.plan(item), "Ready") == ("False", "VThingNotFound")


def test_a_vthing_that_is_not_announced_is_granted_and_waited_for() -> None:
    item = silo("things/hello/made")
    hand = world(item, worlds.vthing("hello.made", "hello/made", ours=False))
    plan = hand.settle(item)
    assert condition(plan, "Ready") == ("False", "NotAnnounced")
    assert "vThing/things.hello/made/data_out/+" in role_topics(plan, Access.SUBSCRIBE)


def test_a_failed_attachment_is_told() -> None:
    item = silo(THING)
    hand = world(item)
    told = told_silo(hand.settle(item))
    assert told is not None
    failed = (Attachment(id=THING, state=AttachmentState.FAILED, message="topic refused"),)
    plan = hand.say(confirm(told, v_things=failed)).plan(item)
    assert condition(plan, "Ready") == ("False", "AttachFailed")
    assert "topic refused" in message(plan)


@pytest.mark.parametrize(
    ("broken", "spec", "type_", "reason"),
    [
        (None, {"flavour": "none"}, "FlavourResolved", "FlavourNotFound"),
        ({"params": {"schema": {"type": 7}}}, {}, "FlavourResolved", "SchemaInvalid"),
        ({"params": {"schema": {"properties": {"n": {"type": "integer"}}}}}, {"params": {"n": "x"}}, "ParamsValid", ""),
    ],
)
def test_what_cannot_be_resolved_stalls_but_access_is_kept(
    broken: dict[str, Any] | None, spec: dict[str, Any], type_: str, reason: str
) -> None:
    item = silo(THING, **spec)
    hand = world(item)
    if broken:
        hand.have(worlds.flavour(**broken))
    plan = hand.plan(item)
    expected = ("False", reason or "ParamsInvalid")
    assert condition(plan, type_) == condition(plan, "Ready") == expected
    assert condition(plan, "Stalled") == ("True", expected[1])
    assert any(isinstance(action, BusAccess) for action in plan.actions)
    assert not any(isinstance(action, BusPublish) for action in plan.actions)


def test_params_reach_the_controller_with_defaults() -> None:
    schema = {"type": "object", "properties": {"topicLayout": {"type": "string", "default": "perEntity"}}}
    item = silo()
    told = told_silo(world(item).have(worlds.flavour(params={"schema": schema})).plan(item))
    assert told is not None
    assert told.params == {"topicLayout": "perEntity"}


def test_without_the_bus_the_state_is_unknown_and_nothing_is_sent_there() -> None:
    item = silo(THING)
    hand = world(item)
    hand.settle(item)
    hand.bus = BusState()
    plan = hand.plan(item)
    assert condition(plan, "Ready") == ("Unknown", "WaitingForBus")
    assert not plan.settled
    assert not any(isinstance(action, BusAccess | BusPublish) for action in plan.actions)


def test_a_broker_that_died_is_not_ready() -> None:
    item = silo(THING)
    hand = world(item)
    done = hand.settle(item)
    hand.perform(done, ready=False)
    assert condition(hand.plan(item), "Ready") == ("False", "WaitingForPod")


def test_static_authoriser_is_told_but_does_not_matter() -> None:
    item = silo(THING)
    hand = world(item)
    hand.bus = replace(hand.bus, enforced=False)
    plan = hand.settle(item)
    assert condition(plan, "TenancyEnforced") == ("False", "NotEnforced")
    assert condition(plan, "Ready") == ("True", "Ready")


def test_credentials_rotate_with_the_epoch_and_without_a_restart() -> None:
    hand, old, new = world(silo(THING)), silo(THING), silo(THING, generation=2, credentials={"epoch": 1})
    before = hand.settle(old)
    hand.have(new)
    after = hand.plan(new)
    assert applied(before, "Deployment") == applied(after, "Deployment")
    passwords = [applied(plan, "Secret", "home-credentials")["data"]["password"] for plan in (before, after)]
    assert passwords[0] != passwords[1]
    told = told_silo(after)
    assert told is not None
    stale = hand.perform(after).say(confirm(told)).plan(new)
    assert (condition(stale, "ControllerReady"), stale.settled) == (("False", "Progressing"), False)
    done = hand.settle(new)
    assert done.settled
    assert done.status is not None
    assert done.status["credentialsEpoch"] == 1


def test_broker_secret_holds_what_the_pod_mounts() -> None:
    item = silo()
    plan = world(item).plan(item)
    secret = applied(plan, "Secret", "silo-home-broker")["data"]
    users = [line.partition(":")[0] for line in base64.b64decode(secret["passwords"]).decode().splitlines()]
    assert users == ["tenant", "controller"]
    pod = applied(plan, "Deployment")["spec"]["template"]["spec"]
    mounted = {item["key"] for volume in pod["volumes"] for item in volume.get("secret", {}).get("items", ())}
    assert mounted == secret.keys()


def names_in(plan: Plan) -> set[str]:
    pem = base64.b64decode(applied(plan, "Secret", "silo-home-broker")["data"]["tls.crt"])
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in names.value}


NODE = {
    "kind": "Node",
    "metadata": {"name": "n1", "uid": "n1"},
    "status": {"addresses": [{"type": "InternalIP", "address": "10.1.2.3"}]},
}


@pytest.mark.parametrize(
    ("configured", "host", "extra"),
    [
        ("", "10.1.2.3", set()),
        ("iot.example.org", "iot.example.org", set()),
        ("127.0.0.7", "127.0.0.7", {"localhost", "127.0.0.1"}),
    ],
)
def test_node_port_endpoint(configured: str, host: str, extra: set[str]) -> None:
    item = silo(exposure="NodePort")
    plan = world(item, NODE, external_address=configured).settle(item)
    assert plan.status is not None
    assert plan.status["endpoint"] == {
        "protocol": "mqtts",
        "internal": "mqtts://silo-home.tenant.svc.cluster.local:8883",
        "external": f"mqtts://{host}:30000",
        "secretName": "home-credentials",
    }
    assert names_in(plan) >= {"silo-home.tenant.svc.cluster.local", "silo-home", host} | extra


def test_load_balancer_waits_for_its_address() -> None:
    item = silo(exposure="LoadBalancer")
    hand = world(item)
    waiting = hand.settle(item)
    assert (condition(waiting, "Ready"), condition(waiting, "Stalled")) == (("False", "Progressing"), ("", ""))
    service = dict(hand.cache.get("Service", "tenant", "silo-home") or {})
    hand.have(service | {"status": {"loadBalancer": {"ingress": [{"ip": "2001:db8::5"}]}}})
    plan = hand.plan(item)
    assert condition(plan, "Ready") == ("True", "Ready")
    assert plan.status is not None
    assert plan.status["endpoint"]["external"] == "mqtts://[2001:db8::5]:8883"
    assert "2001:db8::5" in names_in(plan)


def test_pod_follows_placement_and_is_restricted() -> None:
    item = silo(placement={"site": "rome", "computeClass": "kata"})
    pod = applied(world(item).plan(item), "Deployment")["spec"]["template"]["spec"]
    term = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    assert term["matchExpressions"] == [{"key": "tephra.dev/site", "operator": "In", "values": ["rome"]}]
    assert pod["runtimeClassName"] == "kata"
    assert not pod["automountServiceAccountToken"]
    for container in pod["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]


def test_health_port_gives_way_to_the_broker() -> None:
    broker = {"image": "b:1", "ports": [{"name": "http", "port": 8080, "protocol": "http"}]}
    item = silo()
    plan = world(item).have(worlds.flavour(broker=broker, protocol="ngsiv2")).plan(item)
    controller = applied(plan, "Deployment")["spec"]["template"]["spec"]["containers"][1]
    environment = {each["name"]: each["value"] for each in controller["env"]}
    assert environment["TEPHRA_HEALTH_PORT"] == "8081"
    assert environment["TEPHRA_BROKER_URL"] == "http://127.0.0.1:8080"


def test_new_broker_files_replace_the_pod() -> None:
    item, hand = silo(), world(silo())
    before = applied(hand.plan(item), "Deployment")
    broker = worlds.flavour()["spec"]["broker"] | {"files": {"mosquitto.conf": "listener 1"}}
    after = applied(hand.have(worlds.flavour(broker=broker)).plan(item), "Deployment")
    assert before["spec"]["template"] != after["spec"]["template"]


def test_network_policy_opens_only_what_is_listed() -> None:
    item = silo()
    spec = applied(world(item).plan(item), "NetworkPolicy")["spec"]
    assert spec["ingress"] == [{"ports": [{"port": 8883, "protocol": "TCP"}]}]
    ports = [port["port"] for rule in spec["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 8883]
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_external_bus_is_allowed_by_port() -> None:
    item = silo()
    plan = world(item, bus_url="mqtts://mqtt.example.org").plan(item)
    assert applied(plan, "NetworkPolicy")["spec"]["egress"][1] == {"ports": [{"port": 8883, "protocol": "TCP"}]}


def test_deletion_withdraws_access_then_clears_topics() -> None:
    item = silo()
    hand = world()
    hand.bus = replace(hand.bus, retained={"vSilo/tenant.home/c_out", "vSilo/tenant.home-2/c_in"})
    assert hand.plan(item).actions == (
        BusForget("silo.tenant.home"),
        BusPublish("vSilo/tenant.home/c_in", None),
        BusPublish("vSilo/tenant.home/c_out", None),
    )


def test_certificate_renewal_is_the_only_appointment_of_a_steady_silo() -> None:
    item = silo(THING)
    plan = world(item).settle(item)
    assert plan.requeue_after is not None
    assert plan.requeue_after > 3600


def test_events_tell_trouble_and_recovery_once() -> None:
    item = silo(THING)
    hand = world(item)
    done = hand.settle(item)
    assert done.events == ()
    hand.report(item, done)
    hand.have(worlds.visor(access={"read": {"from": "Same"}}))
    denied = hand.settle(item)
    assert [(event.type, event.reason) for event in denied.events] == [("Warning", "AccessDenied")]
    hand.report(item, denied)
    assert hand.plan(item).events == ()
    hand.have(worlds.visor())
    again = hand.settle(item)
    assert [(event.type, event.reason) for event in again.events] == [("Normal", "Ready")]
