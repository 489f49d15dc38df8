# Process types: the Procfile's, and the defaults that buildpacks left in .release.
# shellcheck shell=bash

# Prints `type<TAB>command` for each line of the Procfile.
procfile_types() {
    local text
    [ -f /app/Procfile ] || return 0
    while IFS= read -r text || [ -n "$text" ]; do
        text=${text%$'\r'}
        if [[ $text =~ ^([A-Za-z0-9_-]+):[[:space:]]*(.*[^[:space:]])[[:space:]]*$ ]]; then
            printf '%s\t%s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
        fi
    done </app/Procfile
}

# Prints `type<TAB>command` for each entry of `default_process_types` in the YAML that `bin/release` prints.
default_types() {
    local text inside='' entry="^[[:space:]]+['\"]?([A-Za-z0-9_-]+)['\"]?:[[:space:]]+(.*[^[:space:]])[[:space:]]*\$"
    [ -f "$1" ] || return 0
    while IFS= read -r text || [ -n "$text" ]; do
        if [[ $text =~ ^default_process_types:[[:space:]]*$ ]]; then
            inside=1
        elif [[ $text =~ ^[^[:space:]#] ]]; then
            inside=
        elif [ -n "$inside" ] && [[ $text =~ $entry ]]; then
            printf '%s\t%s\n' "${BASH_REMATCH[1]}" "$(unquoted "${BASH_REMATCH[2]}")"
        fi
    done <"$1"
}

# A YAML scalar of one line without its quotes.
unquoted() {
    local text=$1 single="'" double='"' escape="\\"
    case $text in
        "$single"*"$single")
            text=${text:1:-1}
            text=${text//"$single$single"/"$single"}
            ;;
        "$double"*"$double")
            text=${text:1:-1}
            text=${text//"$escape$double"/"$double"}
            text=${text//"$escape$escape"/"$escape"}
            ;;
    esac
    printf '%s' "$text"
}

# All process types with their commands; the Procfile's come first, and win.
process_types() {
    { procfile_types; default_types /app/.release; } | awk -F '\t' '!seen[$1]++'
}

# The command of one process type; nothing when there is none.
command_of() {
    local name command
    while IFS=$'\t' read -r name command; do
        if [ "$name" = "$1" ]; then
            printf '%s\n' "$command"
            return
        fi
    done < <(process_types)
}

# The names of all process types, on one line.
type_names() { process_types | cut -f 1 | paste -s -d ' ' | sed 's/ /, /g'; }
