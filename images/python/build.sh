#!/usr/bin/env bash
# Builds the base image `python` as .state/base/python.tar: Debian's Python with its standard library, and the C++ library that
# wheels such as numpy's need; no installer, no setuid programs. The same packages give the same bytes. Needs Debian and root,
# but no container engine.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=images/steps.sh
. images/steps.sh

if base_is_fresh; then exit 0; fi
if [ "$(id -u)" != 0 ]; then
    printf 'the base image %s is missing or older than its recipe, and only root can build it\n' "$BASE_IMAGE" >&2
    printf 'build it once as root: sudo make base\n' >&2
    exit 1
fi
alone base
if base_is_fresh; then exit 0; fi # another run has built it in the meantime
images/setup.sh packages mmdebstrap

# No time stamp in the image is later than this: the day Debian 12 was released.
export SOURCE_DATE_EPOCH=1686355200
suite=bookworm

# This machine's own sources for that release, with its mirrors.
# shellcheck disable=SC2016 # apt expands these names
sources() {
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' "Codename: $1" | sort -u
}
if ! lines=$(for part in $suite $suite-updates $suite-security; do sources "$part"; done) || [ -z "$lines" ]; then
    printf 'this machine has no package source for Debian %s in its apt settings\n' "$suite" >&2
    printf 'build %s on one that has, with this script, and copy it here\n' "$BASE_IMAGE" >&2
    exit 1
fi

mkdir -p "$STATE/base"
work=$(mktemp -d "$STATE/base/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$lines" >"$work/sources.list"

# shellcheck disable=SC2016 # the hooks are expanded by mmdebstrap, where $1 is the root of the new system
step 'building the base image from Debian packages' mmdebstrap \
    --variant=essential \
    --include=python3-minimal,libpython3-stdlib,libstdc++6,media-types,usr-is-merged \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
    --customize-hook='rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt/lists/* "$1"/etc/machine-id "$1"/usr/share/lintian' \
    --customize-hook='find "$1" -xdev -type f -perm /6000 -exec chmod a-s {} +' \
    --skip=output/dev --format=tar "$suite" "$work/root.tar" "$work/sources.list"
step 'packing the base image' python3 images/python/pack.py python "$work/root.tar" "$work/image.tar"
mv "$work/image.tar" "$BASE_IMAGE"
