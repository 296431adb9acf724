#!/bin/sh
# Installs gliomask from a folder of wheels, without a network, into a new environment, and proves that it works: packaging/install.sh FOLDER TARGET [EXTRAS]
# The Dockerfile, the Apptainer definition and the tests run this one script.
set -eu
folder=${1:?the folder of wheels}
target=${2:?a folder for the environment}
extras=${3:-raw,dicom,report,summary}
python=${PYTHON:-python3}
"$python" -m venv "$target"
"$target/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --no-index --find-links "$folder" "gliomask[$extras]"
"$target/bin/gliomask" models list
