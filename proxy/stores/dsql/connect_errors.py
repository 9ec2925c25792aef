"""Why there is no connection to DSQL, in one word, and what to do about it.

The words are labels of metrics and few; the remedies are sentences for an operator's log. Sorted by what each layer
says: the resolver, the network, TLS (RFC 8446 and OpenSSL's words), PostgreSQL's SQLSTATE ("PostgreSQL Error Codes",
manual; "Troubleshooting issues in Aurora DSQL", user guide). A cluster refuses a login, and asks for patience while it
wakes up, with one SQLSTATE, 08006 (recorded): the message tells which, and only the HINT of a refusal says why. Nothing
here connects.
"""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Self

import asyncpg

from proxy.stores.os_errors import ERRNO, describe_os_error

# `ssl.SSLCertVerificationError.verify_code` for a certificate of another name (X509_V_ERR_HOSTNAME_MISMATCH).
_OTHER_NAME: Final = 62
_DENIED: Final = "access denied"
_WAKING: Final = "waking up"


class ConnectError(ConnectionError):
    """`reason` is one of the words below, `remedy` a sentence, the text what was said. It holds no secret."""

    def __init__(self, reason: str, remedy: str, said: str) -> None:
        super().__init__(f"{said}: {remedy}" if remedy else said)
        self.reason = reason
        self.remedy = remedy
        self.said = said

    def again(self) -> Self:
        """The same for somebody else: an exception that is raised twice gathers both tracebacks."""
        return type(self)(self.reason, self.remedy, self.said)


@dataclass(frozen=True, slots=True)
class Target:
    """What was to be reached, as remedies name it. `action` is the IAM action it takes, None where a DSN is used."""

    setting: str
    user: str = ""
    action: str | None = None
    region: str = ""


def explained(error: BaseException, target: Target) -> ConnectError:
    """Any failure to connect, sorted."""
    if isinstance(error, ConnectError):
        return error
    reason = _reason(error)
    return ConnectError(reason, _remedy(reason, error, target), _said(error))


def _reason(error: BaseException) -> str:
    match error:
        case asyncpg.PostgresError():
            return _by_state(error.sqlstate or "", str(error).lower())
        case ssl.SSLCertVerificationError():
            return "certificate"
        case ssl.SSLError():
            return "tls"
        case socket.gaierror():
            return "name"
        case TimeoutError():
            return "timeout"
        case asyncpg.InterfaceError() if isinstance(error, ValueError):
            return "settings"  # asyncpg's ClientConfigurationError
        case OSError():
            return _by_errno(error)
    return "other"


def is_waking_up(error: BaseException) -> bool:
    """Whether an idle cluster is starting, so that the same connect will do in a while."""
    return isinstance(error, asyncpg.PostgresError) and _by_state(error.sqlstate or "", str(error).lower()) == "waking"


def _by_state(state: str, message: str) -> str:
    if state.startswith("28"):
        return "access"
    if state.startswith("08") and _WAKING in message:
        return "waking"
    if state.startswith("08") and _DENIED in message:
        return "access"
    if state == "53400":
        return "rate"
    if state == "3D000":
        return "database"
    if state.startswith("53"):
        return "full"
    if state == "57P03":
        return "starting"
    return "refused" if state.startswith("08") else "other"


def _by_errno(error: OSError) -> str:
    if "rejected SSL upgrade" in str(error):
        return "tls"
    # Of several addresses that all failed asyncio tells in the text only.
    told = ERRNO.search(str(error))
    number = error.errno or (int(told[1]) if told is not None else 0)
    if number == errno.ECONNREFUSED:
        return "refused"
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        return "unreachable"
    return "lost"


def _remedy(reason: str, error: BaseException, target: Target) -> str:
    setting = target.setting
    if reason == "access":
        return _access(target, getattr(error, "hint", None) or "")
    if reason == "certificate":
        if getattr(error, "verify_code", None) == _OTHER_NAME:
            return f"the certificate is another host's: see {setting}; a tunnel or an alias does not pass verify-full"
        return (
            "no authority that is trusted here vouches for the server: install the system's CA certificates, or name "
            + ("a file of them in AWS_CA_BUNDLE" if target.action else f"one as sslrootcert in {setting}")
        )
    return {
        "name": f"no such host name: see {setting}, and whether this machine resolves it (DNS, VPC endpoint)",
        "timeout": f"nothing answers: see {setting}, security groups and routes to its port, timeout_seconds in [dsql]",
        "unreachable": "there is no route: see the network; DSQL's host names have IPv4 and IPv6 addresses",
        "refused": f"nothing listens there, or it turns connections away: see {setting} and its port",
        "lost": f"it was cut before it was open: see {setting}, and what is between (proxies, firewalls)",
        "tls": f"no TLS could be agreed on: see {setting}, and what is between; DSQL requires TLS 1.2 with SNI",
        "database": "there is no such database: DSQL's is called postgres",
        "full": "it has as many connections as it takes: lower pool_max in [dsql], or the number of proxies",
        "rate": "too many connections were made in the last second: lower connect_rate in [dsql]; DSQL takes 100 a "
        "second from all its clients together",
        "starting": "it is starting or ending: nothing to do but wait",
        "waking": "the cluster was idle and is starting: nothing to do but wait, it is tried again",
        "settings": f"see {setting}",
    }.get(reason, "")


def _access(target: Target, hint: str) -> str:
    if target.action is None and not hint:
        return f"see user and password in {target.setting}"
    action = target.action or "dsql:DbConnect"
    found = next((remedy for words, remedy in _HINTS if words in hint.lower()), None)
    if found is not None:
        return found.format(user=target.user, action=action)
    granted = f", and an AWS IAM GRANT {target.user} TO its ARN" if target.user != "admin" else ""
    return (
        f"the AWS identity needs {action} on this cluster{granted}; see also region ({target.region}), user, "
        "profile and role_arn in [dsql], and this machine's clock"
    )


# What a HINT says, in small letters, and what to do then: the texts that clusters were seen to give, and IAM's own
# ("Troubleshoot Signature Version 4 signing for AWS API requests", IAM user guide).
_HINTS: Final = (
    ("signature expired", "the token is older than it may be: set this machine's clock (NTP), by which it is signed"),
    ("not yet current", "the token is of the future: set this machine's clock (NTP), by which it is signed"),
    (
        "security token included in the request",
        "AWS does not take the credentials that signed the token: renew them; see profile and role_arn in [dsql]",
    ),
    (
        "wrong user to action mapping",
        "the token is for another kind of user: {user} connects with {action}; see user in [dsql]",
    ),
    (
        "signature we calculated does not match",
        "the token was signed with another secret than AWS has for the key: see the credentials, and region in [dsql]",
    ),
)


def _said(error: BaseException) -> str:
    if isinstance(error, asyncpg.PostgresError):
        return " ".join(f"{error.sqlstate} {error}".split())
    if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and ERRNO.search(str(error))):
        return describe_os_error(error)
    return f"{type(error).__name__} {error}".strip()
