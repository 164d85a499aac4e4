"""What an operator may change about file scoring: `PROTO_MODEL_FILES_*` environment variables, read once."""

from __future__ import annotations

import dataclasses
import os
import ssl
import tempfile
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

    Examples
    --------
    >>> FileSettings.from_environment({"PROTO_MODEL_FILES_ALLOWED_HOSTS": "minio.example:9000"}).allowed_hosts
    ('minio.example:9000',)
    """

    # Hosts and networks whose addresses need not be public; `host` is open at any port, `host:9000` at one.
    allowed_hosts: tuple[str, ...] = ()
    allowed_networks: tuple[Network, ...] = ()
    allow_http: bool = False  # for hosts and networks on the two lists only
    ca_file: str = ""  # PEM file of the certificate authorities; empty for the system's
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0  # longest wait for the next bytes
    min_bytes_per_s: int = 1024  # what stays below this for `read_timeout_s` counts as broken
    max_attempts: int = 5  # without progress
    backoff_s: float = 0.5  # before the second attempt; doubles with each further one
    max_backoff_s: float = 30.0  # also when a store asks for more by `Retry-After`
    max_job_s: float = 4 * 3600.0  # download to upload
    max_input_bytes: int = 64 << 30  # as they come over the wire
    max_decompressed_bytes: int = 256 << 30
    max_output_bytes: int = 64 << 30
    max_rows: int = 2_000_000_000
    max_columns: int = 10_000
    max_row_bytes: int = 8 << 20  # the longest line of CSV and JSON Lines
    max_batch_bytes: int = 256 << 20  # what is in memory at once of an Arrow or Parquet file, decompressed
    n_workers: int = 0  # threads that parse and predict; 0 for one per core
    temp_dir: str = ""  # of temporary files, which have no name; empty for the system's

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> FileSettings:
        """Settings from environment variables; what is not set keeps its default.

        Raises
        ------
        SettingsError
            If a variable with our prefix is not known, its value cannot be read, or the folder or file that
            it names cannot be used: better at the start than in the first job.
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
        settings = cls(**values)  # type: ignore[arg-type]  # every value was read by the field's own type
        settings._check_paths()
        return settings

    def _check_paths(self) -> None:
        try:
            tempfile.TemporaryFile(dir=self.temp_dir or None).close()
        except OSError as error:
            folder = repr(self.temp_dir) if self.temp_dir else "the system's folder"
            raise SettingsError(
                f"{PREFIX}TEMP_DIR: cannot write temporary files to {folder}: {error.strerror}."
            ) from error
        try:
            if self.ca_file:
                ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # of which ssl.SSLError is one
            raise SettingsError(
                f"{PREFIX}CA_FILE={self.ca_file!r}: cannot read certificates there: {error.strerror}."
            ) from error

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
