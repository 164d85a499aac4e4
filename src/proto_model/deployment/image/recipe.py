"""What goes into an image, by the kind of server, and what runs there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from proto_model.deployment.image.errors import ImageError
from proto_model.deployment.image.wheels import pinned
from proto_model.errors import ArtifactError
from proto_model.parameters import FILE
from proto_model.registry.model_folder import BUNDLE, signature_of
from proto_model.schema import ModelSchema
from proto_model.serving.mlserver.environment import MLSERVER_REQUIREMENTS

Server = Literal["lean", "mlserver", "mlflow", "mapper"]
SERVERS: tuple[Server, ...] = get_args(Server)

PORT = 8080
LIBRARIES = "/opt/python"
CODE = "/opt/code"
MODEL = "/opt/model"

_LEAN = ("numpy", "llvmlite", "orjson", "uvicorn", "httptools", "uvloop")
_FILES = ("pyarrow", "rich")
_MAPPER = ("orjson", "uvicorn", "httptools", "uvloop", "prometheus-client", "pyyaml")
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)")


@dataclass(frozen=True)
class Recipe:
    """An image's content beside the root file system; keys of `folders` are places in the image."""

    server: Server
    schema: ModelSchema
    version: str | None
    run_id: str
    created: str
    requirements: tuple[str, ...]
    folders: Mapping[str, Path]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> tuple[str, ...]:
        """The entry point; what a container is told follows."""
        module = "mapper" if self.server == "mapper" else "proto_model.cli.container"
        return ("/usr/bin/python3", "-m", module)

    @property
    def health(self) -> tuple[str, ...]:
        """Command that ends with 0 when the service answers, whatever it asks of clients."""
        if self.server == "mapper":
            place, path, port = f"{CODE}/mapper/http", "/healthz", "MAPPER_PORT"
        else:
            place, path, port = f"{CODE}/proto_model/serving/http", "/ping", "PORT"
        # As a file: the package around it would import the server, every time.
        return ("/usr/bin/python3", "-P", f"{place}/alive.py", path, port)


def recipe_of(model: Path, server: Server) -> Recipe:
    """Recipe for the folder of a logged model.

    Raises
    ------
    ArtifactError
        If it is not one of this package's models.
    ImageError
        If the server does not serve it, or a library's version is not known.
    """
    if not (model / BUNDLE / "schema.json").is_file():
        raise ArtifactError(
            f"{model} holds no {BUNDLE / 'schema.json'}: not a model of proto_model. Give the folder or the "
            "URI of one, such as models:/proto_model@champion."
        )
    schema = ModelSchema.read(model / BUNDLE / "schema.json")
    described = _lines(model / "MLmodel")
    pins = _pins(model / "requirements.txt")
    package = Path(__file__).parents[2]
    folders = {f"{CODE}/proto_model": package, MODEL: model}
    environment = {"PYTHONPATH": f"{CODE}:{LIBRARIES}"}
    if server == "mapper":
        folders = {f"{CODE}/mapper": _mapper_package(), MODEL: model / "mapper"}
        environment |= {
            "MAPPER_HOST": "0.0.0.0",
            "MAPPER_PORT": str(PORT),
            "MAPPER_SCHEMA": f"{MODEL}/schema.json",
            "MAPPER_ALLOWED_HOSTS": "*",
        }
        requirements = pinned(_MAPPER, pins)
    elif server == "lean":
        libraries = _LEAN + (_FILES if signature_of(model) == FILE else ())
        requirements = pinned(libraries, pins)
    else:
        requirements = _listed(model / "requirements.txt")
        if server == "mlserver":
            requirements += _listed(MLSERVER_REQUIREMENTS)
        environment["PROTO_MODEL_CONTAINER_SERVER"] = server
    return Recipe(
        server=server,
        schema=schema,
        version=_lines(model / "registered_model_meta").get("model_version"),
        run_id=described.get("run_id", ""),
        created=described.get("utc_time_created", "1970-01-01 00:00:00"),
        requirements=requirements,
        folders=folders,
        environment=environment,
    )


def _mapper_package() -> Path:
    """Folder of the mapper's code; its modules are not imported."""
    found = importlib.util.find_spec("mapper")
    if found is None or found.origin is None:
        raise ImageError("The mapper is not installed here: pip install proto-model-mapper.")
    return Path(found.origin).parent


def _lines(path: Path) -> dict[str, str]:
    """Plain values at the left margin of a YAML file."""
    if not path.is_file():
        return {}
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {key: value.strip().strip("'\"") for key, colon, value in pairs if colon and value.strip()}


def _listed(path: Path) -> tuple[str, ...]:
    """Requirements of a file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return tuple(line.strip() for line in lines if line[:1].isalnum())


def _pins(path: Path) -> dict[str, str]:
    """Versions that a requirements file pins, by name."""
    return {pin[1].lower(): pin[2] for line in _listed(path) if (pin := _PIN.match(line))}
