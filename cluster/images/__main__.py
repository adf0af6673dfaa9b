"""``python3 -m cluster.images build [NAME...] | list | push REGISTRY``: the command line of the image builder.

``build`` writes ``build/images/<name>.tar`` (OCI archives) and ``build/images/values.yaml`` (the chart's values
that name each image by a tag made of its digest). Only what changed is built again.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.images import catalogue, oci
from cluster.images.recipe import Cache, Recipe

REGISTRY = "localhost"
REPOSITORY = "tephra"
LATEST = "dev"
"""Second tag of every image, for manifests that are written by hand (examples/, flavours/, thingvisors/)."""
OUT = catalogue.ROOT / "build/images"


@dataclass(frozen=True)
class Built:
    """An archive on disk: image name, repository below the registry, tag, bytes of all layers."""

    name: str
    archive: Path
    tag: str
    size: int
    fresh: bool

    @property
    def repository(self) -> str:
        return f"{REPOSITORY}/{self.name}"

    @property
    def reference(self) -> str:
        return f"{REGISTRY}/{self.repository}:{self.tag}"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (RuntimeError, OSError, ValueError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1


def build(recipes: Iterable[Recipe], cache: Cache, out: Path) -> list[Built]:
    """Builds the recipes' images and writes those archives that are not there yet."""
    done = []
    for recipe in recipes:
        image = cache.image(recipe)
        tag = image.digest.removeprefix("sha256:")[:12]
        archive = out / f"{recipe.name}.tar"
        built = Built(recipe.name, archive, tag, image.size, fresh=not _holds(archive, image.digest))
        if built.fresh:
            oci.write_archive(archive, image, built.reference, f"{REGISTRY}/{built.repository}:{LATEST}")
        done.append(built)
    return done


def values(built: Iterable[Built]) -> str:
    """The chart's ``images`` values for these images, as YAML."""
    lines = ["# Written by cluster.images: the images of this checkout, by content.", "images:"]
    for image in sorted(built, key=lambda image: image.name):
        lines += [f"  {image.name}:", f"    repository: {image.repository}", f'    tag: "{image.tag}"']
    return "\n".join(lines) + "\n"


def _holds(archive: Path, digest: str) -> bool:
    return archive.exists() and oci.read_reference(archive)[1] == digest


def _build(options: argparse.Namespace) -> int:
    started = time.monotonic()
    if options.refresh:
        catalogue.refresh_debian(_cache_folder())
    every = catalogue.recipes(_cache_folder())
    cache = Cache(_cache_folder() / "layers", report=lambda text: print(f"images: {text}", file=sys.stderr))
    built = build(_chosen(every, options.names), cache, OUT)
    for image in built:
        state = "built" if image.fresh else "unchanged"
        print(f"{image.reference:56} {image.size / 1e6:6.1f} MB  {state}")
    if not options.names:
        _remove_strangers(every)
        (OUT / "values.yaml").write_text(values(built))
    print(f"images: {len(built)} in {OUT} after {time.monotonic() - started:.1f} s", file=sys.stderr)
    if any(image.fresh for image in built):
        print(_HINT, file=sys.stderr)
    return 0


_HINT = (
    "images: load each with `kind load image-archive`, `k3s ctr images import`, or `python3 -m cluster load`;"
    " or make push REGISTRY=…; then helm --values build/images/values.yaml"
)


def _list(_: argparse.Namespace) -> int:
    for name in catalogue.recipes(_cache_folder()):
        archive = OUT / f"{name}.tar"
        print(oci.read_reference(archive)[0] if archive.exists() else f"{name} (not built)")
    return 0


def _push(options: argparse.Namespace) -> int:
    if not shutil.which("skopeo"):
        raise RuntimeError("skopeo is needed to push and is not installed; apt-get install skopeo")
    for name in catalogue.recipes(_cache_folder()):
        archive = OUT / f"{name}.tar"
        if not archive.exists():
            raise RuntimeError(f"{archive} is missing; make images builds it")
        reference = oci.read_reference(archive)[0]
        target = reference.replace(REGISTRY, options.registry, 1)
        print(target, flush=True)
        insecure = ["--dest-tls-verify=false"] if options.plain_http else []
        source = f"oci-archive:{archive}:{reference}"  # an archive gives its image two names
        if subprocess.run(
            ["skopeo", "copy", "--quiet", *insecure, source, f"docker://{target}"], check=False
        ).returncode:
            raise RuntimeError(f"{target} was not pushed (skopeo's reason is above); skopeo login {options.registry}?")
    print(f"helm: --values build/images/values.yaml --set global.registry={options.registry}", file=sys.stderr)
    return 0


def _chosen(every: Mapping[str, Recipe], names: list[str]) -> list[Recipe]:
    if unknown := sorted(set(names) - set(every)):
        raise ValueError(f"no image is called {', '.join(unknown)}; there are {', '.join(every)}")
    return [every[name] for name in names or (name for name in every if name not in catalogue.APART)]


def _remove_strangers(every: Mapping[str, Recipe]) -> None:
    """Archives of images that no longer exist would be loaded and pushed with the others."""
    for archive in OUT.glob("*.tar"):
        if archive.stem not in every:
            archive.unlink()


def _cache_folder() -> Path:
    return Path(os.environ.get("TEPHRA_CACHE") or Path.home() / ".cache/tephra")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m cluster.images", description="Images without a container engine.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("build", help="write build/images/<name>.tar for each image that changed")
    command.add_argument("names", nargs="*", metavar="NAME", help="which to build (default: what the chart deploys)")
    command.add_argument("--refresh", action="store_true", help="take today's Debian packages, not the cached ones")
    command.set_defaults(run=_build)
    command = commands.add_parser("list", help="print the reference of every image")
    command.set_defaults(run=_list)
    command = commands.add_parser("push", help="copy the built images to a registry")
    command.add_argument("registry", metavar="REGISTRY", help="host[:port][/path]")
    command.add_argument(
        "--plain-http", action="store_true", help="the registry speaks HTTP, or HTTPS with an unknown CA"
    )
    command.set_defaults(run=_push)
    return parser


if __name__ == "__main__":
    sys.exit(main())
