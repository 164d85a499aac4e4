"""Bundles with something changed, and what becomes of them: a program, because a crash would end the tests.

    python -m tests.proto_model.model.mutations FOLDER FIRST LAST

takes bundles from FOLDER (`make_bundles`) and prints a line of JSON for each mutation: its number, what was
changed, and the verdict: "rejected" with the sentence, "identical", "consistent", or what went wrong.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import signal
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from proto_model.errors import ArtifactError
from proto_model.forest import CompiledForest
from proto_model.model import Bundle, Predictor, write_bundle
from proto_model.model.decision import Calibration, Decision, PredictionSets
from proto_model.model.digests import DIGESTS_FILE, write_digests
from proto_model.parameters import Parameters
from proto_model.schema import Feature, ModelSchema
from proto_model.training.encoding import make_encoder
from proto_model.values import decode

BUNDLES = ("few", "other", "many")
SERVED = ("schema.json", "forest.npz", "expansion.npz", "decision.json", "background.npz")
SEALED, RESEALED, OLD = "digests left alone", "digests computed anew", "as of a release without digests"
_TIME_LIMIT_S = 60  # for one mutation; far more than any takes
_NUMBERS = (
    0,
    1,
    -1,
    2,
    0.5,
    1e9,
    1e300,
    -1e300,
    np.nan,
    np.inf,
    -np.inf,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
_JSON: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, 1e300, float("nan"), float("inf"), 10**400, "", "abc", "\ud800", [], {},
    [1], [[]], {"a": 1},
)  # fmt: skip


def make_bundles(folder: Path) -> None:
    """Two versions of one model, and one with dates, words, twenty classes and a decision."""
    plain = (
        Feature("x", "double", True, minimum=0.0, maximum=1.0, median=0.5),
        Feature("job", "string", True, ("clerk", "nurse", "pilot"), most_frequent="nurse"),
        Feature("owner", "boolean", False, minimum=0.0, maximum=1.0, median=0.0),
        Feature("n", "long", False, minimum=0.0, maximum=9.0, median=4.0),
    )
    more = (
        Feature("since", "date", True, minimum=10_000.0, maximum=20_000.0, median=15_000.0),
        Feature("note", "text", True, terms=("late", "refund", "thanks")),
    )
    for seed, name in enumerate(BUNDLES):
        is_many = name == "many"
        n_classes, features = (20, plain + more) if is_many else (2, plain)
        classes = tuple(range(n_classes)) if is_many else ("no", "yes")
        schema = ModelSchema("people", "kind", "long" if is_many else "string", classes, features)
        rng = np.random.default_rng(seed)
        X = np.column_stack(
            [rng.random(500), rng.integers(0, 3, 500), rng.integers(0, 2, 500), rng.integers(0, 10, 500)]
            + ([rng.integers(10_000, 20_000, 500), rng.integers(0, 8, 500)] if is_many else [])
        ).astype(np.float64)
        X[rng.random(500) < 0.1, 0] = np.nan
        y = np.array(classes)[(X[:, 3] * n_classes / 10 + 2 * rng.random(500)).astype(int) % n_classes]
        encoder = make_encoder(schema, "target" if is_many else "ordinal")
        forest = RandomForestClassifier(7, min_samples_leaf=3, random_state=seed)
        pipeline = Pipeline([("encode", encoder), ("forest", forest)]).fit(decode(X, schema), y)
        write_bundle(folder / name, pipeline, schema, X[:200], "synthetic", _decision(n_classes, rng))


def _decision(n_classes: int, rng: np.random.Generator) -> Decision:
    grid = np.linspace(0, 1, 5)
    n_tables = 1 if n_classes == 2 else n_classes
    costs = rng.uniform(0.5, 5, (n_classes, n_classes)) * (1 - np.eye(n_classes))
    shares = rng.dirichlet(np.ones(n_classes), 200)
    sets = PredictionSets.of(rng.integers(0, n_classes, 200), shares, "class")
    return Decision(Calibration("isotonic", (grid,) * n_tables, (0.1 + 0.8 * grid,) * n_tables), costs, sets)


def mutate(folder: Path, others: Path, rng: random.Random) -> str:
    """Change something in a bundle; what it was."""
    name = rng.choice([path.name for path in sorted(folder.iterdir())])
    path = folder / name
    kinds = [_flip, _flip, _cut, _overwrite, _replace, _swap, _remove_or_add]
    if name.endswith(".npz"):
        kinds += [_element] * 10 + [_array] * 4 + [_archive] * 2
    if name.endswith(".json"):
        kinds += [_edit] * 16
    return f"{name}: {rng.choice(kinds)(path, others, rng)}"


def _flip(path: Path, others: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        content[rng.choice([rng.randrange(len(content)), rng.randrange(min(300, len(content)))])] ^= (
            1 << rng.randrange(8)
        )
    path.write_bytes(content)
    return "bits flipped"


def _cut(path: Path, others: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    path.write_bytes(content[: rng.choice([0, 1, rng.randrange(len(content)), len(content) - 1])])
    return "cut off"


def _overwrite(path: Path, others: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + rng.randint(0, 8)] = rng.randbytes(rng.randint(0, 64))
    path.write_bytes(content)
    return "bytes overwritten, put in or taken out"


def _replace(path: Path, others: Path, rng: random.Random) -> str:
    content: bytes | None = rng.choice(
        [b"", b"PK", b"{}", b"[]", b"null", b"\x93NUMPY", b"[" * 100_000, None]
    )
    path.unlink()
    if content is None:
        path.mkdir()
        return "a folder instead"
    path.write_bytes(content)
    return f"{content[:8]!r} instead"


def _swap(path: Path, others: Path, rng: random.Random) -> str:
    other = others / rng.choice(BUNDLES) / path.name
    if not other.exists():
        return "left alone"
    path.write_bytes(other.read_bytes())
    return f"that of {other.parent.name!r}"


def _remove_or_add(path: Path, others: Path, rng: random.Random) -> str:
    added = rng.choice(["expansion.npz", "decision.json", "notes.txt"])
    if not (path.parent / added).exists():
        source = others / "many" / added
        (path.parent / added).write_bytes(source.read_bytes() if source.exists() else b"hello")
        return f"{added} added"
    path.unlink()
    return "removed"


def _arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as content:
        return {name: content[name] for name in content.files}


def _element(path: Path, others: Path, rng: random.Random) -> str:
    arrays = _arrays(path)
    name = rng.choice([name for name, array in arrays.items() if array.dtype.kind != "U"])
    array = arrays[name] = np.array(arrays[name])
    flat = array.reshape(-1)
    for _ in range(rng.choice([1, 1, 1, 5])):
        if not len(flat):
            break
        place = rng.choice([0, len(flat) - 1, rng.randrange(len(flat))])
        field = rng.choice(flat.dtype.names) if flat.dtype.names else None
        target = flat[field] if field else flat
        number = rng.choice([*_NUMBERS, float(target[place]) + rng.choice([1, -1])])
        with np.errstate(all="ignore"):
            if target.dtype.kind == "f":
                target[place] = number
            else:
                whole = int(number) if np.isfinite(number) else 0
                bits = 8 * target.dtype.itemsize
                target[place] = np.uint64(whole % 2**bits).astype(f"u{bits // 8}").view(target.dtype)
    np.savez(path, **arrays)
    return f"numbers of {name} changed"


def _array(path: Path, others: Path, rng: random.Random) -> str:
    arrays = _arrays(path)
    name = rng.choice(list(arrays))
    array = arrays[name]
    changes: dict[str, Any] = {
        "shorter": lambda: array[:-1] if array.ndim else array,
        "longer": lambda: np.concatenate([array, array[-1:]]) if array.ndim else array,
        "empty": lambda: array[:0] if array.ndim else array,
        "of one more dimension": lambda: array[np.newaxis],
        "column by column": lambda: np.asfortranarray(array),
        "turned": lambda: array.T,
        "backwards": lambda: array[::-1] if array.ndim else array,
        "of another byte order": lambda: array.astype(array.dtype.newbyteorder(">")),
        "of objects": lambda: np.array([{"a": 1}], dtype=object),
        "of texts": lambda: np.array(["a"]),
        "of single precision": lambda: array.astype(np.float32) if array.dtype.kind in "iuf" else array,
        "of whole numbers": lambda: np.zeros(array.shape, np.int64),
        "of complex numbers": lambda: np.zeros(array.shape, np.complex128),
    }
    kind = rng.choice([*changes, "missing"])
    if kind == "missing":
        del arrays[name]
    else:
        arrays[name] = changes[kind]()
    np.savez(path, **arrays)
    return f"{name} {kind}"


def _archive(path: Path, others: Path, rng: random.Random) -> str:
    kind = rng.choice(["an array twice", "a bomb", "packed", "a shape that is a lie", "an array more"])
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    packing = zipfile.ZIP_DEFLATED if kind in ("a bomb", "packed") else zipfile.ZIP_STORED
    if kind == "a bomb":
        file = io.BytesIO()
        np.save(file, np.zeros(30_000_000))
        members[name] = file.getvalue()
    elif kind == "a shape that is a lie":
        members[name] = members[name].replace(b"'shape': (", b"'shape': (9", 1)
    elif kind == "an array more":
        members["more.npy"] = members[name]
    with zipfile.ZipFile(path, "w", packing) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        if kind == "an array twice":
            archive.filelist.append(archive.getinfo(name))
    return f"{kind} ({name})"


def _edit(path: Path, others: Path, rng: random.Random) -> str:
    content = json.loads(path.read_text())
    place, shown = content, ""
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return "left alone"
        key = rng.choice(keys)
        shown += f"/{key}"
        if not isinstance(place[key], dict | list) or rng.random() < 0.2:
            break
        place = place[key]
    how = rng.choice(
        ["another value", "another value", "gone", "twice", "backwards", "another order", "changed"]
    )
    value = place[key]
    if isinstance(value, dict) and how != "gone":
        how = "another value"
    if how == "another value":
        place[key] = rng.choice(_JSON)
    elif how == "gone":
        del place[key]
    elif how == "twice" and isinstance(place, list):
        place.insert(key, value)
    elif how == "backwards" and isinstance(value, list):
        value.reverse()
    elif how == "another order" and isinstance(value, list):
        rng.shuffle(value)
    elif isinstance(value, str):
        place[key] = value + "x"
    elif isinstance(value, int | float):
        place[key] = value + rng.choice([1, -1, 0.25])
    path.write_text(json.dumps(content))
    return f"{shown} {how}"


def state(folder: Path, with_explanation: bool) -> dict[str, Any]:
    """All that a bundle answers."""
    bundle = Bundle.load(folder)
    schema = bundle.schema
    rng = np.random.default_rng(5)
    X = rng.integers(0, 2, (70, len(schema.features))).astype(np.float64)
    X[:, 0] += rng.random(70)
    X[::7] = np.nan
    shares = np.concatenate([bundle.predict_proba(X[:3]), bundle.predict_proba(X)])
    found = {
        "schema": json.dumps(schema.to_dict()),
        "shares": shares,
        "decided": bundle.decide(shares),
        "background": bundle.background,
        "kind": bundle.background_kind,
        "sets": "" if bundle.decision.sets is None else bundle.decision.sets.least,
    }
    if with_explanation:
        predictor = Predictor(bundle)
        row = np.nan_to_num(bundle.background[:1])
        predictor.answer(row, Parameters.from_params({"explain": True, "effort": "fast"}, schema))
    return found


def verdict(folder: Path, mode: str, expected: dict[str, Any], changed: str) -> str:
    """What becomes of a changed bundle."""
    explains = mode != SEALED and changed.startswith(("background", "schema", "decision"))
    try:
        found = state(folder, explains)
    except ArtifactError as error:
        text = str(error)
        return f"rejected: {text}" if 20 < len(text) < 2000 and text.endswith(".") else f"no sentence: {text}"
    except Exception as error:  # this is what is looked for
        return f"raw: {error!r}"
    if all(_bits(found[key]) == _bits(expected[key]) for key in expected):
        return "identical"
    shares = found["shares"]
    is_share = shares.min() >= 0 and (np.abs(shares.sum(axis=1) - 1) < 1e-5).all()
    return "consistent" if mode != SEALED and is_share else "answers differently"


def _bits(value: Any) -> Any:
    return (value.shape, value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else value


def main(arguments: list[str]) -> None:
    """Make mutations, from a first to a last number."""
    source, (first, last) = Path(arguments[0]), map(int, arguments[1:])
    expected = {name: state(source / name, False) for name in BUNDLES}
    for number in range(first, last):
        rng = random.Random(number)
        name, mode = rng.choice(BUNDLES), rng.choice([SEALED, RESEALED, OLD])
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "bundle"
            shutil.copytree(source / name, folder)
            if mode == OLD:
                (folder / DIGESTS_FILE).unlink()
                CompiledForest.load(folder / "forest.npz").save(folder / "forest.npz")
            changed = mutate(folder, source, rng)
            if mode == RESEALED and (folder / DIGESTS_FILE).is_file() and DIGESTS_FILE not in changed:
                write_digests(folder)
            signal.alarm(_TIME_LIMIT_S)  # ends the process, which the tests see
            found = verdict(folder, mode, expected[name], changed)
            signal.alarm(0)
        line = {"number": number, "bundle": name, "mode": mode, "changed": changed, "verdict": found}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
