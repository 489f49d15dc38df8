# Installed dependencies, kept between the builds of one app and used again while nothing they come from has changed.
# shellcheck shell=bash

# The key of what the arguments name (files) and say (any other text).
key_of() {
    local part
    for part in "$@"; do
        if [ -f "$part" ]; then cat "$part"; else printf '%s\n' "$part"; fi
    done | sha256sum | cut -d ' ' -f 1
}

# Puts what was kept under NAME with this KEY to PLACE; false when there is none.
restore() {
    local cache=$1 name=$2 key=$3 place=$4
    [ -f "$cache/$name/key" ] && [ "$(cat "$cache/$name/key")" = "$key" ] || return 1
    mkdir -p "${place%/*}"
    cp -a "$cache/$name/content" "$place"
}

# Keeps PLACE under NAME for the next build. The key is written last: a build that is killed leaves no half of it.
keep() {
    local cache=$1 name=$2 key=$3 place=$4
    rm -rf "${cache:?}/$name"
    mkdir -p "$cache/$name"
    cp -a "$place" "$cache/$name/content"
    printf '%s\n' "$key" >"$cache/$name/key"
}

# Exports the build's settings to the programs that a compile runs.
export_settings() {
    # shellcheck source=SCRIPTDIR/environment.sh
    . /build/lib/environment.sh
    read_directory "$1"
}
