"""The table that `make faults` prints: a row for each fault."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Table:
    """Rows, each printed as it is added; the columns are the keys in order of appearance."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        print("\n" + json.dumps(row), flush=True)

    def print(self) -> None:
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        print("\n\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
        for row in self.rows:
            print("| " + " | ".join(str(row.get(column, "–")) for column in columns) + " |", flush=True)
