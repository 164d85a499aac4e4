import json
import shutil
from pathlib import Path

import pytest

from proto_model.deployment.package import PackageError
from proto_model.deployment.package.facts import VersionFacts
from proto_model.deployment.package.trust import check_programs, examined, read_facts
from proto_model.deployment.package.writing import write_package
from proto_model.registry.publishing import PublicationError, Trust
from tests.proto_model.deployment.package.conftest import as_published
from tests.proto_model.registry.publishing.conftest import pair_in


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return {name: pair_in(tmp_path_factory.mktemp(name)) for name in ("team", "stranger")}


@pytest.fixture(scope="module")
def published_package(model, pairs, tmp_path_factory):
    """Package of version 3 of churn, signed by the team."""
    folder = as_published(model, tmp_path_factory.mktemp("published") / "version", pairs["team"].private)
    return write_package(str(folder), folder.with_name("package")).path


@pytest.fixture
def changed(published_package, tmp_path) -> Path:
    return Path(shutil.copytree(published_package, tmp_path / "changed"))


def test_the_publication_of_a_package_is_verified(published_package, pairs):
    facts = read_facts(published_package)
    trust = Trust.of(True, [pairs["team"].public_path])

    verdict = examined(published_package, facts, trust)

    assert (verdict.model, verdict.version) == ("churn", "3")
    assert verdict.signer
    assert examined(published_package, facts, Trust()).is_good
    check_programs(published_package)


def test_another_key_another_version_or_another_file_is_refused(changed, pairs):
    facts = read_facts(changed)
    stranger = Trust.of(True, [pairs["stranger"].public_path])
    with pytest.raises(PublicationError, match="another key"):
        examined(changed, facts, stranger)
    other = VersionFacts(**{**vars(facts), "version": "4"})
    with pytest.raises(PublicationError, match="is that of version 3 of 'churn'"):
        examined(changed, other, Trust())
    (changed / "artifacts" / "model" / "MLmodel").write_text("changed")
    with pytest.raises(PublicationError, match="'MLmodel' was changed"):
        examined(changed, facts, Trust())


def test_who_takes_the_publication_away_has_no_published_version(changed, package):
    shutil.rmtree(changed / "artifacts" / "publication")
    for folder in (changed, package):
        assert examined(folder, read_facts(folder), Trust()) is None
        with pytest.raises(PublicationError, match="not published"):
            examined(folder, read_facts(folder), Trust(require_published=True))


@pytest.mark.parametrize("name", ["interface.py", "setup.sh", "wheel"])
def test_programs_of_another_hand_are_found(name, changed):
    path = next((changed / "artifacts").glob("*.whl")) if name == "wheel" else changed / name
    path.write_bytes(path.read_bytes() + b"\n")

    with pytest.raises(PackageError, match="no signature covers it"):
        check_programs(changed)


@pytest.mark.parametrize(
    "line", ["requests==2.0", "numpy @ https://example.com/a.whl", "-r other.txt", "./evil.whl"]
)
def test_requirements_of_another_hand_are_found(line, changed):
    with (changed / "requirements.txt").open("a") as file:
        file.write(f"{line}\n")

    with pytest.raises(PackageError, match="no package needs"):
        check_programs(changed)


def test_a_package_without_a_description_is_refused(changed):
    path = changed / "artifacts" / "version.json"
    path.write_text(json.dumps({"format": "other"}))
    with pytest.raises(PackageError, match="another format"):
        read_facts(changed)
    path.unlink()
    with pytest.raises(PackageError, match=r"holds no artifacts/version\.json"):
        read_facts(changed)
