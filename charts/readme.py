"""Writes charts/tephra/README.md: its table of values comes from values.yaml (``python3 charts/readme.py [--check]``).

A value's description is the comment beginning with ``# --`` above its key; what has one is a row, with everything
below it as the default. ``tests/unit/test_chart.py`` fails when the README is stale or a value has no description.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).resolve().parent / "tephra"
_KEY = re.compile(r"^( *)([A-Za-z][\w.-]*):")
_COMMENT = re.compile(r"^ *# ?(.*)$")

TEXT = """\
# Helm chart `tephra`

{description}. The chart runs the operator and, unless you bring your own, the core MQTT broker; the operator makes the
rest: keys, certificates, the broker's accounts, and the catalogue of Flavours and ThingVisorTypes that this release
brings.

```
make images                                    # or: make push REGISTRY=registry.example.org/you
helm upgrade --install tephra charts/tephra --namespace tephra-system --create-namespace \\
  --values build/images/values.yaml            # and, after a push, --set global.registry=registry.example.org/you
```

The same as plain YAML: `make manifests`. `helm uninstall` leaves CRDs and your objects unless `crds.keep=false`; a
later `helm install` under the same release name adopts them.

All pods satisfy PodSecurity `restricted`. The operator may create and patch Secrets but neither list nor watch them,
and writes only the status of objects that it did not make. ClusterRole `tephra-tenant` (part of `edit`) handles VSilos,
`tephra-view` (part of `view`) reads, `tephra-admin` (part of `admin`) handles everything.

## Values

A value that is not in this table is refused.

| value | default | what |
|---|---|---|
{rows}
"""


class Value(NamedTuple):
    """One described value: its dotted path, its default, what it is for."""

    path: str
    default: Any
    description: str


def described(text: str) -> Iterator[Value]:
    """The values of a values.yaml that have a description, in order."""
    values = yaml.safe_load(text)
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if found := _COMMENT.match(line):
            comment.append(found[1])
        elif found := _KEY.match(line):
            indent, key = len(found[1]), found[2]
            parents = [parent for parent in parents if parent[0] < indent] + [(indent, key)]
            if (description := " ".join(comment)).startswith("-- "):
                names = [name for _, name in parents]
                yield Value(".".join(names), _at(values, names), description.removeprefix("-- "))
            comment = []
        else:
            comment = []


def leaves(values: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of everything in ``values`` that is not a mapping with keys."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path


def render(chart: Path = CHART) -> str:
    """The README's text."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    rows = [_row(value) for value in described((chart / "values.yaml").read_text())]
    return TEXT.format(description=about["description"], rows="\n".join(rows))


def _row(value: Value) -> str:
    default = json.dumps(value.default).replace("|", "\\|")
    return f"| `{value.path}` | `{default}` | {value.description.replace('|', chr(92) + '|')} |"


def _at(values: Any, names: list[str]) -> Any:
    for name in names:
        values = values[name]
    return values


def main() -> int:
    readme = CHART / "README.md"
    if "--check" not in sys.argv[1:]:
        readme.write_text(render())
    elif readme.read_text() != render():
        print(f"{readme} is stale: run python3 charts/readme.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
