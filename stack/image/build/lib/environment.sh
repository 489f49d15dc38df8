# The environments of builds and of running apps.
# shellcheck shell=bash

# Reads a file of `[export] NAME=value` lines as bash reads it, and exports what it sets. What is set already stays.
read_defaults() {
    [ -f "$1" ] || return 0
    local before status=0
    before=$(set -o posix && export -p)
    set -a
    # shellcheck disable=SC1090 # the app's own file, read as the app's own user
    . "$1" || status=$?
    set +a
    eval "$before"
    [ "$status" -eq 0 ] || printf ' !     warning: %s has a line that bash does not understand\n' "${1#/app/}" >&2
}

# Exports what the directory's files hold, one variable per file, but for names that would change how programs run.
read_directory() {
    local file name
    [ -d "$1" ] || return 0
    for file in "$1"/*; do
        name=${file##*/}
        [[ -f $file && $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
        case $name in
            PATH | HOME | SHELL | BASH_ENV | ENV | IFS | LD_* | GIT_* | CPATH | CPPATH | LIBRARY_PATH) continue ;;
        esac
        export "$name=$(cat "$file")"
    done
}

# The profile scripts that buildpacks, and the app itself, leave for the time it runs.
read_profiles() {
    local file
    for file in /app/.profile.d/*.sh /app/.profile; do
        # shellcheck disable=SC1090 # the app's own files, read as the app's own user
        [ ! -f "$file" ] || . "$file"
    done
    hash -r
}
