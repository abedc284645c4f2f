"""Every error that a client of Lumni can see.

    LumniError
    ├── InvalidRequest          400  the request is wrong everywhere; a retry can't help
    │   ├── ContextLengthExceeded 400  no eligible model has a window that large
    │   └── UnsupportedFeature  400  no eligible model can do what is asked
    ├── AuthenticationFailed    401
    ├── PermissionDenied        403
    ├── NotFound                404
    │   ├── ModelNotFound       404
    │   └── PromptNotFound      404
    ├── MethodNotAllowed        405
    ├── Conflict                409  what is there already stands in the way
    ├── RequestTooLarge         413
    ├── HeadersTooLarge         431
    ├── RateLimited             429  a retry helps after ``retry_after`` seconds
    │   └── BudgetExhausted     429  a budget is used up; only its next period or a teacher helps
    ├── ClientDisconnected      499  only ever seen in records
    ├── InternalError           500  a fault of ours
    ├── StreamInterrupted       502  only inside a stream: the answer broke off after its first content
    ├── ShuttingDown            503  the gateway is being stopped; another instance may answer
    ├── PairUnavailable         503  only models of one tier can answer, so that there is nothing to compare
    ├── LimitsUnavailable       503  Redis keeps the limits and was not reached yet
    ├── DatabaseUnavailable     503  what is asked for is in the database, and that is away
    ├── PromptUnavailable       503  a prompt could not be fetched, and none was kept
    ├── CacheUnavailable        503  the response cache's store doesn't answer: only who manages it sees this
    ├── AllProvidersFailed      503  every candidate was tried; ``attempts`` says how each one failed
    ├── DeadlineExceeded        504  the request's time budget ran out
    └── NotCached               504  nothing is kept, and the client wanted nothing else (only-if-cached)

Each carries the HTTP status, OpenAI's ``type`` and ``code``, and whether sending the same request again can help
(``x-should-retry``, which OpenAI's own clients obey). Messages say what to do, and never hold a key or a provider's
body.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class LumniError(Exception):
    """Base of all errors shown to clients; ``str(error)`` is the message that they see."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: str = "internal_error"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``retry_after`` is in seconds; ``extra`` joins the keys inside ``error``, ``headers`` those of the answer."""
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param
        self.retry_after = retry_after
        self.retryable = type(self).retryable if retryable is None else retryable
        self.extra = dict(extra or {})
        self.more_headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error as OpenAI writes it: ``{"error": {"message", "type", "param", "code", …}}``."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**error, **self.extra}}

    def headers(self) -> dict[str, str]:
        """``x-should-retry`` always, ``retry-after`` (whole seconds, rounded up) when known."""
        headers = {**self.more_headers, "x-should-retry": "true" if self.retryable else "false"}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, -int(-self.retry_after // 1)))
        return headers


class InvalidRequest(LumniError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class UnsupportedFeature(InvalidRequest):
    code = "unsupported_feature"


class AuthenticationFailed(LumniError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "www-authenticate": 'Bearer realm="lumni"'}


class PermissionDenied(LumniError):
    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFound(LumniError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class PromptNotFound(NotFound):
    code = "prompt_not_found"


class MethodNotAllowed(LumniError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(LumniError):
    status = 409
    type = "invalid_request_error"
    code = "conflict"


class RequestTooLarge(LumniError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class HeadersTooLarge(LumniError):
    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"


# Seconds. OpenAI's clients obey a ``retry-after`` of up to a minute, and ask again at once after a longer one: with one
# more minute in our own line that may still be served, but beyond it is in vain.
LONGEST_RETRY = 120.0


class RateLimited(LumniError):
    """A retry helps, unless the wait is longer than any client's patience, such as until tomorrow."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message, **more)
        if more.get("retryable") is None:
            self.retryable = self.retry_after is None or self.retry_after <= LONGEST_RETRY


class BudgetExhausted(RateLimited):
    """OpenAI's error for an account without money: type and code are ``insufficient_quota``."""

    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message, **{**more, "retryable": False})


class ClientDisconnected(LumniError):
    status = 499
    code = "client_disconnected"


class InternalError(LumniError):
    retryable = True


class StreamInterrupted(LumniError):
    status = 502
    code = "stream_interrupted"
    retryable = True


class ShuttingDown(LumniError):
    status = 503
    code = "shutting_down"
    retryable = True


class PairUnavailable(LumniError):
    status = 503
    code = "pair_unavailable"
    retryable = True


class LimitsUnavailable(LumniError):
    status = 503
    code = "limits_unavailable"
    retryable = True


class DatabaseUnavailable(LumniError):
    status = 503
    code = "database_unavailable"
    retryable = True


class PromptUnavailable(LumniError):
    status = 503
    code = "prompt_unavailable"
    retryable = True


class AllProvidersFailed(LumniError):
    """``extra["attempts"]`` says how each attempt failed, without anything that could hold a key or an address."""

    status = 503
    code = "all_providers_failed"
    retryable = True


class DeadlineExceeded(LumniError):
    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"
    retryable = True


class NotCached(LumniError):
    """RFC 9111, section 5.2.1.7, gives it the status of a gateway that has waited in vain."""

    status = 504
    type = "invalid_request_error"
    code = "not_cached"


class CacheUnavailable(LumniError):
    status = 503
    code = "cache_unavailable"
    retryable = True
