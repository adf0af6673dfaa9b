"""The custom resources of ``tephra.dev/v1alpha1`` as pydantic models, one file per kind.

``tephra.api.crd`` writes ``crds/*.yaml`` from them. Two files are one kind: ``api/vsilo.py`` (what a user writes)
and ``plan/vsilo.py`` (what follows from it).
"""

GROUP = "tephra.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
