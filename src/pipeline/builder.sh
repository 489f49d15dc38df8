# Runs in the build's container, by its own shell: fetches submodules, then becomes the builder. Nothing that was pushed is
# ever put into this text; what is to be fetched is read from a file.
#
# The certificates' place is exported here and not set on the container, since what is set on a container gets into the
# image that is made of it.
if [ -r /run/paas-ca/bundle.pem ]; then
  for name in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE GIT_SSL_CAINFO; do
    export "$name=/run/paas-ca/bundle.pem"
  done
fi

# git with nothing of the image's configuration, that asks nobody for anything and speaks https to the host it is given.
git_in() (
  # shellcheck disable=SC2030,SC2031 # for git alone
  export HOME="$1" GIT_DIR="$1" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ALLOW_PROTOCOL=https \
    GIT_TERMINAL_PROMPT=0 GIT_ASKPASS='' SSH_ASKPASS=''
  shift
  exec git -c http.followRedirects=false -c core.hooksPath=/dev/null "$@"
)

# Fetches one commit into the empty directory of its submodule; what is said last is why it could not.
submodule() {
  path=$1 url=$2 commit=$3 store=/tmp/paas-submodule
  rm -rf "$store"
  git_in "$store" init --quiet --bare --template= || return 1
  # Not every server gives any commit that it is asked for, or a part of its history.
  if ! git_in "$store" fetch --quiet --no-tags --depth 1 "$url" "$commit" >/dev/null 2>&1; then
    rm -f "$store/shallow"
    git_in "$store" fetch --quiet --no-tags "$url" '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' || return 1
  fi
  if ! git_in "$store" rev-parse --quiet --verify "$commit^{commit}" >/dev/null; then
    echo "no branch and no tag there leads to $commit"
    return 1
  fi
  nested=$(git_in "$store" ls-tree -r "$commit" | while read -r mode _ _ place; do
    if [ "$mode" = 160000 ]; then echo "$place"; fi
  done)
  if [ -n "$nested" ]; then
    echo "it has a submodule itself, $(echo "$nested" | head -n 1), and those of submodules are not fetched"
    return 1
  fi
  GIT_WORK_TREE="/app/$path" git_in "$store" checkout --quiet --force --detach "$commit" || return 1
  rm -rf "$store"
}

list=/run/paas-submodules/list
if [ -r "$list" ]; then
  if ! command -v git >/dev/null; then
    echo " !     the app has submodules, and the builder image has no git to fetch them by" >&2
    exit 1
  fi
  while IFS= read -r path && IFS= read -r url && IFS= read -r commit; do
    printf -- '-----> Fetching submodule %s (%.7s) from %s\n' "$path" "$commit" "$url"
    if ! said=$(submodule "$path" "$url" "$commit" </dev/null 2>&1); then
      printf '%s\n' "$said" | sed 's/^/       /'
      why=$(printf '%s\n' "$said" | tail -n 1)
      printf ' !     submodule %s was not fetched: %s\n' "$path" "${why#fatal: }" >&2
      exit 1
    fi
  done <"$list"
fi

if [ -x /build/builder ]; then exec /build/builder; fi

# An image of herokuish's takes the source from `/app` too, unless there is a `/tmp/app`, which would stay in the slug a
# second time. It hands the settings to its user, so they are a copy in memory; makes up a user at random when it is not told
# one; reads one buildpack from its environment, and several from a file of the app.
if [ -x /bin/herokuish ]; then
  rm -rf /tmp/app
  export ENV_PATH=/dev/shm/env
  cp -R /tmp/env "$ENV_PATH"
  if id herokuishuser >/dev/null 2>&1; then export USER=herokuishuser; fi
  urls=/tmp/env/BUILDPACK_URL
  if [ -f "$urls" ]; then
    if [ "$(wc -l <"$urls")" -gt 0 ]; then
      { cat "$urls"; echo; } >/app/.buildpacks
      rm "$ENV_PATH/BUILDPACK_URL"
    else
      BUILDPACK_URL=$(cat "$urls")
      export BUILDPACK_URL
    fi
  fi
fi
exec /build
