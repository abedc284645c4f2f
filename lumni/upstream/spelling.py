"""What providers that speak OpenAI's format spell otherwise, put right."""

import time
from uuid import uuid4

from lumni.types import Json


def whole_head(body: Json) -> Json:
    """With what OpenAI requires of an answer, should the provider have left it out."""
    if body.get("id") and body.get("created"):
        return body
    return {
        **body,
        "id": body.get("id") or f"chatcmpl-{uuid4().hex}",
        "created": body.get("created") or int(time.time()),
    }


def respell(message: Json) -> None:
    """As LiteLLM spells it: ``reasoning`` (Groq, Cerebras, OpenRouter) and Mistral's lists of parts."""
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
        thoughts = [part for part in content if part.get("type") == "thinking"]
        if thought := "".join(text.get("text") or "" for part in thoughts for text in part.get("thinking") or ()):
            message["reasoning_content"] = thought
    if "reasoning" in message:
        message.setdefault("reasoning_content", message.pop("reasoning"))
    message.pop("reasoning_details", None)
