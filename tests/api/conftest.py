"""Clients of the gateway, and a look into its records."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.services.gateway import Gateway

Row = dict[str, Any]
QUESTION = [{"role": "user", "content": "What is a list?"}]


@pytest.fixture
def http(lab_gateway: Gateway) -> Iterator[httpx.Client]:
    """A client with the key."""
    headers = {"authorization": f"Bearer {lab_gateway.key}"}
    with httpx.Client(base_url=lab_gateway.url, headers=headers, timeout=120) as client:
        yield client


@pytest.fixture
def anonymous(lab_gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lab_gateway.url, timeout=120) as client:
        yield client


@pytest.fixture
def records_of(lab_gateway: Gateway) -> Callable[[str], list[Row]]:
    """The records of requests that a client called by this id; waits until there is one."""
    return lambda client_id: read_records(lab_gateway, client_id)


def read_records(gateway: Gateway, client_id: str, seconds: float = 120.0) -> list[Row]:
    deadline = time.monotonic() + seconds
    while True:
        connection = sqlite3.connect(gateway.database)
        connection.row_factory = sqlite3.Row
        query = "SELECT * FROM requests WHERE client_request_id = ?"
        rows = [dict(row) for row in connection.execute(query, (client_id,))]
        connection.close()
        if rows or time.monotonic() > deadline:
            return rows
        time.sleep(0.05)
