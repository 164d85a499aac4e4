#!/bin/sh
# Makes an environment for the model of this package: sh setup.sh [FOLDER], by default .venv beside this file.
# PYTHON names another Python than python3, from 3.11. uv is used if it is there, else venv and pip.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
case "${1:-}" in
"") environment="$here/.venv" ;;
/*) environment="$1" ;;
*) environment="$PWD/$1" ;;
esac
case "$python" in
*/*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;;
esac

cd "$here" # requirements.txt names a wheel beside it
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --clear --python "$python" "$environment"
    uv pip install --quiet --python "$environment/bin/python" --only-binary :all: -r requirements.txt
else
    "$python" -m venv --clear "$environment"
    "$environment/bin/python" -m pip --disable-pip-version-check install --quiet --only-binary :all: -r requirements.txt
fi
echo "Installed. To try the model: $environment/bin/python $here/interface.py"
