"""Takes secrets out of what is told."""

import re
from collections.abc import Iterable
from typing import Any, Self

from lumni.catalogue.model import Catalogue
from lumni.settings import Settings

REDACTED = "[redacted]"
SHORTEST_SECRET = 8  # characters: what is shorter would turn up in words
# What looks like a credential, whoever's it is: in headers, in addresses, and by the prefixes that providers use.
SUSPICIOUS = (
    r"(?i:bearer\s+)[\w.~+/=-]{8,}"
    r"|(?i:\b(?:api[_-]?key|key|token|password)=)[^\s&\"']{4,}"
    r"|\b(?:lumni-|sk-|gsk_|pk-|pk_|csk-|ghp_|github_pat_|hf_|nvapi-|AIza|xai-)[\w-]{16,}"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
)


class Scrubber:
    """Takes secrets out of text: those that are known, and what looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._known: set[str] = set()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know these too from now on."""
        self._known |= {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        known = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, known), SUSPICIOUS]))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """One that knows the settings' secrets."""
        given: list[Any] = [settings.unified_api_key, settings.portkey_api_key]
        given += [settings.alert_webhook_url, settings.alert_slack_url, settings.alert_smtp_url]
        given.append(settings.otel_exporter_otlp_headers)
        given += [provider.api_key for provider in settings.providers.values()]
        return cls(secret.get_secret_value() for secret in given if secret is not None)


def secrets_of(catalogue: Catalogue) -> list[str]:
    """The providers' keys."""
    return [str(one.params["api_key"]) for one in catalogue.deployments if one.params.get("api_key")]
