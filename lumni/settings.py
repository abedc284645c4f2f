"""Every setting of the gateway, frozen once read.

Precedence: environment (``.env`` below it) > ``config.json`` > ``litellm_config.yaml`` (its ``lumni_settings``) > the
defaults below. ``lumni.sources`` reads them, ``docs/configuration.md`` lists them.
"""

import datetime
import json
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lumni import files, sources
from lumni.experiment import NAME, Experiment
from lumni.files import ConfigurationError, Finding
from lumni.types import RoutingStrategy, spell_strategy

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg", "sqlite", "sqlite+aiosqlite")
SECRET_LENGTH = 32
MOST_REQUESTS = 1_000_000
SLOWEST = 0.0001  # requests a second: about one in three hours
REDIS_SCHEMES = ("redis", "rediss", "unix")
CACHE_TYPES = {"local": "memory", "in-memory": "memory"}  # LiteLLM's names for ours


class ProviderSettings(BaseModel):
    """What ``config.json`` says of one provider: a default for all its deployments, weaker than their own entries.

    ``limits`` are requests and tokens per window, such as ``rpm`` and ``tpd``; the catalogue reads and checks them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    enabled: bool | None = None
    api_key: SecretStr | None = Field(None, alias="apiKey")
    base_url: str | None = Field(None, alias="baseUrl")
    priority: int | None = Field(None, ge=0)
    limits: Mapping[str, Any] = Field(default_factory=dict)


class Consent(BaseModel):
    """When and by whom an account was given to the class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: datetime.date
    by: str = Field(min_length=1)


class AccountSettings(BaseModel):
    """What is said of one account, by its label.

    ``limits`` hold for all its models together. A ``personal`` account serves only its ``owner``, a student or a
    label. Accounts that name the same ``shared`` quota draw on one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Mapping[str, Any] = Field(default_factory=dict)
    terms: Literal["personal", "class", "organization"] | None = None
    owner: str | None = None
    consent: Consent | None = None
    shared: tuple[str, ...] = ()

    @field_validator("shared", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @classmethod
    def read(cls, written: Any, where: str) -> "AccountSettings":
        """From a file's own words. Raises ``ConfigurationError``; ``where`` names the place."""
        try:
            return cls.model_validate(written)
        except ValidationError as error:
            raise ConfigurationError(_findings(error, lambda _: "", where)) from None


class TierSettings(BaseModel):
    """Limits of one role; what is left out is as for students, and 0 means no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    per_minute: int | None = Field(None, ge=0, le=MOST_REQUESTS, alias="perMinute")
    per_hour: int | None = Field(None, ge=0, le=MOST_REQUESTS, alias="perHour")
    burst: int | None = Field(None, ge=0, le=MOST_REQUESTS)
    refill_rate: float | None = Field(None, ge=SLOWEST, le=MOST_REQUESTS, alias="refillRate")


class SelectionWeights(BaseModel):
    """How much each part counts when models are ranked; what is left out keeps its default. They sum to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    benchmark_ranking: float = Field(0.3, ge=0, le=1, alias="benchmarkRanking")
    benchmark_score: float = Field(0.2, ge=0, le=1, alias="benchmarkScore")
    rate_limit_availability: float = Field(0.2, ge=0, le=1, alias="rateLimitAvailability")
    provider_priority: float = Field(0.1, ge=0, le=1, alias="providerPriority")
    recent_usage: float = Field(0.1, ge=0, le=1, alias="recentUsage")
    cost_efficiency: float = Field(0.1, ge=0, le=1, alias="costEfficiency")

    @model_validator(mode="after")
    def _sum_to_one(self) -> "SelectionWeights":
        total = sum(self.model_dump().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the six weights must sum to 1, these sum to {total:g}")
        return self


class Settings(BaseSettings):
    """Times are in seconds, sizes in bytes. ``read`` asks all sources; the constructor only takes what it is given."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=False)

    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104  (a server; every route needs a key)
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    unified_api_key: SecretStr | None = Field(None, description="The one key that opens everything. Made if absent.")
    secret_key: SecretStr | None = Field(None, description="Keys pseudonyms and claim codes. Made if absent.")
    litellm_config: Path | None = Field(None, description="The model list. Default: ./litellm_config.yaml, else ours.")
    data_dir: Path = Field(Path(".lumni"), description="Where SQLite, the key's hash and spools live.")
    database_url: SecretStr | None = Field(None, description="PostgreSQL; SQLite in `data_dir` without it.")
    redis_url: SecretStr | None = Field(None, description="Redis or Valkey; in-process memory without it.")
    workers: int = Field(1, ge=1, le=64, description="Processes that serve together; several need Redis.")
    cors_origins: tuple[str, ...] = Field(("*",), description="Origins a browser may call from.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="One event a line: for the eye, or as JSON; `auto` is for the eye on a terminal only."
    )

    request_timeout: float = Field(60.0, gt=0, description="Total time of a request, retries and fallbacks included.")
    attempt_timeout: float = Field(60.0, gt=0, description="Longest time of one attempt; never more than what is left.")
    first_token_timeout: float = Field(30.0, gt=0, description="Longest wait of an attempt for a stream's first token.")
    stream_idle_timeout: float = Field(30.0, gt=0, description="Longest silence inside a stream.")
    num_retries: int = Field(3, ge=0, le=10, description="Rounds over the candidates after the first.")
    max_attempts: int = Field(12, ge=1, le=50, description="Most upstream calls for one request.")
    drain_timeout: float = Field(30.0, ge=0, description="How long running requests may finish after SIGTERM.")

    max_requests_per_minute: int = Field(
        10, ge=0, le=MOST_REQUESTS, description="Requests of one student in any minute; 0: no limit."
    )
    max_requests_per_hour: int = Field(
        100, ge=0, le=MOST_REQUESTS, description="Requests of one student in any hour; 0: no limit."
    )
    default_rate_limit_capacity: int = Field(
        100, ge=0, le=MOST_REQUESTS, description="Requests of one key at once; 0: no limit."
    )
    default_rate_limit_refill_rate: float = Field(
        1.0, ge=SLOWEST, le=MOST_REQUESTS, description="Of those, how many come back a second."
    )
    student_concurrency: int = Field(8, ge=1, description="Upstream calls that run for one student at once.")
    limit_tiers: Mapping[str, TierSettings] = Field(
        default_factory=dict, description="By role (student, teacher, admin): perMinute, perHour, burst, refillRate."
    )
    cost_per_token_gpt4: Decimal | None = Field(None, ge=0, le=1, description="USD a token of models named gpt-4….")
    cost_per_token_gpt35: Decimal | None = Field(None, ge=0, le=1, description="USD a token of models named gpt-3.5….")
    cost_per_token_claude: Decimal | None = Field(None, ge=0, le=1, description="USD a token of models named claude….")
    benchmark_selection: bool = Field(True, description="Rank models by score; else in the model list's own order.")
    selection_weights: SelectionWeights = Field(
        SelectionWeights(), description="Of the parts of the score: benchmarkRanking, benchmarkScore, …; they sum to 1."
    )
    routing_strategy: RoutingStrategy = Field("auto", description="In which order candidates are tried.")
    disabled_deployments: Mapping[str, str] = Field(
        default_factory=dict, description="Deployments, or `groq/*` for a provider's, that aren't called, and why."
    )
    classify_tasks: bool = Field(True, description="Whether tasks are classified at all.")
    auto_detect_tasks: bool = Field(True, description="Whether Lumni classifies; off: only the client, by `taskType`.")
    breaker_threshold: int = Field(3, ge=1, description="Failures in a row after which a deployment is left alone.")
    breaker_recovery: float = Field(600.0, ge=0, description="For how long, until one probe decides.")

    cache_enabled: bool | None = Field(
        None, description="Keep answers for whoever asks the same; unset: if one of the next two is set."
    )
    cache_type: Literal["memory", "redis", "disk"] = Field(
        "memory", description="Where answers are kept. What leaves the process is encrypted."
    )
    cache_ttl_seconds: float = Field(3600.0, ge=0, description="How long an answer is kept; 0: no cache.")
    cache_max_entries: int = Field(1000, ge=1, description="Most answers that a process keeps in its memory.")

    health_check_interval: float = Field(
        60.0, ge=0, description="Between free calls to providers that are out of order; 0: none."
    )

    portkey_enabled: bool | None = Field(
        None, description="Send records to Portkey; unset: if the model list has the callback `portkey`."
    )
    portkey_api_key: SecretStr | None = Field(None, description="Key of a Portkey workspace; nothing is sent without.")
    portkey_base_url: str = Field("https://api.portkey.ai/v1", description="Portkey's API, or a self-hosted one.")
    portkey_environment: str = Field("development", description="How logs of this gateway are marked in Portkey.")

    portkey_content: bool = Field(
        False, description="Send Portkey the content that courses allow to be kept (privacy redacted or full)."
    )
    prompts_dir: Path = Field(Path("prompts"), description="Prompts as files, for where Portkey has none.")
    prompt_ttl: float = Field(60.0, ge=0, description="Before a prompt is asked for again.")
    experiments: Mapping[str, Experiment] = Field(
        default_factory=dict, description="By name: unit, models, courses, variants."
    )

    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="Where traces go, by OTLP over HTTP; unset: none."
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(None, description="What that asks for: name=value,name=value.")
    otel_service_name: str = Field("lumni", description="The name of this gateway in traces.")
    trace_sampling: float = Field(1.0, ge=0, le=1, description="Share of requests that are traced unasked.")
    log_sampling: float = Field(
        1.0, ge=0, le=1, description="Share of requests that went well whose events are logged."
    )

    alerts_enabled: bool = Field(True, description="Watch the metrics and tell what is wrong.")
    alert_usage: float = Field(0.8, gt=0, le=1, description="Share of a day's or longer quota that is worth an alert.")
    alert_error_rate: float = Field(0.1, gt=0, le=1, description="Share of requests that fail.")
    alert_latency_ms: float = Field(30_000.0, gt=0, description="Milliseconds that one request in twenty takes.")
    alert_repeat: float = Field(14_400.0, ge=0, description="Before an alert that goes on is told again.")
    alert_webhook_url: SecretStr | None = Field(None, description="Gets alerts as JSON objects.")
    alert_slack_url: SecretStr | None = Field(None, description="Incoming web hook of Slack, or what is like it.")
    alert_smtp_url: SecretStr | None = Field(None, description="Mail server: smtp:// or smtps://user:password@host.")
    alert_email_from: str = Field("lumni@localhost", description="Sender of alerts by e-mail.")
    alert_email_to: tuple[str, ...] = Field((), description="Who gets alerts by e-mail.")

    max_body_bytes: int = Field(20 * 2**20, gt=0, description="Largest request body; images are part of it.")
    max_header_bytes: int = Field(32 * 2**10, gt=0, description="Largest request line and headers together.")
    response_metadata: bool = Field(True, description="Put the `lumni` object into response bodies.")
    enable_lab: Literal["auto", "on", "off"] = Field(
        "auto", description="The keyless lab provider: auto (only without keys), on or off."
    )
    lab_seed: int = Field(0, description="Seed of the lab provider's answers.")
    providers: Mapping[str, ProviderSettings] = Field(
        default_factory=dict, description="Per provider: enabled, apiKey, baseUrl, priority, limits."
    )
    accounts: Mapping[str, AccountSettings] = Field(
        default_factory=dict, description="Per account: limits, terms, owner, consent, shared."
    )

    @classmethod
    def load(cls, config: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> "Settings":
        """The settings of this directory. ``config`` is a ``config.json`` or a model list; ``None`` looks for both.

        ``overrides`` (from the command line) win; ``None`` among them means not given. Raises ``ConfigurationError``
        with one finding for each bad value: its setting, its source and how to mend it.
        """
        return cls.read(config, environ, **overrides).settings

    @classmethod
    def read(cls, config: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> "Reading":
        """As ``load``, together with what was odd but no reason to stop, such as unknown keys."""
        directory = Path.cwd()
        environ = files.with_dotenv(os.environ if environ is None else environ, directory)
        collected = sources.collect(tuple(cls.model_fields), config, environ, overrides, directory)
        try:
            settings = cls(_build_sources=(collected.sources(cls), {}))
        except ValidationError as error:
            raise ConfigurationError(_findings(error, collected.source_of)) from None
        return Reading(settings, collected.findings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (these are pydantic-settings' names)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Without pydantic's own sources, which can't tell where a bad value came from."""
        return (init_settings,)

    @field_validator("cors_origins", "alert_email_to", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return tuple(json.loads(value))
            except json.JSONDecodeError:
                raise ValueError("must be a JSON list or names separated by commas") from None
        return tuple(origin.strip() for origin in value.split(",") if origin.strip())

    @field_validator("enable_lab", mode="before")
    @classmethod
    def _name_switch(cls, value: Any) -> Any:
        names = {"true": "on", "1": "on", "yes": "on", "false": "off", "0": "off", "no": "off"}
        text = str(value).strip().lower()
        return names.get(text, text)

    @property
    def caches(self) -> bool:
        """Whether answers are kept: if that is said, or else if it is said where or for how long."""
        named = bool(self.model_fields_set & {"cache_type", "cache_ttl_seconds"})
        return self.cache_ttl_seconds > 0 and (named if self.cache_enabled is None else self.cache_enabled)

    @field_validator("cache_type", mode="before")
    @classmethod
    def _name_store(cls, value: Any) -> Any:
        name = str(value).strip().lower()
        return CACHE_TYPES.get(name, name)

    @field_validator("routing_strategy", mode="before")
    @classmethod
    def _spell_strategy(cls, value: Any) -> Any:
        return spell_strategy(value)

    @field_validator("log_level")
    @classmethod
    def _know_level(cls, value: str) -> str:
        if value.upper() not in LOG_LEVELS:
            raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
        return value.upper()

    @field_validator("portkey_base_url", "otel_exporter_otlp_endpoint")
    @classmethod
    def _check_http_url(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL that starts with https://")
        return value.rstrip("/")

    @field_validator("alert_webhook_url", "alert_slack_url", "alert_smtp_url")
    @classmethod
    def _check_alert_url(cls, value: SecretStr | None, info: Any) -> SecretStr | None:
        allowed = ("smtp", "smtps") if info.field_name == "alert_smtp_url" else ("https", "http")
        if value is None or not value.get_secret_value():
            return None
        try:
            parts = urlsplit(value.get_secret_value())
            right = parts.scheme in allowed and bool(parts.hostname) and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise ValueError(f"must be a URL that starts with {allowed[0]}://")
        return value

    @field_validator("database_url", "redis_url")
    @classmethod
    def _check_url(cls, value: SecretStr | None, info: Any) -> SecretStr | None:
        allowed = DATABASE_SCHEMES if info.field_name == "database_url" else REDIS_SCHEMES
        if value is not None and urlsplit(value.get_secret_value()).scheme not in allowed:
            raise ValueError(f"must be a URL that starts with {allowed[0]}://")
        return value

    @field_validator("experiments")
    @classmethod
    def _check_names(cls, value: Mapping[str, Experiment]) -> Mapping[str, Experiment]:
        if wrong := [name for name in value if not NAME.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is no name: letters, digits, '.', '_' and '-', 64 at most")
        return value

    @field_validator("secret_key")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < SECRET_LENGTH:
            raise ValueError(f"must be random and have at least {SECRET_LENGTH} characters")
        return value

    @field_validator("workers")
    @classmethod
    def _share_through_redis(cls, value: int, info: Any) -> int:
        if value > 1 and info.data.get("redis_url", "wrong") is None:
            raise ValueError("several processes share limits through Redis, and REDIS_URL isn't set: set it, or use 1")
        return value

    @field_validator("unified_api_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else "-"
        if not text.isascii() or not text.isprintable() or any(character.isspace() for character in text):
            raise ValueError("must be printable ASCII without spaces, since it travels in a header")
        return value


class Reading(NamedTuple):
    settings: Settings
    findings: tuple[Finding, ...]


def _findings(error: ValidationError, source_of: Callable[[str], str], where: str = "") -> list[Finding]:
    """One finding a bad setting. Pydantic's messages name what was expected, never what was there."""
    findings = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        name = ".".join([where, *map(str, fault["loc"])] if where else map(str, fault["loc"]))
        source = "" if where else f" ({source_of(str(fault['loc'][0]) if fault['loc'] else '')})"
        reason = fault["msg"].removeprefix("Value error, ")
        findings.append(Finding("error", f"{name}{source}: {reason}", "Mend it there, or remove it for the default"))
    return findings
