import base64
import csv
import hashlib
import io
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from packaging.metadata import Metadata

import proto_model
from proto_model.deployment.package.wheel import needed, write_wheel

ROOT = Path(proto_model.__file__).parent


def test_it_holds_this_project_and_says_so(tmp_path):
    path = write_wheel(tmp_path)

    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        contents = {name: wheel.read(name) for name in names}
    info = f"proto_model_turbo-{proto_model.__version__}.dist-info"
    described = Metadata.from_email(contents[f"{info}/METADATA"], validate=True)
    assert (described.name, str(described.version)) == ("proto-model-turbo", proto_model.__version__)
    assert {str(one) for one in described.requires_dist} == {
        str(one)
        for one in Metadata.from_email(distribution("proto-model-turbo").read_text("METADATA")).requires_dist
    }
    modules = {f"proto_model/{found.relative_to(ROOT).as_posix()}" for found in ROOT.rglob("*.py")}
    assert modules <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    record = list(csv.reader(io.StringIO(contents[f"{info}/RECORD"].decode())))
    assert {name for name, _, _ in record} == set(names)
    for name, digest, size in record:
        if not name.endswith("RECORD"):
            found = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={found}", len(contents[name]))


def test_it_needs_what_the_project_lists():
    assert needed() == ["llvmlite", "numpy", "orjson"]
