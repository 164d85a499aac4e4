"""OpenStack Swift with its S3 interface as one process, run by a Python that has `swift` installed.

    build/venvs/swift-.../bin/python tests/swift_server.py FOLDER test:tester SECRET

Prints the port of the S3 interface on 127.0.0.1 when it answers. FOLDER's file system needs extended
attributes.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

SWIFT = """
[swift-hash]
swift_hash_path_prefix = tests
swift_hash_path_suffix = tests
[storage-policy:0]
name = only
default = yes
"""
PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors proxy-logging s3api tempauth slo dlo proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n"
    for name in ("catch_errors", "proxy-logging", "slo", "dlo")
)
STORAGE = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""


def main(folder: Path, user: str, secret: str) -> None:
    """Write the configuration, start the four servers, and serve until the process is ended."""
    # Here, because pytest imports this module where swift is not installed.
    warnings.simplefilter("ignore")  # eventlet says that it is no longer developed
    import eventlet
    import eventlet.wsgi
    from swift.common import utils, wsgi

    (folder / "swift.conf").write_text(SWIFT)
    (folder / "disk").mkdir()
    utils.set_swift_dir(str(folder))
    utils.eventlet_monkey_patch()
    sockets = {}
    for kind in ("account", "container", "object", "proxy"):
        sockets[kind] = eventlet.listen(("127.0.0.1", 0))
        path = folder / f"{kind}-server.conf"
        if kind == "proxy":
            path.write_text(PROXY.format(folder=folder, user=user.replace(":", "_"), secret=secret))
        else:
            path.write_text(STORAGE.format(folder=folder, kind=kind))
            _write_ring(folder / f"{kind}.ring.gz", sockets[kind].getsockname()[1])
    for kind, socket in sockets.items():
        app = wsgi.loadapp(str(folder / f"{kind}-server.conf"))
        options = {"protocol": wsgi.SwiftHttpProtocol, "capitalize_response_headers": False}
        eventlet.spawn(eventlet.wsgi.server, socket, app, utils.NullLogger(), **options)
    print(sockets["proxy"].getsockname()[1], flush=True)
    while True:
        eventlet.sleep(3600)


def _write_ring(path: Path, port: int) -> None:
    """Everything is on the one disk."""
    from swift.common.ring import RingBuilder

    builder = RingBuilder(4, 1, 1)
    disk = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1}
    builder.add_dev(disk)
    builder.rebalance()
    builder.get_ring().save(str(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
