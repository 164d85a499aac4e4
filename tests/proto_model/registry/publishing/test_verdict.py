"""Every way to tamper with a version that is known, and what is said of it."""

import base64
import hashlib
import json
import os
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto_model.registry.publishing import Publication
from proto_model.registry.publishing.verdict import verdict_of
from tests.proto_model.registry.publishing.conftest import FILES, manifest_of, published

WANTED = ("churn", "3")


@pytest.fixture
def publication(folder, pair):
    return published(folder, pair.private)


def problems(folder, publication, pair, wanted=WANTED):
    verdict = verdict_of(folder, publication, [pair.public], wanted)
    return [(finding.problem, finding.name) for finding in verdict.findings]


def test_an_unchanged_version_is_good(folder, pair):
    verdict = verdict_of(folder, published(folder, pair.private), [pair.public], WANTED)

    assert verdict.is_good
    assert (verdict.model, verdict.version, verdict.published_by) == ("churn", "3", "ann")
    assert (verdict.signer, verdict.n_files) == (pair.public.fingerprint, len(FILES))


@pytest.mark.parametrize("number", ["3", "'3'"])
def test_what_mlflow_adds_to_a_download_is_no_change(folder, pair, number):
    publication = published(folder, pair.private)
    (folder / "registered_model_meta").write_text(f"model_name: churn\nmodel_version: {number}\n")

    assert problems(folder, publication, pair) == []


@pytest.mark.parametrize("text", ["model_version: '2'\n", "model_version: 3\nmodel_version: 2\n", ""])
def test_a_download_that_calls_itself_another_version_is_refused(folder, pair, text):
    publication = published(folder, pair.private)
    (folder / "registered_model_meta").write_text(text)

    assert problems(folder, publication, pair) == [("changed", "registered_model_meta")]


@pytest.mark.parametrize("name", sorted(set(FILES) - {"code.txt"}))
@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_byte_is_found(folder, pair, name, place):
    publication = published(folder, pair.private)
    content = bytearray((folder / name).read_bytes())
    content[place] ^= 1
    (folder / name).write_bytes(content)

    assert problems(folder, publication, pair) == [("changed", name)]


def test_an_added_file_is_found(folder, pair):
    publication = published(folder, pair.private)
    (folder / "code" / "b.py").write_text("import os")

    assert problems(folder, publication, pair) == [("added", "code/b.py")]


def test_a_removed_file_is_found(folder, pair):
    publication = published(folder, pair.private)
    (folder / "code.txt").unlink()

    assert problems(folder, publication, pair) == [("removed", "code.txt")]


def test_a_symbolic_link_is_refused_even_to_the_same_bytes(folder, pair, tmp_path):
    publication = published(folder, pair.private)
    (folder / "MLmodel").rename(tmp_path / "elsewhere")
    (folder / "MLmodel").symlink_to(tmp_path / "elsewhere")

    assert problems(folder, publication, pair) == [("unsafe", "MLmodel")]


def test_a_linked_folder_is_refused(folder, pair, tmp_path):
    publication = published(folder, pair.private)
    (folder / "code").rename(tmp_path / "elsewhere")
    (folder / "code").symlink_to(tmp_path / "elsewhere")

    assert ("unsafe", "code") in problems(folder, publication, pair)


def test_a_pipe_is_refused_and_not_waited_for(folder, pair):
    publication = published(folder, pair.private)
    os.mkfifo(folder / "pipe")

    assert problems(folder, publication, pair) == [("unsafe", "pipe")]


def test_another_key_is_refused(folder, pair, other):
    assert problems(folder, published(folder, other.private), pair) == [("signature", "")]


def test_another_versions_publication_is_refused(folder, pair):
    publication = published(folder, pair.private, version="2")

    assert problems(folder, publication, pair) == [("manifest", ""), ("signature", "")]


def test_an_older_signature_is_refused(folder, pair):
    """Of the same version, which was signed anew after its files were made anew."""
    older = published(folder, pair.private)
    (folder / "MLmodel").write_text("flavors: {new: {}}\n")
    newer = published(folder, pair.private, at="2026-11-23T08:00:00+00:00")

    replayed = Publication(newer.manifest, older.signature)
    assert problems(folder, replayed, pair) == [("manifest", ""), ("changed", "MLmodel")]
    assert problems(folder, older, pair) == [("changed", "MLmodel")]
    assert problems(folder, newer, pair) == []


def test_a_manifest_of_the_same_files_is_refused_unless_it_was_signed(folder, pair):
    publication = published(folder, pair.private)
    exchanged = manifest_of(folder, at="2027-01-01T00:00:00+00:00").to_bytes()

    assert problems(folder, Publication(exchanged, publication.signature), pair) == [("manifest", "")]


def test_a_version_that_nobody_signed_is_refused_where_a_key_is_asked_for(folder, pair):
    publication = Publication(published(folder, pair.private).manifest)

    assert problems(folder, publication, pair) == [("signature", "")]
    assert verdict_of(folder, publication, [], WANTED).is_good


def test_a_version_without_a_publication_is_refused(folder, pair):
    assert problems(folder, Publication(), pair) == [("unpublished", "")]
    assert not verdict_of(folder, Publication(), [], WANTED).is_good


def rename(name):
    def change(statement):
        resources = statement["predicate"]["resources"]
        resources[0]["name"] = name
        resign(statement)

    return change


def resign(statement):
    """Make the digest of the list right again."""
    digests = b"".join(bytes.fromhex(one["digest"]) for one in statement["predicate"]["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()


def empty(statement):
    statement["predicate"]["resources"].clear()
    resign(statement)


def twice(statement):
    resources = statement["predicate"]["resources"]
    resources.append(dict(resources[-1]))
    resign(statement)


def drop(statement):
    statement["predicate"]["resources"].pop()


def other_hash(statement):
    statement["predicate"]["resources"][0]["algorithm"] = "md5"


@pytest.mark.parametrize(
    "change",
    [
        *(
            rename(name)
            for name in ("../../etc/passwd", "/etc/passwd", "a\\..\\b", "C:/x", "", ".", "a//b", "a/.")
        ),
        *(rename(name) for name in ("CODE.txt", unicodedata.normalize("NFD", "é"), "a\nb")),
        *(empty, twice, drop, other_hash),
        lambda statement: statement["predicate"]["serialization"].update(method="shards"),
        lambda statement: statement.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda statement: statement.update(subject=[]),
        lambda statement: statement.update(predicate=[]),
    ],
)
def test_a_statement_that_is_wrong_in_itself_is_refused_although_it_is_signed(folder, pair, forged, change):
    assert ("signature", "") in problems(folder, forged(change), pair)


@pytest.mark.parametrize("name", ["mlMODEL", "caf\u00e9", "cafe\u0301"])
def test_files_whose_names_some_systems_take_for_one_are_refused(folder, pair, name):
    (folder / "caf\u00e9").write_text("1")
    publication = published(folder, pair.private)
    (folder / name).write_text("2")

    found = problems(folder, publication, pair)
    assert found
    assert {problem for problem, _ in found} <= {"unsafe", "added", "changed"}


def test_two_signatures_are_refused(folder, pair, other):
    publication = published(folder, pair.private)
    bundle = json.loads(publication.signature)
    foreign = json.loads(published(folder, other.private).signature)
    bundle["dsseEnvelope"]["signatures"] += foreign["dsseEnvelope"]["signatures"]

    changed = Publication(publication.manifest, json.dumps(bundle).encode())
    assert problems(folder, changed, pair) == [("signature", "")]


def test_a_name_that_is_given_twice_is_refused(folder, pair):
    """Readers differ in which of the two they take."""
    publication = published(folder, pair.private)
    doubled = publication.manifest.replace(b'"version": "3"', b'"version": "2", "version": "3"')

    assert ("manifest", "") in problems(folder, Publication(doubled, publication.signature), pair)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_of_the_signed_statement_can_be_changed(folder, pair, publication, data):
    bundle = json.loads(publication.signature)
    part = data.draw(st.sampled_from(["payload", "sig"]))
    holder = bundle["dsseEnvelope"] if part == "payload" else bundle["dsseEnvelope"]["signatures"][0]
    content = bytearray(base64.b64decode(holder[part]))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    holder[part] = base64.b64encode(content).decode()

    changed = Publication(publication.manifest, json.dumps(bundle).encode())
    assert ("signature", "") in problems(folder, changed, pair)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_sent_in_place_of_a_signature_is_refused_with_a_sentence(folder, pair, publication, data):
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
    bundle = json.loads(publication.signature)
    place = bundle
    for _ in range(data.draw(st.integers(0, 3))):
        keys = [key for key, value in place.items() if isinstance(value, dict)]
        if not keys:
            break
        place = place[data.draw(st.sampled_from(keys))]
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    changed = json.dumps(bundle).encode()

    verdict = verdict_of(folder, Publication(publication.manifest, changed), [pair.public], WANTED)
    assert verdict.is_good or all(finding.detail.endswith(".") for finding in verdict.findings)
