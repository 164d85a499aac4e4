"""A class that maps: only where it is allowed, under its digest, and without a trace of it to clients."""

import logging
import re
import sys
import textwrap

import pytest

from mapper.application.code import Code, load_class, place_of, read_code, read_manifest
from mapper.application.files import application_files
from mapper.application.service import Application, Permission, allowed_code, application_of
from mapper.errors import InvalidRequestError, MapperCodeError, MappingError, SettingsError
from mapper.mapping.answer import ModelAnswer
from tests.mapper.conftest import RECORD

CODE = """
from . import words


class Penguins:
    def __init__(self, model):
        self.model = model

    def form(self):
        grams = {"type": "number"}
        record = {"type": "object", "properties": {"grams": grams}, "examples": [{"grams": 4200}]}
        return {"record": record, "answer": {"type": "object"}}

    def map_request(self, tango_request, session=None):
        grams = tango_request["data"]["grams"]
        if grams == "odd":
            return {"not": {1, 2}}
        if grams == "text":
            return 7
        if grams < 0:
            raise ValueError("grams has to be above 0")
        record = {"mass": grams / 1000, "ringed": True, "eggs": None, "island": None}
        return self.model.map_request({"data": record}, session)

    def map_response(self, response):
        answer = self.model.map_response(response)
        return {"name": words.NAMES[answer["predictions"][0]["prediction"]]}
"""
WORDS = 'NAMES = {"Gentoo": "G"}\n'
FILES = {"model.py": CODE.encode(), "words.py": WORDS.encode()}
ROW = {"prediction": "Gentoo", "probability": 0.75, "probability_Adelie": 0.25, "probability_Gentoo": 0.75}
ADELIE = {"prediction": "Adelie", "probability": 0.75, "probability_Adelie": 0.75, "probability_Gentoo": 0.25}


@pytest.fixture(scope="module")
def code():
    return Code("model:Penguins", FILES)


@pytest.fixture(scope="module")
def carried(code):
    """The files of a version that carries the code."""
    return {"code.json": code.manifest(), **FILES}


@pytest.fixture(scope="module")
def application(schema, carried):
    return application_of(schema, carried, Permission(carried=True))


def test_code_is_not_run_unless_it_is_allowed(schema, code, carried, monkeypatch):
    monkeypatch.setattr("mapper.application.service.load_class", lambda code: pytest.fail("it was run"))

    with pytest.raises(SettingsError, match=f"--mapper-code-digest {code.digest}"):
        application_of(schema, carried, Permission())


def test_only_code_with_the_pinned_digest_is_run(schema, code, carried):
    assert allowed_code(carried, Permission(carried=True, digest=code.digest.upper())) == code
    changed = {**carried, "words.py": b'NAMES = {"Gentoo": "X"}\n'}
    with pytest.raises(SettingsError, match=r"given, and that of model:Penguins is [0-9a-f]{64}"):
        allowed_code(changed, Permission(carried=True, digest=code.digest))
    with pytest.raises(SettingsError, match="there is no code"):
        allowed_code({}, Permission(carried=True, digest=code.digest))


def test_its_modules_import_each_other_and_leave_no_other_name(application):
    request = application.mapped_by(explain=False).map_request({"data": {"grams": 4200}})

    assert request == {"inputs": {"mass": [4.2], "ringed": [True]}}
    answer = application.mapped_by(explain=False).map_response(ModelAnswer({"predictions": [ROW]}, request))
    assert answer == {"name": "G"}
    assert "words" not in sys.modules
    assert "sha256=" in application.text()


def test_explanations_are_mapped_by_an_object_of_its_own_over_the_explainer(application):
    request = application.mapped_by(explain=True).map_request({"data": {"grams": 4200}})

    assert request["params"] == {"explain": True}
    assert request.explain


def test_an_installed_class_is_named_by_its_module(schema, tmp_path, monkeypatch):
    (tmp_path / "own_penguins.py").write_text(CODE.replace("from . import words", "words = None"))
    monkeypatch.syspath_prepend(tmp_path)

    application = application_of(schema, {}, Permission("own_penguins:Penguins"))

    assert application.mapped_by(explain=False).map_request({"data": {"grams": 3000}}).n_rows == 1
    assert "installed here" in application.text()
    assert application.code.digest == Code("own_penguins:Penguins").digest


def test_a_class_may_map_on_top_of_a_mapping(schema, carried):
    mapping = b"mapping: 1\nfeatures: {ringed: {value: true}}\n"
    code = carried["model.py"].replace(b'"ringed": True, ', b"")
    application = application_of(
        schema, {**carried, "model.py": code, "mapping.yaml": mapping}, Permission(carried=True)
    )

    assert application.mapped_by(explain=False).map_request({"data": {"grams": 4200}})["inputs"][
        "ringed"
    ] == [True]


def test_a_value_error_is_what_the_client_did_wrong(application):
    with pytest.raises(InvalidRequestError) as caught:
        application.mapped_by(explain=False).map_request({"data": {"grams": -1}})

    assert [fault.message for fault in caught.value.errors] == ["grams has to be above 0"]


@pytest.mark.parametrize("data", [{}, {"grams": "secret 4711"}, {"grams": "odd"}, {"grams": "text"}, 5])
def test_any_other_failure_tells_the_client_nothing_of_the_code_and_the_log_nothing_of_the_data(
    application, data, caplog
):
    caplog.set_level(logging.INFO)

    with pytest.raises(MapperCodeError) as caught:
        application.mapped_by(explain=False).map_request({"data": data})

    assert str(caught.value) == "The application's mapper failed. The log of the service says where."
    assert "Error at " in caplog.text
    assert "4711" not in caplog.text


def test_a_failure_of_map_response_is_the_mappers(application):
    mapper = application.mapped_by(explain=False)
    request = mapper.map_request({"data": {"grams": 4200}})

    with pytest.raises(MapperCodeError):
        mapper.map_response(ModelAnswer({"predictions": [ADELIE]}, request))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def broken(:", "SyntaxError"),
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("Penguins = 5", "not a class with map_request, map_response, form"),
        ("class Penguins:\n    def map_request(self): ...", "not a class with map_response, form"),
        ("x = 1", "AttributeError"),
    ],
)
def test_a_class_that_cannot_be_loaded_is_told_at_the_start(code, words):
    with pytest.raises(MappingError, match=words):
        load_class(Code("model:Penguins", {"model.py": textwrap.dedent(code).encode()}))


@pytest.mark.parametrize("name", ["nosuch.module:Own", ".x:Own", "nosuch:Own", "no class", "os:system"])
def test_a_name_of_no_installed_class_is_told_at_the_start(schema, name):
    for digest in ("", "0" * 64):
        with pytest.raises((MappingError, SettingsError), match=re.escape(name)):
            application_of(schema, {}, Permission(name, digest=digest))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("self.model = model", "raise OSError('gone')", "cannot be made of a model: OSError: gone"),
        ('"type": "object", "properties"', '"type": "array", "properties"', "has to give `record`"),
        ('"examples": [{"grams": 4200}]', '"examples": []', "form.. failed: IndexError"),
        ('return {"record": record', 'return {"records": record', "form.. failed: KeyError"),
        ('"answer": {"type": "object"}', '"answer": {1}', "form.. failed: TypeError"),
    ],
)
def test_a_class_with_a_wrong_form_is_told_at_the_start(model, old, new, words):
    files = {**FILES, "model.py": CODE.replace(old, new).encode()}

    with pytest.raises(MappingError, match=words):
        Application(model, Code("model:Penguins", files))


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"{", "not a manifest"),
        (b"[]", "not a manifest"),
        (b'{"class": "model:Penguins"}', "not a manifest"),
        (b'{"class": "model:Penguins", "files": []}', "names no class"),
        (b'{"class": "os:system", "files": ["model.py"]}', "names no class"),
        (b'{"class": "model:Penguins", "files": ["model.py", "../../etc/passwd.py"]}', "names no class"),
        (b'{"class": "model:Penguins", "files": ["model.py", "a/b.py"]}', "names no class"),
        (b'{"class": "model:Penguins", "files": [1]}', "not a manifest"),
    ],
)
def test_a_manifest_names_modules_of_the_version_only(manifest, words):
    with pytest.raises(MappingError, match=words):
        read_manifest(manifest)


def test_only_the_files_of_a_mapping_are_fetched(code):
    files = {"schema.json": b"{}", "code.json": code.manifest(), "notes.txt": b"", **FILES}

    assert set(application_files(files, files.__getitem__)) == {"code.json", "model.py", "words.py"}
    assert application_files(["schema.json", "requirements.txt"], files.__getitem__) == {}
    del files["words.py"]
    with pytest.raises(MappingError, match=r"names words\.py, which is not there"):
        application_files(files, files.__getitem__)


def test_code_is_read_from_a_file_and_a_class(tmp_path):
    (tmp_path / "model.py").write_text(CODE)

    code = read_code(f"{tmp_path}/model.py:Penguins")

    assert (code.name, list(code.files)) == ("model:Penguins", ["model.py"])
    for wrong in ("model.py:Penguins", f"{tmp_path}:Penguins", f"{tmp_path}/model.py"):
        with pytest.raises(MappingError, match="expected"):
            read_code(wrong)


def test_the_place_of_an_error_names_neither_values_nor_messages():
    try:
        RECORD["secret 4711"]
    except KeyError as error:
        place = place_of(error)

    assert place.startswith("KeyError at ")
    assert "4711" not in place
