"""Rows and parameters in, answers out: what every way of serving a model shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation import Explainer, ProcessExplainer
from proto_model.model.answer import Answer, AnswerField
from proto_model.model.bundle import Bundle
from proto_model.model.decided_explainer import explainer_of
from proto_model.model.kinds import answer_fields
from proto_model.parameters import FILE, ROWS, Parameters, Signature

Explain = Callable[[NDArray[np.float64]], list[dict[str, Any]]]


class Predictor:
    """A model that answers; safe to share between threads.

    Parameters
    ----------
    bundle : Bundle
        The model.
    signature : {"rows", "explainer", "file"}
        What it takes and gives; the explainer explains every row. Files bring threads of their own, so their
        predictions stay on the thread that asks.
    """

    def __init__(self, bundle: Bundle, signature: Signature = ROWS) -> None:
        self.bundle = bundle
        self.schema = bundle.schema
        self.decision = bundle.decision
        self.signature: Signature = signature
        self._n_threads = 1 if signature == FILE else None
        self._default = Parameters.from_params(None, self.schema, signature)
        self._default_fields = answer_fields(self.schema, self._default, signature)
        self._explainers: dict[str, Explainer] = {}
        self._making = threading.Lock()

    def parameters(self, params: Any) -> Parameters:
        """Parameters of a request; raises InputError if one is wrong, see `Parameters.from_params`.

        A coverage is refused if the version has no prediction sets.
        """
        if not params:
            return self._default
        parameters = Parameters.from_params(params, self.schema, self.signature)
        self.decision.check_coverage(parameters.coverage)
        return parameters

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class probabilities, shape (n_rows, n_classes), of a coded matrix."""
        return self.bundle.predict_proba(matrix, self._n_threads)

    def answer(
        self,
        matrix: NDArray[np.float64],
        parameters: Parameters | None = None,
        go_on: Callable[[], None] | None = None,
    ) -> Answer:
        """Answer to coded rows, shape (n_rows, n_features).

        `parameters` are from the method of this name; `go_on` is called after each explanation and ends the
        work by raising.

        Raises
        ------
        InputError
            If the parameters do not fit the schema, or ask for an engine that is not installed.
        """
        parameters = parameters or self._default
        explanations = self.explain(matrix, parameters, go_on) if parameters.explain else None
        return self.answered(self.predict_proba(matrix), parameters, explanations)

    def answered(
        self, probabilities: NDArray[np.float64], parameters: Parameters, explanations: Any = None
    ) -> Answer:
        """Answer of probabilities that `predict_proba` gave, and of explanations if they were asked for."""
        fields, decision = self.fields(parameters), self.decision
        return Answer(fields, probabilities, explanations, None, decision, parameters.coverage)

    def fields(self, parameters: Parameters) -> tuple[AnswerField, ...]:
        """Fields of the answer to a request, in order."""
        if parameters is self._default:
            return self._default_fields
        return answer_fields(self.schema, parameters, self.signature)

    def explain(
        self, matrix: NDArray[np.float64], parameters: Parameters, go_on: Callable[[], None] | None = None
    ) -> list[dict[str, Any]]:
        """Explanation of each row, as in `schemas/explanation.schema.json`; see `answer`."""
        progress = None if go_on is None else lambda n_done, n_rows: go_on()
        return self.explainer(parameters.engine).explain(matrix, parameters, progress)

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines of which explainers have been made."""
        return tuple(self._explainers)

    def explainer(self, engine: str) -> Explainer:
        """The explainer of an engine, made when it is first asked for."""
        with self._making:
            if engine not in self._explainers:
                self._explainers[engine] = explainer_of(self.bundle, engine)
            return self._explainers[engine]

    @contextmanager
    def explaining(self, parameters: Parameters, n_jobs: int) -> Iterator[Explain | None]:
        """Function that explains the rows of a matrix, many of them in processes; None if nobody asked."""
        if not parameters.explain:
            yield None
            return
        with ProcessExplainer(self.explainer(parameters.engine), n_jobs) as many:
            yield lambda matrix: many.explain(matrix, parameters)
