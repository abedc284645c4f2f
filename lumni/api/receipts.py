"""``GET /v1/receipts/key``: what receipts are checked with."""

from typing import Any

from fastapi import APIRouter, Request

from lumni.api.errors import documented
from lumni.api.visit import services_of

router = APIRouter(tags=["receipts"])


@router.get("/v1/receipts/key", responses=documented(401), operation_id="receiptKey", summary="Key of receipts")
async def receipt_key(request: Request) -> dict[str, Any]:
    """The public key, base64, that belongs to the signatures of receipts; `lumni receipt verify` takes it.

    Ask for a receipt with the header `x-lumni-receipt: true`: it is in the answer's `lumni.receipt`.
    """
    services = services_of(request)
    return {"object": "receipt_key", "algorithm": "Ed25519", "public_key": services.signer.public_key}
