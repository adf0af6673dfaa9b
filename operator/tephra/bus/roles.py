"""Who may publish and read what on the core bus: literal access rules for each identity (DESIGN §6).

The rules follow Mosquitto's dynamic-security vocabulary, the narrowest of the authorisers we drive: ``%u`` is not
substituted there, and withdrawing a read must withdraw ``receive`` too, because a subscription outlives its
permission (facts measured on 2.0.11). Pure; :mod:`tephra.act.bus` puts roles in force, :mod:`tephra.plan` asks.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from tephra.bus import topics
from tephra.bus.messages import AttachedThing


class Access(StrEnum):
    """One kind of permission (Mosquitto dynamic-security ACL types)."""

    SEND = "publishClientSend"
    RECEIVE = "publishClientReceive"
    SUBSCRIBE = "subscribePattern"


class Rule(NamedTuple):
    """Allow ``access`` on the topic filter ``topic``."""

    access: Access
    topic: str


Role = frozenset[Rule]


def _sends(*filters: str) -> list[Rule]:
    return [Rule(Access.SEND, topic) for topic in filters]


def _reads(*filters: str) -> list[Rule]:
    return [Rule(access, topic) for topic in filters for access in (Access.SUBSCRIBE, Access.RECEIVE)]


def thing_visor_role(tv: str) -> Role:
    """A ThingVisor publishes only under its own name and speaks to silos only as itself."""
    return frozenset(
        _sends(topics.tv_out(tv), f"vThing/{tv}/+/data_out/+", topics.silo_data_in("+", tv))
        + _reads(topics.tv_in(tv), topics.data_in_filter(tv), topics.repair_filter(tv))
    )


def silo_role(silo: str, granted: Iterable[AttachedThing]) -> Role:
    """A silo reads only the vThings granted to it and commands only where commands are granted."""
    rules = _sends(topics.silo_out(silo)) + _reads(topics.silo_in(silo))
    for thing in granted:
        rules += _reads(topics.data_out_filter(thing.tv, thing.thing), topics.silo_data_in(silo, thing.tv))
        rules += _sends(topics.repair(thing.tv, thing.thing, silo))
        if thing.commands:
            rules += _sends(topics.data_in(thing.tv, thing.thing, silo))
    return frozenset(rules)


def operator_role() -> Role:
    """The operator writes every desired state and reads every report; it may clear any retained topic of ours."""
    written = (topics.TV_IN_FILTER, topics.TV_OUT_FILTER, topics.SILO_IN_FILTER, topics.SILO_OUT_FILTER)
    every = (*written, topics.DATA_OUT_FILTER, topics.MARK)
    return frozenset(_sends(*every) + _reads(*every))
