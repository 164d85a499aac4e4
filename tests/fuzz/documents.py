"""What comes with a model or in a request for files: `schema.json`, the bundle, presigned URLs."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
import socket
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import numpy as np

import mapper
from mapper import errors as mapper_errors
from mapper.mapping.file_part import MAX_URL_CHARACTERS, url_complaint
from proto_model.errors import ArtifactError, DataError
from proto_model.files import FileSettings
from proto_model.files.transfer.errors import TransferError, UrlError
from proto_model.files.transfer.guard import is_public, vetted_addresses
from proto_model.files.transfer.url import PresignedUrl
from proto_model.model import Bundle
from proto_model.model.digests import write_digests
from proto_model.schema import ModelSchema
from proto_model.training.dictionary import read_document, read_entries
from proto_model.values import RuleBook
from tests.fuzz.rows import SCHEMA, is_told

SETTINGS = FileSettings()
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def schema_json(data: bytes) -> None:
    """`schema.json`, read by both sides."""
    theirs = ours = None
    try:
        theirs = mapper.ModelSchema.from_json(data)
        mapper.TabularModel(theirs)
    except mapper_errors.SchemaError as error:
        is_told(error)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            ours = ModelSchema.read(Path(file.name))
        except ArtifactError as error:
            is_told(error)
    if ours is not None:
        RuleBook(ours)
        assert ModelSchema.from_dict(json.loads(json.dumps(ours.to_dict()))) == ours or _has_nan(data)
    if ours is not None and theirs is not None:
        assert ours.feature_names == theirs.feature_names
        assert ours.digest == theirs.digest
        assert ours.probability_columns == [f"probability_{text}" for text in theirs.class_texts]


def dictionary(data: bytes) -> None:
    """A data dictionary, in YAML or JSON; what is taken comes back from `schema.json` on both sides."""
    try:
        entries = read_entries(read_document(data, "columns.yaml"), SCHEMA, ["left out"])
    except DataError as error:
        is_told(error)
        return
    told = SCHEMA.with_dictionary(entries)
    written = json.loads(json.dumps(told.to_dict()))
    assert ModelSchema.from_dict(written) == told
    assert mapper.ModelSchema.from_dict(written).digest == SCHEMA.digest


def _has_nan(data: bytes) -> bool:
    return b"NaN" in data


@functools.cache
def _made() -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Folder of a bundle, and the arrays of its two files."""
    from proto_model.model import write_bundle
    from proto_model.training import make_pipeline
    from proto_model.values import decode

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 2, (60, len(SCHEMA.features))).astype(float)
    pipeline = make_pipeline("random_forest", SCHEMA, 0, n_estimators=3)
    pipeline.fit(decode(matrix, SCHEMA), np.where(matrix.sum(axis=1) > 2, "yes", "no"))
    write_bundle(folder, pipeline, SCHEMA, matrix)
    arrays = []
    for name in ("forest.npz", "background.npz"):
        with np.load(folder / name) as content:
            arrays.append(dict(content))
    return folder, arrays[0], arrays[1]


def bundle(data: bytes) -> None:
    """The bundle's arrays, changed at places that the input names: four bytes each."""
    folder, forest, background = _made()
    changed = {name: array.copy() for name, array in forest.items()}
    rows = {name: array.copy() for name, array in background.items()}
    names = list(changed)
    for start in range(0, len(data) - 3, 4):
        which, high, low, value = data[start : start + 4]
        if which >= 128:
            _change(rows, "rows", which, high << 8 | low, value)
        else:
            _change(changed, names[which % len(names)], which >> 3, high << 8 | low, value)
    np.savez(folder / "forest.npz", **changed)
    np.savez(folder / "background.npz", **rows)
    write_digests(folder)
    try:
        loaded = Bundle.load(folder)
    except ArtifactError as error:
        is_told(error)
    else:
        matrix = np.zeros((3, len(loaded.schema.features)))
        matrix[:, :4] = [[0.0, 1, math.nan, 2], [1e38, -1e38, 0, math.nan], [0.5, 0, 1, 0]]
        shares = loaded.predict_proba(matrix)
        assert shares.shape == (3, 2)
        assert ((shares >= 0) & (shares <= 1 + 1e-6)).all()
        with contextlib.suppress(ArtifactError):
            assert np.isfinite(loaded.background[:, 0]).all()


def _change(arrays: dict[str, Any], name: str, how: int, place: int, value: int) -> None:
    """One byte of an array, or now and then its length or its type."""
    array = arrays[name]
    if how % 16 == 15:
        arrays[name] = array[: place % (len(array) + 1)] if array.ndim else array
    elif how % 16 == 14:
        with contextlib.suppress(TypeError, ValueError):
            arrays[name] = array.astype((np.float64, np.int64, np.float32, "U3")[value % 4])
    elif array.nbytes:
        whole = bytearray(array.tobytes())
        whole[place % len(whole)] = value
        arrays[name] = np.frombuffer(bytes(whole), array.dtype).reshape(array.shape)


def _resolve(host: str, port: int, **_: object) -> Iterable[Any]:
    """What the most generous resolver makes of a host: any spelling of an address, else a public one."""
    try:
        address: Any = ip_address(host)
    except ValueError:
        try:
            address = IPv4Address(socket.inet_aton(host.rstrip(".")))
        except OSError:
            address = IPv4Address("8.8.8.8")
    return [(None, None, None, None, (str(address), port))]


def urls(data: bytes) -> None:
    """Presigned URLs: where they lead, and what is shown of them."""
    text = data.decode("latin-1")
    complaint = url_complaint(text)
    try:
        url = PresignedUrl.parse(text, "input_url")
    except UrlError as error:
        is_told(error)
        return
    if len(text) <= MAX_URL_CHARACTERS:
        assert complaint is None, f"the mapper refuses what the model takes: {complaint}"
    assert "?" not in str(url)
    assert "?" not in repr(url)
    signed = text.removesuffix("?") if text.count("?") == 1 else text  # an empty query is left out
    assert signed.endswith(url.target) or signed.endswith(url.target[1:])
    assert re.sub(r":\d*$", "", url.netloc.lower()) in (url.host, f"[{url.host}]")
    assert url.target.isascii()
    assert url.target.isprintable()
    assert " " not in url.target
    url.redact(text)
    with contextlib.suppress(UrlError):
        url.check_expiry("input_url", NOW)
    try:
        addresses = vetted_addresses(url, "input_url", SETTINGS, _resolve)
    except (UrlError, TransferError) as error:
        is_told(error)
        return
    assert addresses
    assert all(is_public(address) and address.is_global for address in addresses), addresses
    assert url.scheme == "https"
    assert url.port in (80, 443)
