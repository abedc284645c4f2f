"""The lab as an HTTP server: one pure-ASGI app with every provider under its own path prefix."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

from . import gemini
from .admin import is_local, serve_admin
from .calls import serve_chat, serve_embeddings, serve_gemini, serve_gemini_embeddings
from .faults import Fault
from .profiles import LAB_MODELS, Profile, default_profiles
from .state import Lab, LimitsMode, Timing
from .wire import ClientGone, Connection, Receive, Scope, Send

_NOT_FOUND = {"error": {"message": "The lab has nothing here.", "type": "invalid_request_error", "code": "not_found"}}


class LabApp:
    """The ASGI application; ``lab`` is its state, for tests that run it in their own process."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._posts: dict[str, tuple[Profile, Any]] = {}
        self._lists: dict[str, Profile] = {}
        self._native: dict[str, Profile] = {}
        for profile in lab.profiles.values():
            for base in {profile.base_path, profile.base_path.removesuffix("/v1") + "/v1"}:
                self._posts[f"{base}/chat/completions"] = (profile, serve_chat)
                self._posts[f"{base}/embeddings"] = (profile, serve_embeddings)
                self._lists[f"{base}/models"] = profile
            if profile.native_path:
                self._native[f"{profile.native_path}/models"] = profile

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        to = Connection(receive, send)
        try:
            await self._route(scope, to)
        except ClientGone:
            pass
        finally:
            to.close()

    async def _route(self, scope: Scope, to: Connection) -> None:
        method, path = scope["method"], scope["path"]
        if method == "POST" and path in self._posts:
            profile, serve = self._posts[path]
            await serve(self.lab, profile, to, _key(scope))
        elif path == "/health":
            await to.json(200, {"status": "ok"})
        elif path.startswith("/_lab/"):
            if is_local(scope.get("client")):
                await serve_admin(self.lab, method, path, to)
            else:
                await to.json(403, {"error": "only from this machine"})
        elif method == "GET" and path in self._lists:
            await to.json(200, _model_list(self._lists[path]))
        else:
            await self._route_rest(scope, to, method, path)

    async def _route_rest(self, scope: Scope, to: Connection, method: str, path: str) -> None:
        for base, profile in self._native.items():
            if path == base and method == "GET":
                await to.json(200, {"models": [gemini.model_card(model) for model in profile.models]})
                return
            if path.startswith(base + "/") and method == "POST":
                await self._route_native(scope, to, profile, unquote(path[len(base) + 1 :]))
                return
        for base, profile in self._lists.items():
            if path.startswith(base + "/") and method == "GET":
                await self._show_model(to, profile, path[len(base) + 1 :])
                return
        await to.json(404, _NOT_FOUND)

    async def _route_native(self, scope: Scope, to: Connection, profile: Profile, target: str) -> None:
        model, _, action = target.rpartition(":")
        query = parse_qs(scope.get("query_string", b"").decode())
        key = query["key"][0] if "key" in query else _key(scope)
        if action == "generateContent":
            await serve_gemini(self.lab, profile, to, key, model, "gemini")
        elif action == "streamGenerateContent":
            style = "gemini-sse" if query.get("alt") == ["sse"] else "gemini-array"
            await serve_gemini(self.lab, profile, to, key, model, style)  # type: ignore[arg-type]
        elif action in ("embedContent", "batchEmbedContents"):
            await serve_gemini_embeddings(self.lab, profile, to, key, model, batch=action == "batchEmbedContents")
        else:
            await to.json(404, _NOT_FOUND)

    async def _show_model(self, to: Connection, profile: Profile, model: str) -> None:
        if profile.knows(model):
            await to.json(200, _card(profile, model))
        else:
            refused = profile.dialect.no_model(model)
            await to.json(refused.status, refused.body)


def create_lab_app(
    *,
    seed: int = 0,
    timing: Timing | None = None,
    limits: LimitsMode = "default",
    any_model: bool = False,
    profiles: Iterable[str] | None = None,
    faults: Iterable[Fault] = (),
) -> LabApp:
    """The lab's ASGI app.

    ``limits`` is ``off``, ``default`` or ``{profile: {model | "*" | "shared": {"rpm": …, "kind": …}}}``; ``any_model``
    serves models that a profile doesn't list; ``profiles`` names those to serve. Raises ``ValueError`` for names or
    limits that don't exist.
    """
    known = default_profiles()
    wanted = list(profiles) if profiles is not None else list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"no profile {', '.join(unknown)}: there are {', '.join(known)}")
    chosen = {name: known[name] for name in wanted}
    lab = Lab(seed=seed, timing=timing or Timing(), limits=limits, any_model=any_model, profiles=chosen)
    for fault in faults:
        lab.add_fault(fault)
    return LabApp(lab)


def _key(scope: Scope) -> str:
    """The caller's key, from any header that one of the providers takes it from."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    bearer = headers.get(b"authorization", b"").decode("latin-1")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    for name in (b"x-goog-api-key", b"x-api-key", b"api-key"):
        if name in headers:
            raw: bytes = headers[name]
            return raw.decode("latin-1")
    return ""


def _model_list(profile: Profile) -> dict[str, Any]:
    return {"object": "list", "data": [_card(profile, model) for model in (*profile.models, *LAB_MODELS)]}


def _card(profile: Profile, model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 1_767_225_600, "owned_by": f"lumni-lab-{profile.name}"}


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
