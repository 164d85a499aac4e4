"""Ask the mapper about several loans at once, and say what would change each answer.

Example: python examples/clients/app.py --url http://127.0.0.1:8080 examples/loans/loans.csv
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
from itertools import islice

from mapper import AsyncClient, Client, MapperError, ProblemError


def main() -> int:
    """Run the application; 1 when the mapper refused or did not answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where the mapper listens")
    parser.add_argument("--rows", type=int, default=3, help="how many rows of the file")
    parser.add_argument("file", help="CSV with the columns of the model; others are left out")
    args = parser.parse_args()
    try:
        # One request after the other: a blocking client is enough.
        with Client(args.url, timeout_s=10, retries=3) as client:
            features = [feature["name"] for feature in client.schema()["features"]]
        with open(args.file, encoding="utf-8", newline="") as file:
            rows = [{name: row[name] for name in features} for row in islice(csv.DictReader(file), args.rows)]
        asyncio.run(explain(args.url, rows))
    except ProblemError as problem:  # the mapper answered, and says what is wrong
        print(problem, file=sys.stderr)
        for fault in problem.errors:
            print(f"  {fault}", file=sys.stderr)
        return 1
    except MapperError as error:  # nothing answered, or not in time
        print(error, file=sys.stderr)
        return 1
    return 0


async def explain(url: str, rows: list[dict[str, str]]) -> None:
    """Print the answers to all rows, which are asked for at the same time."""
    async with AsyncClient(url, timeout_s=30, max_connections=4) as client:
        answers = await asyncio.gather(*(client.explain(row) for row in rows))
    for number, answer in enumerate(answers):
        row = answer["predictions"][0]
        print(f"row {number}: {row['prediction']} ({row['probability']:.2f})")
        print(f"  because {row['explanation']['rule']['text']}")
        for found in row["explanation"]["counterfactuals"]:
            print(f"  else {found['text']}")
        for warning in answer["warnings"]:
            print(f"  check {warning['field']}: {warning['message']}")


if __name__ == "__main__":
    sys.exit(main())
