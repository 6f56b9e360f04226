"""Python starts with this where ``PYTHONPATH`` names its folder: no network but this machine is reached."""

import sys

LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


def local_only(event, args):
    """Refuse to connect to another machine, or to ask for its address."""
    if event == "socket.connect":
        host = args[1][0] if isinstance(args[1], tuple) else "localhost"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host or ""
    if ("." in name or ":" in name) and not name.startswith(LOCAL):  # a name without dots is this machine's
        raise PermissionError(f"no network: {name}")


sys.addaudithook(local_only)
