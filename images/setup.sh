#!/usr/bin/env bash
# Installs what a target of the Makefile needs, if it is missing:
#
#   images/setup.sh venv                  the virtual environment .venv, with the locked dependencies and the project
#   images/setup.sh packages PACKAGE...   Debian packages
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=images/steps.sh
. images/steps.sh
export PATH=$PATH:/usr/sbin:/sbin

# debian : is Debian's own Python new enough? It is built with every optimization; one built by hand often is not, and takes
# half as long again for everything.
debian() {
    /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# python : Debian's, if it is new enough and can make virtual environments.
python() {
    if debian && /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo /usr/bin/python3
    else
        echo python3
    fi
}
PYTHON=${PYTHON:-$(python)}

# present PACKAGE : is the package's program here, however it was installed?
present() {
    case $1 in
        python3-venv) "$(debian && echo /usr/bin/python3 || echo "$PYTHON")" -c 'import ensurepip, venv' 2>/dev/null ;;
        docker.io) command -v dockerd >/dev/null || images/engine.py find ;;
        docker-registry) command -v docker-registry >/dev/null || command -v registry >/dev/null ;;
        mmdebstrap) base_is_fresh || command -v mmdebstrap >/dev/null ;;
        # Debian's other busybox package needs libraries.
        busybox-static) command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1 ;;
        orthanc) command -v Orthanc >/dev/null ;;
        orthanc-dicomweb) compgen -G '/usr/share/orthanc/plugins/libOrthancDicomWeb.so*' >/dev/null ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

install_packages() {
    local restraint=/usr/sbin/policy-rc.d
    export DEBIAN_FRONTEND=noninteractive
    # An unreachable source may not be needed: installing will show.
    apt-get update -q || true
    # Debian starts what it installs; this project starts its own private instances.
    if [ ! -e $restraint ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >$restraint
        chmod 755 $restraint
    fi
    apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=600 "$@" || return
    if [ -d /run/systemd/system ]; then
        for unit in docker-registry.service postgresql.service orthanc.service docker.socket docker.service; do
            systemctl is-active --quiet $unit || systemctl disable $unit || true
        done
    fi
}

packages() {
    local missing=() package
    for package in "$@"; do
        present "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        printf 'missing here: %s\n' "${missing[*]}" >&2
        printf 'install them (as root on Debian: apt-get install %s), then run this again\n' "${missing[*]}" >&2
        return 1
    fi
    # With AppArmor enabled in the kernel, the engine needs its tools.
    if [[ " ${missing[*]} " == *' docker.io '* && $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]]; then
        missing+=(apparmor)
    fi
    step "installing ${missing[*]}" install_packages "${missing[@]}"
}

venv() {
    local stamp=.venv/.installed state
    state=$(cat requirements-dev.lock pyproject.toml <(echo "$PWD") | sha256sum)
    if [ "$(cat $stamp 2>/dev/null)" = "$state" ] && [ -x .venv/bin/pht ]; then return 0; fi
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        printf 'Python 3.11 or newer is needed; %s is older or missing\n' "$PYTHON" >&2
        printf 'install it, and name it: make PYTHON=python3.11 ...\n' >&2
        return 1
    fi
    images/setup.sh packages python3-venv # under its own lock
    if ! .venv/bin/python -c '' 2>/dev/null; then
        step 'making the virtual environment' "$PYTHON" -m venv --clear .venv
    fi
    # Compiling all of it takes as long as installing it, and most of it is never imported: Python compiles what is.
    step 'installing the locked dependencies' \
        .venv/bin/pip install -q --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.lock
    step 'installing pht' .venv/bin/pip install -q --disable-pip-version-check --no-deps --no-index \
        --no-build-isolation --config-settings editable_mode=compat -e .
    printf '%s\n' "$state" >$stamp
}

alone "setup-${1-}"
case ${1-} in
    venv) venv ;;
    packages)
        shift
        packages "$@"
        ;;
    *)
        sed -n '2,6p' "$0" >&2
        exit 2
        ;;
esac
