#!/usr/bin/env bash
# The whole of the product, end to end: templates, libraries, sessions, executions, limits, errors,
# a kill and a restart.
#
#   scripts/e2e.sh [VM-SYSTEM]
#
# VM-SYSTEM is the binary; without it, the one on the PATH. Safe to run beside anything.
source "$(dirname "${BASH_SOURCE[0]}")/daemon.bash"

# refused WHAT STATUS CODE CURL-ARGUMENTS…: the API refuses with that status and code.
refused() {
  local what=$1 status=$2 code=$3
  shift 3
  local answer
  answer=$(curl -sS -w '\n%{http_code}' -H 'Content-Type: application/json' "$@")
  check "$what" "$code" "$answer"
  check "$what, status" "$status" "$(tail -n1 <<<"$answer")"
}

echo 'var greet = { hello(name) { return "hello " + name } };' >"$folder/greet.js"
echo 'globalThis.started = greet.hello("startup");' >"$worktree/init.js"
echo 'require("fs").writeFileSync("out.txt", started); require("fs").readFileSync("out.txt")' \
  >"$worktree/app.js"
ln -s /etc/passwd "$worktree/link.js"

start_daemon
check "no template yet" "No templates" "$(vm template list)"
template=$(vm template create --name e2e --engine javy | template_id)
vm libs add greet-1.0.0 --file "$folder/greet.js" --library-dir "$folder/libraries" >/dev/null
vm template add-library "$template" --name greet-1.0.0 >/dev/null
vm template add-module "$template" --name fs >/dev/null
vm template add-capability "$template" --kind module --name fs --config '{"write":true}' >/dev/null
vm template add-startup "$template" --path init.js >/dev/null
vm template update "$template" --cpu-ms 500 --max-output-kb 16 >/dev/null
check "the template has its parts" "greet-1.0.0" "$(vm template get "$template")"

create_session() {
  vm session create --template-id "$template" --workspace-id e2e --base-commit none \
    --worktree-path "$worktree" | session_id
}
session=$(create_session)
other=$(create_session)
check "two sessions are live" "Active sessions: 2" "$(vm ops runtime-summary)"
check "state stays" '"preview":"42"' \
  "$(vm exec repl "$session" 'var n = 40' >/dev/null; vm exec repl "$session" 'n + 2')"
check "sessions are apart" "undefined" "$(vm exec repl "$other" 'typeof n')"
check "libraries, startup and files work" "hello startup" "$(vm exec run-file "$session" app.js)"
check "the file was written" "hello startup" "$(cat "$worktree/out.txt")"
check "what is thrown is shown" "ReferenceError" "$(vm exec repl "$session" missing || true)"
check "time is limited" "FUEL_EXHAUSTED" "$(vm exec repl "$other" 'for (;;);' || true)"

refused "a path does not leave the worktree" 422 INVALID_PATH "$url/api/v1/executions/run-file" \
  -d "{\"session_id\":\"$session\",\"path\":\"../secret\"}"
refused "nor does a link" 422 INVALID_PATH "$url/api/v1/executions/run-file" \
  -d "{\"session_id\":\"$session\",\"path\":\"link.js\"}"
refused "a web page is not served" 403 FORBIDDEN_ORIGIN "$url/api/v1/templates" \
  -H 'Origin: http://example.com' -d '{"name":"a"}'
refused "keys are there once" 400 INVALID_REQUEST "$url/api/v1/templates" -d '{"name":"a","name":"b"}'

execution=$(vm exec list "$session" --limit 1 --output json | sed 's/^\[{"id":"\([^"]*\)".*/\1/')
events=$(vm exec events "$execution" --output json)
stop_daemon KILL || true
start_daemon
check "the database outlives a kill" "$events" "$(vm exec events "$execution" --output json)"
check "its sessions are ready" "Status: ready" "$(vm session get "$session")"
check "and as they were" "hello startup" "$(vm exec repl "$session" started)"
check "the daemon takes work" "Status: ready" "$(vm ops ready)"
check "a backup is made" "Made backup: e2e" "$(vm ops backup --name e2e)"
check "the stats are told" "Live sessions" "$(vm ops stats)"
check "the file is compacted" "Bytes after" "$(vm ops compact)"
other=$(create_session)
check "a session is removed" "Removed session" "$(vm session purge "$other")"
check "the session closes" "Status: closed" "$(vm session close "$session")"
check "the template goes" "Deleted" "$(vm template delete "$template")"
stop_daemon TERM || fail "the daemon did not end with status 0"
echo "e2e: passed"
