"""Logs as one JSON object per line, or as text for people. Neighbour: :mod:`.__main__` sets it up."""

import logging
import sys

import orjson


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message"}`` and the fields every line shares, such as the silo."""

    def __init__(self, **fields: str) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def set_up(*, text: bool, **fields: str) -> None:
    """Log to stderr from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s") if text else JsonFormatter(**fields))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
