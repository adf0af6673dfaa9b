"""``kubectl tephra name ID``: from a thing to the name of its VThing object, and back. Needs no cluster."""

import argparse
import json

from tephra.cli.main import OK, CliError, Options
from tephra.formats.names import InvalidName, parse_thing_id, parse_vthing_name, vthing_name


def run(options: Options, args: argparse.Namespace) -> int:
    try:
        name, thing_id = _both(args.id)
    except InvalidName as error:
        raise CliError(str(error)) from error
    if options.json:
        print(json.dumps({"name": name, "id": thing_id}, ensure_ascii=False))
    else:
        print(name if "/" in args.id else thing_id)
    return OK


def _both(text: str) -> tuple[str, str]:
    """(VThing name, ``thingVisor/thing``). With two slashes or more the first part is the namespace, as in a VSilo."""
    if "/" not in text:
        return text, "/".join(parse_vthing_name(text))
    if text.count("/") == 1:
        thing_visor, _, thing = text.partition("/")
    else:
        _, thing_visor, thing = parse_thing_id(text)
    return vthing_name(thing_visor, thing), f"{thing_visor}/{thing}"
