"""The file of a model."""

import hashlib
import json

import numpy as np

from proto_model.deployment.browser.container import MAGIC, packed


def test_arrays_are_read_back_from_where_the_head_says():
    arrays = {"a": np.arange(3, dtype=np.int32), "b": np.array([[0.5, np.nan]]), "c": np.ones(5, np.uint8)}

    content = packed({"name": "ä"}, arrays)

    assert content[:8] == MAGIC
    assert content[8:40] == hashlib.sha256(content[40:]).digest()
    length = int.from_bytes(content[40:44], "little")
    head = json.loads(content[44 : 44 + length])
    assert head["name"] == "ä"
    start = 44 + length
    for name, array in arrays.items():
        told = head["arrays"][name]
        assert (start + told["at"]) % 8 == 0
        found = np.frombuffer(content, array.dtype, array.size, start + told["at"])
        assert found.tobytes() == array.tobytes()
        assert told["shape"] == list(array.shape)
