#!/bin/sh
# Make .venv with all that `make demo` and `make test` use, and install R with limma where apt can do it.
# A second run finds the stamp and stops there; a changed pyproject.toml, Python or R makes it work again.
#
#   PYTHON=python3.12   the Python to build .venv from (default: the first of python3, python3.13, ... that is >= 3.11)
#   GENEML_NO_R=1       leave R out
#   --retry-r           try R again although an earlier run had to go on without it (make setup-r)
set -eu
cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/geneml-setup.stamp
overrides=scripts/uv-overrides.txt
log=$(mktemp "${TMPDIR:-/tmp}/geneml-setup.XXXXXX")
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
twice() { "$@" || { say "once more in 5 seconds: $1"; sleep 5; "$@"; }; }

# --- which Python -------------------------------------------------------------------------------------------------
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if is_new_enough "$candidate"; then python=$candidate; break; fi
done
[ -n "$python" ] || stop "Python 3.11 or newer is needed; ${PYTHON:-python3} is $("${PYTHON:-python3}" -V 2>&1 || true)." \
    "Install one (Debian/Ubuntu: apt-get install python3.11) and name it: make ... PYTHON=python3.11"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# --- is there anything to do --------------------------------------------------------------------------------------
wants_r() { [ -z "${GENEML_NO_R:-}" ] || [ "${GENEML_NO_R}" = 0 ]; }
r_version() { wants_r && have R && R --version 2>/dev/null | sed -n 's/^R version \([0-9.]*\).*/\1/p'; }
state() { { pwd; "$python" -VV; r_version || echo "no R"; cat pyproject.toml scripts/*; } | cksum; }
if [ "${1:-}" != --retry-r ] && [ -x $venv/bin/python ] && [ "$(head -n 1 $stamp 2>/dev/null)" = "$(state)" ]; then
    say "$(tail -n 1 $stamp)"
    exit 0
fi

# --- Debian packages ----------------------------------------------------------------------------------------------
sudo=
is_debian() { have apt-get && [ -e /etc/debian_version ]; }
may_install() {
    is_debian || return 1
    [ "$(id -u)" != 0 ] || return 0
    have sudo || return 1
    sudo=sudo
    sudo -n true 2>/dev/null && return 0
    [ -t 0 ] && [ -z "${CI:-}" ] && id -nG | grep -qwE 'sudo|admin' || return 1
    say "sudo may ask for your password, to install by apt: $*"
    sudo -v
}
apt() { $sudo env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1; }
updated=
apt_install() {  # those of the named packages that this release has
    if [ -z "$updated" ]; then twice apt update || say "apt-get update failed; trying with the lists that are here"; updated=1; fi
    known=$(for name in "$@"; do apt-cache show "$name" >/dev/null 2>&1 && echo "$name"; done; true)
    # shellcheck disable=SC2086  # a list of names
    twice apt install --no-install-recommends $known || { tail -n 15 "$log" >&2; return 1; }
}

# --- R, with limma and the data sets of the demo and the tests ------------------------------------------------------
r_packages="limma ALL bladderbatch multtest edgeR statmod DESeq2 SummarizedExperiment SingleCellExperiment reticulate org.Hs.eg.db"
r_lacks() { Rscript -e 'want <- commandArgs(TRUE); cat(want[!nzchar(sapply(want, function(p) system.file(package = p)))])' "$@" 2>/dev/null; }
r_from_apt() { ! have R || dpkg -S "$(readlink -f "$(command -v R)")" >/dev/null 2>&1; }
r_complete() { have R && have Rscript && [ -z "$(r_lacks $r_packages)" ]; }
can_compile() { have gcc && [ -e "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; }
r_setup() {  # sets r_note: why R is left out, or empty
    r_note=
    if ! wants_r; then r_note="GENEML_NO_R is set"; return; fi
    if ! r_complete || ! can_compile; then
        if r_from_apt && may_install "R, limma and what rpy2 compiles with"; then
            say "installing R and its packages by apt (about 250 MB; some minutes)"
            apt_install r-base-core r-base-dev libtirpc-dev "python$version-dev" r-bioc-limma r-bioc-all \
                r-bioc-bladderbatch r-bioc-multtest r-bioc-edger r-cran-statmod \
                r-bioc-deseq2 r-bioc-summarizedexperiment r-bioc-singlecellexperiment \
                r-cran-reticulate r-bioc-org.hs.eg.db || say "apt-get could not install everything (above)"
        fi
    fi
    if ! have R; then r_note="R is not installed, and it cannot be installed from here (Debian/Ubuntu with root or sudo could)"; return; fi
    lacking=$(r_lacks $r_packages || true)
    case " $lacking " in
        *" limma "*) r_note="R $(r_version) has no limma (in R: BiocManager::install('limma'))" ;;
        *) [ "$lacking" = "" ] || say "R lacks $lacking; what needs them is skipped (in R: BiocManager::install())" ;;
    esac
}

# --- the virtual environment ---------------------------------------------------------------------------------------
pip_from_outside() {  # for an environment made without ensurepip, on a machine whose Python has pip all the same
    "$python" -m pip --version >/dev/null 2>&1 && twice "$python" -m pip --python $venv/bin/python install -q pip
}
venv_setup() {
    same='import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])'
    if $venv/bin/python -c "$same" "$version" 2>/dev/null && $venv/bin/python -m pip --version >/dev/null 2>&1; then return; fi
    rm -rf $venv
    if ! "$python" -c 'import ensurepip' 2>/dev/null && may_install "python$version-venv"; then apt_install "python$version-venv" || true; fi
    if "$python" -c 'import ensurepip' 2>/dev/null; then "$python" -m venv $venv && return; fi
    rm -rf $venv
    if "$python" -m venv --without-pip $venv && pip_from_outside; then return; fi
    rm -rf $venv
    if have uv && uv venv -q --seed --python "$python" $venv; then return; fi
    if have virtualenv && virtualenv -q -p "$python" $venv; then return; fi
    stop "no virtual environment could be made with $python. Debian/Ubuntu: apt-get install python$version-venv"
}
packages_setup() {
    say "installing Python packages into $venv"
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
    index=$($venv/bin/python -m pip config get global.index-url 2>/dev/null || true)  # uv does not read pip's settings
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
    if twice $venv/bin/python -m pip install -q --disable-pip-version-check uv && twice $venv/bin/uv pip install -q \
        --python $venv/bin/python --override $overrides -e ".[dev]" "xgboost-cpu; sys_platform == 'linux'"; then return; fi
    say "uv could not be used; pip takes over (slower, and xgboost brings 300 MB for GPUs)"
    twice $venv/bin/python -m pip install -q --disable-pip-version-check -e ".[dev]" ||
        stop "the Python packages could not be installed (above). Behind a proxy: set https_proxy, or pip's index-url"
}

r_setup
venv_setup
packages_setup
if [ -z "$r_note" ]; then
    sh scripts/install-rpy2.sh $venv/bin/python >"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        r_note="rpy2 could not be built for R $(r_version) (above; make setup-r tries again)"
    }
fi
if [ -z "$r_note" ]; then with="R $(r_version) with limma"; else with="without R: $r_note; limma's statistics are computed natively"; fi
{ state; echo "ready: Python $version, $with"; } >$stamp
say "$(tail -n 1 $stamp)"
