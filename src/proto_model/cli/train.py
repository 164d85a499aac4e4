"""Train every forest variant on a table, log all of it to MLflow and register the models.

Example: python -m proto_model train --dataset data/adult.csv --target class --n-candidates 12

Goes to the store that MLFLOW_TRACKING_URI names, by default mlflow.db and mlruns/ in this folder. The last
line printed is the run whose model is to be served: MLFLOW_RUN_ID=<run id>.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import math
import sys
from collections.abc import Sequence

from proto_model.registry.settings import TrainingSettings

__all__ = ["build_parser", "main"]

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_MAX_SEED = 2**32 - 1


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line; the defaults are those of `TrainingSettings`."""
    default = TrainingSettings()
    parser = argparse.ArgumentParser(
        prog="python -m proto_model train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--dataset",
        type=_text,
        default=default.dataset,
        help="breast_cancer, wine, iris or digits, or the path or http(s) URL of a CSV or Parquet file "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        default=default.target,
        help="column to predict (default: the one called target, class, label or y)",
    )
    parser.add_argument(
        "--test-size",
        type=_share,
        default=default.test_size,
        help="share of the rows that only judge, above 0 and below 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--random-state",
        type=_seed,
        default=default.random_state,
        help="seed of searches and forests; the split does not depend on it (default: %(default)s)",
    )
    parser.add_argument(
        "--n-candidates",
        type=_count,
        default=default.n_candidates,
        help="hyperparameter settings that each variant's search tries (default: %(default)s)",
    )
    parser.add_argument(
        "--registered-model-name",
        type=_model_name,
        default=default.registered_model_name,
        help="registered model that gets the versions (default: %(default)s)",
    )
    parser.add_argument(
        "--file-management",
        type=_flag,
        default=default.file_management,
        metavar="{true,false}",
        help="whether the models take presigned URLs of files rather than rows (default: false)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all went well, 1 when training failed, 2 when the arguments are wrong."""
    arguments = vars(build_parser().parse_args(argv))
    names = {field.name for field in dataclasses.fields(TrainingSettings)}
    return _run(TrainingSettings(**{name: arguments[name] for name in names}))


def _run(settings: TrainingSettings) -> int:
    from proto_model.registry.noise import quiet_mlflow

    quiet_mlflow()
    gc.disable()  # looking for garbage while libraries are imported takes half a second and finds none
    import mlflow
    from mlflow.exceptions import MlflowException
    from rich.console import Console

    from proto_model.errors import ProtoModelError
    from proto_model.registry.noise import warnings_shown_once
    from proto_model.registry.tracking import without_credentials
    from proto_model.registry.training_run import train
    from proto_model.training import leader_board

    gc.freeze()
    gc.enable()
    talk = Console(stderr=True)
    try:
        with warnings_shown_once(talk):
            outcome = train(settings, talk)
    except ProtoModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except MlflowException as error:
        said = without_credentials(f"MLflow at {mlflow.get_tracking_uri()}: {error.message}")
        print(f"error: {said}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: a file cannot be read or written: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    best = outcome.standings[0]
    board = Console(width=None if sys.stdout.isatty() else 110)
    board.print(leader_board.rich_table(outcome.standings, "Leader board"))
    print(
        f"{best.variant} is version {outcome.versions[best.variant]} of {settings.registered_model_name}, "
        "with the alias challenger"
    )
    print(f"MLFLOW_RUN_ID={outcome.run_id}", flush=True)
    return 0


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("may not be empty")
    return text.strip()


def _share(text: str) -> float:
    share = _number(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given, a number above 0 and below 1 expected")
    return share


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given, a whole number from 1 expected")
    return int(text)


def _seed(text: str) -> int:
    if not text.strip().isdecimal() or int(text) > _MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} given, a whole number from 0 to {_MAX_SEED} expected")
    return int(text)


def _flag(text: str) -> bool:
    spelling = text.strip().lower()
    if spelling not in _TRUE + _FALSE:
        raise argparse.ArgumentTypeError(f"{text!r} given, true or false expected")
    return spelling in _TRUE


def _model_name(text: str) -> str:
    if not text.strip() or set(text) & set("/:"):
        raise argparse.ArgumentTypeError(f"{text!r} given, a name without '/' and ':' expected")
    return text.strip()
