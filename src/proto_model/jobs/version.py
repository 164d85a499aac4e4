"""Scoring with one of this project's versions in the place of a source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proto_model.errors import counted
from proto_model.files import score_file
from proto_model.jobs.errors import JobError
from proto_model.jobs.job import Asset, Job
from proto_model.jobs.options import JobOptions, Ran
from proto_model.jobs.transport import Transport
from proto_model.model import Bundle, Predictor
from proto_model.parameters import FILE, Parameters
from proto_model.registry.model_folder import BUNDLE

_NAMES = {"json": "jsonl"}


@dataclass
class VersionJob:
    """One job on its way; `folder_of` gives the folder of a version by its URI."""

    job: Job
    transport: Transport
    options: JobOptions
    work: Path
    kept: Path
    ran: Ran
    folder_of: Callable[[str, Path], Path]

    def run(self) -> None:
        """Score each input; an InputError or RegistryError says that something cannot be used as given."""
        if self.job.function != "score":
            raise JobError(
                f"jobType {self.job.type} needs a source: a version named by model.uri only scores. Write "
                "MODEL_BATCH_JOB, or export it as a source."
            )
        inputs = self.job.inputs
        if not inputs:
            raise JobError("inputData is missing or empty. Name a file with fileUrl.")
        outputs = self.job.outputs or tuple(self._default(number) for number in range(len(inputs)))
        if len(outputs) != len(inputs):
            raise JobError(
                f"outputData has {counted(len(outputs), 'element')}, as many as inputData "
                f"expected: {len(inputs)}."
            )
        for asset in outputs:
            self.transport.check_output(asset, overwrite=self.options.overwrite)
        downloaded = self.work / "version"
        downloaded.mkdir()
        predictor = Predictor(Bundle.load(self.folder_of(self.job.model_uri, downloaded) / BUNDLE), FILE)
        finished = [
            self._scored(predictor, number, pair)
            for number, pair in enumerate(zip(inputs, outputs, strict=True))
        ]
        for asset, path in zip(outputs, finished, strict=True):
            self.ran.written[asset.at] = path.stat().st_size
            if asset.place is None:
                self.ran.default_outputs[asset.at] = path.rename(self.kept / asset.filename)
            else:
                self.transport.delivered(path, asset, overwrite=self.options.overwrite)

    def _default(self, number: int) -> Asset:
        name = f"scores-{number + 1}.csv" if len(self.job.inputs) > 1 else "scores.csv"
        return Asset(f"outputData[{number}]", "EXTERNAL_FILE", name, None, None, "csv", None, {})

    def _scored(self, predictor: Predictor, number: int, pair: tuple[Asset, Asset]) -> Path:
        source, target = pair
        place = self.work / f"input-{number}"
        place.mkdir()
        path = self.transport.fetched(source, place)
        formats = {
            key: _NAMES.get(one.format, one.format) for key, one in (("input", source), ("output", target))
        }
        parameters = dataclasses.replace(
            Parameters(),
            input_format=formats["input"],
            output_format=formats["output"] or _NAMES.get(target.suffix_format, target.suffix_format),
        )
        # In the folder of the results, so that it can be moved.
        finished = self.kept / f".scored-{number}"
        scored = score_file(path, finished, predictor, parameters, self.transport.settings)
        for name, n_rows in (("records_in", scored.n_rows), ("rejected", scored.n_rejected)):
            self.ran.summary[name] = int(str(self.ran.summary.get(name, 0))) + n_rows
        self.ran.notes += scored.notes
        return finished
