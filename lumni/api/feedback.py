"""``POST /v1/feedback``: what people think of answers."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lumni.api.errors import documented
from lumni.api.explain import STORED_WITHIN
from lumni.api.visit import principal_of, services_of

router = APIRouter(tags=["feedback"])
RequestId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class FeedbackRequest(BaseModel):
    """Ranges are Portkey's. A thumb up is 1 or more, a thumb down -1 or less."""

    model_config = ConfigDict(extra="forbid")

    request_id: RequestId = Field(description="The answer's `x-lumni-request-id`.")
    value: int = Field(ge=-10, le=10, strict=True)
    weight: float = Field(1.0, ge=0, le=1, strict=True)


@router.post(
    "/v1/feedback",
    responses=documented(400, 401, 404, 413),
    operation_id="giveFeedback",
    summary="Feedback on an answer",
)
async def give_feedback(feedback: FeedbackRequest, request: Request) -> dict[str, Any]:
    """On one of your requests (teachers: of their course), in place of what was said before."""
    services = services_of(request)
    await services.writer.caught_up(STORED_WITHIN)
    principal = principal_of(request)
    await services.feedback.give(principal, feedback.request_id, feedback.value, feedback.weight)
    return {"object": "feedback", **feedback.model_dump()}
