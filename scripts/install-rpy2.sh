#!/bin/sh
# Install, with uv or pip, the rpy2 that fits the R on PATH into the environment of a Python: install-rpy2.sh PYTHON
# Newer rpy2-rinterface calls R_getVar, which R has from 4.5 on. There are no wheels for Linux: it compiles against R.
set -eu
python=$1
works() { "$python" -c 'import rpy2.robjects as ro; ro.r("1")' 2>/dev/null; }
if works; then exit 0; fi
if R --version | awk '/^R version/ { split($3, v, "."); exit !(v[1] * 100 + v[2] < 405) }'; then
    set -- "rpy2>=3.6.4,<=3.6.6" "rpy2-rinterface==3.6.5"
else
    set -- "rpy2>=3.6.4"
fi
uv=$(dirname "$python")/uv
[ -x "$uv" ] || uv=$(command -v uv || true)
add() {  # never from the cache: a build kept there may belong to another R
    if [ -n "$uv" ]; then "$uv" pip install --no-cache --python "$python" --reinstall-package rpy2-rinterface "$@"
    else "$python" -m pip install --no-cache-dir "$@"; fi
}
# API mode is compiled; where it cannot be, rpy2 falls back by itself to ABI mode, which is slower and needs no compiler.
(export RPY2_CFFI_MODE=API; add "$@") || add "$@"
works || { "$python" -c 'import rpy2.robjects'; exit 1; }
