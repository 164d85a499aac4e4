import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from proto_model.deployment.image import SERVERS, ImageError, ImageOptions, recipe_of
from proto_model.deployment.image.build import labels
from proto_model.deployment.image.context import write_context
from proto_model.deployment.image.sbom import bill_of_materials
from proto_model.deployment.image.wheels import pinned
from proto_model.errors import ArtifactError


def test_the_lean_server_needs_six_libraries_and_no_more(model):
    recipe = recipe_of(model, "lean")

    names = [requirement.partition("==")[0] for requirement in recipe.requirements]
    assert names == ["numpy", "llvmlite", "orjson", "uvicorn", "httptools", "uvloop"]
    assert recipe.command == ("/usr/bin/python3", "-m", "proto_model.cli.container")
    assert recipe.version == "7"


def test_libraries_have_the_versions_that_the_model_was_logged_with(model, tmp_path):
    copy = tmp_path / "model"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).symlink_to(path)
    (copy / "requirements.txt").unlink()
    (copy / "requirements.txt").write_text("mlflow==3.17.2\nnumpy==2.4.1\nllvmlite==0.50.7\n")

    assert recipe_of(copy, "lean").requirements[:2] == ("numpy==2.4.1", "llvmlite==0.50.7")


@pytest.mark.parametrize("server", ["mlflow", "mlserver"])
def test_other_servers_get_all_that_the_model_requires(model, server):
    recipe = recipe_of(model, server)

    assert any(requirement.startswith("mlflow==") for requirement in recipe.requirements)
    assert any(requirement.startswith("mlserver==") for requirement in recipe.requirements) == (
        server == "mlserver"
    )
    assert recipe.environment["PROTO_MODEL_CONTAINER_SERVER"] == server


def test_the_mapper_gets_the_schema_and_none_of_the_model(model):
    recipe = recipe_of(model, "mapper")

    assert recipe.folders["/opt/model"] == model / "mapper"
    assert not any(r.startswith(("numpy", "mlflow", "llvmlite")) for r in recipe.requirements)
    assert recipe.command == ("/usr/bin/python3", "-m", "mapper")


@pytest.mark.parametrize("server", SERVERS)
def test_the_health_check_is_a_program_of_the_image_that_needs_no_token_and_no_certificate(model, server):
    recipe = recipe_of(model, server)

    python, option, program, *_, variable = recipe.health
    (source,) = (
        folder / Path(program).relative_to(place)
        for place, folder in recipe.folders.items()
        if Path(program).is_relative_to(place)
    )
    assert (python, option) == ("/usr/bin/python3", "-P")
    assert "without a token and without a certificate" in source.read_text()
    assert variable == ("MAPPER_PORT" if server == "mapper" else "PORT")


@pytest.mark.parametrize("server", SERVERS)
def test_labels_say_what_is_served_and_where_it_comes_from(model, server, mixed_data):
    found = labels(recipe_of(model, server), ImageOptions(commit="abc"))

    assert found["org.opencontainers.image.version"] == "7"
    assert found["org.opencontainers.image.revision"] == "abc"
    assert found["proto_model.schema_digest"] == mixed_data.schema.digest
    assert found["proto_model.server"] == server


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"not a model of proto_model"):
        recipe_of(tmp_path, "lean")


def test_a_library_without_a_version_is_an_error_that_says_what_to_install():
    with pytest.raises(ImageError, match=r"no-such-library.*pip install"):
        pinned(("no-such-library",), {})


def test_the_bill_of_materials_names_packages_libraries_and_the_model(model, tmp_path):
    (tmp_path / "root/var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "root/var/lib/dpkg/status").write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n"
    )
    (tmp_path / "libraries/orjson-3.13.0.dist-info").mkdir(parents=True)
    (tmp_path / "libraries/orjson-3.13.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.4\nName: orjson\nVersion: 3.13.0\nLicense-Expression: MIT\n\nText\n"
    )
    arguments = (recipe_of(model, "lean"), tmp_path / "root", tmp_path / "libraries", model, "bookworm")

    text = bill_of_materials(*arguments)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    by_name = {component["name"]: component for component in document["components"]}
    assert by_name["libc6"]["purl"] == "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=bookworm"
    assert by_name["orjson"]["licenses"] == [{"expression": "MIT"}]
    (described,) = (c for c in document["components"] if c["type"] == "machine-learning-model")
    assert re.fullmatch("[0-9a-f]{64}", described["hashes"][0]["content"])
    assert bill_of_materials(*arguments) == text


def test_a_context_replaces_its_own_and_nothing_else(model, tmp_path):
    recipe = recipe_of(model, "lean")

    write_context(recipe, tmp_path / "context")
    write_context(recipe, tmp_path / "context")

    text = (tmp_path / "context/Dockerfile").read_text()
    assert (tmp_path / "context/opt/model/MLmodel").is_file()
    assert (tmp_path / "context/opt/code/proto_model/__init__.py").is_file()
    assert (tmp_path / "context/requirements.txt").read_text().splitlines() == list(recipe.requirements)
    assert "USER 65532:65532" in text
    assert "HEALTHCHECK" in text
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("precious")
    with pytest.raises(ImageError, match="holds other files"):
        write_context(recipe, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "precious"
