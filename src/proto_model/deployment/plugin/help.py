"""What `mlflow deployments help -t proto-model` says."""

from __future__ import annotations

from proto_model.deployment.plugin.config import IMAGE, KINDS, KUBERNETES, OPTIONS, PROCESS
from proto_model.deployment.plugin.records import PLACE

_BEGIN = f"""\
Targets: what a deployment of proto-model is.

  proto-model, proto-model:process   a server on this machine, which goes on when the shell ends
  proto-model:image                  an OCI image in a file, written without a container engine
  proto-model:kubernetes             a folder of manifests for kubectl apply -k

A server that follows the champion:

  mlflow deployments create -t proto-model --name churn -m models:/proto_model@champion \\
    -C port=5001 -C follow=10
  mlflow deployments list -t proto-model
  mlflow deployments get -t proto-model --name churn
  mlflow deployments predict -t proto-model --name churn -I rows.json
  mlflow deployments explain -t proto-model --name churn -I rows.json
  mlflow deployments update -t proto-model --name churn -m models:/proto_model/7 -C follow=
  mlflow deployments delete -t proto-model --name churn

create returns when the server is ready, or says how its log ends. rows.json holds a list of records.
update keeps the options that are not given; an empty value (-C follow=) takes one back. It says how it goes
about it:
  no restart       the same alias and options: the server asks the registry now
  beside           another port, or port=0: the old server ends when the new one is ready
  stop and start   the same port; if the new server does not get ready, the old one is started again
delete sends SIGTERM, waits until requests at work are answered, and ends only what the plugin started.
The files of an image or of manifests stay.
run-local serves in the foreground until Ctrl+C.

Records and logs are in {PLACE}, or in $XDG_STATE_HOME/proto_model/deployments (~/.local/state).
MLFLOW_TRACKING_URI says where the registry is. -f takes python_function only; there are no endpoints.
"""
_TITLES = {
    PROCESS: "Options of proto-model:process (create, update, run-local)",
    IMAGE: "Options of proto-model:image",
    KUBERNETES: "Options of proto-model:kubernetes",
}


def help_text() -> str:
    """The whole page."""
    return "\n".join([_BEGIN, *(_options(kind) for kind in KINDS)])


def _options(kind: str) -> str:
    lines = [f"{_TITLES[kind]}:", ""]
    for name, option in OPTIONS[kind].items():
        default = f" (default: {option.default})" if option.default else ""
        lines.append(f"  {name:<18} {option.summary}{default}")
    if kind == PROCESS:
        lines += [
            "",
            "From follow on, options are of server=lean, and the two before them not of server=mlflow.",
        ]
        lines += [
            "mlserver may first make its environment, which takes minutes: give it start_timeout_s=900."
        ]
    return "\n".join([*lines, ""])
