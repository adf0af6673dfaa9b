"""A real Kubernetes on one Linux machine, made from package registries alone.

`python3 -m cluster up` is the way in (`cluster/cli.py`); `cluster/README.md` is the guide. Only the
standard library is used, so the command works before any virtual environment exists.
"""
