"""What a service maps with: the model as it is, in the words of a mapping, or by an application's class."""

from __future__ import annotations

import logging
from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import Any

import orjson

from mapper.application.code import (
    MANIFEST,
    Code,
    Form,
    load_class,
    make,
    place_of,
    read_form,
    read_manifest,
)
from mapper.application.files import MAPPING
from mapper.application.model import MappedModel, tabular_model
from mapper.application.request import refusal_of
from mapper.errors import MapperCodeError, MapperError, SettingsError
from mapper.mapping.interfaces import TangoModel
from mapper.mapping.model import TabularModel
from mapper.mapping.request import MAX_ROWS, ModelRequest
from mapper.mapping.schema import ModelSchema

logger = logging.getLogger(__name__)

FAILED = "The application's mapper failed. The log of the service says where."
MAX_MESSAGE_CHARACTERS = 500


@dataclass(frozen=True)
class Permission:
    """What an operator allows: an installed class by its `name`, or the code that a version carries.

    With a `digest`, only code with that SHA-256.
    """

    name: str = ""
    carried: bool = False
    digest: str = ""


def allowed_code(files: Table[str, bytes], permission: Permission) -> Code | None:
    """The code to load, if there is any; raises SettingsError if it is not allowed."""
    code = None
    if permission.name:
        code = Code(permission.name)
    elif MANIFEST in files:
        name, modules = read_manifest(files[MANIFEST])
        code = Code(name, {module: files[module] for module in modules})
        if not permission.carried:
            raise SettingsError(
                f"The version carries code, {name}, and code is not run unless it is allowed. Read it, then "
                f"allow it with --allow-mapper-code --mapper-code-digest {code.digest}, or start with "
                "--mapping none to serve the model as it is."
            )
    if permission.digest and (code is None or code.digest != permission.digest.lower()):
        found = "there is no code" if code is None else f"that of {code.name} is {code.digest}"
        raise SettingsError(f"--mapper-code-digest {permission.digest} given, and {found}.")
    return code


class Application:
    """Maps requests and answers of one version.

    `model` is what the service describes and asks about its readiness. With an application's class, `form` is
    its outside.
    """

    form: Form | None = None

    def __init__(self, model: TabularModel, code: Code | None = None) -> None:
        self.model = model
        self.code = code
        self._maps: tuple[TangoModel, TangoModel] | None = None
        if code is not None:
            made = load_class(code)
            predicts, explains = (make(made, inner, code.name) for inner in (model, model.get_explainer()))
            self.form = read_form(predicts, code.name)
            self._maps = (Guarded(predicts, explain=False), Guarded(explains, explain=True))

    def mapped_by(self, *, explain: bool) -> TangoModel:
        """What maps a request and its answer."""
        if self._maps is not None:
            return self._maps[explain]
        return self.model.get_explainer() if explain else self.model

    @property
    def is_own(self) -> bool:
        """Whether an application's mapping or class is at work."""
        return self.code is not None or isinstance(self.model, MappedModel)

    def text(self) -> str:
        """What it is, for the log."""
        parts = []
        if isinstance(self.model, MappedModel):
            parts.append(f"{MAPPING} sha256={self.model.mapping.digest}")
        if self.code is not None:
            where = "carried by the version" if self.code.files else "installed here"
            parts.append(f"class {self.code.name} ({where}) sha256={self.code.digest}")
        return ", ".join(parts) or "none"


def application_of(
    schema: ModelSchema,
    files: Table[str, bytes],
    permission: Permission,
    version: str | None = None,
    max_rows: int = MAX_ROWS,
) -> Application:
    """How a version's requests are mapped.

    Raises MappingError if mapping or class do not fit, SettingsError if the code is not allowed.
    """
    code = allowed_code(files, permission)
    return Application(tabular_model(schema, files, version, max_rows), code)


class Guarded(TangoModel):
    """An application's own class, whose failures are answers without a trace of its code or of the data.

    A ValueError of its `map_request` says what is wrong with the request; the client gets its message.
    """

    def __init__(self, model: TangoModel, *, explain: bool) -> None:
        self._model = model
        self._explain = explain

    def map_request(self, tango_request: Any, session: Any = None) -> ModelRequest:
        """What the class makes of a request, such that it can be sent."""
        try:
            mapped = self._model.map_request(tango_request, session)
        except MapperError:
            raise
        except ValueError as error:
            logger.info("the application's mapper refused a request: %s", place_of(error))
            raise refusal_of("data", str(error)[:MAX_MESSAGE_CHARACTERS] or "not accepted") from error
        except Exception as error:  # the code of others
            raise _failure(error) from error
        try:
            request = ModelRequest.of(mapped, explain=self._explain)
            orjson.dumps(request)
        except (TypeError, ValueError) as error:
            raise _failure(error) from error
        return request

    def map_response(self, response: Any) -> Any:
        """What the class makes of an answer, such that it can be sent."""
        try:
            answer = self._model.map_response(response)
            orjson.dumps(answer)
        except MapperError:
            raise
        except Exception as error:  # the code of others
            raise _failure(error) from error
        return answer


def _failure(error: Exception) -> MapperCodeError:
    logger.error("the application's mapper failed: %s", place_of(error))
    return MapperCodeError(FAILED)
