"""Logs as one JSON object per line, or as text for people."""

import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", "error"?}`` and what `fields` says at that moment."""

    def __init__(self, fields: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def set_up(*, text: bool, **fields: str) -> None:
    """Log to stderr from INFO on; every line carries `fields`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s") if text else JsonFormatter(lambda: fields))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
