"""What an operator may change about file scoring: `PROTO_MODEL_FILES_*` environment variables, read once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from proto_model.files.transfer.errors import SettingsError

PREFIX = "PROTO_MODEL_FILES_"

Network = IPv4Network | IPv6Network

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class FileSettings:
    """Where files may come from and go to, and how much of everything is too much.

    Each field is read from the variable `PROTO_MODEL_FILES_<FIELD>`; lists are separated by commas.

    Parameters
    ----------
    allowed_hosts : tuple of str
        Host names (`minio.example`, `minio.example:9000`) that may resolve to private addresses. Without a
        port in the entry every port is allowed.
    allowed_networks : tuple of network
        Networks (`10.0.0.0/8`) whose addresses are allowed although they are not public; any port.
    allow_http : bool
        Whether `http://` is accepted, for hosts and networks on the two lists only.
    ca_file : str
        PEM file of the certificate authorities to trust instead of the system's; empty for the system's.
    connect_timeout_s, read_timeout_s : float
        Longest wait for a connection, and for the next bytes on it.
    min_bytes_per_s : int
        A transfer that stays below this for `read_timeout_s` is given up and tried again.
    max_attempts : int
        Tries without progress before a transfer is given up.
    backoff_s : float
        Wait before the second try; doubles with each further one, up to `max_backoff_s`.
    max_backoff_s : float
        Longest wait between tries, also when a store asks for more by `Retry-After`.
    max_job_s : float
        Longest time for one job, download to upload.
    max_input_bytes, max_decompressed_bytes, max_output_bytes : int
        Largest file as it comes over the wire, after decompression, and as it is written.
    max_rows, max_columns : int
        Most rows and most columns of an input file.
    max_row_bytes : int
        Longest line of a CSV or JSON Lines file.
    max_batch_bytes : int
        Largest record batch of an Arrow file, decompressed; it has to be in memory at once.
    n_workers : int
        Threads that parse and predict; 0 for one per core.
    temp_dir : str
        Folder of the temporary files, which are unlinked as soon as they are open; empty for the system's.

    Examples
    --------
    >>> FileSettings.from_environment({"PROTO_MODEL_FILES_ALLOWED_HOSTS": "minio.example:9000"}).allowed_hosts
    ('minio.example:9000',)
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_networks: tuple[Network, ...] = ()
    allow_http: bool = False
    ca_file: str = ""
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    min_bytes_per_s: int = 1024
    max_attempts: int = 5
    backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    max_job_s: float = 4 * 3600.0
    max_input_bytes: int = 64 << 30
    max_decompressed_bytes: int = 256 << 30
    max_output_bytes: int = 64 << 30
    max_rows: int = 2_000_000_000
    max_columns: int = 10_000
    max_row_bytes: int = 8 << 20
    max_batch_bytes: int = 256 << 20
    n_workers: int = 0
    temp_dir: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> FileSettings:
        """Settings from environment variables; what is not set keeps its default.

        Raises
        ------
        SettingsError
            If a variable with our prefix is not known, or its value cannot be read.
        """
        fields = {PREFIX + field.name.upper(): field for field in dataclasses.fields(cls)}
        values: dict[str, object] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in fields:
                raise SettingsError(f"Unknown variable {variable}. Known are: {', '.join(fields)}.")
            field = fields[variable]
            try:
                values[field.name] = _read(field.name, str(field.type), text.strip())
            except (KeyError, ValueError) as error:
                raise SettingsError(f"{variable}={text!r}: expected {field.type}.") from error
        return cls(**values)  # type: ignore[arg-type]  # every value was read by the field's own type

    @property
    def workers(self) -> int:
        """Number of worker threads."""
        return self.n_workers or len(os.sched_getaffinity(0))


def _read(name: str, kind: str, text: str) -> object:
    if kind == "bool":
        return _TRUTH[text.lower()]
    if kind in ("int", "float"):
        number = int(text) if kind == "int" else float(text)
        if not (number > 0 or (number == 0 and name in ("n_workers", "min_bytes_per_s"))):
            raise ValueError("not positive")
        return number
    if kind == "str":
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if name == "allowed_networks":
        return tuple(ip_network(part) for part in parts)
    return tuple(part.lower() for part in parts)
