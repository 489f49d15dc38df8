# Which buildpacks a build uses, where they come from, and how one is run.
# shellcheck shell=bash

readonly app=/app cache=/tmp/cache settings=/dev/shm/env built_in=/build/buildpacks
work=$(mktemp -d)
buildpacks=()
# The order decides: an app with a package.json and a requirements.txt is a Node.js app.
readonly order=(nodejs python static procfile)

# Fills `buildpacks` with the directories of those to run: asked for by name or URL, else the first that knows the app.
choose_buildpacks() {
    local names=() name
    mapfile -t names < <(wanted_buildpacks)
    if [ ${#names[@]} -gt 0 ]; then
        for name in "${names[@]}"; do
            fetch_buildpack "$name"
        done
        return
    fi
    for name in "${order[@]}"; do
        if "$built_in/$name/bin/detect" "$app" >"$work/name"; then
            buildpacks=("$built_in/$name")
            return
        fi
    done
    fail "no buildpack recognised this app: looked for $(looked_for)"
}

# BUILDPACK_URL (several are separated by white space), else the lines of .buildpacks.
wanted_buildpacks() {
    if [ -n "${BUILDPACK_URL:-}" ]; then
        tr -s '[:space:]' '\n' <<<"$BUILDPACK_URL"
    elif [ -f "$app/.buildpacks" ]; then
        tr -d '\r' <"$app/.buildpacks"
    fi | sed -E 's/^[[:space:]]+|[[:space:]]+$//g; /^(#|$)/d'
}

looked_for() {
    local name
    for name in "${order[@]}"; do
        cat "$built_in/$name/looks-for"
    done | paste -s -d ' ' | sed 's/ /, /g'
}

# Adds one buildpack to `buildpacks`: a built-in one by its name, any other by a URL, `#` and a branch, tag or commit.
fetch_buildpack() {
    local wanted=$1 url reference='' place
    if [[ $wanted =~ ^[a-z]+$ && -d $built_in/$wanted ]]; then
        buildpacks+=("$built_in/$wanted")
        return
    fi
    url=${wanted%%#*}
    [ "$url" = "$wanted" ] || reference=${wanted#*#}
    check_url "$url"
    [[ $reference =~ ^[A-Za-z0-9._/@+-]*$ && $reference != -* ]] ||
        fail "this is no branch, tag or commit: \`$reference\`"
    step "Fetching buildpack $wanted"
    place=$work/buildpacks/${#buildpacks[@]}
    mkdir -p "$place"
    case $url in
        *.tgz | *.tar.gz) fetch_archive "$url" "$place" ;;
        *) fetch_repository "$url" "$reference" "$place" ;;
    esac
    [[ -x $place/bin/detect && -x $place/bin/compile ]] ||
        fail "there is no buildpack at $wanted: it has no bin/detect and bin/compile that can be run"
    buildpacks+=("$place")
}

# The URL itself is not repeated when it has a password in it.
check_url() {
    local url=$1
    case $url in
        *://*@*) fail "a buildpack's URL has a user name or password in it: take it out, it would end up in logs" ;;
        https://* | http://* | git://* | file://*) ;;
        *) fail "\`$url\` is no buildpack: give a URL (https, http, git, file) or one of: ${order[*]}" ;;
    esac
}

fetch_archive() {
    curl --fail --silent --show-error --location --proto '=https,http' --output "$work/buildpack.tgz" -- "$1" 2>&1 |
        indented ||
        fail "the buildpack could not be fetched from $1"
    tar -x -z -f "$work/buildpack.tgz" -C "$2" || fail "what is at $1 is no gzipped tar archive"
}

# A branch or tag is cloned without its history; a commit cannot be asked for by every server, so all is.
fetch_repository() {
    local url=$1 reference=$2 place=$3
    export GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=https:http:git:file GIT_CONFIG_NOSYSTEM=1
    if [[ $reference =~ ^[0-9a-f]{7,64}$ ]]; then
        git clone --quiet -- "$url" "$place" && git -C "$place" checkout --quiet --detach "$reference"
    else
        git clone --quiet --depth 1 ${reference:+--branch "$reference"} -- "$url" "$place"
    fi 2>&1 | indented || fail "the buildpack could not be fetched from $url"
    git -C "$place" submodule --quiet update --init --recursive --depth 1 2>&1 | indented ||
        fail "the submodules of the buildpack could not be fetched"
    rm -rf "$place/.git"
}

# Runs detect, compile and release of one; leaves what release printed in `$work/release`.
run_buildpack() {
    local buildpack=$1 name
    name=$("$buildpack/bin/detect" "$app") ||
        fail "the buildpack $(shown "$buildpack") does not recognise this app"
    step "$name app detected"
    if [ -f "$buildpack/hint" ]; then cp "$buildpack/hint" "$work/hint"; else echo './server' >"$work/hint"; fi
    "$buildpack/bin/compile" "$app" "$cache" "$settings" 2>&1 | indented || compile_failed "$name"
    : >"$work/release"
    if [ -x "$buildpack/bin/release" ]; then
        "$buildpack/bin/release" "$app" >"$work/release" || fail "bin/release of the $name buildpack failed"
    fi
    # What a buildpack brought is there for the next one.
    # shellcheck disable=SC1091 # a buildpack's own file
    if [ -f "$buildpack/export" ]; then . "$buildpack/export"; fi
}

compile_failed() {
    [ ! -f "$PAAS_REASON_GIVEN" ] || exit 1
    fail "the $1 buildpack failed"
}

# A built-in one by its name, a fetched one by its number.
shown() { printf '%s' "${1##*/}"; }
