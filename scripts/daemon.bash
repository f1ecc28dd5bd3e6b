# What the scripts for operators share: a daemon on a free port, in a temporary folder of its own.
# Sourced, not run. Needs bash and curl.

set -euo pipefail
binary=${1:-vm-system}
folder=$(mktemp -d)
daemon=
worktree=$folder/worktree
mkdir "$worktree"

finish() {
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap finish EXIT

# Starts the daemon on the folder's database, and waits until it says where it listens.
start_daemon() {
  "$binary" serve --db "$folder/vm.redb" --listen 127.0.0.1:0 --library-dir "$folder/libraries" \
    >"$folder/address" 2>>"$folder/log" &
  daemon=$!
  until [ -s "$folder/address" ]; do
    kill -0 "$daemon" 2>/dev/null || fail "the daemon did not start: $(cat "$folder/log")"
    sleep 0.05
  done
  url=$(sed 's/^listening on //' "$folder/address")
}

# Ends the daemon by a signal, and waits for it.
stop_daemon() {
  kill "-$1" "$daemon"
  local status=0
  wait "$daemon" || status=$?
  daemon=
  : >"$folder/address"
  return "$status"
}

vm() { "$binary" --server-url "$url" "$@"; }

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# check WHAT EXPECTED FOUND: FOUND contains EXPECTED.
check() {
  case $3 in
    *"$2"*) printf 'ok: %s\n' "$1" ;;
    *) fail "$1: expected $2 in: $3" ;;
  esac
}

template_id() { sed -n 's/^Created template: .*(ID: \(.*\))$/\1/p'; }
session_id() { sed -n 's/^Created session: //p'; }
