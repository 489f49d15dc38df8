# How everything of the builder speaks: headings, bodies indented by seven spaces, errors with an exclamation mark.
# shellcheck shell=bash

# A step begins.
step() { printf -- '-----> %s\n' "$*"; }

# A line of what the step does.
line() { printf '       %s\n' "$*"; }

# Something may need attention, though the build goes on.
warning() { printf ' !     warning: %s\n' "$*"; }

# The build cannot go on. The last such line of a build is its reason, so nobody adds another.
fail() {
    printf ' !     %s\n' "$*"
    [ -z "${PAAS_REASON_GIVEN:-}" ] || : >"$PAAS_REASON_GIVEN"
    exit 1
}

# Indents what a command prints, line by line, and leaves alone what has the form already.
indented() { sed -u -E '/^(----->|=====>| !    |       |$)/!s/^/       /'; }
