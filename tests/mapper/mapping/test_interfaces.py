"""What comes of a `tango_interfaces` package that fits, and of packages that do not."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from mapper.mapping import interfaces

NAMES = ("TangoModel", "ExplainableTangoModel", "TangoModelServerProxy", "TangoModelRegistryConnector")
WHOLE = """
    from abc import ABC, abstractmethod
    from enum import Enum

    class RequestType(Enum):
        PREDICT = 1

    class TangoModel(ABC):
        @abstractmethod
        def map_request(self, tango_request, session=None): ...
        @abstractmethod
        def map_response(self, response): ...

    class ExplainableTangoModel(TangoModel):
        @abstractmethod
        def get_explainer(self, **kwargs): ...

    class TangoModelServerProxy(ABC):
        @abstractmethod
        def get_model_server_url(self): ...
        @abstractmethod
        def invoke(self, request_type, payload): ...

    class TangoModelRegistryConnector(ABC):
        @abstractmethod
        def get_model(self, model_uri): ...
"""
USE = """
    import json, mapper
    from mapper.mapping.interfaces import INTERFACES
    schema = mapper.ModelSchema.from_dict({
        "schema_version": "1.0", "model_name": "m", "target": {"name": "t", "type": "string"},
        "classes": ["a", "b"], "features": [{"name": "x", "type": "double", "nullable": False,
        "minimum": 0, "maximum": 1, "median": 0}]})
    model = mapper.TabularModel(schema)
    model.set_explainer(model.get_explainer())
    assert isinstance(model, mapper.ExplainableTangoModel)
    assert isinstance(model, mapper.TangoModel)
    assert isinstance(model.get_explainer(), mapper.TangoModel)
    assert isinstance(mapper.ModelServerProxy("http://h:1"), mapper.TangoModelServerProxy)
    assert isinstance(mapper.MlflowRegistryConnector("http://h:1"), mapper.TangoModelRegistryConnector)
    assert mapper.RequestType.PREDICT
    print(json.dumps({interface.name: interface.origin for interface in INTERFACES}))
"""


@pytest.fixture
def python(tmp_path):
    """Runs code where `tango_interfaces` is as given."""

    def run(package, *argv):
        folder = tmp_path / "tango_interfaces"
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(textwrap.dedent(package))
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, *argv], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )

    return run


def origins(python, package):
    done = python(package, "-c", textwrap.dedent(USE))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # importing says nothing
    return json.loads(done.stdout)


def test_a_whole_package_gives_every_base(python):
    assert set(origins(python, WHOLE).values()) == {"tango_interfaces"}

    checked = python(WHOLE, "-m", "mapper", "tango", "check")
    assert checked.returncode == 0, checked.stderr
    assert "TangoModelServerProxy: tango_interfaces" in checked.stdout


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_name_that_is_missing_comes_from_the_mapper_and_the_others_do_not(python, name):
    package = f"{WHOLE}\n    del {name}\n"

    found = origins(python, package)

    assert found.pop(name) == "mapper"
    assert set(found.values()) == {"tango_interfaces"}
    checked = python(package, "-m", "mapper", "tango", "check")
    assert checked.returncode == 1
    assert checked.stderr == (
        f"mapper: tango_interfaces has no usable {name}: it lacks this name. "
        "The mapper's own one is the base.\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_further_abstract_methods_are_named(python, name):
    package = (
        WHOLE
        + f"""
    class {name}({name}):
        @abstractmethod
        def teleport(self): ...
        @abstractmethod
        def audit(self): ...
"""
    )

    found = origins(python, package)

    assert found[name] == "mapper"
    assert found["RequestType"] == "tango_interfaces"
    checked = python(package, "-m", "mapper", "tango", "check")
    assert checked.returncode == 1
    assert f"{name}: it has abstract methods that this mapper lacks: audit, teleport." in checked.stderr


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        ("import a_library_that_is_not_installed", "importing it failed: ModuleNotFoundError"),
        ("raise RuntimeError('broken')", "importing it failed: RuntimeError: broken"),
        ("TangoModel = 3\nRequestType = ABC = object", "it has a int of this name, not a class"),
        ("class RequestType: pass", "its members lack PREDICT"),
        ("", "it lacks this name"),
    ],
)
def test_a_package_that_is_of_no_use_does_not_keep_the_mapper_from_working(python, package, reason):
    assert set(origins(python, package).values()) == {"mapper"}

    checked = python(package, "-m", "mapper", "tango", "check")
    assert checked.returncode == 1
    assert reason in checked.stderr


def test_the_service_logs_what_was_missing(python, tmp_path):
    started = python("", "-m", "mapper", "serve", "--schema", str(tmp_path / "nowhere.json"))

    assert "WARNING mapper.http.process tango_interfaces has no usable TangoModel: it lacks" in started.stderr


def test_without_the_package_nothing_is_missing(capsys):
    from mapper.cli.main import main

    assert interfaces.interfaces_text() == []
    assert main(["tango", "check"]) == 0
    assert "tango_interfaces is not installed" in capsys.readouterr().out
