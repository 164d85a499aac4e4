"""`tango`: what the TANGO platform wants to know, and how the installed interfaces fit."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields, replace
from typing import Any
from urllib.parse import quote

from mapper.application.code import MANIFEST
from mapper.application.service import Application
from mapper.cli.predict import MODEL_HELP, REGISTRY_HELP
from mapper.cli.tables import print_json
from mapper.http.process import open_application
from mapper.http.settings import MapperSettings
from mapper.mapping.interfaces import INTERFACES, PACKAGE, installed_version, interfaces_text
from mapper.registry import MlflowRegistryConnector, PublishedModel, find_model, find_registry
from mapper.tango import ModelFacts, ModelPayload, deployment_payload, has_login, model_payload

MODEL = "models:/proto_model@champion"
APPLICATION = ("mapping", "model", "allow_code", "code_digest")  # settings of the service that say who maps


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tango deployment`, `tango model` and `tango check` to the parser."""
    tango = commands.add_parser(
        "tango",
        help="print payloads for the TANGO platform",
        description="Print the payloads that register a model on the TANGO platform, as JSON.",
        epilog="Example: python -m mapper tango model --model models:/proto_model@champion > model.json",
    )
    kinds = tango.add_subparsers(dest="payload", required=True)
    _add_deployment(kinds)
    _add_model(kinds)
    check = kinds.add_parser(
        "check",
        help="show which interfaces of tango_interfaces are used",
        description="Show for each interface whether tango_interfaces or this package gives the base. "
        "The status is 1 if tango_interfaces is installed and lacks one.",
    )
    check.set_defaults(run=_check)


def _add_deployment(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    deployment = kinds.add_parser(
        "deployment",
        help="payload of a deployment: registry and model server",
        description="Print the payload of a deployment. User names and passwords of URLs are left out.",
        epilog="Example: python -m mapper tango deployment --key staging --registry-url http://mlflow:5000 "
        "--model-server-url http://models:5001",
    )
    add = deployment.add_argument
    add("--key", required=True, help="name of the deployment, which cannot be changed later")
    add("--registry-url", default="", metavar="URL", help=REGISTRY_HELP)
    server = os.environ.get("MAPPER_MODEL_SERVER_URL", "http://127.0.0.1:5001")
    add("--model-server-url", default=server, metavar="URL", help="model server (default: %(default)s)")
    deployment.set_defaults(run=_print_deployment)


def _add_model(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    model = kinds.add_parser(
        "model",
        help="payload of a model version, with its explainer",
        description="Print the payload of a model version, with that of its explainer in the registry.",
        epilog="Example: python -m mapper tango model --model models:/proto_model@champion > model.json",
    )
    add = model.add_argument
    models = f"{MODEL_HELP} (default: %(default)s)"
    add("--model", "--schema", dest="model", default=MODEL, metavar="MODEL", help=models)
    add("--registry-url", default="", metavar="URL", help=REGISTRY_HELP)
    add("--version", default="", help="version number (default: the registry's)")
    add("--signature", choices=("rows", "file"), help="what it takes (default: what the registry says)")
    add("--model-code", default="", metavar="CODE", help="identifier (default: the model's name)")
    add("--name", default="", help="name for people (default: the identifier)")
    add("--description", default="", metavar="TEXT", help="what it does (default: what it predicts)")
    add("--workspace", default=ModelFacts.workspace, help="workspace on the platform (default: %(default)s)")
    switch = argparse.BooleanOptionalAction
    answers = "whether it answers at once (default: yes, for rows)"
    add("--realtime-execution", action=switch, default=None, help=answers)
    add("--allow-download", action=switch, default=False, help="whether the model may be downloaded")
    add("--need-context", action=switch, default=False, help="whether map_request needs the session")
    found = "the version that explains this one, or `none` (default: found in the registry)"
    add("--explainer", default="", metavar="MODEL", help=found)
    for name in APPLICATION:
        setting = next(field for field in fields(MapperSettings) if field.name == name)
        flag = setting.metadata["flag"] or f"--{name}"
        kind: dict[str, Any] = {"action": "store_true"} if setting.type == "bool" else {"metavar": "MAPPING"}
        add(flag, dest=f"own_{name}", default=None, help=setting.metadata["help"], **kind)
    model.set_defaults(run=_print_model)


def _print_deployment(args: argparse.Namespace) -> int:
    registry_url = find_registry("the model", args.registry_url, os.environ)
    payload = deployment_payload(args.key, registry_url, args.model_server_url)
    print_json(payload)
    if has_login(registry_url):
        _note(
            "the registry's login is left out; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, where the connector runs."
        )
    if has_login(args.model_server_url):
        _note("the model server's login is left out; put it into server_proxy_url by hand.")
    if registry_url.startswith("sqlite"):
        _note("the registry is a file, which only programs on this machine can read.")
    return 0


def _print_model(args: argparse.Namespace) -> int:
    published = find_model(args.model, args.registry_url, os.environ)
    published = replace(
        published,
        version=args.version or published.version,
        signature=args.signature or published.signature,
    )
    facts = ModelFacts(**{field.name: getattr(args, field.name) for field in fields(ModelFacts)})
    explainer = _explainer(args, published, facts)
    print_json(model_payload(published, facts, explainer, _application(args, published)))
    return 0


def _application(args: argparse.Namespace, published: PublishedModel) -> Application:
    """What maps the requests of a version, as the service would have it with the same flags and variables."""
    flags = {name: getattr(args, f"own_{name}") for name in APPLICATION}
    settings = replace(MapperSettings.load(os.environ, flags), signature="")
    if published.explains and not (settings.model or MANIFEST in published.files):
        settings = replace(settings, code_digest="")  # that of the model which it explains
    return open_application(settings, published)


def _explainer(args: argparse.Namespace, published: PublishedModel, facts: ModelFacts) -> ModelPayload | None:
    """Payload of the version that explains a version; None if there is none."""
    source = args.explainer
    if source == "none":
        return None
    if not source and published.name and published.version and not published.explains:
        registry_url = find_registry(args.model, args.registry_url, os.environ)
        number = MlflowRegistryConnector(registry_url).explainer_of(published.name, published.version)
        source = f"models:/{quote(published.name)}_explainer/{number}" if number else ""
    if not source:
        return None
    explainer = replace(find_model(source, args.registry_url, os.environ), explains=True)
    code = f"{facts.model_code}_explainer" if facts.model_code else ""
    name = f"{facts.name}-explainer" if facts.name else ""
    facts = replace(facts, model_code=code, name=name, description="")
    return model_payload(explainer, facts, application=_application(args, explainer))


def _check(_: argparse.Namespace) -> int:
    version = installed_version()
    if version is None:
        print(f"{PACKAGE} is not installed; the mapper brings the interfaces itself.")
        return 0
    print(f"{PACKAGE} {version or 'without a version'} is installed.")
    for interface in INTERFACES:
        print(f"{interface.name}: {interface.origin}")
    complaints = interfaces_text()
    for complaint in complaints:
        _note(complaint)
    return 1 if complaints else 0


def _note(text: str) -> None:
    print(f"mapper: {text}", file=sys.stderr)
