"""``litellm_settings.cache_params``: what LiteLLM's ``Cache`` is told of its store, and what Lumni does otherwise."""

from collections.abc import Mapping
from typing import Any

from lumni.config_keys import did_you_mean

READ_BY_LUMNI = frozenset({"type", "ttl"})
# Where the store is, and how it is reached.
PASSED = frozenset(
    {
        "db", "disk_cache_dir", "host", "namespace", "password", "port", "redis_startup_nodes", "ssl",
        "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile", "url", "username",
    }
)  # fmt: skip
DONE_BY_LUMNI: Mapping[str, str] = {
    "default_in_memory_ttl": "write `ttl`",
    "default_in_redis_ttl": "write `ttl`",
    "max_messages": "requests of any length are kept",
    "mode": "clients say what they want by `cache-control`",
    "redis_flush_size": "each answer is written at once",
    "s3_bucket_name": "answers are kept in memory, Redis or on disk",
    "similarity_threshold": "the cache is exact: a similar question may have another answer",
    "supported_call_types": "chat requests of every surface are kept",
}


def read_caching(section: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What is passed to LiteLLM, and warnings about the rest. ``section`` is ``litellm_settings``."""
    written = section.get("cache_params") or {}
    if not isinstance(written, Mapping):
        return {}, ["litellm_settings.cache_params must be a mapping."]
    warnings = []
    for key in written:
        if key in DONE_BY_LUMNI:
            warnings.append(f"litellm_settings.cache_params.{key} is not used: {DONE_BY_LUMNI[key]}.")
        elif key not in PASSED | READ_BY_LUMNI:
            known = (*READ_BY_LUMNI, *PASSED, *DONE_BY_LUMNI)
            mend = did_you_mean(str(key), known, "remove it.")
            warnings.append(f"Unknown key `litellm_settings.cache_params.{key}`: {mend}")
    return {str(key): value for key, value in written.items() if key in PASSED}, warnings
