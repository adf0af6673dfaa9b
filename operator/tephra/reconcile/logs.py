"""Logs: one JSON object per line with the object in hand, or plain text on a terminal.

Role: `tephra.app` calls :func:`configure` once. The workers of :mod:`.loop` set :data:`object_in_hand`, so that
whatever is logged during a pass, by any library, names the object. The format is that of all our pods
(:mod:`tephra.pod.logs`).
"""

import logging
import sys
from contextvars import ContextVar

from tephra.pod.logs import JsonFormatter

object_in_hand: ContextVar[str] = ContextVar("object_in_hand", default="")
"""``Kind namespace/name`` of what the current task works on."""


def named_object() -> dict[str, str]:
    """The field that names the object in hand, if there is one."""
    item = object_in_hand.get()
    return {"object": item} if item else {}


class TextFormatter(logging.Formatter):
    """``12:00:00 WARNING VSilo tenant-a/home: message``"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        if item := object_in_hand.get():
            record.message = f"{item}: {record.message}"
        return super().formatMessage(record)


def worth_telling(record: logging.LogRecord) -> bool:
    """kopf tells every attempt of every watch to reach an API server that is away; the first one will do."""
    return not str(record.msg).startswith("Request attempt #") or "#1/" in record.getMessage()


def configure(style: str = "", level: int = logging.INFO) -> None:
    """Send all logs to stderr as ``json`` or ``text``; empty: text on a terminal, else json."""
    handler = logging.StreamHandler()
    text = style == "text" or (not style and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter(named_object))
    handler.addFilter(worth_telling)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
