"""An ONNX graph in the making: nodes and constants, each with a name of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.formats.libraries import library

ML = "ai.onnx.ml"


class Graph:
    """Collects nodes; `taken` are the names of inputs and outputs, which nothing else may have."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._onnx = library("onnx", "onnx")
        self._taken = set(taken)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def name(self, hint: str) -> str:
        """A name that nothing has yet."""
        number = len(self._taken)
        while f"{hint}_{number}" in self._taken:
            number += 1
        name = f"{hint}_{number}"
        self._taken.add(name)
        return name

    def constant(self, values: NDArray[Any] | Sequence[Any], hint: str = "constant") -> str:
        """Name of a constant; texts are objects."""
        array = np.asarray(values)
        name = self.name(hint)
        if array.dtype.kind in "OU":
            texts = [str(text).encode() for text in array.ravel()]
            kind = self._onnx.TensorProto.STRING
            self.constants.append(self._onnx.helper.make_tensor(name, kind, array.shape, texts))
        else:
            self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        """Name of a double of no dimension."""
        return self.constant(np.array(value, dtype=np.float64))

    def whole(self, *values: int) -> str:
        """Name of an array of whole numbers, or of one that has no dimension."""
        return self.constant(np.array(values if len(values) > 1 else values[0], dtype=np.int64))

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Name of what an operator makes of its inputs."""
        return self.add_several(operator, *inputs, outputs=[output or self.name(operator)], **attributes)[0]

    def add_several(
        self, operator: str, *inputs: str, outputs: Sequence[str], domain: str = "", **attributes: Any
    ) -> Sequence[str]:
        """The same of an operator with several outputs, whose names are given."""
        node = self._onnx.helper.make_node(operator, list(inputs), list(outputs), domain=domain, **attributes)
        self.nodes.append(node)
        return outputs

    def cast(self, name: str, kind: str) -> str:
        """The same numbers as `DOUBLE`, `INT64` or `BOOL`."""
        return self.add("Cast", name, to=getattr(self._onnx.TensorProto, kind))

    def column(self, name: str) -> str:
        """The same values as a matrix of one column."""
        return self.add("Reshape", name, self.constant(np.array([-1, 1])))

    def flat(self, name: str, output: str = "") -> str:
        """The same values without columns."""
        return self.add("Reshape", name, self.constant(np.array([-1])), output=output)

    def where(self, condition: str, yes: str, no: str) -> str:
        """Values of the one where the condition holds, else of the other."""
        return self.add("Where", condition, yes, no)

    def split(self, name: str, n_parts: int, axis: int) -> Sequence[str]:
        """Parts of width 1."""
        if n_parts == 1:
            return [name]
        names = [self.name("part") for _ in range(n_parts)]
        return self.add_several("Split", name, outputs=names, axis=axis, num_outputs=n_parts)

    def sum(self, names: Sequence[str]) -> str:
        """Sum in the order of the names, which makes the last bit the same everywhere."""
        total = names[0]
        for name in names[1:]:
            total = self.add("Add", total, name)
        return total
