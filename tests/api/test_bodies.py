"""What a body may hold besides good JSON, and what other methods of the chat routes answer."""

import json
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from lumni.api.gate import Gate
from lumni.services import Services
from lumni.settings import Settings

PATHS = ["/v1/chat/completions", "/completion"]
JSON = {"content-type": "application/json"}


def chat(content: str = '"hi"', more: str = "") -> bytes:
    return f'{{"model": "auto", "messages": [{{"role": "user", "content": {content}}}]{more}}}'.encode()


REFUSED = {
    "a byte order mark": b"\xef\xbb\xbf" + chat(),
    "UTF-16": chat().decode().encode("utf-16"),
    "UTF-32": chat().decode().encode("utf-32"),
    "Latin-1": chat('"Größe"').decode().encode("latin-1"),
    "overlong UTF-8": chat().replace(b"hi", b"\xc0\xaf"),
    "a surrogate in UTF-8": chat().replace(b"hi", b"\xed\xa0\x80"),
    "a cut character": chat().replace(b"hi", b"\xe2\x82"),
    "beyond Unicode": chat().replace(b"hi", b"\xf4\x90\x80\x80"),
    "half a surrogate pair": chat('"\\ud83d"'),
    "a surrogate pair reversed": chat('"\\ude00\\ud83d"'),
    "NaN": chat(more=', "temperature": NaN'),
    "Infinity": chat(more=', "seed": Infinity'),
    "-Infinity in a field of no one's": chat(more=', "x": -Infinity'),
    "a float out of range": chat(more=', "temperature": 1e999'),
    "a huge seed": chat(more=f', "seed": {10**30}'),
    "an endless number": chat(more=', "max_tokens": ' + "9" * 100_000),
    "a huge number of one token": chat(more=f', "n": {2**63}'),
    "a leading zero": chat(more=', "n": 01'),
    "hexadecimal": chat(more=', "n": 0x1'),
    "a trailing comma": chat(more=","),
    "single quotes": chat("'hi'"),
    "a comment": b"/* hi */" + chat(),
    "two documents": chat() + chat(),
    "a line break in a string": chat('"a\nb"'),
    "a NUL after the end": chat() + b"\0",
    "arrays without end": b"[" * 100_000,
    "objects without end": b'{"a":' * 100_000,
    "closed, but deep": chat(more=f', "x": {"[" * 2000}{"]" * 2000}'),
    "deep in a tool": chat(more=', "tools": [{"type": "function", "function": {"name": "f", "parameters": '
                      + '{"a":' * 300 + "1" + "}" * 300 + "}}]"),
    "a twice written key, wrong the last time": chat(more=', "temperature": 1, "temperature": 9'),
    "a word": b'"hi"',
    "null": b"null",
    "white space": b" \n\t ",
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_good_json_gets_a_400(http: httpx.Client, name: str, path: str) -> None:
    """003-07: whatever comes, a 400 in OpenAI's shape that doesn't ask for a retry."""
    answer = http.post(path, content=REFUSED[name], headers=JSON)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].keys() >= {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(answer.json()["error"]["message"]) < 1000
    assert answer.headers["x-should-retry"] == "false"


SERVED = {
    "emoji as an escape": chat('"\\ud83d\\ude00"'),
    "emoji": chat('"😀 \u202e\u0000 é é"'.replace("\x00", "\\u0000")),
    "noncharacters": chat('"\uffff\U0010ffff"'),
    "white space around": b"\r\n " + chat() + b" \n",
    "a twice written key, right the last time": chat(more=', "temperature": 9, "temperature": 1'),
    "an empty key": chat(more=', "": 1'),
    "the largest seed": chat(more=f', "seed": {2**63 - 1}'),
    "minus zero": chat(more=', "temperature": -0.0'),
}


@pytest.mark.parametrize("name", SERVED)
def test_what_is_odd_but_right_is_served(http: httpx.Client, name: str) -> None:
    """003-07."""
    answer = http.post(PATHS[0], content=SERVED[name], headers=JSON)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_of_a_chat_route(http: httpx.Client, anonymous: httpx.Client, path: str) -> None:
    """003-07: HEAD and OPTIONS tell the method that there is; without a key they tell nothing."""
    for method in ("HEAD", "OPTIONS", "GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
        answer = http.request(method, path)
        if method == "BREW":  # not among the methods that the parser knows
            assert answer.status_code == 400
            continue
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST"), method
        assert bool(answer.content) == (method != "HEAD")
        assert anonymous.request(method, path).status_code == 401


def test_a_browser_reads_the_errors_too(http: httpx.Client, anonymous: httpx.Client) -> None:
    """003-41: every answer that a route or a middleware gives carries the permission, and shows our headers."""
    origin = {"origin": "https://any.example"}
    large = {**origin, "x-padding": "x" * 40_000}
    answers = [
        http.post(PATHS[0], content=chat(), headers={**JSON, **origin}),
        http.post(PATHS[0], content=b"{", headers={**JSON, **origin}),
        http.get(PATHS[0], headers=origin),
        http.get("/nowhere", headers=origin),
        http.get("/health", headers=large),
        anonymous.post(PATHS[0], content=chat(), headers={**JSON, **origin}),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 405, 404, 431, 401]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    ours = http.post(PATHS[0], content=chat(), headers={**JSON, **origin, "x-request-id": uuid4().hex})
    assert "access-control-allow-origin" in ours.headers


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_preflight_allows_every_method_and_header_of_ours(anonymous: httpx.Client, method: str) -> None:
    """003-41: also the headers that OpenAI's client adds."""
    asked = "authorization,content-type,x-api-key,x-request-id,x-stainless-os"
    headers = {"origin": "https://any.example", "access-control-request-method": method,
               "access-control-request-headers": asked}  # fmt: skip
    answer = anonymous.options(PATHS[0], headers=headers)
    assert answer.status_code == 200
    assert set(asked.split(",")) <= set(answer.headers["access-control-allow-headers"].replace(" ", "").split(","))
    assert method in answer.headers["access-control-allow-methods"]


async def test_a_websocket_is_refused_by_the_application_too() -> None:
    """003-07: whatever server is in front, no middleware trips over it and no route hears of it."""
    sent: list[Any] = []

    async def route(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was let in")

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    gate = Gate(route, cast("Services", SimpleNamespace(settings=Settings())), {})
    await gate({"type": "websocket", "path": PATHS[0], "headers": [], "query_string": b""}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]  # servers make a 403 of it


def test_json_errors_do_not_repeat_the_body(http: httpx.Client) -> None:
    """003-07: what was sent may be private; the answer tells the place, not the text."""
    answer = http.post(PATHS[0], content=b'{"model": "auto", "secret-of-mine"}', headers=JSON)
    assert answer.status_code == 400
    assert "secret-of-mine" not in json.dumps(answer.json())
