"""The root file system: Python and its libraries from Debian's packages, with nothing for an intruder.

mmdebstrap unpacks the packages without running anything in them. Of these, only what Python needs is kept: no
shell, no package manager.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from proto_model.deployment.image.errors import ImageError

USER = 65532
"""Who runs in an image, by number, so that Kubernetes can tell that it is not root."""


@dataclass(frozen=True)
class Release:
    """A release of Debian, with the Python that it has."""

    suite: str
    python: tuple[int, int]

    @property
    def packages(self) -> tuple[str, ...]:
        """Debian's packages that an image needs; theirs come along."""
        number = "{}.{}".format(*self.python)
        return ("python3-minimal", f"libpython{number}-stdlib", "libstdc++6", "ca-certificates")


RELEASES = (Release("bookworm", (3, 11)), Release("trixie", (3, 13)))

_LISTED = "var/lib/dpkg/listed"
_LIST_PACKAGES = f'ls "$1/var/cache/apt/archives" > "$1/{_LISTED}"'
_PACKAGE = re.compile(r"^([^_\n]+)_([^_\n]+)_([^_\n]+)\.deb$", re.MULTILINE)

_KEPT = re.compile(
    r"lib(64)?(/|$)|usr/lib(64)?(/|$)|usr/bin/python3[0-9.]*$|usr/share/doc/[^/]+/copyright$|"
    r"etc/(ld\.so\.conf.*|python3.*|mime\.types)|usr/share/ca-certificates/|var/lib/dpkg/listed$"
)
# Terminals, Kerberos, NIS and Berkeley DB: modules of Python that no service imports, and their libraries.
_LEFT_OUT = re.compile(
    r"gconv/|/(ensurepip|idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo|config-3[^/]*|krb5|engines-3)(/|$)|"
    r"usr/lib/(apt|binfmt\.d|dpkg|init|systemd|tmpfiles\.d|locale|mime|valgrind|ssl/misc|.*/perl.*)(/|$)|\.pyc$|"
    r"lib-dynload/(_curses|_dbm|_gdbm|nis|readline|ossaudiodev|_tkinter|audioop)[^/]*$|"
    r"/lib(db-5|krb5|gssapi|k5crypto|kadm|kdb5|krad|verto|keyutils|tirpc|nsl|readline|history|ncurses|form|"
    r"panel|menu|tic|tinfo|gdbm)[^/]*$"
)
_PYTHON = PurePosixPath("usr/bin/python3")


def unpack_root(release: Release, architecture: str, mirror: str, folder: Path) -> None:
    """Make a root file system in an empty folder.

    Raises
    ------
    ImageError
        If mmdebstrap is missing or fails.
    """
    if shutil.which("mmdebstrap") is None:
        raise ImageError(
            "Cannot make the image's root file system: mmdebstrap is not installed. On Debian and Ubuntu: "
            "apt-get install mmdebstrap. Elsewhere, write a folder for docker build with --context DIR."
        )
    packed = folder.with_name("root.tar")
    command = [
        "mmdebstrap",
        "--variant=extract",
        f"--include={','.join(release.packages)}",
        f"--architectures={architecture}",
        "--format=tar",
        f"--extract-hook={_LIST_PACKAGES}",
        release.suite,
        str(packed),
        *filter(None, [mirror]),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise ImageError(
            f"Cannot make the image's root file system: mmdebstrap ended with {done.returncode}. "
            f"{' '.join(said[:3]) or done.stderr.strip()[-300:]} Name another mirror with --mirror, or write "
            "a folder for docker build with --context DIR."
        )
    with tarfile.open(packed) as tar:
        for entry in tar:
            name = entry.name.removeprefix("./").rstrip("/")
            if _KEPT.match(name) and not _LEFT_OUT.search(name) and not entry.isdev():
                tar.extract(entry, folder, filter="tar")
    packed.unlink()
    _name_packages(folder)
    _drop_dead_links(folder)
    _dress(folder, release)


def _name_packages(folder: Path) -> None:
    """Write which packages were unpacked as dpkg would, for programs that look for known weaknesses."""
    listed = folder / _LISTED
    paragraphs = [
        f"Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\n"
        f"Version: {version.replace('%3a', ':')}\n"
        for name, version, architecture in _PACKAGE.findall(listed.read_text(encoding="utf-8"))
    ]
    if not paragraphs:
        raise ImageError("Cannot tell which of Debian's packages are in the image: mmdebstrap listed none.")
    (listed.parent / "status").write_text("\n".join(sorted(paragraphs)), encoding="utf-8")
    listed.unlink()


def _drop_dead_links(folder: Path) -> None:
    """Remove links into what was left out, then folders that are empty."""
    for name, _, files in os.walk(folder, topdown=False):
        for file in files:
            link = Path(name, file)
            if link.is_symlink():
                target = link.readlink()
                place = folder / target.relative_to("/") if target.is_absolute() else link.parent / target
                if not place.exists() and not place.is_symlink():
                    link.unlink()
        if not any(Path(name).iterdir()):
            Path(name).rmdir()


def _dress(folder: Path, release: Release) -> None:
    """What no package brings: who runs here, a place for temporary files, and one file of certificates."""
    if not (folder / _PYTHON).is_symlink():
        (folder / _PYTHON).symlink_to("python{}.{}".format(*release.python))
    etc = folder / "etc"
    texts = {
        "passwd": f"root:x:0:0:root:/:/none\nnonroot:x:{USER}:{USER}:nonroot:/:/none\n",
        "group": f"root:x:0:\nnonroot:x:{USER}:\n",
        "nsswitch.conf": "hosts: files dns\n",
        "os-release": f'ID=debian\nPRETTY_NAME="Debian {release.suite}, Python only"\n'
        f"VERSION_CODENAME={release.suite}\n",
    }
    for name, text in texts.items():
        (etc / name).write_text(text, encoding="ascii")
    certificates = folder / "usr/share/ca-certificates"
    bundle = folder / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(b"".join(file.read_bytes() for file in sorted(certificates.rglob("*.crt"))))
    shutil.rmtree(certificates)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
