"""How ``tail`` shows messages: one line each, one JSON object each, or a live table on a terminal."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TextIO


class Message(NamedTuple):
    """A message as it came; ``time`` in seconds since 1970, at its arrival here."""

    time: float
    topic: str
    payload: bytes
    retained: bool

    @property
    def clock(self) -> str:
        return datetime.fromtimestamp(self.time).strftime("%H:%M:%S.%f")[:-3]


Printer = Callable[[Message], None]


def decode(payload: bytes) -> Any:
    """JSON if it is, else text; bytes that are no UTF-8 show as U+FFFD."""
    text = payload.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def summary(value: Any) -> str:
    """A payload in one line: the values of an NGSI-LD entity (or of all in a neutral-format message), else JSON."""
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        return "; ".join(summary(each) for each in value["data"])
    if isinstance(value, dict) and "id" in value and "type" in value:
        return " ".join([str(value["type"]), *_attributes(value)])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _attributes(entity: Mapping[str, Any]) -> Iterator[str]:
    for name, attribute in entity.items():
        if name in ("id", "type", "@context") or not isinstance(attribute, dict):
            continue
        value = attribute.get("value", attribute.get("object", ""))
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        yield f"{name}={text}{attribute.get('unitCode', '')}"


def plain_line(message: Message) -> None:
    """``time topic summary``; a retained (earlier) value is marked."""
    mark = " (retained)" if message.retained else ""
    print(f"{message.clock} {message.topic}{mark} {_printable(summary(decode(message.payload)))}", flush=True)


def json_line(message: Message) -> None:
    """NDJSON: time, topic, payload (decoded), retained."""
    shown = {"time": message.time, "topic": message.topic, "payload": decode(message.payload)}
    print(json.dumps({**shown, "retained": message.retained}, ensure_ascii=False), flush=True)


def table(out: TextIO, *, colour: bool) -> Printer:
    """A printer that keeps one row per topic with its last value, redrawn in place."""
    rows: dict[str, tuple[int, Message]] = {}
    drawn = 0

    def show(message: Message) -> None:
        nonlocal drawn
        rows[message.topic] = (rows.get(message.topic, (0, message))[0] + 1, message)
        lines = list(_table_lines(rows, shutil.get_terminal_size(), colour, message.topic))
        up = f"\x1b[{drawn}A" if drawn else ""
        out.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
        out.flush()
        drawn = len(lines)

    return show


def _table_lines(rows: Mapping[str, tuple[int, Message]], size: Any, colour: bool, newest: str) -> Iterator[str]:
    """Header and rows, cut to the terminal; of too many topics the latest ones are shown."""
    latest = sorted(rows.items(), key=lambda row: row[1][1].time)[-(size.lines - 3) :]
    width = min(max((len(topic) for topic, _ in latest), default=5), size.columns // 2)
    yield f"{'TIME':12}  {'COUNT':>6}  {'TOPIC':{width}}  VALUE"[: size.columns - 1]
    for topic, (count, message) in sorted(latest):
        value = _printable(summary(decode(message.payload)))
        line = f"{message.clock:12}  {count:6}  {_printable(topic)[-width:]:{width}}  {value}"[: size.columns - 1]
        yield f"\x1b[1m{line}\x1b[0m" if colour and topic == newest else line


def _printable(text: str) -> str:
    """Without control characters: a payload must not steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
