"""The keys of ``config.json``: which setting each one fills, and the type of those that fill none yet."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

# Dotted path in config.json -> field of Settings.
SETTING_KEYS: Mapping[str, str] = {
    "server.host": "host",
    "server.port": "port",
    "server.workers": "workers",
    "server.corsOrigins": "cors_origins",
    "server.maxBodyBytes": "max_body_bytes",
    "server.maxHeaderBytes": "max_header_bytes",
    "server.responseMetadata": "response_metadata",
    "server.drainTimeout": "drain_timeout",
    "server.logLevel": "log_level",
    "server.logFormat": "log_format",
    "auth.unifiedApiKey": "unified_api_key",
    "auth.secretKey": "secret_key",
    "litellm.configPath": "litellm_config",
    "routing.requestTimeout": "request_timeout",
    "routing.attemptTimeout": "attempt_timeout",
    "routing.firstTokenTimeout": "first_token_timeout",
    "routing.streamIdleTimeout": "stream_idle_timeout",
    "routing.numRetries": "num_retries",
    "routing.maxAttempts": "max_attempts",
    "fallback.strategy": "routing_strategy",
    "academic.taskClassification.enabled": "classify_tasks",
    "academic.taskClassification.autoDetect": "auto_detect_tasks",
    "academic.benchmarkSelection.enabled": "benchmark_selection",
    "academic.benchmarkSelection.weights": "selection_weights",
    "routing.disabledDeployments": "disabled_deployments",
    "limits.perMinute": "max_requests_per_minute",
    "limits.perHour": "max_requests_per_hour",
    "limits.burst": "default_rate_limit_capacity",
    "limits.refillRate": "default_rate_limit_refill_rate",
    "limits.concurrency": "student_concurrency",
    "limits.tiers": "limit_tiers",
    "breaker.failureThreshold": "breaker_threshold",
    "breaker.recoveryTimeout": "breaker_recovery",
    "portkey.enabled": "portkey_enabled",
    "portkey.apiKey": "portkey_api_key",
    "portkey.baseUrl": "portkey_base_url",
    "portkey.environment": "portkey_environment",
    "portkey.content": "portkey_content",
    "prompts.dir": "prompts_dir",
    "prompts.ttl": "prompt_ttl",
    "experiments": "experiments",
    "monitoring.healthCheckInterval": "health_check_interval",
    "monitoring.otlpEndpoint": "otel_exporter_otlp_endpoint",
    "monitoring.otlpHeaders": "otel_exporter_otlp_headers",
    "monitoring.serviceName": "otel_service_name",
    "monitoring.traceSampling": "trace_sampling",
    "monitoring.logSampling": "log_sampling",
    "monitoring.enabled": "alerts_enabled",
    "monitoring.thresholds.usageWarning": "alert_usage",
    "monitoring.thresholds.errorRate": "alert_error_rate",
    "monitoring.thresholds.latencyMs": "alert_latency_ms",
    "monitoring.alerts.repeat": "alert_repeat",
    "monitoring.alerts.webhookUrl": "alert_webhook_url",
    "monitoring.alerts.slackUrl": "alert_slack_url",
    "monitoring.alerts.smtpUrl": "alert_smtp_url",
    "monitoring.alerts.emailFrom": "alert_email_from",
    "monitoring.alerts.emailTo": "alert_email_to",
    "prices.gpt4": "cost_per_token_gpt4",
    "prices.gpt35": "cost_per_token_gpt35",
    "prices.claude": "cost_per_token_claude",
    "storage.url": "database_url",
    "storage.dataDir": "data_dir",
    "cache.url": "redis_url",
    "cache.enabled": "cache_enabled",
    "cache.type": "cache_type",
    "cache.ttl": "cache_ttl_seconds",
    "cache.maxEntries": "cache_max_entries",
    "lab.enabled": "enable_lab",
    "lab.seed": "lab_seed",
    "providers": "providers",
    "accounts": "accounts",
}

# Checked for their type, and reported by the doctor as not used yet: a key moves up when something obeys it.
LATER_KEYS: Mapping[str, Any] = {
    "litellm.proxy.enabled": bool,
    "litellm.proxy.rotationInterval": int,  # milliseconds
    "portkey.virtualKey": str,
    "portkey.cache.mode": Literal["semantic", "simple"],
    "portkey.cache.ttl": int,  # seconds
    "portkey.retry.attempts": int,
    "portkey.retry.onStatusCodes": list[int],
    "fallback.enabled": bool,
}

# Say which store is meant; the store itself is chosen by the URL next to them.
STORE_KEYS: Mapping[str, Any] = {
    "storage.type": Literal["sqlite", "postgresql"],
}

TYPED_KEYS: Mapping[str, Any] = {**LATER_KEYS, **STORE_KEYS}
ALL_KEYS: tuple[str, ...] = (*SETTING_KEYS, *TYPED_KEYS)


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted paths, down to the known keys; comment keys (``_…``, ``$schema``) are left out."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        path = f"{prefix}{key}"
        if str(key).startswith(("_", "$")):
            continue
        if isinstance(value, Mapping) and path not in ALL_KEYS:
            flat.update(flatten(value, f"{path}."))
        else:
            flat[path] = value
    return flat


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be; empty if none comes near."""
    by_folded = {candidate.casefold().replace("_", ""): candidate for candidate in known}
    found = get_close_matches(name.casefold().replace("_", ""), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else ""


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """``Did you mean x?`` if a known name is near, else ``otherwise``."""
    found = nearest(name, known)
    return f"Did you mean `{found}`?" if found else otherwise
