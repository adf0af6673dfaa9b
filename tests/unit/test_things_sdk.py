"""The SDK with a bus in memory: what an author's class is told, and what the operator and the silos hear of it."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import Field

from tephra.api import conditions
from tephra.bus import topics
from tephra.bus.messages import EPOCH, KIND, SEQ, Command, DeclaredThing, RepairRequest, Unicast
from tephra.things import (
    Announcement,
    CommandCall,
    CommandRefused,
    MakeError,
    Params,
    Reason,
    SourceError,
    ThingVisor,
    runtime,
)
from tephra.things.main import params_schema, read_settings
from tephra.things.testing import SILO, TV, Trial, running


def lamp(state: str) -> dict[str, Any]:
    return {"id": "urn:lamp", "type": "Lamp", "state": {"type": "Property", "value": state}}


class Lamps(ThingVisor):
    """A thing per name; ``broken`` breaks it."""

    class Params(Params):
        names: list[str] = Field(default=["hall"], description="Names.")
        broken: str = ""

    starts = 0

    async def start(self, params: Params) -> None:
        self.starts += 1
        if params.broken == "source" and self.starts < 3:
            raise SourceError(Reason.UNREACHABLE, "the bridge does not answer")
        if params.broken == "code" and self.starts < 3:
            raise ZeroDivisionError("oops")
        await self.serve(*(Announcement(thing=name, type="Lamp", commands=("set", "boom")) for name in params.names))
        for name in params.names:
            await self.publish(name, [lamp("off")])
        self.health.ok()

    async def on_command(self, call: CommandCall) -> Any:
        if call.name == "boom":
            raise ZeroDivisionError("oops")
        if call.value is None:
            raise CommandRefused("which state?")
        await call.status("switching")
        await self.publish(call.thing, [lamp(call.value)])
        return {"state": call.value}

    async def make(self, thing: str, params: dict[str, Any]) -> Announcement:
        if "address" not in params:
            raise MakeError("params.address is missing")
        return Announcement(thing=thing, type="Lamp", description=params["address"])


async def test_what_is_served_is_reported_with_the_generation() -> None:
    async with running(Lamps, {"names": ["hall", "yard"]}) as trial:
        report = await trial.configure({"names": ["hall", "yard"]})
        assert report.observed_generation == 2
        assert [thing.thing for thing in report.v_things] == ["hall", "yard"]
        assert report.health.ok


async def test_changed_params_announce_and_withdraw() -> None:
    async with running(Lamps, {"names": ["hall", "yard"]}) as trial:
        await trial.entity("yard", "urn:lamp")
        report = await trial.configure({"names": ["hall", "attic"]})
        assert [thing.thing for thing in report.v_things] == ["hall", "attic"]
        topic = topics.data_out(TV, "yard", "urn:lamp")
        await trial.bus.find(lambda: [m for m in trial.bus.published if m.topic == topic and not m.payload])


async def test_refused_params_leave_the_old_ones_in_force() -> None:
    async with running(Lamps, {"names": ["hall"]}) as trial:
        report = await trial.configure({"names": "hall", "colour": "red"})
        assert "names: Input should be a valid list" in report.params_error
        assert "colour: Extra inputs are not permitted" in report.params_error
        assert [thing.thing for thing in report.v_things] == ["hall"]
        assert (await trial.configure({"names": ["hall"]})).params_error == ""


async def test_the_same_params_again_do_not_restart() -> None:
    async with running(Lamps) as trial:
        await trial.entity("hall", "urn:lamp")
        await trial.configure({})
        assert len(trial.values("hall", "urn:lamp")) == 1


async def test_params_can_be_taken_live() -> None:
    class Live(Lamps):
        async def on_params(self, params: Any) -> bool:
            await self.publish("hall", [lamp("live")])
            return True

    async with running(Live) as trial:
        await trial.entity("hall", "urn:lamp")
        await trial.configure({"names": ["hall", "never"]})
        assert [value["state"]["value"] for value in trial.values("hall", "urn:lamp")] == ["off", "live"]


@pytest.mark.parametrize(
    ("broken", "message"), [("source", "the bridge does not answer"), ("code", "ZeroDivisionError")]
)
async def test_a_failing_start_is_told_and_tried_again(
    broken: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_FIRST_RETRY", 0.01)
    async with running(Lamps, {"broken": broken}) as trial:
        assert message in (await trial.report_when(lambda report: not report.health.ok)).health.message
        report = await trial.report_when(lambda report: report.health.ok)
        assert [thing.thing for thing in report.v_things] == ["hall"]


async def test_declared_things_are_made_remade_and_unmade() -> None:
    async with running(Lamps) as trial:
        good = DeclaredThing(thing="a/b", revision="1", params={"address": "10.0.0.1"})
        bad = DeclaredThing(thing="c", revision="1", params={})
        report = await trial.configure({}, [good, bad])
        assert [(thing.thing, thing.revision) for thing in report.v_things] == [("hall", ""), ("a/b", "1")]
        assert [(failure.thing, failure.message) for failure in report.failures] == [("c", "params.address is missing")]
        report = await trial.configure({}, [bad.model_copy(update={"revision": "2", "params": {"address": "x"}})])
        assert [(thing.thing, thing.revision) for thing in report.v_things] == [("hall", ""), ("c", "2")]
        assert report.failures == ()


async def test_a_thing_visor_that_makes_nothing_says_so() -> None:
    async with running(ThingVisor) as trial:
        report = await trial.configure({}, [DeclaredThing(thing="x", revision="1")])
        assert "makes no vThings" in report.failures[0].message


async def test_entities_without_id_or_of_unknown_things_are_refused() -> None:
    async with running(Lamps) as trial:
        visor = trial.runtime._visor
        with pytest.raises(ValueError, match="no id or no type"):
            await visor.publish("hall", [{"id": "x"}])
        with pytest.raises(ValueError, match="'attic' is not announced"):
            await visor.publish("attic", [lamp("on")])


# -- commands


async def test_a_command_has_statuses_and_a_result() -> None:
    async with running(Lamps) as trial:
        assert await trial.command("hall", "urn:lamp", "set", "on") == {"state": "on"}
        assert trial.answers("1", Unicast.STATUS) == ["switching"]
        assert (await trial.entity("hall", "urn:lamp"))["state"]["value"] == "on"
        answer = trial.bus.published[-1]
        assert answer.topic == topics.silo_data_in(SILO, TV)
        assert dict(answer.user) == {"kind": "result", "thing": "hall", "entity": "urn:lamp", "cmd": "1", "name": "set"}


@pytest.mark.parametrize(
    ("thing", "name", "error"),
    [
        ("attic", "set", "thing 'attic' is not served"),
        ("hall", "dance", "no command 'dance'; known: set, boom"),
        ("hall", "set", "which state?"),
        ("hall", "boom", "the ThingVisor failed: ZeroDivisionError"),
    ],
)
async def test_commands_that_cannot_be_done_say_why(thing: str, name: str, error: str) -> None:
    async with running(Lamps) as trial:
        assert error in (await trial.command(thing, "urn:lamp", name))["error"]


def hand_over_command(trial: Trial, **changes: Any) -> None:
    command = Command(entity="urn:lamp", name="set", id="7", value="on").model_copy(update=changes)
    trial.bus.hand_over(topics.data_in(TV, "hall", SILO), command.encode())


async def test_a_command_delivered_twice_is_done_once_and_quality_0_gets_no_answer() -> None:
    async with running(Lamps) as trial:
        await trial.entity("hall", "urn:lamp")
        hand_over_command(trial, qos=0)
        hand_over_command(trial, qos=0)
        hand_over_command(trial, qos=1, id="8", value="dim")
        await trial.bus.find(lambda: trial.answers("8", Unicast.RESULT))
        assert [value["state"]["value"] for value in trial.values("hall", "urn:lamp")] == ["off", "on", "dim"]
        assert trial.answers("7", Unicast.RESULT) == trial.answers("8", Unicast.STATUS) == []


async def test_garbage_on_the_bus_is_ignored() -> None:
    async with running(Lamps) as trial:
        for topic in (topics.tv_in(TV), topics.data_in(TV, "hall", SILO), topics.repair(TV, "hall", SILO)):
            trial.bus.hand_over(topic, b"{")
        assert await trial.command("hall", "urn:lamp", "set", "on") == {"state": "on"}


# -- the stream


async def test_messages_are_numbered_per_thing() -> None:
    async with running(Lamps, {"names": ["hall", "yard"]}) as trial:
        await trial.command("hall", "urn:lamp", "set", "on")
        topic = topics.data_out(TV, "hall", "urn:lamp")
        sent = [message.user for message in trial.bus.published if message.topic == topic]
        assert [user[SEQ] for user in sent] == ["1", "2"]
        assert {user[EPOCH] for user in sent} == {str(trial.report.epoch if trial.report else 0)}


async def test_after_a_reconnection_the_last_values_and_the_report_come_again() -> None:
    async with running(Lamps) as trial:
        await trial.command("hall", "urn:lamp", "set", "on")
        before = len(trial.bus.published)
        await trial.bus.reconnect()
        await trial.bus.find(lambda: any(m.topic == topics.tv_out(TV) for m in trial.bus.published[before:]))
        topic = topics.data_out(TV, "hall", "urn:lamp")
        again = next(message for message in trial.bus.published[before:] if message.topic == topic)
        assert (orjson.loads(again.payload)["state"]["value"], again.user[SEQ]) == ("on", "2")


async def test_a_silo_gets_what_it_missed() -> None:
    async with running(Lamps) as trial:
        await trial.command("hall", "urn:lamp", "set", "on")
        assert trial.report
        for request, wanted in (
            (RepairRequest(), ["2"]),
            (RepairRequest(epoch=trial.report.epoch, first=1, last=2), ["1", "2"]),
        ):
            trial.bus.published.clear()
            trial.bus.hand_over(topics.repair(TV, "hall", SILO), request.encode())
            sent = await trial.bus.find(lambda: [message.user.get(SEQ) for message in trial.bus.published])
            await asyncio.sleep(0)  # the answer's task ends
            assert sent == wanted


async def test_a_question_about_another_life_is_answered_gone() -> None:
    async with running(Lamps) as trial:
        await trial.entity("hall", "urn:lamp")
        trial.bus.hand_over(topics.repair(TV, "hall", SILO), RepairRequest(epoch=1, first=5, last=6).encode())
        gone = await trial.bus.find(lambda: [m for m in trial.bus.published if m.user.get(KIND) == Unicast.GONE])
        assert (gone[0].user[SEQ], gone[0].payload) == ("1", b"")


# -- the process


async def test_a_missing_key_is_named(tmp_path: Path) -> None:
    class Keyed(ThingVisor):
        async def start(self, params: Any) -> None:
            await self.announce(self.secret("appid"))

    async with running(Keyed) as trial:
        report = await trial.report_when(lambda report: not report.health.ok)
        assert (report.health.reason, "'appid'" in report.health.message) == ("SecretMissing", True)
    (tmp_path / "appid").write_text("k\n")
    async with running(Keyed, secret_dir=tmp_path) as trial:
        await trial.report_when(lambda report: [thing.thing for thing in report.v_things] == ["k"])


async def test_counters() -> None:
    async with running(Lamps) as trial:
        await trial.command("hall", "urn:lamp", "set")
        stats = trial.runtime.metrics_now()
        assert (stats.published_total, stats.commands_total, stats.commands_failed_total) == (1, 1, 1)
        assert (stats.things_now, stats.bus_connected_now, stats.source_healthy_now) == (1, 1, 1)
        assert trial.runtime.not_ready == ""


def test_every_reason_is_one_of_the_operators() -> None:
    assert {str(reason) for reason in Reason} <= {str(reason) for reason in conditions.Reason}


def test_the_schema_has_descriptions_but_no_titles() -> None:
    schema = params_schema(Lamps)
    assert schema["properties"]["names"]["description"] == "Names."
    assert "title" not in schema["properties"]["names"]


@pytest.mark.parametrize(("environ", "named"), [({}, "TEPHRA_IDENTITY"), ({"TEPHRA_IDENTITY": "a.b.c"}, "b.c")])
def test_a_pod_started_wrongly_is_told_what_is_missing(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_settings(environ)
