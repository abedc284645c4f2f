"""Receipts: checked without the gateway, wrong as soon as anything is changed."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lumni.__main__ import app
from lumni.errors import InvalidRequest
from lumni.receipt import Signer, hash_of, verify
from tests.services.gateway import Gateway

MESSAGES = [{"role": "user", "content": "What is a list? «ö»"}]
BODY = {"model": "auto", "messages": MESSAGES}


def ask(admin: httpx.Client, **more: Any) -> httpx.Response:
    answer = admin.post("/v1/chat/completions", json={**BODY, **more}, headers={"x-lumni-receipt": "true"})
    assert answer.status_code == 200, answer.text
    return answer


def run(*words: str | Path, fails: int = 0) -> str:
    done = CliRunner().invoke(app, ["receipt", *map(str, words)])
    assert done.exit_code == fails, done.output
    return done.stdout if not fails else done.stderr


def test_a_receipt_is_checked_offline(admin: httpx.Client, tmp_path: Path) -> None:
    """Of a whole answer: signature, request and answer; another key, request or answer is told."""
    key = admin.get("/v1/receipts/key").json()["public_key"]
    whole, request, other = tmp_path / "answer.json", tmp_path / "request.json", tmp_path / "other.json"
    answer = ask(admin).json()
    whole.write_text(json.dumps(answer))
    request.write_text(json.dumps(BODY))
    other.write_text(json.dumps({"messages": [{"role": "user", "content": "Something else"}]}))
    said = run("verify", whole, "--key", key, "--request", request)
    assert answer["lumni"]["request_id"] in said
    assert "The signature is right, and so are the request and the answer." in said
    assert "not what was asked" in run("verify", whole, "--key", key, "--request", other, fails=1)
    assert "another gateway" in run("verify", whole, "--key", Signer(b"x" * 32).public_key, fails=1)
    answer["choices"][0]["message"]["content"] += "!"
    whole.write_text(json.dumps(answer))
    assert "not the answer" in run("verify", whole, "--key", key, fails=1)
    assert "no receipt" in run("verify", request, "--key", key, fails=1)
    assert "can't be read" in run("verify", tmp_path / "none", "--key", key, fails=1)


def test_a_stream_has_one_too(admin: httpx.Client) -> None:
    """In its last chunk, over all of its text, with the provider's tokens."""
    lines = ask(admin, stream=True, stream_options={"include_usage": True}).text.splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    receipt = chunks[-1]["lumni"]["receipt"]
    verify(receipt, admin.get("/v1/receipts/key").json()["public_key"])
    assert (receipt["answer_sha256"], receipt["prompt_sha256"]) == (hash_of(text), hash_of(MESSAGES))
    assert receipt["completion_tokens"] == chunks[-1]["usage"]["completion_tokens"]
    assert text


def test_only_who_asks_gets_one(admin: httpx.Client) -> None:
    answer = admin.post("/v1/chat/completions", json=BODY)
    assert "receipt" not in answer.json()["lumni"]


def test_the_key_is_the_gateway_s_secret_s(
    admin: httpx.Client, lab_gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line prints the same one; every process with the secret has it."""
    monkeypatch.setenv("DATA_DIR", str(lab_gateway.directory / ".lumni"))
    monkeypatch.chdir(tmp_path)
    assert run("key").strip() == admin.get("/v1/receipts/key").json()["public_key"]


@given(st.dictionaries(st.sampled_from(["request_id", "time", "model", "prompt_tokens"]), st.text() | st.integers()))
def test_any_change_makes_it_wrong(changes: dict[str, Any]) -> None:
    """Each field is signed."""
    signer = Signer(b"k" * 32)
    fields = {
        "request_id": "req_1", "time": "2026-09-01T08:00:00+00:00", "model": "m", "prompt_sha256": "a",
        "answer_sha256": "b", "prompt_tokens": 1, "completion_tokens": 2,
    }  # fmt: skip
    receipt = signer.sign(fields)
    verify(receipt, signer.public_key)
    changed = {**receipt, **changes}
    if changed != receipt:
        with pytest.raises(InvalidRequest):
            verify(changed, signer.public_key)
    for name in receipt:
        with pytest.raises(InvalidRequest):
            verify({key: value for key, value in receipt.items() if key != name}, signer.public_key)
    with pytest.raises(InvalidRequest):
        verify(receipt, "no key")
