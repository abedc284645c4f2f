"""What a chat body must look like is checked in a quicker way than by its schema, with the same result."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lumni.api.schemas import ChatCompletionRequest, Message, chat_shape

plain = st.none() | st.booleans() | st.integers(-3, 300) | st.floats(-3, 3) | st.sampled_from(["", "auto", "user", "x"])
odd = st.recursive(
    plain,
    lambda deeper: (
        st.lists(deeper, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "id", "name", "function", "arguments", "url"]), deeper)
    ),
    max_leaves=8,
)
right: dict[str, Any] = {"role": "user", "content": "Hi"}
messages = st.lists(
    st.just(right) | st.dictionaries(st.sampled_from([*Message.model_fields, "x"]), odd).map(lambda d: {**right, **d}),
    max_size=3,
)
fields = st.sampled_from([*ChatCompletionRequest.model_fields, "x"])
bodies = st.builds(
    lambda asked, more: {"model": "auto", "messages": asked, **more},
    st.just([right]) | messages | odd,
    st.dictionaries(fields, odd, max_size=2),
)


def accepted(check: Any, body: Any) -> bool:
    try:
        check(body)
    except ValidationError:
        return False
    return True


@settings(max_examples=300)
@given(body=bodies)
@example({"messages": [right]})
@example({"model": "auto", "messages": [right] * 2049})
@example({"model": "auto", "messages": []})
@example({"model": "auto", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]})
@example({"model": "auto", "messages": [right], "routing_strategy": "Round-Robin", "tools": [{"type": "function"}]})
def test_the_quick_check_takes_what_the_schema_takes(body: dict[str, Any]) -> None:
    """003-07: whatever a body holds."""
    quickly = accepted(chat_shape().validator.validate_python, body)
    assert quickly == accepted(ChatCompletionRequest.model_validate, body)
