"""Flags for the parameters of a request, from their table."""

from __future__ import annotations

import argparse

from proto_model.parameters import Parameters, Signature, parameters_of
from proto_model.schema import ModelSchema

_METAVARS = {int: "N", float: "SHARE", str: "NAME"}


def add_parameters(parser: argparse.ArgumentParser, signature: Signature) -> None:
    """Add a flag for each parameter of a signature."""
    group = parser.add_argument_group("parameters of the model")
    for parameter in parameters_of(signature):
        flag = f"--{parameter.name.replace('_', '-')}"
        text = parameter.help.replace("`", "")
        if parameter.is_list:
            text = f"{text}; may be repeated"
            group.add_argument(flag, action="append", default=[], metavar="COLUMN", help=text)
        elif parameter.kind is bool:
            group.add_argument(flag, action="store_true", help=text)
        else:
            default = "" if parameter.is_off_by_default else " (default: %(default)s)"
            group.add_argument(
                flag,
                type=parameter.kind,
                choices=parameter.choices or None,
                default=parameter.default,
                metavar=None if parameter.choices else _METAVARS[parameter.kind],
                help=text + default,
            )


def given_parameters(arguments: argparse.Namespace, schema: ModelSchema, signature: Signature) -> Parameters:
    """Parameters of the flags that were given; raises InputError if one does not fit the schema."""
    return Parameters.from_params(vars(arguments), schema, signature)
