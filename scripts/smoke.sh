#!/usr/bin/env bash
# Is this installation well? Starts a daemon of its own and runs one snippet and one file.
#
#   scripts/smoke.sh [VM-SYSTEM]
#
# VM-SYSTEM is the binary; without it, the one on the PATH. Safe to run beside anything.
source "$(dirname "${BASH_SOURCE[0]}")/daemon.bash"

cat >"$worktree/startup.js" <<'JS'
console.log("startup ran");
globalThis.base = 40;
JS
echo 'console.log("file ran"); base + __ARGS__.add' >"$worktree/app.js"

start_daemon
check "the daemon is well" "ok" "$(vm ops health)"
template=$(vm template create --name smoke | template_id)
check "a startup file is added" "startup.js" \
  "$(vm template add-startup "$template" --path startup.js --order 10 --mode eval)"
session=$(vm session create --template-id "$template" --workspace-id smoke --base-commit none \
  --worktree-path "$worktree" | session_id)
check "a session is live" "$session" "$(vm ops runtime-summary)"
check "a snippet runs" '"preview":"42"' "$(vm exec repl "$session" 'base + 2')"
check "a file runs" '"preview":"43"' "$(vm exec run-file "$session" app.js --args '{"add":3}')"
check "the session closes" "Status: closed" "$(vm session close "$session")"
stop_daemon TERM || fail "the daemon did not end with status 0"
echo "smoke: passed"
