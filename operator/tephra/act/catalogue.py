"""The operator's own catalogue: Flavours and ThingVisorTypes that come with the release.

A chart cannot hold CRDs and objects of them in one release, so the chart mounts the manifests as files and the leader
applies them at start. What a newer release no longer brings is left where it is, since objects may use it; the log
names it, and label ``tephra.dev/catalogue`` finds it.
"""

import asyncio
import logging
from pathlib import Path

import yaml

from tephra.api import labels
from tephra.kube.client import Client, Selection
from tephra.kube.errors import ApiError
from tephra.kube.resources import Object, describe

log = logging.getLogger(__name__)

KINDS = frozenset({"Flavour", "ThingVisorType"})


class BadCatalogue(Exception):
    """A file of the catalogue is not what it must be; names the file and the cause."""


def read(directory: Path) -> list[Object]:
    """Every manifest in the directory's YAML files, labelled."""
    return [_labelled(item, path) for path in sorted(directory.glob("*.y*ml")) for item in _documents(path)]


async def apply(kube: Client, directory: Path) -> None:
    """Apply them all (server-side; a no-op for what is so already). One that is refused does not hold up the rest."""
    manifests = read(directory)
    for outcome in await asyncio.gather(*map(kube.apply, manifests), return_exceptions=True):
        if isinstance(outcome, ApiError):
            log.error("catalogue: %s", outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    brought = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    for kind in sorted(KINDS):
        for item in (await kube.list(kind, Selection(labels=f"{labels.CATALOGUE}={labels.TEPHRA}"))).items:
            if (kind, item["metadata"]["name"]) not in brought:
                log.info("%s is not in the catalogue any more", describe(kind, None, item["metadata"]["name"]))


def _documents(path: Path) -> list[Object]:
    try:
        return [item for item in yaml.safe_load_all(path.read_text()) if item]
    except yaml.YAMLError as error:
        raise BadCatalogue(f"{path}: not YAML: {error}") from error


def _labelled(item: Object, path: Path) -> Object:
    if not isinstance(item, dict) or item.get("kind") not in KINDS or not item.get("metadata", {}).get("name"):
        raise BadCatalogue(f"{path}: every document must be a named {' or '.join(sorted(KINDS))}")
    meta = item["metadata"]
    ours = {labels.CATALOGUE: labels.TEPHRA, labels.MANAGED_BY: labels.TEPHRA}
    return {**item, "metadata": {**meta, "labels": {**meta.get("labels", {}), **ours}}}
