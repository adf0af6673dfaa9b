"""Entry point of ``kubectl tephra``: flags, verbs, exit codes. Each verb's module is imported when it runs.

kubectl runs any ``kubectl-<name>`` on PATH and passes the arguments on, so its usual flags are ours to offer.
Exit codes: 0 done, 1 error, 2 usage, 4 time-out.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

OK, ERROR, USAGE, TIMEOUT = 0, 1, 2, 4


class CliError(Exception):
    """Ends the program with a message on stderr."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Options:
    """The flags that every verb takes."""

    namespace: str | None
    all_namespaces: bool
    json: bool
    colour: bool
    kubeconfig: str | None
    context: str | None


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", nargs="?", metavar="KIND/NAME", help="one object; without it, the whole namespace")


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="KIND/NAME", help="for example vsilo/home")


def _tail(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="vsilo/NAME")
    parser.add_argument("--topic", default="#", metavar="FILTER", help="MQTT topic filter (default: #)")
    parser.add_argument("--endpoint", metavar="URL", help="broker to connect to instead of status.endpoint.external")
    parser.add_argument("--count", type=_positive(int), metavar="N", help="end after N messages")
    parser.add_argument("--timeout", type=_positive(float), metavar="SECONDS", help="end with code 4 after that time")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="thingVisor/thing, namespace/thingVisor/thing, or a VThing's name")


def _uninstall(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be deleted")
    parser.add_argument(
        "--delete-namespace", action="append", default=[], metavar="NAME", help="this namespace too (repeatable)"
    )
    parser.add_argument("--timeout", type=_positive(float), default=120.0, metavar="SECONDS", help="default: 120")


def _version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", action="store_true", help="do not ask the cluster")


VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "status": ("a tree: ThingVisors and vSilos with their children, pods and conditions", _status),
    "why": ("what an object waits for, and the next step", _why),
    "tail": ("live data as they arrive at a vSilo's broker", _tail),
    "name": ("the VThing name of a thing id, or the thing id of a VThing name", _name),
    "uninstall": ("delete everything of Tephra: objects, operator, definitions", _uninstall),
    "version": ("versions of the plugin and the cluster", _version),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    args = _parser().parse_args(argv)
    given = vars(args)
    options = Options(
        namespace=given.get("namespace"),
        all_namespaces=given.get("all_namespaces", False),
        json=given.get("output") == "json",
        colour=_colour(given.get("no_color", False)),
        kubeconfig=given.get("kubeconfig"),
        context=given.get("context"),
    )
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a tree must not fail on a plain terminal
    try:
        return int(importlib.import_module(f"tephra.cli.{args.verb}").run(options, args))
    except KeyboardInterrupt:
        return OK
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: end quietly, as kubectl
        return OK
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="kubectl tephra",
        description="Explains and shows what Tephra does in a cluster.",
        epilog="Exit codes: 0 done, 1 error, 2 usage, 4 time-out.",
    )
    _common(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, (help_text, add_arguments) in VERBS.items():
        sub = verbs.add_parser(verb, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
        _common(sub)
        add_arguments(sub)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"error: {message}\nSee: {self.prog} --help\n")


def _common(parser: argparse.ArgumentParser) -> None:
    """Flags that may stand before or after the verb: an absent one must not hide the other's."""
    absent = argparse.SUPPRESS
    add = parser.add_argument
    add("-n", "--namespace", default=absent, metavar="NAME", help="namespace (default: the context's)")
    add("-A", "--all-namespaces", action="store_true", default=absent, help="all namespaces")
    add("-o", "--output", choices=("json",), default=absent, help="machine-readable output")
    add("--kubeconfig", default=absent, metavar="FILE", help="default: $KUBECONFIG or ~/.kube/config")
    add("--context", default=absent, metavar="NAME", help="context of the kubeconfig")
    add("--no-color", action="store_true", default=absent, help="no colours (also: NO_COLOR)")


def _colour(refused: bool) -> bool:
    return sys.stdout.isatty() and not refused and not os.environ.get("NO_COLOR")


def _positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not positive")
        return value

    parse.__name__ = "number"  # argparse names the type in its message
    return parse
