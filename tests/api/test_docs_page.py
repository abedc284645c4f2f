"""The pages of the gateway, as a browser without the internet gets them."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

ADDRESSES = {"src", "href", "action", "data", "poster", "srcset", "formaction"}
PAGES = ("/docs",)


class Page(HTMLParser):
    """Collects every address that a page loads from or leads to, and its inline scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self._inline = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        self._inline = tag == "script" and "src" not in dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self._inline = False

    def handle_data(self, data: str) -> None:
        if self._inline:
            self.scripts.append(data)


def policy_of(answer: httpx.Response) -> dict[str, list[str]]:
    rules = (rule.split() for rule in answer.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in rules}


@pytest.mark.parametrize("path", PAGES)
def test_no_page_references_another_host(anonymous: httpx.Client, path: str) -> None:
    """003-37: the page, its style sheet and its script load from here, without a key."""
    answer = anonymous.get(path)
    page = Page(answer.text)
    loaded = [address for address in page.addresses if not address.startswith("data:")]
    assert len(loaded) >= 2
    for address in loaded:
        assert not urlsplit(address).netloc, address
        asset = anonymous.get(urljoin(path, address))
        assert asset.status_code == 200, address
        if asset.headers["content-type"].startswith("text/css"):
            for inner in re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", asset.text):
                assert "".join(inner).startswith("data:"), inner
    for script in page.scripts:
        assert "//" not in re.sub(r"^\s*//.*$", "", script, flags=re.MULTILINE), "an address of another host"


@pytest.mark.parametrize("path", PAGES)
def test_the_browser_is_told_to_ask_no_other_host(anonymous: httpx.Client, path: str) -> None:
    """003-37: whatever a script wants: the policy allows this host, data in the page, and its own inline script."""
    answer = anonymous.get(path)
    policy = policy_of(answer)
    assert policy["default-src"] == ["'none'"]
    inline = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in Page(answer.text).scripts]
    hashes = {f"'sha256-{digest}'" for digest in inline}
    assert inline
    assert set(policy["script-src"]) == {"'self'", *hashes}
    for name, sources in policy.items():
        assert set(sources) <= {"'none'", "'self'", "data:", "'unsafe-inline'", *hashes}, name


def test_the_page_shows_our_document(anonymous: httpx.Client) -> None:
    """003-37: nothing is sent to Swagger's validator; addresses are relative, for proxies below a path."""
    [script] = Page(anonymous.get("/docs").text).scripts
    found = re.search(r"url: '([^']+)'", script)
    assert found
    assert "paths" in anonymous.get(urljoin("/docs", found[1])).json()
    assert re.search(r'"validatorUrl":\s*null', script)


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/../../secret", "/docs/favicon.png"])
def test_nothing_else_of_the_docs_is_open(anonymous: httpx.Client, path: str) -> None:
    assert anonymous.get(path).status_code == 401
