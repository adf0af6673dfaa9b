"""Every topic of the core bus, in one place (DESIGN §6; VirIoT's names, refined where they lose identity).

========================================= ======================= ====================================================
topic                                     writer → reader         payload
========================================= ======================= ====================================================
``TV/<tv>/c_in``                          operator → ThingVisor   :class:`.messages.ThingVisorDesired`
``TV/<tv>/c_out``                         ThingVisor → operator   :class:`.messages.ThingVisorReport`
``vSilo/<silo>/c_in``                     operator → silo         retained :class:`.messages.SiloDesired`
``vSilo/<silo>/c_out``                    silo → operator         retained :class:`.messages.SiloReport`
``vThing/<tv>/<thing>/data_out/<entity>`` ThingVisor → silos      retained, one NGSI-LD entity
``vThing/<tv>/<thing>/data_in/<silo>``    silo → ThingVisor       :class:`.messages.Command`
``vThing/<tv>/<thing>/repair/<silo>``     silo → ThingVisor       :class:`.messages.RepairRequest`
``vSilo/<silo>/data_in/<tv>``             ThingVisor → that silo  command results, repaired data (unicast)
``operator/mark``                         operator → itself       what it asked for before has arrived by now
========================================= ======================= ====================================================

``<tv>`` and ``<silo>`` are bus identities, ``<thing>`` and ``<entity>`` encoded topic levels
(:mod:`tephra.formats.names`). The last level of ``data_in`` names the sender, and the role of each identity allows
only its own, so the topic proves who speaks. Neighbours: :mod:`.messages` (payloads), :mod:`.roles` (who may).
"""

from typing import NamedTuple

from tephra.formats.names import parse_topic_level, topic_level

TV_OUT_FILTER = "TV/+/c_out"
SILO_OUT_FILTER = "vSilo/+/c_out"
TV_IN_FILTER = "TV/+/c_in"
SILO_IN_FILTER = "vSilo/+/c_in"
DATA_OUT_FILTER = "vThing/+/+/data_out/+"
MARK = "operator/mark"
"""An identity of ours always holds a dot, so no ThingVisor or silo can be meant."""


class DataTopic(NamedTuple):
    """The parts of a ``data_out`` topic, decoded."""

    tv: str
    thing: str
    entity: str


class ThingTopic(NamedTuple):
    """The parts of a ``data_in`` or ``repair`` topic, decoded: which thing is asked, and by which silo."""

    tv: str
    thing: str
    silo: str


def tv_in(tv: str) -> str:
    return f"TV/{tv}/c_in"


def tv_out(tv: str) -> str:
    return f"TV/{tv}/c_out"


def silo_in(silo: str) -> str:
    return f"vSilo/{silo}/c_in"


def silo_out(silo: str) -> str:
    return f"vSilo/{silo}/c_out"


def data_out(tv: str, thing: str, entity: str) -> str:
    return f"vThing/{tv}/{topic_level(thing)}/data_out/{topic_level(entity)}"


def data_out_filter(tv: str, thing: str) -> str:
    """All entities of one vThing."""
    return f"vThing/{tv}/{topic_level(thing)}/data_out/+"


def tv_data_out_filter(tv: str) -> str:
    """All entities of all things of one ThingVisor."""
    return f"vThing/{tv}/+/data_out/+"


def data_in(tv: str, thing: str, silo: str) -> str:
    return f"vThing/{tv}/{topic_level(thing)}/data_in/{silo}"


def data_in_filter(tv: str) -> str:
    """Commands to every thing of one ThingVisor, from any silo."""
    return f"vThing/{tv}/+/data_in/+"


def repair(tv: str, thing: str, silo: str) -> str:
    return f"vThing/{tv}/{topic_level(thing)}/repair/{silo}"


def repair_filter(tv: str) -> str:
    return f"vThing/{tv}/+/repair/+"


def silo_data_in(silo: str, tv: str) -> str:
    return f"vSilo/{silo}/data_in/{tv}"


def identity_of(control_topic: str) -> str:
    """The bus identity in a ``c_in``/``c_out`` topic."""
    return control_topic.split("/")[1]


def parse_data_out(topic: str) -> DataTopic:
    _, tv, thing, _, entity = topic.split("/")
    return DataTopic(tv, parse_topic_level(thing), parse_topic_level(entity))


def parse_thing_topic(topic: str) -> ThingTopic:
    """Split a ``data_in`` or ``repair`` topic."""
    _, tv, thing, _, silo = topic.split("/")
    return ThingTopic(tv, parse_topic_level(thing), silo)
