"""The commands `verify` and `keys`."""

import json

import pytest

from proto_model.cli import keys, verify
from proto_model.registry.publishing import Manifest, read_signing_key
from proto_model.registry.publishing.files import contents
from proto_model.registry.publishing.signature import sign


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("PROTO_MODEL_VERIFY_KEY", "PROTO_MODEL_REQUIRE_PUBLISHED", "PROTO_MODEL_SIGNING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def public(tmp_path, capsys):
    assert keys.main(["--out", str(tmp_path / "keys")]) == 0
    return capsys.readouterr().out.split()[1]


@pytest.fixture
def folder(tmp_path, public):
    """Folder that is published, with its publication beside it."""
    folder, beside = tmp_path / "model", tmp_path / "model.publication"
    for one in (folder, beside):
        one.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    manifest = Manifest("churn", "3", "2026-11-22T08:00:00+00:00", "ann", contents(folder)[0])
    content = manifest.to_bytes()
    (beside / "manifest.json").write_bytes(content)
    key = read_signing_key(tmp_path / "keys" / "signing-key.pem")
    (beside / "signature.sigstore.json").write_bytes(sign(manifest, content, key))
    return folder


def test_an_unchanged_folder_is_what_was_published(folder, public, capsys):
    assert verify.main(["-m", str(folder), "--key", public]) == 0
    assert (
        "version 3 of churn, published at 2026-11-22T08:00:00+00:00 by ann: 1 files"
        in capsys.readouterr().out
    )


def test_a_changed_file_is_named(folder, public, capsys):
    (folder / "MLmodel").write_text("flavors: {a: {}}\n")

    assert verify.main(["-m", str(folder), "--key", public]) == 1
    assert "'MLmodel' was changed." in capsys.readouterr().out


def test_the_verdict_comes_as_json(folder, public, capsys):
    (folder / "b").touch()

    assert verify.main(["-m", str(folder), "--key", public, "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["verified"], verdict["version"]) == (False, "3")
    assert verdict["findings"] == [{"problem": "added", "name": "b", "detail": "'b' was added."}]


def test_manifest_and_signature_may_lie_elsewhere(folder, public, capsys):
    beside = folder.with_name("model.publication")
    moved = beside.rename(folder.with_name("elsewhere"))
    arguments = ["-m", str(folder), "--key", public]
    given = [
        "--manifest",
        str(moved / "manifest.json"),
        "--signature",
        str(moved / "signature.sigstore.json"),
    ]

    assert verify.main(arguments) == 1
    assert "It is not published" in capsys.readouterr().out
    assert verify.main([*arguments, *given]) == 0


def test_without_a_key_it_says_that_nobody_was_verified(folder, capsys):
    assert verify.main(["-m", str(folder)]) == 0
    assert "No signature was verified" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["-m", "nowhere"], ["-m", ".", "--key", "nowhere.pem"]])
def test_what_cannot_be_found_out_is_an_error(arguments, capsys):
    assert verify.main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_new_key_is_encrypted_with_the_password_of_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PROTO_MODEL_SIGNING_PASSWORD", "correct horse")

    assert keys.main(["--out", str(tmp_path)]) == 0
    assert "ENCRYPTED" in (tmp_path / "signing-key.pem").read_text()
    assert keys.main(["--out", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
