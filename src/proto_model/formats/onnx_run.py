"""Answers of an ONNX graph, by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.formats.libraries import library
from proto_model.formats.onnx_graph import label_array, output_names
from proto_model.formats.rows import Rows
from proto_model.formats.source import Source
from proto_model.formats.verdict import Answers


def run_onnx(content: bytes, source: Source, rows: Rows) -> Answers:
    """Labels and probabilities that the graph gives, as a user of onnxruntime asks for them."""
    runtime = library("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = output_names(source)
    label, _, *by_class = session.run(names, feeds(rows))
    labels = label_array(source)
    position = {value: place for place, value in enumerate(labels.tolist())}
    places = np.array([position[value] for value in label.tolist()], dtype=np.int64)
    return places, np.stack(by_class, axis=1) if by_class else np.empty((len(rows), 0))


def feeds(rows: Rows) -> dict[str, NDArray[Any]]:
    """Inputs of the graph; a missing text is empty."""
    return {
        feature.name: values
        if feature.takes_numbers
        else np.array(["" if text is None else text for text in values], dtype=object)
        for feature, values in rows.columns()
    }
