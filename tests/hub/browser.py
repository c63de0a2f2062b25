"""A person at a browser: cookies, and forms posted as a browser posts them."""

from __future__ import annotations

import re

import httpx


class Browser:
    """A signed-in person's cookies, and forms posted as a browser posts them."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(
            base_url=url,
            follow_redirects=True,
            timeout=30,
            headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"},
        )
        self.page: httpx.Response
        self.form_xsrf = ""

    @staticmethod
    def xsrf(html: str) -> str:
        found = re.search(
            r'name="_xsrf" value="([^"]+)"|_xsrf=([^"&]+)|xsrf_token: "([^"]+)"', html
        )
        assert found, html
        return found[1] or found[2] or found[3]

    def get(self, path: str) -> httpx.Response:
        self.page = self.client.get(path)
        return self.page

    def post_spawn(self, fields: dict[str, str], path: str = "/hub/spawn") -> httpx.Response:
        self.form_xsrf = self.form_xsrf or self.xsrf(self.get(path).text)
        self.page = self.client.post(path, params={"_xsrf": self.form_xsrf}, data=fields)
        return self.page
