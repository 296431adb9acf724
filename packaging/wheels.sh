#!/bin/sh
# Collects gliomask and all that it needs into a folder, on a machine with a network: packaging/wheels.sh FOLDER [EXTRAS]
# The folder is then carried to where there is none. Both machines must have the same kind of processor, system and Python.
set -eu
folder=${1:?a folder for the wheels}
extras=${2:-raw,dicom,report,summary}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$folder"
"$python" -m pip wheel --disable-pip-version-check --wheel-dir "$folder" "${here}[${extras}]"
