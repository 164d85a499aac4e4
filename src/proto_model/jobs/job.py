"""A batch job: what ModelOp's job.json says, checked before anything is fetched or run."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from proto_model.errors import listed
from proto_model.file_names import name_fault, names_fault
from proto_model.jobs.errors import JobError
from proto_model.jobs.places import Place, parse_place
from proto_model.jobs.reading import Node, read_json
from proto_model.sources import OUTPUT_DIR, SOURCE_FILE

JOB_TYPES = {
    "MODEL_BATCH_JOB": "score",
    "MODEL_BATCH_TEST_JOB": "metrics",
    "MODEL_BATCH_TRAINING_JOB": "training",
}
"""Function by the type of a job."""

ASSET_TYPES = ("SOURCE_CODE", "FILE", "EXTERNAL_FILE")
METADATA_FILE = "model_job_metadata.py"
DRIVER_FILE = "ModelOpPySparkDriver.py"
RESULT_FILE = "job.json"
LOG_FILE = "log.txt"

_FUNCTION_KEYS = {
    "init": "initFunction",
    "score": "scoreFunction",
    "metrics": "metricsFunction",
    "training": "trainingFunction",
}
_JOB_KEYS = ("jobType", "jobStatus", "model", "inputData", "outputData", "targetEngine", "jobParameters")
_ASSET_KEYS = (
    *("name", "assetType", "fileUrl", "filename", "fileFormat", "sourceCode", "fileContent"),
    *("primaryModelSource", *_FUNCTION_KEYS.values()),
)
_NO_FORMAT = ("", "UNKNOWN")
_WORD = re.compile(r"\w{1,40}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Asset:
    """A file or a source that a job names; `at` is its place in the document."""

    at: str
    type: str
    filename: str
    place: Place | None  # None where the content stands in the document, or a name was not given
    content: bytes | None
    format: str  # json, jsonl, csv, parquet, avro or another word; empty if the job does not say
    is_primary: bool | None
    document: Mapping[str, Any] = field(repr=False)

    @property
    def suffix_format(self) -> str:
        """Its format, or else what its name or its URL ends in."""
        if self.format:
            return self.format
        names = [self.filename, self.place.name if self.place is not None else ""]
        return next(
            (PurePosixPath(name).suffix[1:].lower() for name in names if PurePosixPath(name).suffix), ""
        )


@dataclass(frozen=True)
class Job:
    """A job that was read.

    Attributes
    ----------
    function : str
        Role of the function: score, metrics or training.
    source : Asset or None
        The primary source; None if `model_uri` names a version instead.
    secondary, files, external : tuple of Asset
        The model's other sources, its FILEs, and its EXTERNAL_FILEs.
    inputs, outputs : tuple of Asset
        Data in and out.
    function_names : mapping of str to str
        Functions by role, where the job names them.
    spark_conf : mapping of str to str
        Settings and flags of spark-submit.
    schema_check : bool
        Whether the model asks for records to be checked.
    warnings : tuple of str
        What was passed over.
    document : dict
        All of it.
    """

    path: Path
    type: str
    source: Asset | None
    model_uri: str
    secondary: tuple[Asset, ...]
    files: tuple[Asset, ...]
    external: tuple[Asset, ...]
    inputs: tuple[Asset, ...]
    outputs: tuple[Asset, ...]
    function_names: Mapping[str, str]
    spark_conf: Mapping[str, str]
    schema_check: bool
    warnings: tuple[str, ...]
    document: Mapping[str, Any] = field(repr=False)

    @property
    def function(self) -> str:
        """Role of the function that it runs."""
        return JOB_TYPES[self.type]

    @classmethod
    def read(cls, path: Path) -> Job:
        """Job of a file; a JobError says where in it what is wrong."""
        return cls.of(read_json(path), path)

    @classmethod
    def of(cls, document: Any, path: Path) -> Job:
        """Job of what a file of JSON holds; relative paths start at the file's folder."""
        root = Node(document, "")
        if not isinstance(document, dict):
            raise root.wrong("an object")
        job_type = root.get("jobType").text() or "MODEL_BATCH_JOB"
        if job_type not in JOB_TYPES:
            raise JobError(f"jobType {job_type[:80]!r} given, one of {', '.join(JOB_TYPES)} expected.")
        stored, assets, model_uri = _model(root, path.parent)
        sources = [one for one in assets if one.type == "SOURCE_CODE"]
        primary = None if model_uri else _primary(sources)
        inputs, outputs = (
            tuple(_asset(one, path.parent, f"{key}-{number}", is_data=True)
                  for number, one in enumerate(root.get(key).items(), 1))
            for key in ("inputData", "outputData")
        )  # fmt: skip
        job = cls(
            path=path,
            type=job_type,
            source=primary,
            model_uri=model_uri,
            secondary=tuple(one for one in sources if one is not primary),
            files=tuple(one for one in assets if one.type == "FILE"),
            external=tuple(one for one in assets if one.type == "EXTERNAL_FILE"),
            inputs=inputs,
            outputs=outputs,
            function_names=_function_names(primary),
            spark_conf=_spark_conf(root),
            schema_check=_asks_for_checks(stored),
            warnings=(*root.unknown(_JOB_KEYS), *_warnings(root, stored)),
            document=document,
        )
        _check_names(job)
        _check_places(job)
        return job


def _model(root: Node, folder: Path) -> tuple[Node, list[Asset], str]:
    """The stored model, its assets, and the URI of a version that stands in their place."""
    model = root.get("model").object()
    stored = model.get("storedModel").object()
    uri = model.get("uri").text()
    listed_assets = stored.get("modelAssets")
    if uri and listed_assets.value:
        raise JobError("model has both uri and storedModel.modelAssets. Leave one of them out.")
    assets = [_asset(one, folder, f"asset-{number}") for number, one in enumerate(listed_assets.items(), 1)]
    if not uri and not assets:
        raise JobError(
            "model.storedModel.modelAssets is missing or empty. Give the model's source there: an object "
            'with assetType "SOURCE_CODE", name and sourceCode.'
        )
    return stored, assets, uri


def _asset(node: Node, folder: Path, default_name: str, *, is_data: bool = False) -> Asset:
    kind = node.get("assetType").text()
    if not kind and is_data:
        kind = "EXTERNAL_FILE"
    if kind not in ASSET_TYPES:
        given = f"{kind[:80]!r} given" if kind else "missing"
        raise JobError(f"{node.place}.assetType: {given}, one of {', '.join(ASSET_TYPES)} expected.")
    if is_data and kind == "SOURCE_CODE":
        raise JobError(f"{node.place}.assetType: data cannot be SOURCE_CODE. Write EXTERNAL_FILE or FILE.")
    url = node.get("fileUrl").text()
    place = parse_place(url, f"{node.place}.fileUrl", folder) if url else None
    content = _content(node, kind)
    if content is not None and place is not None:
        raise JobError(f"{node.place} has both its content and a fileUrl. Leave one of them out.")
    if content is None and place is None and not (is_data and node.place.startswith("outputData")):
        wanted = "sourceCode or fileUrl" if kind == "SOURCE_CODE" else "fileUrl"
        raise JobError(f"{node.place}.{wanted.split()[-1]} is missing. Give {wanted}.")
    return Asset(
        at=node.place,
        type=kind,
        filename=_filename(node, place, default_name),
        place=place,
        content=content,
        format=_format(node, is_data),
        is_primary=node.get("primaryModelSource").flag(),
        document=node.value,
    )


def _content(node: Node, kind: str) -> bytes | None:
    if kind == "SOURCE_CODE":
        code = node.get("sourceCode")
        text = code.text()
        try:
            return text.encode() if code.value is not None else None
        except UnicodeEncodeError as error:
            raise JobError(f"{code.place} has half a character. Save the source as UTF-8.") from error
    held = node.get("fileContent")
    if kind != "FILE" or held.value is None:
        return None
    try:
        return base64.b64decode(held.text(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise JobError(f"{held.place} is not in base64. Encode the file's bytes.") from error


def _filename(node: Node, place: Place | None, default: str) -> str:
    """What a file is called in a working directory: a plain name."""
    key = next((key for key in ("filename", "name") if node.get(key).text()), "")
    name = node.get(key).text() if key else (place.name if place is not None else "") or default
    fault = name_fault(name)
    if fault or "/" in name or len(name.encode("utf-8", "replace")) > 255 or name.startswith("-"):
        # A path in `filename` that starts elsewhere could be any file of this machine.
        said = fault or ("leads to another folder" if "/" in name else "is too long, or begins with a dash")
        raise JobError(f"{node.place}.{key or 'fileUrl'}: {name[:200]!r} {said}. Give a plain name: data.csv")
    return name


def _format(node: Node, is_data: bool) -> str:
    given = node.get("fileFormat")
    text = given.text()
    if not is_data or text.upper() in _NO_FORMAT:
        return ""
    # Functions for Spark may take any; the local engine says which it takes.
    if not _WORD.fullmatch(text):
        raise JobError(f"{given.place}: {text[:80]!r} given, a word such as CSV or PARQUET expected.")
    return {"ndjson": "jsonl", "json_lines": "jsonl"}.get(text.lower(), text.lower())


def _primary(sources: list[Asset]) -> Asset:
    chosen = [one for one in sources if one.is_primary]
    if len(chosen) > 1:
        raise JobError(
            f"{chosen[0].at} and {chosen[1].at} both have primaryModelSource true. Let one source have it."
        )
    if not chosen and len(sources) == 1 and sources[0].is_primary is None:
        return sources[0]
    if not chosen:
        raise JobError(
            'model.storedModel.modelAssets has no primary source. Give one with assetType "SOURCE_CODE" and '
            "primaryModelSource true."
        )
    return chosen[0]


def _function_names(primary: Asset | None) -> dict[str, str]:
    names = {}
    for role, key in _FUNCTION_KEYS.items() if primary is not None else ():
        assert primary is not None
        node = Node(primary.document, primary.at).get(key)
        name = node.text()
        if name and not name.isidentifier():
            raise JobError(f"{node.place}: {name[:80]!r} is no name of a function. Correct it.")
        if name:
            names[role] = name
    return names


def _spark_conf(root: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in (
        root.get("jobParameters").object(),
        root.get("targetEngine").object().get("sparkConf").object(),
    ):
        for key, value in node.value.items():
            at = Node(value, f"{node.place}[{key[:80]!r}]")
            if not isinstance(value, str | int | float):
                raise at.wrong("text or a number")
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if _CONTROL.search(text) or _CONTROL.search(key):
                raise JobError(f"{at.place} has a line end or another control character. Remove it.")
            found[key] = text
    return found


def _asks_for_checks(stored: Node) -> bool:
    about = stored.get("modelMetaData").object()
    keys = ("enableInputSchemaChecking", "enableOutputSchemaChecking")
    return any([about.get(key).flag() for key in keys])


def _warnings(root: Node, stored: Node) -> list[str]:
    lists = (stored.get("modelAssets"), root.get("inputData"), root.get("outputData"))
    return [said for one in lists for node in one.items() for said in node.unknown(_ASSET_KEYS)]


def _check_names(job: Job) -> None:
    """Files of the working directory have names of their own."""
    placed = [*job.secondary, *job.files]
    for one in job.secondary:
        if not one.filename.endswith(".py"):
            raise JobError(f"{one.at}.name: the source {one.filename!r} is to end in .py. Rename it.")
    fault = names_fault(one.filename for one in placed)
    if fault:
        raise JobError(f"model.storedModel.modelAssets: {fault} Give each file a name of its own.")
    reserved = {name.casefold() for name in (SOURCE_FILE, METADATA_FILE, DRIVER_FILE, OUTPUT_DIR)}
    taken = next((one for one in placed if one.filename.casefold() in reserved), None)
    if taken is not None:
        raise JobError(f"{taken.at}: {taken.filename!r} is a name that the runtime uses. Give it another.")


def _check_places(job: Job) -> None:
    """No output replaces an input, another output, or the job itself."""
    read = {one.place.identity: one.at for one in (*job.inputs, *job.external, *job.files) if one.place}
    read[parse_place(str(job.path.absolute()), "job", Path()).identity] = f"the job {job.path.name}"
    written: dict[str, str] = {}
    for one in job.outputs:
        if one.type != "EXTERNAL_FILE" and one.place is not None:
            raise JobError(f"{one.at}.assetType: an output with a fileUrl is an EXTERNAL_FILE. Write that.")
        if one.place is None:
            continue
        other = {**read, **written}.get(one.place.identity)
        if other is not None:
            raise JobError(f"{one.at}.fileUrl is also that of {other}. Write to a place of its own.")
        written[one.place.identity] = one.at
    unnamed = [one.filename for one in job.outputs if one.place is None]
    taken = next((name for name in unnamed if name in (RESULT_FILE, LOG_FILE, OUTPUT_DIR)), "")
    if taken:
        raise JobError(f"outputData: {taken!r} is a name that the runtime uses. Give another filename.")
    if len(set(unnamed)) < len(unnamed):
        raise JobError(f"outputData has names twice: {listed(unnamed)}. Give each a filename of its own.")
