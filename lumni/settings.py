"""Every setting of the gateway, frozen once read.

Precedence: environment > ``config.json`` > ``litellm_config.yaml`` (its ``lumni_settings``) > the defaults below.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104  (a server; every route needs a key)
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    unified_api_key: SecretStr | None = Field(None, description="The one key that opens everything. Made if absent.")
    litellm_config: Path | None = Field(None, description="The model list. Default: ./litellm_config.yaml, else ours.")
    data_dir: Path = Field(Path(".lumni"), description="Where SQLite, the key's hash and spools live.")
    database_url: SecretStr | None = Field(None, description="PostgreSQL; SQLite in `data_dir` without it.")
    redis_url: SecretStr | None = Field(None, description="Redis or Valkey; in-process memory without it.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(("*",), description="Origins a browser may call from.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

    request_timeout: float = Field(60.0, gt=0, description="Total time of a request, retries and fallbacks included.")
    attempt_timeout: float = Field(60.0, gt=0, description="Longest time of one attempt; never more than what is left.")
    first_token_timeout: float = Field(30.0, gt=0, description="Longest wait of one attempt for a stream's first token.")
    stream_idle_timeout: float = Field(30.0, gt=0, description="Longest silence inside a stream.")
    num_retries: int = Field(3, ge=0, le=10, description="Rounds over the candidates after the first.")
    max_attempts: int = Field(12, ge=1, le=50, description="Most upstream calls for one request.")
    drain_timeout: float = Field(30.0, ge=0, description="How long running requests may finish after SIGTERM.")

    max_body_bytes: int = Field(20 * 2**20, gt=0, description="Largest request body; images are part of it.")
    max_header_bytes: int = Field(32 * 2**10, gt=0, description="Largest header block.")
    response_metadata: bool = Field(True, description="Put the `lumni` object into response bodies.")
    enable_lab: str = Field("auto", description="The keyless lab provider: auto (only without keys), on or off.")
    lab_seed: int = Field(0, description="Seed of the lab provider's answers.")
