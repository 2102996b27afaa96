"""Who may knock: the checks of Host and Origin that keep foreign web pages out of a local server.

A page from anywhere can make a browser connect to 127.0.0.1. Two checks stop it: the Origin must
be this host's own, or listed; and Host must be localhost, an IP address or a listed name, because
a name that its owner points at 127.0.0.1 ("DNS rebinding") would match its own Origin.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from engine_bridge.settings import BridgeSettings


def hostname(host: str) -> str | None:
    """The name or address in a Host header, without the port; None if it can't be read."""
    try:
        found = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return found.lower() if found else None


def host_allowed(host: str | None, settings: BridgeSettings) -> bool:
    """Whether a request's Host header may be served."""
    name = hostname(host) if host else None
    if name is None:
        return False
    if name in ("localhost", settings.host.lower(), *map(str.lower, settings.allowed_hosts)):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def origin_allowed(origin: str | None, host: str | None, settings: BridgeSettings) -> bool:
    """Whether a page of `origin` may talk to this server, which it reached as `host`.

    No origin is fine: game engines and scripts send none, browsers always do.
    """
    if origin is None or origin in settings.allowed_origins:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not name or not host:
        return False
    return name.lower() == hostname(host)
