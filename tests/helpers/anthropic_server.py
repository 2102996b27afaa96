"""A local server that speaks the Messages API's shapes, good and bad, for tests without a key."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from models.budget import Price
from models.cloud.resilience import Retry

Event = tuple[str, dict[str, Any]]
PRICE = Price(input_usd=3.0, output_usd=15.0)
FAST = Retry(attempts=3, first_s=0.01, most_s=0.02)


class Exchange:
    """One request being answered; acts call its methods."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self._handler = handler
        self.body = body
        self.released = threading.Event()

    def refuse(self, status: int, kind: str, message: str, **headers: str) -> None:
        """A status other than 200, with the API's error body."""
        error = {"type": kind, "message": message}
        self.tell({"type": "error", "error": error, "request_id": "req_1"}, status, **headers)

    def tell(self, answer: dict[str, Any], status: int = 200, **headers: str) -> None:
        """An answer that is no stream."""
        data = json.dumps(answer).encode()
        self._handler.send_response(status)
        self._handler.send_header("content-type", "application/json")
        self._handler.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(data)

    def open_stream(self) -> None:
        self._handler.send_response(200)
        self._handler.send_header("content-type", "text/event-stream; charset=utf-8")
        self._handler.send_header("transfer-encoding", "chunked")
        self._handler.end_headers()

    def chunk(self, data: bytes) -> None:
        self._handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self._handler.wfile.flush()

    def send(self, events: Iterable[Event]) -> None:
        for name, data in events:
            self.chunk(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())

    def end_stream(self) -> None:
        self._handler.wfile.write(b"0\r\n\r\n")
        self._handler.wfile.flush()

    def cut(self) -> None:
        """Reset the connection."""
        link = self._handler.connection
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.close()
        self._handler.close_connection = True


Act = Callable[[Exchange], None]
COUNT_PATH = "/v1/messages/count_tokens"


def words_counted(body: dict[str, Any]) -> int:
    """A tokenizer for tests: a token a word of the prompt."""
    contents = [body.get("system", ""), *(message["content"] for message in body["messages"])]
    return sum(len(content.split()) for content in contents)


def start(input_tokens: int = 25) -> Event:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": input_tokens, "output_tokens": 1},
    }
    return ("message_start", {"type": "message_start", "message": message})


def block_start(block: dict[str, Any], index: int = 0) -> Event:
    data = {"type": "content_block_start", "index": index, "content_block": block}
    return ("content_block_start", data)


def delta(change: dict[str, Any], index: int = 0) -> Event:
    return ("content_block_delta", {"type": "content_block_delta", "index": index, "delta": change})


def words(*texts: str) -> list[Event]:
    return [delta({"type": "text_delta", "text": text}) for text in texts]


def end(stop_reason: str = "end_turn", output_tokens: int = 15) -> list[Event]:
    return [
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        (
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": stop_reason, "stop_sequence": None},
                "usage": {"output_tokens": output_tokens},
            },
        ),
        ("message_stop", {"type": "message_stop"}),
    ]


TEXT_BLOCK = {"type": "text", "text": ""}
PING: Event = ("ping", {"type": "ping"})


def say(*texts: str, stop_reason: str = "end_turn", output_tokens: int = 15) -> Act:
    """A whole reply in pieces."""

    def act(exchange: Exchange) -> None:
        exchange.open_stream()
        exchange.send([start(), block_start(TEXT_BLOCK), PING, *words(*texts)])
        exchange.send(end(stop_reason, output_tokens))
        exchange.end_stream()

    return act


def think_and_say(thought: str, *texts: str) -> Act:
    """A reply with a block of thinking before it, as models send that can't be kept from it."""

    def act(exchange: Exchange) -> None:
        exchange.open_stream()
        block = {"type": "thinking", "thinking": "", "signature": ""}
        exchange.send([start(), block_start(block)])
        exchange.send([delta({"type": "thinking_delta", "thinking": thought})])
        exchange.send([delta({"type": "signature_delta", "signature": "c2ln"})])
        stop = {"type": "content_block_stop", "index": 0}
        exchange.send([("content_block_stop", stop), block_start(TEXT_BLOCK, 1)])
        exchange.send([delta({"type": "text_delta", "text": text}, 1) for text in texts])
        exchange.send(end())
        exchange.end_stream()

    return act


def refuse(status: int, kind: str, message: str = "no", **headers: str) -> Act:
    return lambda exchange: exchange.refuse(status, kind, message, **headers)


def break_off(*texts: str, how: str) -> Act:
    """Begin a reply and stop in the middle: "cut", "end", "hang", "garbage" or "overloaded"."""

    def act(exchange: Exchange) -> None:
        exchange.open_stream()
        exchange.send([start(), block_start(TEXT_BLOCK), *words(*texts)])
        match how:
            case "cut":
                exchange.cut()
            case "end":
                exchange.end_stream()
            case "hang":
                exchange.released.wait(30)
            case "garbage":
                exchange.chunk(b"event: content_block_delta\ndata: {not json\n\n")
                exchange.end_stream()
            case "overloaded":
                error = {"type": "overloaded_error", "message": "Overloaded"}
                exchange.send([("error", {"type": "error", "error": error})])
                exchange.end_stream()

    return act


def hang(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.released.wait(30)


def cut(exchange: Exchange) -> None:
    """Take the request and reset the connection."""
    exchange.cut()


class AnthropicServer:
    """Plays the acts it is given, one a request, the last one over and over.

    Prompts that it is asked to count are kept in `counted`; `tokenizer` counts them, None: a 404.
    """

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.seen: list[dict[str, Any]] = []
        self.counted: list[dict[str, Any]] = []
        self.tokenizer: Callable[[dict[str, Any]], int] | None = words_counted
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self._exchanges: list[Exchange] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                exchange = Exchange(self, body)
                if self.path.split("?")[0] == COUNT_PATH:
                    server.counted.append(body)
                    server.count(exchange)
                    return
                with server._lock:
                    server.seen.append(body)
                    server.headers.append({k.lower(): v for k, v in self.headers.items()})
                    server.times.append(time.monotonic())
                    server._exchanges.append(exchange)
                    act = server.acts.pop(0) if len(server.acts) > 1 else server.acts[0]
                try:
                    act(exchange)
                except (BrokenPipeError, ConnectionResetError, ValueError):
                    self.close_connection = True

            def finish(self) -> None:
                try:
                    super().finish()
                except (OSError, ValueError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def count(self, exchange: Exchange) -> None:
        if self.tokenizer is None:
            exchange.refuse(404, "not_found_error", "no")
        else:
            exchange.tell({"input_tokens": self.tokenizer(exchange.body)})

    def close(self) -> None:
        for exchange in self._exchanges:
            exchange.released.set()
        self._http.shutdown()
        self._http.server_close()


class Stage:
    """Starts servers and backends that ask them, and clears them away."""

    def __init__(self) -> None:
        self.server: AnthropicServer
        self._open: list[Any] = []

    def __call__(self, *acts: Act, **settings: Any) -> Any:
        from models.cloud.anthropic import AnthropicBackend, AnthropicSettings

        self.server = AnthropicServer(*acts)
        settings.setdefault("retry", FAST)
        settings.setdefault("per_minute", 6000)
        backend = AnthropicBackend(
            model="claude-test",
            api_key="test-key",
            base_url=self.server.url,
            price=PRICE,
            settings=AnthropicSettings(**settings),
        )
        self._open += [backend, self.server]
        return backend

    def clear(self) -> None:
        for each in self._open:
            each.close()
