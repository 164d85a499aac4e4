"""A real store, and a proxy before it that breaks things."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from proto_model.transfer import FileSettings
from scripts.object_store import ObjectStore
from tests.fault_proxy import FaultProxy


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 store that checks signatures."""
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def proxy(rclone: ObjectStore) -> Iterator[FaultProxy]:
    """The way to the store that `store` signs for."""
    with FaultProxy(rclone.port) as proxy:
        yield proxy


@pytest.fixture
def store(rclone: ObjectStore, proxy: FaultProxy) -> ObjectStore:
    """The store as seen through the proxy."""
    return dataclasses.replace(rclone, port=proxy.port)


@pytest.fixture
def settings(store: ObjectStore) -> FileSettings:
    """Settings that allow the store and lose no time."""
    allowed = FileSettings.from_environment(store.settings)
    return dataclasses.replace(allowed, backoff_s=0.001, max_backoff_s=0.01, read_timeout_s=0.5)
