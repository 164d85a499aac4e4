"""Write the lists of requirements that other tools read, out of those in the two pyproject.toml.

    python scripts/requirements.py

`make lock` calls this before it renews the lock; a test tells when a list is out of date.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

__all__ = ["derived_files", "main"]

ROOT = Path(__file__).resolve().parent.parent
_MADE = "# Made by `make lock` from {}."


def derived_files() -> dict[Path, str]:
    """Content of every file that is derived, by its path."""
    model = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    mapper = tomllib.loads((ROOT / "mapper" / "pyproject.toml").read_text(encoding="utf-8"))
    extras = model["project"]["optional-dependencies"]
    trained = sorted({*model["project"]["dependencies"], *extras["train"], *extras["files"]})
    mapper_list = _lines(
        "All that the mapper needs.", "mapper/pyproject.toml", mapper["project"]["dependencies"]
    )
    mlserver_list = _lines(
        "MLServer, to serve together with the requirements.txt of a logged model. MLflow has no\n"
        "# --enable-mlserver since 3.13; `python -m proto_model mlserver --serve <model URI>` does the same.",
        "pyproject.toml",
        model["dependency-groups"]["mlserver"],
    )
    return {
        ROOT / "mapper" / "requirements.txt": mapper_list,
        ROOT / "src" / "proto_model" / "registry" / "mapper_requirements.txt": mapper_list,
        ROOT / "requirements-dev-modelserver.txt": mlserver_list,
        ROOT / "src" / "proto_model" / "serving" / "mlserver" / "requirements.txt": mlserver_list,
        ROOT / "src" / "python_env.yaml": "\n".join(
            (
                "# For `mlflow run --env-manager virtualenv` or `uv`, which install this list.",
                "# `--env-manager local` uses the environment that it is called from.\n"
                "# Without `python`, MLflow takes the version that it runs on, so none has to be built.",
                _MADE.format("pyproject.toml"),
                "build_dependencies:",
                "  - pip",
                "dependencies:",
                *(f'  - "{requirement}"' for requirement in trained),
                "",
            )
        ),
    }


def _lines(what: str, source: str, requirements: list[str]) -> str:
    return "\n".join((f"# {what}", _MADE.format(source), *requirements, ""))


def main() -> None:
    """Write the files."""
    for path, content in derived_files().items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
