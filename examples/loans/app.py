"""The loan desk: asks the mapper in its own words, and prints what to do.

Example: python examples/loans/app.py sum=12.5 duration=4 salary=2900 home=tenant for=car born=1984
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from typing import Any


def ask(url: str, application: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Status and answer of the mapper."""
    body = json.dumps({"data": application}).encode()
    request = urllib.request.Request(f"{url}/v1/explain", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def main() -> int:
    """Run the application; 1 when the mapper refused."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where the mapper listens")
    parser.add_argument("fields", nargs="+", metavar="name=value")
    args = parser.parse_args()
    status, answer = ask(args.url, dict(field.split("=", 1) for field in args.fields))
    if status != 200:
        for fault in answer.get("errors", [{"message": answer["detail"]}]):
            print(f"{fault.get('field', 'loan')}: {fault['message']}", file=sys.stderr)
        return 1
    [loan] = answer["predictions"]
    print(f"{loan['advice']} ({loan['forecast']}, {loan['certainty']} %)")
    print(f"because {loan['explanation']['rule']['text']}")
    for found in loan["explanation"]["counterfactuals"]:
        print(f"else    {found['text']}")
    for warning in answer["warnings"]:
        print(f"check   {warning['field']}: {warning['message']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
