"""Web servers that pipelines reach from this machine, and the headers that these want to see. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidemill_api.v1alpha1._types import LocalRef
from tidemill_api.v1alpha1.http_connection import HeadersFrom, HTTPConnection
from tidemill_cli.dev.settings import Target

_NOWHERE = "http://127.0.0.1:9/"
"""In place of a server that isn't known; it is a problem that is said."""


def on_this_machine(
    declared: HTTPConnection | None,
    target: Target | None,
    environment: Mapping[str, str],
    secret: str,
    say: Callable[[str], None],
) -> tuple[HTTPConnection, dict[str, str]]:
    """A connection as the worker here gets it, and the keys of its Secret, which is called `secret`.

    `declared` is what its pool says, if that is here; what is wrong is told by `say`.
    """
    if target is not None and target.http is None:
        say("is a http connection, but its entry there says something else")
        return HTTPConnection(url=_NOWHERE), {}
    given = target.http if target is not None else None
    url = (given.url if given is not None else None) or (declared.url if declared is not None else None)
    if url is None:
        say("has no entry there; add `{http: {url: URL}}`")
    writes = declared is not None and declared.access == "Write"
    if url is not None and writes and (given is None or given.url is None):
        say("may be written to, and rows aren't sent from here to the cluster's server; add `{http: {url: URL}}`")
    if given is None and declared is not None and declared.headers_from is not None:
        say(
            f"has its headers in the Secret {declared.headers_from.secret_ref.name} of the cluster; add "
            "`{http: {headersEnv: {Authorization: VARIABLE}}}`, or `{http: {}}` to go without"
        )
    headers = {}
    for name, variable in (given.headers_env if given is not None else {}).items():
        headers[name] = environment.get(variable, "")
        if not headers[name]:
            say(f"its headersEnv names the environment variable {variable}, which is not set")
    ref = HeadersFrom(secret_ref=LocalRef(name=secret)) if headers else None
    return HTTPConnection(url=url or _NOWHERE, headers_from=ref, access="Write" if writes else "Read"), headers
