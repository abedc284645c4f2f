"""Labels with a bounded number of values: what the operator configured, and one word for everything else."""

from lumni.catalogue.model import Catalogue

OTHER = "other"
NONE = "none"
AUTOMATIC = ("auto", "fast", "powerful")


class Names:
    """Which label a model's name, as a client wrote it, gets in metrics: its group, for all that resolves to one."""

    def __init__(self, catalogue: Catalogue) -> None:
        groups = {name: name for name in (*AUTOMATIC, *catalogue.groups)}
        self._groups: dict[str, str] = {}
        for deployment in catalogue.enabled:
            written = (deployment.id, deployment.model, deployment.model_id)
            for name in (*written, f"{deployment.provider}/{deployment.model_id}"):
                self._groups.setdefault(name, deployment.group)
        self._groups |= groups
        self._groups |= {alias: groups.get(target, OTHER) for alias, target in catalogue.aliases.items()}

    def group(self, requested: str) -> str:
        """A model group, ``auto``, ``fast`` or ``powerful``; ``other`` for a name that means nothing here."""
        return self._groups.get(requested, OTHER)
