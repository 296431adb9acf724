"""Who may come in: the token, in a header for programs or in a signed cookie for browsers."""

from __future__ import annotations

import hashlib
import hmac
import time
from http.cookies import CookieError, SimpleCookie

COOKIE = "gliomask_session"

SESSION_SECONDS = 12 * 3600


def token_matches(given: str, token: str) -> bool:
    """Compares in a time that tells nothing of the token."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def session(token: str, now: float | None = None) -> str:
    """Returns a cookie's value that proves, for `SESSION_SECONDS`, that its holder knew the token.

    It does not hold the token.
    """
    ends = int((time.time() if now is None else now) + SESSION_SECONDS)
    return f"{ends}.{_signature(token, ends)}"


def session_holds(value: str, token: str, now: float | None = None) -> bool:
    """Whether a cookie's value was made with the token and its time is not over."""
    ends, _, signature = value.partition(".")
    if not (ends.isascii() and ends.isdigit() and len(ends) < 16):
        return False
    return hmac.compare_digest(signature.encode("utf-8", "replace"), _signature(token, int(ends)).encode()) and int(
        ends
    ) > (time.time() if now is None else now)


def may_enter(headers: dict[str, str], token: str | None) -> bool:
    """Whether a request's headers (names in lower case) show the token.

    DICOMweb clients know user names and passwords better than bearer tokens: HTTP Basic is taken as well, with any
    user and the token as password.
    """
    if token is None:
        return True
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token_matches(given.strip(), token)
    if kind.lower() == "basic":
        return token_matches(_password(given), token)
    return session_holds(_cookie(headers.get("cookie", "")), token)


def _password(given: str) -> str:
    import base64
    import binascii

    try:
        return base64.b64decode(given.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def _signature(token: str, ends: int) -> str:
    return hmac.new(token.encode(), f"gliomask session until {ends}".encode(), hashlib.sha256).hexdigest()
