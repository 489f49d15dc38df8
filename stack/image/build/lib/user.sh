# Stepping down from root to the unprivileged user `app`, once and for good.
# shellcheck shell=bash

# Runs the command as `app`, in the place of this process; as it is when this is no root process any more.
# The capabilities go with the change of user, and no set-uid program brings them back.
as_app() {
    if [ "$(id -u)" -ne 0 ]; then
        exec "$@"
    fi
    # Programs that open /dev/stdout by name need to own what is behind it.
    chown app /proc/self/fd/1 /proc/self/fd/2 2>/dev/null || :
    exec setpriv --reuid app --regid app --init-groups --inh-caps=-all --no-new-privs -- "$@"
}
