//! Keys of workspaces: what scripts see of them and leave, alone and beside each other.

use crate::harness::{Begun, TestHost, template, with_startup};
use serde_json::{Value, json};
use std::sync::Arc;
use vm_host::{Finished, HostError, SessionRequest};
use vm_storage::{
    Capability, CapabilityId, CapabilityKind, EventPayload, ExecutionErrorCode, ExecutionStatus,
    SessionId, Template,
};

/// A template with the modules `kv` and `fs`, and capabilities of `kv` with these configs.
fn with_kv(configs: &[Value]) -> Template {
    let capability = |config: &Value| Capability {
        id: CapabilityId::new(),
        kind: CapabilityKind::Module,
        name: "kv".to_owned(),
        enabled: true,
        config: config.clone(),
    };
    Template {
        modules: vec!["fs".to_owned(), "kv".to_owned()],
        capabilities: configs.iter().map(capability).collect(),
        ..template()
    }
}

/// A session of a template in some workspace, in which `kv` is the module.
async fn in_workspace(test: &TestHost, workspace: &str, template: Template) -> SessionId {
    let request = SessionRequest {
        template_id: template.id,
        workspace_id: workspace.to_owned(),
        base_commit_oid: "none".to_owned(),
        worktree_path: test.worktree().display().to_string(),
    };
    test.host.storage().create_template(template).await.unwrap();
    let session = test.host.create_session(request, None).await.unwrap().id;
    test.preview(session, "const kv = require('kv'), fs = require('fs'); 0").await;
    session
}

async fn plain(test: &TestHost) -> SessionId {
    in_workspace(test, "w", with_kv(&[])).await
}

/// A script that does something, waits for a file, and does something else.
fn around(before: &str, after: &str) -> String {
    format!(
        "{before}; console.log('waits');
        while (!fs.existsSync('go')) await new Promise(done => setTimeout(done, 1));
        {after}"
    )
}

/// Begins one that waits.
async fn begin(test: &TestHost, session: SessionId, before: &str, after: &str) -> Begun {
    drop(std::fs::remove_file(test.worktree().join("go")));
    test.begin_until(session, &around(before, after), 2).await
}

/// Lets one go that waits, and gives what became of it.
async fn go(test: &TestHost, begun: Begun) -> Finished {
    test.file("go", "");
    begun.finished().await
}

fn code(finished: &Finished) -> Option<ExecutionErrorCode> {
    finished.execution.error.as_ref().and_then(|error| error.code)
}

/// Checks that an execution was refused for its keys, and left nothing but its record.
fn assert_refused(finished: &Finished, expected: ExecutionErrorCode) {
    assert_eq!(code(finished), Some(expected), "{finished:?}");
    assert_eq!(finished.execution.status, ExecutionStatus::Error);
    assert_eq!(finished.execution.result, None);
    let last = &finished.events.last().unwrap().payload;
    let EventPayload::System { message, .. } = last else { panic!("{last:?}") };
    assert!(message.ends_with("; the session is as it was before this execution"), "{message}");
    assert_eq!(finished.execution.metrics.events, finished.events.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_back_as_what_they_were() {
    let test = TestHost::start().await;
    let (session, other) = (plain(&test).await, plain(&test).await);
    for (value, preview) in [
        ("'text'", "'text'"),
        ("''", "''"),
        ("'\\ud800 \\u0000 \u{1f600}'", "'\\ud800 \\x00 \u{1f600}'"),
        ("0", "0"),
        ("-0.5", "-0.5"),
        ("null", "null"),
        ("false", "false"),
        ("NaN", "null"),
        ("[1, [], {}]", "[ 1, [], {} ]"),
        ("{ a: { b: [undefined] }, c: undefined }", "{ a: { b: [ null ] } }"),
        ("new Date(0)", "'1970-01-01T00:00:00.000Z'"),
        ("new Uint8Array([1, 2, 255])", "Uint8Array(3) [ 1, 2, 255 ]"),
        ("new Uint8Array([1, 2, 3]).subarray(1)", "Uint8Array(2) [ 2, 3 ]"),
        ("new Uint16Array([1])", "Uint8Array(2) [ 1, 0 ]"),
        ("new Uint8Array(0)", "Uint8Array(0) []"),
        ("new DataView(new ArrayBuffer(1))", "Uint8Array(1) [ 0 ]"),
        ("new ArrayBuffer(2)", "Uint8Array(2) [ 0, 0 ]"),
    ] {
        let put = format!("kv.put('k', {value})");
        assert_eq!(test.preview(session, &put).await, "undefined", "{value}");
        assert_eq!(test.preview(other, "kv.get('k')").await, preview, "{value}");
        let own = format!("kv.put('k', {value}); kv.get('k')");
        assert_eq!(test.preview(session, &own).await, preview, "{value}");
    }
    for value in ["undefined", "() => 1", "Symbol()", "1n"] {
        let put = format!("try {{ kv.put('k', {value}) }} catch (e) {{ e.name }}");
        assert_eq!(test.preview(session, &put).await, "'TypeError'", "{value}");
    }
    let imported = "import { get } from 'kv'; import all from 'kv'; [get('k'), all === kv]";
    assert_eq!(test.preview(session, imported).await, "[ Uint8Array(2) [ 0, 0 ], true ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_written_removed_listed_and_compared() {
    let test = TestHost::start().await;
    let session = plain(&test).await;
    for (input, preview) in [
        (
            "[kv.get('a'), kv.getEntry('a'), kv.delete('a'), kv.list()]",
            "[ undefined, undefined, false, [] ]",
        ),
        ("['b', 'a/2', 'a/1', 'a', 'ü'].forEach((key, i) => kv.put(key, i))", "undefined"),
        ("kv.list().map(e => e.key + e.value).join()", "'a3,a/12,a/21,b0,ü4'"),
        ("kv.list('a/').map(e => e.key).join()", "'a/1,a/2'"),
        ("kv.list('a', { limit: 2 }).map(e => e.key).join()", "'a,a/1'"),
        ("kv.list('a', { limit: 2, after: 'a/1' }).map(e => e.key).join()", "'a/2'"),
        ("kv.list('a', { after: 'b' })", "[]"),
        ("kv.list('b', { after: 'a' }).length", "1"),
        (
            "const e = kv.getEntry('b'); [Object.keys(e).join(), e.value, e.version > 0]",
            "[ 'value,version', 0, true ]",
        ),
        ("kv.list('b')[0].version === e.version", "true"),
        ("kv.compareAndSet('b', e.version + 1, 'no')", "false"),
        ("kv.compareAndSet('b', null, 'no')", "false"),
        ("kv.compareAndSet('new', e.version, 'no')", "false"),
        ("kv.compareAndSet('new', null, 'yes')", "true"),
        ("kv.compareAndSet('b', e.version, 'yes')", "true"),
        ("kv.compareAndSet('b', e.version, 'again')", "false"),
        (
            "[kv.get('b'), kv.get('new'), kv.getEntry('b').version > e.version]",
            "[ 'yes', 'yes', true ]",
        ),
        ("[kv.delete('b'), kv.delete('b'), kv.get('b')]", "[ true, false, undefined ]"),
        // A key that is written again does not have the version that it had.
        ("kv.put('b', 'yes'); kv.compareAndSet('b', e.version, 'no')", "false"),
        ("await kv.get('b')", "'yes'"),
    ] {
        assert_eq!(test.preview(session, input).await, preview, "{input}");
    }
    let tried = |call: &str| format!("try {{ kv.{call} }} catch (e) {{ [e.name, e.code] }}");
    for (call, error) in [
        ("get('')", "[ 'Error', 'EINVAL' ]"),
        ("get('a\\0b')", "[ 'Error', 'EINVAL' ]"),
        ("put('k'.repeat(513), 1)", "[ 'Error', 'EINVAL' ]"),
        ("delete('ü'.repeat(257))", "[ 'Error', 'EINVAL' ]"),
        ("put('k'.repeat(512), 1)", "undefined"),
        ("get(1)", "[ 'TypeError', undefined ]"),
        ("get('\\ud800')", "[ 'TypeError', undefined ]"),
        ("list({})", "[ 'TypeError', undefined ]"),
        ("list('', { after: 1 })", "[ 'TypeError', undefined ]"),
        ("list('', { after: 'k'.repeat(513) })", "[ 'Error', 'EINVAL' ]"),
        ("list('', { limit: 0 })", "[ 'Error', 'EINVAL' ]"),
        ("list('', { limit: -1 })", "[ 'Error', 'EINVAL' ]"),
        ("list('', { limit: 1001 })", "[ 'Error', 'EINVAL' ]"),
        ("list('', { limit: 2 ** 40 })", "[ 'Error', 'EINVAL' ]"),
        ("list('', { limit: 1.5 })", "[ 'TypeError', 'ERR_INVALID_ARG_TYPE' ]"),
        ("compareAndSet('a', undefined, 1)", "[ 'TypeError', 'ERR_INVALID_ARG_TYPE' ]"),
        ("compareAndSet('a', 1.5, 1)", "[ 'TypeError', 'ERR_INVALID_ARG_TYPE' ]"),
        ("put('a', new Uint8Array(65537))", "[ 'Error', 'EFBIG' ]"),
        ("put('a', new Uint8Array(10000000))", "[ 'Error', 'EFBIG' ]"),
        ("put('a', new Uint8Array(65536))", "undefined"),
    ] {
        assert_eq!(test.preview(session, &tried(call)).await, error, "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_reads_what_it_wrote_and_others_do_before_it_is_committed() {
    let test = TestHost::start().await;
    let (session, other) = (plain(&test).await, plain(&test).await);
    test.repl(session, "for (const key of 'bdf') kv.put(key, 1)").await;
    let own = "kv.put('a', 2); kv.put('d', 2); kv.delete('f'); kv.put('g', 2);
        const e = kv.getEntry('d'), lists = [kv.list(), kv.list('', { limit: 3 })];
        const seen = lists.map(list => list.map(e => e.key + e.value).join(' '));
        kv.put('d', 3);
        [...seen, kv.get('f'), kv.delete('f'), e.version < 0,
            kv.compareAndSet('d', e.version, 4), kv.compareAndSet('f', null, 4),
            kv.compareAndSet('d', kv.getEntry('d').version, 5), kv.get('d')]";
    let begun = begin(&test, session, "", own).await;
    let finished = go(&test, begun).await;
    let seen = "[\n  'a2 b1 d2 g2', 'a2 b1 d2',     undefined,\n  false,         true,           false,\n  true,          true,           5\n]";
    let preview = finished.execution.result.unwrap().preview;
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(flat(&preview), flat(seen));
    let all = "kv.list().map(e => e.key + e.value).join(' ')";
    assert_eq!(test.preview(other, all).await, "'a2 b1 d5 f4 g2'");
    // While it runs nobody sees anything, also when it has run for so long that it left a trace.
    let begun = begin(&test, session, "kv.put('a', 'running')", "0").await;
    while test.executions(session)[0].status != ExecutionStatus::Running {
        tokio::task::yield_now().await;
    }
    assert_eq!(test.preview(other, "kv.get('a')").await, "2");
    go(&test, begun).await;
    assert_eq!(test.preview(other, "kv.get('a')").await, "'running'");
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_share_nothing_and_their_sessions_everything_also_after_a_restart() {
    let mut test = TestHost::start().await;
    let (one, two) = (plain(&test).await, plain(&test).await);
    let other = in_workspace(&test, "other", with_kv(&[])).await;
    test.repl(one, "kv.put('k', 'w')").await;
    test.repl(other, "kv.put('k', 'other')").await;
    for _ in 0..2 {
        assert_eq!(test.preview(two, "kv.get('k')").await, "'w'");
        assert_eq!(test.preview(other, "[kv.get('k'), kv.list().length]").await, "[ 'other', 1 ]");
        test.restart().await;
    }
    // They outlive every session that used them.
    for session in [one, two] {
        test.host.close_session(session).await.unwrap();
        test.host.purge_session(session).await.unwrap();
    }
    let later = plain(&test).await;
    assert_eq!(test.preview(later, "kv.get('k')").await, "'w'");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_executions_that_read_and_write_a_key_one_ends_with_a_conflict_rolled_back() {
    let mut test = TestHost::start().await;
    let (late, early) = (plain(&test).await, plain(&test).await);
    test.repl(early, "kv.put('n', 1)").await;
    test.repl(late, "let heap = 'before'").await;
    for (read, write) in [
        ("kv.get('n')", "kv.put('n', 2)"),
        ("kv.getEntry('n')", "kv.delete('n')"),
        ("kv.delete('n')", "kv.put('n', 3)"),
        ("kv.compareAndSet('n', 1, 'late')", "kv.put('n', 4)"),
        ("kv.get('absent')", "kv.put('absent', 1)"),
        ("kv.list('list/')", "kv.put('list/new', 1)"),
        ("kv.list('list/')", "kv.delete('list/new')"),
        ("kv.list('list/')", "kv.put('list/new', 1)"),
        ("kv.list('list/')", "kv.put('list/new', 2)"),
    ] {
        let before = format!("heap = 'changed'; {read}; kv.put('late', 1)");
        let begun = begin(&test, late, &before, "'a value'").await;
        test.repl(early, write).await;
        let finished = go(&test, begun).await;
        assert_refused(&finished, ExecutionErrorCode::KvConflict);
        // What is told is what is stored.
        assert_eq!(test.executions(late)[0], finished.execution);
        assert_eq!(test.events(finished.execution.id), finished.events);
        assert_eq!(test.preview(late, "heap").await, "'before'", "{read}");
        assert_eq!(test.preview(early, "kv.get('late')").await, "undefined", "{read}");
    }
    // Tried again, it passes; and what nobody reads does not matter.
    test.repl(late, "kv.put('late', kv.get('n'))").await;
    let begun = begin(&test, late, "kv.put('n', 'blind'); kv.list('list/')", "0").await;
    test.repl(early, "kv.put('n', 5); kv.put('list', 5)").await;
    assert_eq!(code(&go(&test, begun).await), None);
    test.restart().await;
    assert_eq!(test.preview(early, "[kv.get('late'), kv.get('n')]").await, "[ 4, 'blind' ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_would_see_two_states_ends_at_once_whatever_it_catches() {
    let test = TestHost::start().await;
    let (late, early) = (plain(&test).await, plain(&test).await);
    let begun = begin(
        &test,
        late,
        "kv.get('x'); kv.put('z', 1)",
        "try { kv.get('y') } catch {} finally { for (;;); }",
    )
    .await;
    test.repl(early, "kv.put('x', 1); kv.put('y', 1)").await;
    assert_refused(&go(&test, begun).await, ExecutionErrorCode::KvConflict);
    // What it had not read may change.
    let begun = begin(&test, late, "kv.get('x')", "kv.get('y')").await;
    test.repl(early, "kv.put('y', 2)").await;
    assert_eq!(go(&test, begun).await.execution.result.unwrap().preview, "2");
    assert_eq!(test.preview(early, "kv.get('z')").await, "undefined");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_sessions_race_to_increment_is_the_number_of_their_successes() {
    const WORKERS: usize = 4;
    const TRIES: u64 = 15;
    let test = Arc::new(TestHost::start().await);
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let (test, session) = (Arc::clone(&test), plain(&test).await);
        workers.push(tokio::spawn(async move {
            let (mut succeeded, mut conflicts) = (0, 0);
            for _ in 0..TRIES {
                let finished = test.repl(session, "kv.put('n', (kv.get('n') ?? 0) + 1)").await;
                match code(&finished) {
                    None => succeeded += 1,
                    Some(ExecutionErrorCode::KvConflict) => conflicts += 1,
                    other => panic!("{other:?}"),
                }
            }
            (succeeded, conflicts)
        }));
    }
    let (mut succeeded, mut conflicts) = (0, 0);
    for worker in workers {
        let counts: (u64, u64) = worker.await.unwrap();
        (succeeded, conflicts) = (succeeded + counts.0, conflicts + counts.1);
    }
    assert_eq!(succeeded + conflicts, TRIES * WORKERS as u64);
    assert!(succeeded > 0);
    let session = plain(&test).await;
    assert_eq!(test.preview(session, "kv.get('n')").await, succeeded.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_writes_nothing_and_what_throws_keeps_what_it_did() {
    let test = TestHost::start().await;
    let mut template = with_kv(&[]);
    template.settings.limits.wall_ms = 300;
    template.settings.limits.cpu_ms = 60_000;
    template.settings.limits.max_events = 20;
    let session = in_workspace(&test, "w", template).await;
    let wait = "await new Promise(done => setTimeout(done, 100000))";
    for (script, expected) in [
        (format!("kv.put('k', 1); {wait}"), ExecutionErrorCode::WallTimeExceeded),
        ("kv.put('k', 1); for (;;);".to_owned(), ExecutionErrorCode::WallTimeExceeded),
        (
            "kv.put('k', 1); for (;;) console.log(1)".to_owned(),
            ExecutionErrorCode::OutputLimitExceeded,
        ),
    ] {
        assert_eq!(code(&test.repl(session, &script).await), Some(expected), "{script}");
        assert_eq!(test.preview(session, "kv.get('k')").await, "undefined", "{script}");
    }
    let session = plain(&test).await;
    let begun = begin(&test, session, "kv.put('k', 1)", "0").await;
    test.host.cancel_execution(begun.id).await.unwrap();
    assert_eq!(code(&begun.finished().await), Some(ExecutionErrorCode::Cancelled));
    assert_eq!(test.preview(session, "kv.get('k')").await, "undefined");
    let finished = test.repl(session, "var heap = 1; kv.put('k', 1); throw new Error('x')").await;
    assert_eq!(finished.execution.error.unwrap().message, "Error: x");
    assert_eq!(test.preview(session, "[heap, kv.get('k')]").await, "[ 1, 1 ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_kept_within_an_execution_and_between_those_that_race() {
    let test = TestHost::start().await;
    let quota = with_kv(&[json!({"quota_bytes": 1000})]);
    let (one, two) = (
        in_workspace(&test, "w", quota.clone()).await,
        in_workspace(&test, "w", Template { id: template().id, ..quota }).await,
    );
    let put = |key: &str, bytes: usize| {
        // A key of one byte, and one that says what the value is.
        format!("try {{ kv.put('{key}', new Uint8Array({})) }} catch (e) {{ e.code }}", bytes - 2)
    };
    assert_eq!(test.preview(one, &put("a", 1_001)).await, "'EDQUOT'");
    assert_eq!(test.preview(one, &put("a", 1_000)).await, "undefined");
    assert_eq!(test.preview(one, &put("b", 2)).await, "'EDQUOT'");
    let within = [put("a", 500), put("b", 501), put("b", 500), put("a", 600), put("a", 400)];
    let script = format!("[{}]", within.map(|put| format!("eval(`{put}`)")).join(", "));
    let outcomes = test.preview(one, &script).await;
    let outcomes: Vec<_> = outcomes.split_whitespace().collect();
    assert_eq!(
        outcomes.join(" ").replace(", ]", " ]"),
        "[ undefined, 'EDQUOT', undefined, 'EDQUOT', undefined ]"
    );
    // 900 are held: each of the two would fit alone.
    let begun = begin(&test, one, &format!("heap = 1; {}", put("c", 60)), "0").await;
    assert_eq!(test.preview(two, &put("d", 60)).await, "undefined");
    assert_refused(&go(&test, begun).await, ExecutionErrorCode::KvQuotaExceeded);
    assert_eq!(test.preview(one, "[typeof heap, kv.get('c')]").await, "[ 'undefined', undefined ]");
    // What makes room is always taken, and then there is room.
    assert_eq!(
        test.preview(one, "kv.delete('a') && kv.put('c', new Uint8Array(58))").await,
        "undefined"
    );
    // Another template's sessions in the workspace have a quota of their own.
    let free = plain(&test).await;
    assert_eq!(test.preview(free, &put("e", 5_000)).await, "undefined");
    assert_eq!(test.preview(one, &put("c", 61)).await, "'EDQUOT'");
    assert_eq!(test.preview(one, &put("c", 59)).await, "undefined");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_execution_reads_and_writes_so_much_and_no_more() {
    let test = TestHost::start().await;
    let mut template = with_kv(&[]);
    template.settings.limits.wall_ms = 120_000;
    template.settings.limits.cpu_ms = 60_000;
    let session = in_workspace(&test, "w", template).await;
    let until = |call: &str| {
        format!(
            "var n = 0; try {{ for (; n < 20000; n++) {{ {call} }} }} catch (e) {{ [n, e.code] }}"
        )
    };
    for (call, outcome) in [
        ("kv.put('k' + n, n)", "[ 4096, 'EDQUOT' ]"),
        ("kv.put('b' + n, new Uint8Array(65535))", "[ 63, 'EDQUOT' ]"),
        ("kv.get('x')", "[ 10000, 'EDQUOT' ]"),
        // What is written again counts once.
        (
            "if (n > 2000) throw { code: 0 }; kv.put('k' + n % 40, new Uint8Array(60000 + n))",
            "[ 2001, 0 ]",
        ),
    ] {
        assert_eq!(test.preview(session, &until(call)).await, outcome, "{call}");
    }
    // A list says less than it might rather than too much.
    let script = "const sizes = []; for (let after = ''; ;) {
        const listed = kv.list('b', { limit: 1000, after }); sizes.push(listed.length);
        if (listed.length === 0) break; after = listed.at(-1).key } sizes.join()";
    test.repl(session, "for (let n = 0; n < 40; n++) kv.put('b' + n, new Uint8Array(65535))").await;
    test.repl(session, "for (let n = 40; n < 80; n++) kv.put('b' + n, new Uint8Array(65535))")
        .await;
    assert_eq!(test.preview(session, script).await, "'64,16,0'");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_capability_leaves_is_denied() {
    let test = TestHost::start().await;
    let open = plain(&test).await;
    test.repl(open, "for (const key of ['a/1', 'a/b/2', 'b/1', 'c']) kv.put(key, key)").await;
    let configs = [json!({"prefixes": ["a/", "b/", "d"]}), json!({"prefixes": ["a/b/", "b", "c"]})];
    let narrow = in_workspace(&test, "w", with_kv(&configs)).await;
    let read_only =
        in_workspace(&test, "w", with_kv(&[json!({}), json!({"read_only": true})])).await;
    let broken = in_workspace(&test, "w", with_kv(&[json!({"prefixes": "a"})])).await;
    for (session, call, outcome) in [
        (narrow, "get('a/b/2')", "'a/b/2'"),
        (narrow, "get('b/1')", "'b/1'"),
        (narrow, "get('a/1')", "'EACCES'"),
        (narrow, "get('c')", "'EACCES'"),
        (narrow, "get('d')", "'EACCES'"),
        (narrow, "get('b')", "'EACCES'"),
        (narrow, "getEntry('c')", "'EACCES'"),
        (narrow, "put('c', 1)", "'EACCES'"),
        (narrow, "put('a/b/3', 1)", "undefined"),
        (narrow, "delete('c')", "'EACCES'"),
        (narrow, "compareAndSet('c', null, 1)", "'EACCES'"),
        (narrow, "list()", "'EACCES'"),
        (narrow, "list('a/')", "'EACCES'"),
        (narrow, "list('a/b/').length", "2"),
        (narrow, "list('b/', { after: 'a' }).length", "1"),
        (narrow, "list('b/', { after: 'b' }).length", "1"),
        (read_only, "get('c')", "'c'"),
        (read_only, "list().length", "5"),
        (read_only, "put('c', 1)", "'EACCES'"),
        (read_only, "delete('c')", "'EACCES'"),
        (read_only, "compareAndSet('c', 1, 1)", "'EACCES'"),
        (read_only, "compareAndSet('new', null, 1)", "'EACCES'"),
        (broken, "get('a/1')", "'EACCES'"),
        (broken, "list()", "'EACCES'"),
        (broken, "put('a', 1)", "'EACCES'"),
        (open, "get('c')", "'c'"),
    ] {
        let script = format!("try {{ kv.{call} }} catch (e) {{ e.code }}");
        assert_eq!(test.preview(session, &script).await, outcome, "{call}");
    }
    let none = test.session(template()).await;
    let script = "try { require('kv') } catch (e) { e.message }";
    assert!(test.preview(none, script).await.contains("the template has no module 'kv'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_count_and_are_told() {
    let test = TestHost::start().await;
    let mut template = with_kv(&[]);
    template.settings.runtime.audit = true;
    let session = in_workspace(&test, "w", template).await;
    let finished = test.repl(session, "kv.put('k', 'ab'); kv.get('k'); kv.list('k')").await;
    let host = finished.execution.metrics.host;
    // Of a value its JSON, a byte that says so, and a version of eight bytes.
    assert_eq!((host.calls, host.bytes_out, host.bytes_in), (3, 1 + 13 + 1 + 1 + 4, 1 + 13 + 22));
    let said = finished.events.iter().filter_map(|event| match &event.payload {
        EventPayload::System { message, .. } => Some(message.as_str()),
        _ => None,
    });
    let expected = [
        "host call: kv put 'k': 13 bytes out, 1 in",
        "host call: kv get 'k': 0 bytes out, 13 in",
        "host call: kv list 'k': 4 bytes out, 22 in",
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected);
}

/// A template whose startup file counts its runs.
fn counting(test: &TestHost) -> Template {
    test.file(
        "init.js",
        "const kv = require('kv'); var n = (kv.get('n') ?? 0) + 1; kv.put('n', n)",
    );
    Template { startup_files: with_startup(&[("init.js", 1)]).startup_files, ..with_kv(&[]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_file_reads_and_writes_and_runs_in_each_session() {
    let test = TestHost::start().await;
    let template = counting(&test);
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    assert_eq!(test.preview(first, "n").await, "1");
    assert_eq!(test.preview(second, "[n, kv.get('n')]").await, "[ 2, 2 ]");
    assert_eq!(test.host.stats().template_images_made, 0);
    // Also one that only reads, or only writes.
    for script in ["var n = require('kv').get('n')", "var n = require('kv').put('x', 1)"] {
        test.file("init.js", script);
        test.another(&template).await.unwrap();
        assert_eq!(test.host.stats().template_images_made, 0, "{script}");
    }
    // What is stopped leaves nothing, and the session does not start.
    test.file("init.js", "require('kv').put('n', 'stopped'); for (;;);");
    let mut slow = template.clone();
    slow.id = crate::harness::template().id;
    slow.settings.limits.cpu_ms = 100;
    let error = test.try_session(slow).await.unwrap_err();
    assert!(matches!(error, HostError::StartupFailed { .. }), "{error:?}");
    assert_eq!(test.preview(first, "kv.get('n')").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_that_meets_a_conflict_fails() {
    let test = Arc::new(TestHost::start().await);
    test.file(
        "init.js",
        format!(
            "import kv from 'kv'; import fs from 'fs'; kv.put('seen', kv.list('p/').length);
            fs.writeFileSync('waits', ''){}",
            around("", "")
        ),
    );
    let mut template = with_kv(&[]);
    template.capabilities.extend(crate::harness::with_fs(json!({"write": true})).capabilities);
    template.startup_files = with_startup(&[("init.js", 1)]).startup_files;
    template.startup_files[0].mode = "module".to_owned();
    let other = test.session(with_kv(&[])).await;
    let starting = {
        let (test, template) = (Arc::clone(&test), template.clone());
        tokio::spawn(async move { test.try_session(template).await })
    };
    while !test.worktree().join("waits").exists() {
        tokio::task::yield_now().await;
    }
    test.repl(other, "require('kv').put('p/1', 1)").await;
    test.file("go", "");
    let Err(HostError::StartupFailed { session, code, execution, .. }) = starting.await.unwrap()
    else {
        panic!("it started");
    };
    assert_eq!(code, Some(ExecutionErrorCode::KvConflict));
    let stored = test.host.execution(execution.unwrap()).await.unwrap();
    assert_eq!(stored.error.unwrap().code, Some(ExecutionErrorCode::KvConflict));
    let session = test.host.session(session).await.unwrap();
    assert_eq!(session.status, vm_storage::SessionStatus::Crashed);
    assert_eq!(test.preview(other, "require('kv').get('seen')").await, "undefined");
    // Tried again, it starts.
    let session = test.another(&template).await.unwrap();
    assert_eq!(test.preview(session, "require('kv').get('seen')").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_has_no_keys() {
    let test = TestHost::start().await;
    test.library(
        "lib-1.0.0",
        "var said; try { require('kv').put('k', 1) } catch (e) { said = e.code }",
    );
    let template = Template { libraries: vec!["lib-1.0.0".to_owned()], ..with_kv(&[]) };
    let session = test.session(template).await;
    assert_eq!(
        test.preview(session, "[said, require('kv').get('k')]").await,
        "[ 'EACCES', undefined ]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_compacted_is_waited_for() {
    let test = TestHost::start().await;
    let template = with_kv(&[]);
    let session = test.session(template.clone()).await;
    test.repl(session, "var kv = require('kv'), i = 0").await;
    let compacting = tokio::spawn({
        let storage = test.host.storage().clone();
        async move {
            for _ in 0..40 {
                storage.compact().await.unwrap();
            }
        }
    });
    while !compacting.is_finished() {
        let script =
            "kv.put('x', ++i); for (let n = 0; n < 50; n++) kv.get('g' + n); kv.put('y', i)";
        let finished = test.repl(session, script).await;
        assert_eq!(finished.execution.status, ExecutionStatus::Ok, "{:?}", finished.execution);
    }
    compacting.await.unwrap();
    assert_eq!(test.preview(session, "kv.get('x') === i && kv.get('y') === i").await, "true");
}
