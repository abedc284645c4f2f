"""``/claim``: where students get their key, once. A page without scripts and without any other host."""

import base64
import hashlib
from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from lumni.api.errors import known
from lumni.api.people import people_of
from lumni.api.wire import parse
from lumni.errors import InvalidRequest, LumniError, RequestTooLarge
from lumni.people.claims import Claimed

router = APIRouter(include_in_schema=False)
MOST_BYTES = 4096

PRIVACY = {
    "none": "Your prompts and the answers are not stored: only how many tokens, which model, and when.",
    "hash": "Your prompts and the answers are not stored: only a fingerprint that shows whether two are the same.",
    "redacted": "Your prompts and the answers are stored, with names, addresses and keys blacked out. "
    "Your teachers may read them.",
    "full": "Your prompts and the answers are stored. Your teachers may read them.",
}

STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}label{display:block;margin:1rem 0 .2rem}input{font:inherit;width:100%;box-sizing:border-box;"
    "padding:.5rem;border:1px solid #767676;border-radius:.3rem}button{font:inherit;margin-top:1.5rem;"
    "padding:.5rem 1.5rem;border:0;border-radius:.3rem;background:#14532d;color:#fff}"
    "code{display:block;overflow-wrap:anywhere;padding:.8rem;background:#f0f0f0;border-radius:.3rem;user-select:all}"
    "[role=alert]{padding:.8rem;border-left:.3rem solid #b91c1c;background:#fef2f2}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}


@router.get("/claim")
async def page(code: str = "", email: str = "") -> Response:
    """The form; a link may bring the code with it."""
    return _page("Get your key", _form(code[:40], email[:254]))


@router.post("/claim")
async def claim(request: Request) -> Response:
    """The key: as a page for the form, as JSON for JSON ``{"code", "email"}``."""
    as_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
    code = email = ""
    try:
        code, email = _fields(await request.body(), as_json=as_json)
        address = request.client.host if request.client else ""
        claimed = await people_of(request).claims.claim(code, email, address)
    except Exception as error:
        told = error if isinstance(error, LumniError) else known(error)
        if as_json or told is None:
            raise
        alert = f'<p role="alert">{escape(told.message)}</p>'
        return _page("Get your key", alert + _form(code[:40], email[:254]), told)
    if as_json:
        course = claimed.course
        body = {"key": claimed.key.text, "course": course.id, "student": claimed.key.key.student}
        return JSONResponse({**body, "privacy": course.privacy}, headers={"cache-control": "no-store"})
    return _page("Your key", _key(claimed, str(request.base_url)))


def _fields(body: bytes, *, as_json: bool) -> tuple[str, str]:
    """Code and e-mail address. Raises :class:`InvalidRequest`."""
    if len(body) > MOST_BYTES:
        raise RequestTooLarge("The form is larger than it can be.")
    if as_json:
        sent = parse(body)
    else:
        try:
            sent = {name: values[-1] for name, values in parse_qs(body.decode(), max_num_fields=10).items()}
        except ValueError:
            raise InvalidRequest("The form can't be read.") from None
    code, email = sent.get("code", ""), sent.get("email", "")
    if not isinstance(code, str) or not isinstance(email, str):
        raise InvalidRequest("code and email must be text.", param="code")
    return code, email


def _form(code: str, email: str) -> str:
    return (
        '<form method="post" action="claim" autocomplete="off">'
        f'<label for="code">Course code</label><input id="code" name="code" required value="{escape(code)}">'
        '<label for="email">Your e-mail address, as on the roster</label>'
        f'<input id="email" name="email" type="email" required value="{escape(email)}">'
        "<button>Get my key</button></form>"
        "<p>You get one key, and see it once. Keep it to yourself.</p>"
    )


def _key(claimed: Claimed, base: str) -> str:
    course = claimed.course
    return (
        f"<p>This is your key for {escape(course.name)}. <strong>Copy it now:</strong> it is shown only this once.</p>"
        f"<code>{escape(claimed.key.text)}</code>"
        f"<p>Base URL:</p><code>{escape(base)}v1</code>"
        f"<p>{escape(PRIVACY[course.privacy])}</p>"
    )


def _page(title: str, body: str, error: LumniError | None = None) -> Response:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title} – Lumni</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{body}</main></body></html>"
    )
    headers = {**_HEADERS, **(error.headers() if error else {})}
    return HTMLResponse(html, error.status if error else 200, headers)
