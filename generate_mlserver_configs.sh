#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'HELP'
usage: ./generate_mlserver_configs.sh [model-uri]

Download a model version, for rows or for files, and write what MLServer needs to serve it to
build/mlserver_configs/. The model URI is models:/proto_model@champion unless another is given.

    ./generate_mlserver_configs.sh
    pip install -r build/mlserver_configs/proto_model/artifact/model/requirements.txt
    pip install -r requirements-dev-modelserver.txt
    mlserver start build

Environment:
    MLFLOW_TRACKING_URI    where the model is registered
    MLSERVER_HOST          127.0.0.1
    MLSERVER_HTTP_PORT     5001
    MLSERVER_GRPC_PORT     8081
    MLSERVER_METRICS_PORT  8082
    BUILD_DIR              the folder to write to, build beside this script
    PROTO_MODEL_SERVER_…   limits that are written: MAX_ROWS, ANSWER_TIMEOUT_S, THREADS, MAX_WAITING; for files
                           MAX_FILES, FILE_TIMEOUT_S, FILE_JOBS, MAX_WAITING_FILES, DRAIN_TIMEOUT_S
Host, ports and limits are written to the files; PROTO_MODEL_FILES_… is read when MLServer starts.
HELP
}

if [[ $# -gt 1 || "${1:-}" == -* ]]; then
    usage
    [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]] && exit 0
    exit 2
fi

root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python=python3

export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m proto_model.cli.mlserver \
    "${1:-models:/proto_model@champion}" "${BUILD_DIR:-$root/build}"
