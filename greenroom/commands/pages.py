"""Calls to the HTTP pages of a running server, as commands make them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Annotated, Any

import typer

from engine_bridge.errors import RequestFailed
from foundation.errors import UsageError

Http = Annotated[str, typer.Option("--http", help="the HTTP pages")]
DEFAULT = "http://127.0.0.1:8766"


def call(
    url: str,
    token: str | None,
    *,
    method: str = "GET",
    body: dict[str, Any] | None = None,
    timeout_s: float = 10.0,
) -> Any:
    """What a page answers, as plain values.

    Raises UsageError when nobody is there, the token is wrong or the call can't be carried out as
    asked, and RequestFailed with the server's code and mend for any other refusal.
    """
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    try:
        asked = urllib.request.Request(url, data=data, headers=headers, method=method)
        with urllib.request.urlopen(asked, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _refusal(url, error) from error
    except urllib.error.URLError as error:
        raise UsageError(
            f"{url}: {error.reason}", "start `greenroom demo`, or name its pages with --http"
        ) from error
    except TimeoutError as error:
        raise UsageError(
            f"{url}: no answer within {timeout_s:g} s", "look into the server's log"
        ) from error
    except (HTTPException, ConnectionError, ValueError) as error:
        raise UsageError(f"{url}: {error}", "name the server's pages with --http") from error


def _refusal(url: str, error: urllib.error.HTTPError) -> UsageError | RequestFailed:
    if error.code == 401:
        return UsageError(f"{url}: 401 {error.reason}", "give the server's --token")
    try:
        told = json.loads(error.read())
        code, message, hint = told["code"], told["message"], told["hint"]
    except (ValueError, LookupError, TypeError, OSError):
        return UsageError(f"{url}: {error.code} {error.reason}", "look into the server's log")
    if code == UsageError.code:
        return UsageError(message, hint)
    return RequestFailed(code, message, hint)
