"""Asks a server by the published `tritonclient`; to be run where it is installed, with a URL and columns.

Prints the probabilities of each way to send and to receive, as JSON.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton

KINDS = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


def headers(is_raw: bool) -> dict[str, str] | None:
    """JSON alone needs its type, which the client leaves out; raw tensors do not."""
    return None if is_raw else {"Content-Type": "application/json"}


def main(url: str, columns: dict[str, list]) -> None:
    client = triton.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    name = client.get_model_repository_index()[0]["name"]
    assert client.is_model_ready(name)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    kinds = {tensor["name"]: tensor["datatype"] for tensor in client.get_model_metadata(name)["inputs"]}
    found = []
    for sent in (True, False):
        for received in (True, False):
            for compression in (None, "gzip", "deflate"):
                inputs = []
                for column, values in columns.items():
                    tensor = triton.InferInput(column, [len(values), 1], kinds[column])
                    array = np.array(values, KINDS[kinds[column]]).reshape(-1, 1)
                    tensor.set_data_from_numpy(array, binary_data=sent)
                    inputs.append(tensor)
                outputs = [
                    triton.InferRequestedOutput(output, binary_data=received)
                    for output in ("prediction", "probability")
                ]
                result = client.infer(
                    name,
                    inputs,
                    outputs=outputs,
                    headers=headers(sent),
                    request_compression_algorithm=compression,
                )
                assert result.as_numpy("prediction").shape == (len(values), 1)
                found.append(result.as_numpy("probability").ravel().tolist())
    # Without outputs, the client wants all of them as raw bytes.
    found.append(client.infer(name, inputs, headers=headers(sent)).as_numpy("probability").ravel().tolist())
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
