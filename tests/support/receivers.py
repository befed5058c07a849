"""Stand-ins for the services that alerts go to: they take the real wire formats and check them."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web

JsonBody = dict[str, Any]


@dataclass
class Arrived:
    """One request that was taken, with the status it was answered."""

    path: str
    headers: dict[str, str]
    body: JsonBody
    status: int


@dataclass
class Receiver:
    """Answers 2xx to what is well-formed, or the next of `script`: (status, headers) or "hang"."""

    url: str = ""
    arrived: list[Arrived] = field(default_factory=list)
    script: list[tuple[int, dict[str, str]] | str] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    sent_keys: dict[str, JsonBody] = field(default_factory=dict)

    @property
    def taken(self) -> list[JsonBody]:
        """The bodies that were answered 2xx."""
        return [one.body for one in self.arrived if one.status < 300]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        step = self.script.pop(0) if self.script else None
        if step == "hang":
            await self.let_go.wait()
            step = None
        if isinstance(step, tuple):
            return self._note(request, body, step[0], "later", step[1])
        match request.path:
            case "/emails":
                return self._resend(request, body)
            case "/v2/enqueue":
                return self._pagerduty(request, body)
            case _:
                return self._slack(request, body)

    def _resend(self, request: web.Request, body: JsonBody) -> web.Response:
        key = request.headers["Idempotency-Key"]
        assert request.headers["Authorization"] == "Bearer re_test"
        assert 0 < len(key) <= 256
        assert set(body) == {"from", "to", "subject", "html", "text"}
        assert 1 <= len(body["to"]) <= 50
        assert "\n" not in body["subject"]
        if self.sent_keys.setdefault(key, body) != body:
            return self._note(request, body, 409, '{"name": "invalid_idempotent_request"}')
        return self._note(request, body, 200, '{"id": "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"}')

    def _slack(self, request: web.Request, body: JsonBody) -> web.Response:
        assert body["text"]
        assert 1 <= len(body["blocks"]) <= 50
        for block in body["blocks"]:
            _check_block(block)
        return self._note(request, body, 200, "ok")

    def _pagerduty(self, request: web.Request, body: JsonBody) -> web.Response:
        assert body["routing_key"] == "R" * 32
        assert 0 < len(body["dedup_key"]) <= 255
        assert body["event_action"] in {"trigger", "acknowledge", "resolve"}
        if body["event_action"] == "trigger":
            assert 0 < len(body["payload"]["summary"]) <= 1024
            assert body["payload"]["severity"] in {"critical", "error", "warning", "info"}
            assert body["payload"]["source"]
            assert all(link["href"].startswith("http") for link in body["links"])
        return self._note(request, body, 202, '{"status": "success"}')

    def _note(
        self,
        request: web.Request,
        body: JsonBody,
        status: int,
        text: str,
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        self.arrived.append(Arrived(request.path, dict(request.headers), body, status))
        return web.Response(status=status, text=text, headers=headers)


def _check_block(block: JsonBody) -> None:
    match block["type"]:
        case "header":
            assert block["text"]["type"] == "plain_text"
            assert 0 < len(block["text"]["text"]) <= 150
        case "section":
            assert len(block.get("fields", ())) <= 10
            texts = [*block.get("fields", ()), *([block["text"]] if "text" in block else [])]
            assert texts
            assert all(len(text["text"]) <= 2000 for text in block.get("fields", ()))
            for text in texts:
                assert text["type"] == "mrkdwn"
                assert 0 < len(text["text"]) <= 3000
                assert not re.search(r"[<>]", text["text"])
        case "actions":
            for button in block["elements"]:
                assert (button["type"], button["text"]["type"]) == ("button", "plain_text")
                assert button["url"].startswith("http")
        case "context":
            assert block["elements"]
        case unknown:
            raise AssertionError(unknown)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A server on a free port of loopback."""
    found = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        found.url = f"http://127.0.0.1:{port}"
        yield found
    finally:
        found.let_go.set()
        await runner.cleanup()


@dataclass
class MailServer:
    """Takes mail by SMTP; `refuse` is what it says to DATA instead, `refuse_receivers` to RCPT."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    receivers: list[str] = field(default_factory=list)
    refuse: str | None = None
    refuse_receivers: dict[str, str] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test ESMTP\r\n")
        try:
            while line := (await reader.readline()).decode().strip():
                writer.write(await self._reply(line, reader, writer))
                if line.upper() == "QUIT":
                    return
        finally:
            writer.close()

    async def _reply(
        self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        verb = line.upper()
        if verb.startswith("EHLO"):
            return b"250-test\r\n250 8BITMIME\r\n"
        if verb.startswith("RCPT"):
            receiver = line.partition("<")[2].rstrip(">")
            if receiver in self.refuse_receivers:
                return f"{self.refuse_receivers[receiver]}\r\n".encode()
            self.receivers.append(receiver)
        if verb == "QUIT":
            return b"221 bye\r\n"
        if verb != "DATA":
            return b"250 ok\r\n"
        if self.refuse:
            return f"{self.refuse}\r\n".encode()
        writer.write(b"354 go on\r\n")
        raw = await reader.readuntil(b"\r\n.\r\n")
        self.raw.append(raw)
        self.mails.append(message_from_bytes(raw[:-3], policy=policy.default))
        return b"250 taken\r\n"


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """A mail server on a free port of loopback, without TLS."""
    found = MailServer()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    async with server:
        found.port = server.sockets[0].getsockname()[1]
        yield found
