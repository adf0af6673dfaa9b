"""Who may read and command a ThingVisor's vThings: `spec.access` put to a namespace (contracts §5)."""

from collections.abc import Mapping

from tephra.api.thingvisor import AccessRule


def allows(rule: AccessRule, owner: str, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether ``namespace``, which carries ``labels``, may do what ``rule`` of a ThingVisor in ``owner`` guards."""
    if rule.from_ == "All" or namespace == owner:
        return True
    if rule.selector is None:
        return False
    return rule.selector.match_labels.items() <= labels.items()
