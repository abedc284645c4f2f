"""What the surfaces promise, against a real gateway."""

import hmac
import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from lumni.api.wire import new_request_id
from lumni.people import keyring
from tests.api.conftest import QUESTION, Row
from tests.services.gateway import Gateway

CHAT = "/v1/chat/completions"
BODY = {"model": "auto", "messages": QUESTION}
Records = Callable[[str], list[Row]]


def events(response: httpx.Response) -> list[Any]:
    """The JSON of each event; ``[DONE]`` as it is."""
    data = [line[6:] for line in response.text.split("\n\n") if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


# Keys


@pytest.mark.parametrize("path", [CHAT, "/completion", "/v1/models", "/v1/models/auto", "/nowhere", "/v1/health"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}])
def test_without_a_right_key_there_is_401(anonymous: httpx.Client, path: str, headers: dict[str, str]) -> None:
    """000-02, 000-35, 002-13: in front of every route that isn't public, also those that don't exist."""
    answer = anonymous.request("POST" if path in (CHAT, "/completion") else "GET", path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["code"] == ("invalid_api_key" if headers else "missing_api_key")
    assert "wrong" not in answer.text


@pytest.mark.parametrize("form", ["authorization", "x-api-key"])
def test_one_key_opens_everything_in_either_header(lab_gateway: Gateway, anonymous: httpx.Client, form: str) -> None:
    """000-34, 002-13: the same key as bearer or as x-api-key."""
    headers = {form: f"bearer {lab_gateway.key}" if form == "authorization" else lab_gateway.key}
    assert anonymous.get("/v1/models", headers=headers).status_code == 200
    assert anonymous.post(CHAT, headers=headers, json=BODY).status_code == 200


async def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """002-13: every decision is hmac.compare_digest's, over digests of equal length."""
    compared: list[tuple[Any, Any]] = []

    def compare(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(keyring, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    ring = keyring.Keyring(keyring.hash_key("right"))
    assert await ring.authenticate("right") is not None
    assert await ring.authenticate("r") is None
    assert [len(a) for a, _ in compared] == [len(b) for _, b in compared] == [64, 64]


# Ids


def test_a_sane_request_id_is_echoed_and_recorded(http: httpx.Client, records_of: Records) -> None:
    """002-11, 003-34: the client's id and ours lead to the same record."""
    mine = f"mine-{uuid4().hex}"
    answer = http.post(CHAT, json=BODY, headers={"x-request-id": mine})
    assert answer.headers["x-request-id"] == mine
    [record] = records_of(mine)
    assert record["request_id"] == answer.headers["x-lumni-request-id"] == answer.json()["lumni"]["request_id"]
    assert (record["outcome"], record["status"]) == ("ok", 200)


@pytest.mark.parametrize("bad", ["", "with space", "x" * 129, "a\tb", "caf\u00e9"])
def test_an_odd_request_id_is_replaced_by_ours(http: httpx.Client, bad: str) -> None:
    """002-11: every answer has an id."""
    answer = http.get("/v1/models", headers={b"x-request-id": bad.encode("latin-1")})
    assert answer.headers["x-request-id"] == answer.headers["x-lumni-request-id"]
    assert answer.headers["x-request-id"].startswith("req_")


def test_request_ids_follow_the_clock_and_none_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """002-11: so the database finds those of one moment next to each other."""
    ids = []
    for at in (0, 1_763_784_000_000, 1_763_784_000_001, 4_102_444_800_000):
        monkeypatch.setattr("time.time_ns", lambda at=at: at * 1_000_000)
        ids.append(sorted(new_request_id() for _ in range(100)))
    assert [one for some in ids for one in some] == sorted({one for some in ids for one in some})
    assert all(re.fullmatch("req_[0-9a-f]{32}", one) for some in ids for one in some)


def test_a_request_id_cannot_smuggle_headers(lab_gateway: Gateway) -> None:
    """002-11: nothing that a client puts into its id becomes a header line of ours."""
    answer = raw(lab_gateway, b"GET /health HTTP/1.1\r\nhost: x\r\nx-request-id: a%0d%0ab\rset-cookie: c=1\r\n\r\n")
    assert b"\nset-cookie" not in answer.lower()


def test_errors_have_ids_too(anonymous: httpx.Client) -> None:
    """002-11."""
    assert anonymous.get("/v1/models").headers["x-request-id"].startswith("req_")


# Limits


def raw(gateway: Gateway, request: bytes) -> bytes:
    """What comes back for these bytes, up to the end of the first answer's head."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer and (more := connection.recv(65536)):
            answer += more
    return answer


@pytest.fixture(scope="module")
def strict_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a small body limit and two origins."""
    environ = {"MAX_BODY_BYTES": "20000", "CORS_ORIGINS": "https://class.example,https://lab.example"}
    with Gateway(tmp_path_factory.mktemp("strict"), **environ) as gateway:
        yield gateway


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_too_large_a_body_is_refused(strict_gateway: Gateway, chunked: bool) -> None:
    """003-07: 413, whether content-length announced it or not; it leaves a record."""
    from tests.api.conftest import read_records

    content = json.dumps({**BODY, "user": "x" * 30_000}).encode()
    mine = f"large-{chunked}"
    answer = httpx.post(
        strict_gateway.url + CHAT,
        content=iter([content[:9000], content[9000:]]) if chunked else content,
        headers={"authorization": f"Bearer {strict_gateway.key}", "x-request-id": mine},
        timeout=120,
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    [record] = read_records(strict_gateway, mine)
    assert (record["status"], record["outcome"], record["error_code"]) == (413, "bad_request", "request_too_large")


def test_too_large_headers_are_refused(http: httpx.Client) -> None:
    """003-07: 431."""
    answer = http.get("/health", headers={"x-padding": "x" * 40_000})
    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "headers_too_large"


# Browsers


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }


def test_preflights_need_no_key(anonymous: httpx.Client) -> None:
    """003-41: any origin by default."""
    answer = anonymous.options(CHAT, headers=preflight("https://any.example"))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()


def test_only_configured_origins_may_call(strict_gateway: Gateway) -> None:
    """003-41: the others get no permission, in the preflight or later."""
    url = strict_gateway.url + CHAT
    allowed = httpx.options(url, headers=preflight("https://lab.example"))
    assert allowed.headers["access-control-allow-origin"] == "https://lab.example"
    assert httpx.options(url, headers=preflight("https://evil.example")).status_code == 400
    assert "access-control-allow-origin" not in httpx.post(url, headers={"origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" in httpx.post(url, headers={"origin": "https://class.example"}).headers


# Wrong requests


def chat(**fields: Any) -> bytes:
    return json.dumps({**BODY, **fields}).encode()


WRONG = {
    "broken JSON": (b'{"model": "auto",', None),
    "empty": (b"", None),
    "no object": (b"[]", None),
    "NaN": (b'{"model": "auto", "messages": [], "temperature": NaN}', None),
    "half a surrogate pair": (b'{"model": "auto", "messages": [{"role": "user", "content": "\\ud83d"}]}', None),
    "not UTF-8": (b'{"model": "\xff"}', None),
    "nested without end": (b'{"x":' * 5000 + b"1" + b"}" * 5000, None),
    "nested deeply": (b'{"x":' * 500 + b"1" + b"}" * 500, None),
    "no model": (json.dumps({"messages": QUESTION}).encode(), "model"),
    "model is a number": (chat(model=5), "model"),
    "model is endless": (chat(model="x" * 5000), "model"),
    "no messages": (b'{"model": "auto"}', "messages"),
    "messages empty": (chat(messages=[]), "messages"),
    "messages are words": (chat(messages="hi"), "messages"),
    "message is a word": (chat(messages=["hi"]), "messages[0]"),
    "unknown role": (chat(messages=[{"role": "robot", "content": "hi"}]), "messages[0].role"),
    "content is a number": (chat(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
    "tool without call": (chat(messages=[*QUESTION, {"role": "tool", "content": "4"}]), "messages[1].tool_call_id"),
    "temperature too high": (chat(temperature=2.1), "temperature"),
    "temperature too low": (chat(temperature=-0.1), "temperature"),
    "temperature without end": (b'{"model": "auto", "messages": [], "temperature": 1e400}', None),
    "temperature in words": (chat(temperature="1"), "temperature"),
    "top_p too high": (chat(top_p=1.01), "top_p"),
    "huge max_tokens": (chat(max_tokens=2**80), "max_tokens"),
    "no tokens": (chat(max_tokens=0), "max_tokens"),
    "stop is a number": (chat(stop=1), "stop"),
    "stream in words": (chat(stream="yes"), "stream"),
    "bad task type": (chat(task_type="slow"), "task_type"),
    "two task types": (chat(task_type="fast", taskType="powerful"), "task_type"),
}


@pytest.mark.parametrize("path", [CHAT, "/completion"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_body_gets_a_400_that_says_where(http: httpx.Client, name: str, path: str) -> None:
    """003-07, 004-09: OpenAI's error shape, the field in `param`, a message, and no retry."""
    content, param = WRONG[name]
    if path == "/completion" and name == "no model":
        pytest.skip("there the model is optional")
    answer = http.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert len(error["message"]) > 10
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    "headers", [{"content-type": "text/plain"}, {"content-type": "application/json", "content-encoding": "gzip"}]
)
def test_a_body_that_is_no_plain_json_is_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    """003-07: with a message that names the header."""
    answer = http.post(CHAT, content=chat(), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == list(headers)[-1]


def test_odd_but_right_bodies_are_served(http: httpx.Client) -> None:
    """003-07: NUL bytes, and of a key that is there twice the last, as everywhere in JSON."""
    assert http.post(CHAT, content=chat(messages=[{"role": "user", "content": "a\x00b"}])).status_code == 200
    twice = b'{"model": "nothing", "messages": [{"role": "user", "content": "hi"}], "model": "fast"}'
    assert http.post(CHAT, content=twice).status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/completion"])
@pytest.mark.parametrize(
    ("content", "status", "model"),
    [(chat(temperature=9), 400, "auto"), (b"{", 400, ""), (chat(model="none\nsuch\x00"), 404, "none\nsuch\ufffd")],
)
def test_refused_requests_leave_one_record(
    http: httpx.Client, records_of: Records, path: str, content: bytes, status: int, model: str
) -> None:
    """000-36, 003-34: also those that never reach a provider."""
    mine = uuid4().hex
    headers = {"x-request-id": mine, "content-type": "application/json"}
    assert http.post(path, content=content, headers=headers).status_code == status
    [record] = records_of(mine)
    assert record["status"] == status
    if path == CHAT or content != b"{":
        assert record["requested_model"] == model
    assert record["outcome"] == ("bad_request" if status == 400 else "not_found")


def test_an_unknown_model_is_a_404(http: httpx.Client) -> None:
    """004-12: OpenAI's shape, and the way to the names."""
    answer = http.post(CHAT, json={**BODY, "model": "gpt-99"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert answer.json()["error"]["param"] == "model"


def test_other_methods_and_paths(http: httpx.Client) -> None:
    """003-07: 405 with what is allowed, 404, both in OpenAI's shape."""
    answer = http.get(CHAT)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert http.get("/nowhere").json()["error"]["code"] == "not_found"
    assert http.post(CHAT + "/", json=BODY).status_code == 404
    assert http.head("/health").status_code == 200
    assert http.head("/health").content == b""


# Models, health, docs


def test_the_models_list_and_each_model(http: httpx.Client) -> None:
    """004-10: every listed id can be asked for, also one with slashes."""
    listed = http.get("/v1/models").json()
    assert listed["object"] == "list"
    for model in listed["data"]:
        assert {"id", "object", "created", "owned_by"} <= model.keys()
        assert http.get(f"/v1/models/{model['id']}").json() == model
    for path in ("lumni-lab/fast", "lumni-lab%2Ffast"):
        assert http.get(f"/v1/models/{path}").json()["id"] == "lumni-lab/fast"
    assert http.get("/v1/models/no/such").status_code == 404


def test_health(http: httpx.Client, anonymous: httpx.Client) -> None:
    """000-45, 004-11: exactly this for anyone; detail for those with a key."""
    assert anonymous.get("/health").content == b'{"status":"ok"}'
    assert anonymous.get("/health", headers={"x-api-key": "wrong"}).content == b'{"status":"ok"}'
    detail = http.get("/health").json()
    assert detail["status"] == "ok"
    assert detail["deployments"]
    assert anonymous.get("/health/ready").json() == {"status": "ready", "database": "up"}


def test_the_docs(anonymous: httpx.Client) -> None:
    """003-37."""
    assert "openapi.json" in anonymous.get("/docs").text
    assert CHAT in anonymous.get("/openapi.json").json()["paths"]


# Answers


def test_the_lumni_object_and_headers(http: httpx.Client) -> None:
    """001-35: what was chosen and why; headers say the same in short."""
    answer = http.post(CHAT, json=BODY)
    lumni, headers = answer.json()["lumni"], answer.headers
    assert headers["x-lumni-deployment"] == lumni["selection"]["deployment"]
    assert headers["x-lumni-provider"] == lumni["selection"]["provider"]
    assert headers["x-lumni-model"] == lumni["selection"]["model"]
    assert headers["x-lumni-task-type"] == lumni["classification"]["task_type"]
    assert headers["x-lumni-attempts"] == str(len(lumni["attempts"])) == "1"
    assert lumni["cost"] is None or lumni["cost"]["currency"] == "USD"


@pytest.mark.parametrize("stream", [False, True])
def test_the_lumni_object_can_be_switched_off(http: httpx.Client, stream: bool) -> None:
    """001-35: by field or header; the headers stay."""
    body = {**BODY, "stream": stream}
    with_it = http.post(CHAT, json=body)
    assert '"lumni":{' in with_it.text
    for changes, headers in (({"lumni": False}, {}), ({}, {"x-lumni-metadata": "off"})):
        answer = http.post(CHAT, json={**body, **changes}, headers=headers)
        assert '"lumni":{' not in answer.text
        assert "x-lumni-deployment" in answer.headers


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_usage": True}])
def test_usage_in_streams_only_if_asked(http: httpx.Client, options: Any) -> None:
    """000-25: then every other chunk says `usage: null`, as OpenAI's do."""
    answer = http.post(CHAT, json={**BODY, "stream": True, "stream_options": options})
    *chunks, done = events(answer)
    assert done == "[DONE]"
    assert "lumni" in chunks[-1]
    assert not any("lumni" in chunk for chunk in chunks[:-1])
    if options == {"include_usage": True}:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["total_tokens"] > 0
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
    else:
        assert not any("usage" in chunk for chunk in chunks)


def test_completion_streams_content_lines(http: httpx.Client) -> None:
    """002-28, 002-35: the same words, in `data: {"content": …}` lines; the model is optional."""
    whole = http.post("/completion", json={"messages": QUESTION}).json()
    answer = http.post("/completion", json={"messages": QUESTION, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, done = events(answer)
    assert done == "[DONE]"
    assert all(isinstance(line["content"], str) for line in lines)
    assert "".join(line["content"] for line in lines) == whole["choices"][0]["message"]["content"]
    assert [line["finish_reason"] for line in lines if "finish_reason" in line] == ["stop"]
    assert "lumni" in lines[-1]


@pytest.mark.parametrize(
    ("fields", "task"),
    [({"model": "fast"}, "fast"), ({"model": "powerful"}, "powerful"), ({"task_type": "powerful"}, "powerful"),
     ({"taskType": "fast"}, "fast"), ({"taskType": "auto", "task_type": "fast"}, "fast")],
)  # fmt: skip
def test_the_task_type_can_be_told(http: httpx.Client, fields: dict[str, str], task: str) -> None:
    """001-31: by model name or by field."""
    answer = http.post(CHAT, json={**BODY, **fields, "provider": "lumni-lab", "fallback": False})
    assert answer.json()["lumni"]["classification"]["task_type"] == task


def test_every_name_of_a_model_is_served(http: httpx.Client) -> None:
    """003-08: groups, and provider/model."""
    listed = http.get("/v1/models").json()["data"]
    names = {model["id"] for model in listed} | {d["id"] for model in listed for d in model.get("deployments", ())}
    for name in sorted(names):
        assert http.post(CHAT, json={**BODY, "model": name}).status_code == 200, name


def test_many_at_once(http: httpx.Client, records_of: Records) -> None:
    """004-33: whole, streamed and wrong requests in parallel; each gets its own answer and one record."""
    mark = uuid4().hex

    def one(number: int) -> int:
        kinds: list[dict[str, Any]] = [{}, {"stream": True}, {"temperature": 9}, {"model": "gpt-99"}]
        answer = http.post(CHAT, json={**BODY, **kinds[number % 4]}, headers={"x-request-id": f"{mark}-{number}"})
        assert answer.headers["x-request-id"] == f"{mark}-{number}"
        if answer.status_code == 200:
            last = events(answer)[-2] if number % 4 else answer.json()
            assert last["lumni"]["request_id"] == answer.headers["x-lumni-request-id"]
        return answer.status_code

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(one, range(48)))
    assert statuses == [200, 200, 400, 404] * 12
    assert all(len(records_of(f"{mark}-{number}")) == 1 for number in range(48))


def test_no_key_in_errors_or_logs(lab_gateway: Gateway, http: httpx.Client, anonymous: httpx.Client) -> None:
    """003-40: neither the right key nor a wrong one, wherever it was put; and no line of a client's own making."""
    wrong = f"sk-wrong-{uuid4().hex}"
    answers = [
        anonymous.get("/v1/models", headers={"authorization": f"Bearer {wrong}"}),
        anonymous.get("/v1/models", headers={"x-api-key": wrong}),
        http.get("/nowhere"),
        http.post(CHAT, content=b"{"),
        http.post(CHAT, json={**BODY, "model": "x\nINFO forged line"}),
    ]
    assert all(answer.status_code >= 400 for answer in answers)
    shown = "".join(answer.text + str(answer.headers) for answer in answers) + lab_gateway.log()
    assert wrong not in shown
    assert lab_gateway.key not in shown
    assert "\nINFO forged line" not in shown
