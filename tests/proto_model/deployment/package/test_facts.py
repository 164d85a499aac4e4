import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto_model.deployment.package import PackageError
from proto_model.deployment.package.facts import Happened, VersionFacts, is_kept

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
FACTS = st.builds(
    VersionFacts,
    model=KEYS,
    version=st.sampled_from(["", "7"]),
    created=st.sampled_from(["", "2026-11-22T08:00:00+00:00"]),
    author=TEXTS,
    description=TEXTS,
    tags=st.dictionaries(KEYS.filter(is_kept), TEXTS, max_size=3),
    hyperparameters=st.dictionaries(KEYS, st.none() | st.integers() | TEXTS, max_size=3),
    params=st.dictionaries(KEYS, st.booleans() | TEXTS, max_size=3),
    metrics=st.dictionaries(
        KEYS, st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["nan", "inf"]), max_size=3
    ),
    data_sets=st.lists(st.dictionaries(KEYS, TEXTS, max_size=3), max_size=2).map(tuple),
    events=st.lists(
        st.builds(
            Happened,
            at=st.just("2026-11-22T08:00:00+00:00"),
            kind=st.just("rolled_back"),
            by=TEXTS,
            what=TEXTS,
        ),
        max_size=2,
    ).map(tuple),
)


@settings(max_examples=30)
@given(FACTS)
def test_facts_survive_the_trip_through_their_file(facts):
    assert VersionFacts.of_bytes(facts.to_bytes()) == facts


WHOLE = {"format": "proto_model.package", "format_version": 1, "model": "churn", "version": "7"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": "another"}, "another format"),
        ({"format_version": 2}, "another format"),
        ({"more": 1}, "holds 'more'"),
        ({"model": ""}, "'model' is not as"),
        ({"model": 7}, "'model' is not as"),
        ({"tags": {"published_at": "2026"}}, "'tags' is not as"),
        ({"tags": {"manifest_sha256": "0"}}, "'tags' is not as"),
        ({"tags": {"mlflow.user": "root"}}, "'tags' is not as"),
        ({"tags": {"event.20261122T080000.000000Z.promoted": "{}"}}, "'tags' is not as"),
        ({"tags": {"a": 1}}, "'tags' is not as"),
        ({"tags": {"k" * 251: "1"}}, "'tags' is not as"),
        ({"tags": []}, "'tags' is not as"),
        ({"created": "yesterday"}, "'created' is not as"),
        ({"created": "2026-11-22T08:00:00"}, "'created' is not as"),
        ({"metrics": {"a": True}}, "'metrics' is not as"),
        ({"metrics": {"a": "much"}}, "'metrics' is not as"),
        ({"data_sets": [{"name": 1}]}, "'data_sets' is not as"),
        ({"events": [{"at": "", "kind": "edited", "by": "ann"}]}, "'events' is not as"),
        ({"events": [{"at": "", "kind": "a.b", "by": "", "what": ""}]}, "'events' is not as"),
    ],
)
def test_what_is_no_description_of_a_version_is_refused(changed, said):
    with pytest.raises(PackageError, match=said):
        VersionFacts.of_bytes(json.dumps(WHOLE | changed).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(content):
    with pytest.raises(PackageError, match=r"version\.json"):
        VersionFacts.of_bytes(content)


def test_a_description_without_a_model_is_incomplete():
    with pytest.raises(PackageError, match="incomplete"):
        VersionFacts.of_bytes(json.dumps({name: WHOLE[name] for name in WHOLE if name != "model"}).encode())
