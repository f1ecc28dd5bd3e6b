//! What a template's capabilities grant of files, and what the calls of an execution count.

use crate::harness::{TestHost, console, said, with_fs};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use vm_storage::{ExecutionErrorCode, ExecutionStatus, HostCalls, SessionId};

/// What a call of `fs` gives, or the code that it throws.
async fn tried(test: &TestHost, session: SessionId, call: &str) -> String {
    let script = format!("try {{ String(require('fs').{call}) }} catch (e) {{ e.code }}");
    test.preview(session, &script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_that_node_users_reach_for_are_there() {
    let test = TestHost::start().await;
    let session = test.session(with_fs(json!({"write": true}))).await;
    test.repl(session, "const fs = require('fs'), promised = require('node:fs/promises')").await;
    for (input, preview) in [
        ("fs.writeFileSync('a.txt', 'one'); fs.appendFileSync('a.txt', '+two')", "undefined"),
        ("fs.readFileSync('a.txt')", "'one+two'"),
        ("fs.copyFileSync('a.txt', 'b.txt'); fs.readFileSync('b.txt')", "'one+two'"),
        ("fs.truncateSync('b.txt', 3); fs.readFileSync('b.txt')", "'one'"),
        ("fs.renameSync('b.txt', 'c.txt'); fs.readdirSync('/')", "[ 'a.txt', 'c.txt' ]"),
        ("fs.mkdirSync('d/e', { recursive: true }); fs.writeFileSync('d/e/f', '')", "undefined"),
        ("fs.readdirSync('d', { recursive: true })", "[ 'e', 'e/f' ]"),
        (
            "fs.readdirSync('d/e', { withFileTypes: true }).map(e => [e.name, e.isFile()])",
            "[ [ 'f', true ] ]",
        ),
        ("fs.realpathSync('d/../a.txt')", "'/a.txt'"),
        ("fs.statSync('none', { throwIfNoEntry: false })", "undefined"),
        ("try { fs.rmdirSync('d') } catch (e) { e.code }", "'ENOTEMPTY'"),
        ("try { fs.rmSync('d') } catch (e) { e.code }", "'ERR_FS_EISDIR'"),
        ("fs.rmSync('d', { recursive: true }); fs.existsSync('d')", "false"),
        ("fs.rmSync('d', { recursive: true, force: true })", "undefined"),
        ("try { fs.accessSync('d') } catch (e) { e.code }", "'ENOENT'"),
        ("try { fs.writeFileSync('a.txt', '', { flag: 'wx' }) } catch (e) { e.code }", "'EEXIST'"),
        ("/^tmp-\\w{6}$/.test(fs.mkdtempSync('tmp-'))", "true"),
        ("await fs.promises.readFile('a.txt', 'utf8')", "'one+two'"),
        ("await promised.readFile('none').catch(error => error.code)", "'ENOENT'"),
        ("promised === fs.promises && typeof promised.rm", "'function'"),
        ("(await import('fs/promises')).writeFile === promised.writeFile", "true"),
        (
            "await Promise.all([1, 2].map(n => promised.writeFile('p' + n, '' + n))); fs.readFileSync('p2')",
            "'2'",
        ),
    ] {
        assert_eq!(test.preview(session, input).await, preview, "{input}");
    }
    symlink("a.txt", test.worktree().join("link")).unwrap();
    let input = "[fs.lstatSync('link').isSymbolicLink(), fs.statSync('link').isFile()]";
    assert_eq!(test.preview(session, input).await, "[ true, true ]");
    // A link is renamed and removed itself.
    test.repl(session, "fs.renameSync('link', 'moved'); fs.rmSync('moved', { recursive: true })")
        .await;
    assert_eq!(fs::read_to_string(test.worktree().join("a.txt")).unwrap(), "one+two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_does_not_leave_the_worktree() {
    let test = TestHost::start().await;
    let session = test.session(with_fs(json!({"write": true}))).await;
    fs::write(test.outside().join("secret.txt"), "secret").unwrap();
    symlink("..", test.worktree().join("up")).unwrap();
    test.file("a.txt", "a");
    for (call, code) in [
        ("renameSync('a.txt', '../stolen.txt')", "'EACCES'"),
        ("renameSync('a.txt', 'up/stolen.txt')", "'EACCES'"),
        ("renameSync('../secret.txt', 'b.txt')", "'EACCES'"),
        ("renameSync('up/secret.txt', 'b.txt')", "'EACCES'"),
        ("renameSync('a.txt', '')", "'ENOENT'"),
        ("realpathSync('up/secret.txt')", "'EACCES'"),
        ("rmdirSync('..')", "'EACCES'"),
    ] {
        assert_eq!(tried(&test, session, call).await, code, "{call}");
    }
    assert_eq!(fs::read_to_string(test.worktree().join("a.txt")).unwrap(), "a");
    assert_eq!(fs::read_to_string(test.outside().join("secret.txt")).unwrap(), "secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_allowed_and_denied_by_prefix() {
    let test = TestHost::start().await;
    for folder in ["data/private", "data/open", "out", "other"] {
        fs::create_dir_all(test.worktree().join(folder)).unwrap();
    }
    for file in ["data/in.csv", "data/private/key", "other/file", "top"] {
        test.file(file, file);
    }
    symlink("private/key", test.worktree().join("data/link")).unwrap();
    symlink("../other", test.worktree().join("data/folder")).unwrap();
    let mut template = with_fs(json!({"allow": ["data"], "deny": ["data/private"]}));
    let writes = with_fs(json!({"write": true, "allow": ["out"]}));
    template.capabilities.extend(writes.capabilities);
    let session = test.session(template).await;
    for (call, outcome) in [
        ("readFileSync('data/in.csv')", "'data/in.csv'"),
        ("readFileSync('/data/open/../in.csv')", "'data/in.csv'"),
        ("readFileSync('data/private/key')", "'EACCES'"),
        ("readFileSync('data/open/../private/key')", "'EACCES'"),
        ("readFileSync('data/link')", "'EACCES'"),
        ("readFileSync('data/folder/file')", "'EACCES'"),
        ("readFileSync('other/file')", "'EACCES'"),
        ("readFileSync('data/../top')", "'EACCES'"),
        ("readFileSync('data-beside')", "'EACCES'"),
        ("existsSync('other/file')", "'false'"),
        ("existsSync('data/in.csv')", "'true'"),
        ("statSync('data/link')", "'EACCES'"),
        ("readdirSync('data')", "'folder,in.csv,link,open'"),
        ("readdirSync('.')", "'EACCES'"),
        ("readdirSync('data/folder')", "'EACCES'"),
        ("writeFileSync('data/in.csv', '')", "'EACCES'"),
        ("writeFileSync('out/a', '1'), 'done'", "'undefined'"),
        ("readFileSync('out/a')", "'1'"),
        ("mkdirSync('out/x/y', { recursive: true })", "'undefined'"),
        ("mkdirSync('other/x', { recursive: true })", "'EACCES'"),
        ("renameSync('out/a', 'data/a')", "'EACCES'"),
        ("renameSync('out/a', 'out/b')", "'undefined'"),
        ("unlinkSync('data/in.csv')", "'EACCES'"),
        ("rmSync('out/x', { recursive: true })", "'undefined'"),
        ("realpathSync('out/b')", "'/out/b'"),
    ] {
        assert_eq!(tried(&test, session, call).await, outcome, "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_not_moved_to_reach_what_is_denied_in_it() {
    let test = TestHost::start().await;
    fs::create_dir_all(test.worktree().join("data/private")).unwrap();
    test.file("data/private/key", "secret");
    let session = test.session(with_fs(json!({"write": true, "deny": ["data/private"]}))).await;
    for call in ["renameSync('data', 'moved')", "renameSync('data/private', 'moved')"] {
        assert_eq!(tried(&test, session, call).await, "'EACCES'", "{call}");
    }
    // Nor is anything put in its place.
    assert_eq!(tried(&test, session, "rmSync('data', { recursive: true })").await, "'ENOTEMPTY'");
    assert_eq!(tried(&test, session, "writeFileSync('free', '1')").await, "'undefined'");
    assert_eq!(fs::read_to_string(test.worktree().join("data/private/key")).unwrap(), "secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_bounds_the_bytes_of_the_worktree() {
    for allow in [json!(null), json!(["."])] {
        let test = TestHost::start().await;
        test.file("there", "12345");
        let config = json!({"write": true, "quota_bytes": 10, "allow": allow});
        let session = test.session(with_fs(config)).await;
        for (call, outcome) in [
            ("writeFileSync('a', '12345')", "'undefined'"),
            ("appendFileSync('a', '6')", "'EDQUOT'"),
            ("writeFileSync('b', '6')", "'EDQUOT'"),
            ("writeFileSync('a', '54321')", "'undefined'"),
            ("unlinkSync('there')", "'undefined'"),
            ("writeFileSync('b', '67890')", "'undefined'"),
            ("appendFileSync('b', '')", "'undefined'"),
        ] {
            assert_eq!(tried(&test, session, call).await, outcome, "{call}");
        }
        // What another process wrote counts from the next execution on.
        test.file("there", "1234567890");
        assert_eq!(tried(&test, session, "appendFileSync('b', '1')").await, "'EDQUOT'");
        assert_eq!(tried(&test, session, "writeFileSync('b', '1')").await, "'undefined'");
        // What does not fit is not written in part, however it is written within one execution.
        let script = "let n = 0; try { for (;; n++) fs.appendFileSync('b', 'x') } catch { n }";
        fs::remove_file(test.worktree().join("there")).unwrap();
        test.repl(session, "const fs = require('fs')").await;
        assert_eq!(test.preview(session, script).await, "4");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_config_that_does_not_fit_grants_nothing() {
    let test = TestHost::start().await;
    test.file("a", "a");
    for config in [json!({"allow": "data"}), json!({"deny": ["../x"]}), json!([])] {
        let session = test.session(with_fs(config.clone())).await;
        assert_eq!(tried(&test, session, "readFileSync('a')").await, "'EACCES'", "{config}");
    }
    let session = test.session(with_fs(json!({"of another version": 1}))).await;
    assert_eq!(tried(&test, session, "readFileSync('a')").await, "'a'");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_host_count_and_are_told_when_asked_for() {
    let test = TestHost::start().await;
    test.file("a.txt", "12345");
    let mut template = with_fs(json!({}));
    template.settings.runtime.audit = true;
    let session = test.session(template).await;
    let input = "const fs = require('fs'); fs.readFileSync('a.txt'); fs.existsSync('b')";
    let finished = test.repl(session, input).await;
    let HostCalls { calls, bytes_in, bytes_out, .. } = finished.execution.metrics.host;
    assert_eq!((calls, bytes_in, bytes_out), (3, 5 + 1, 2 + 5 + 1));
    let said = said(&finished);
    assert_eq!(
        said,
        [
            "host call: require 'fs': 0 bytes out, 0 in",
            "host call: fs read 'a.txt': 0 bytes out, 5 in",
            "host call: fs exists 'b': 0 bytes out, 1 in",
        ]
    );
    // The next execution begins anew, and one that makes none says nothing.
    let finished = test.repl(session, "1 + 1").await;
    assert_eq!(finished.execution.metrics.host, HostCalls::default());
    let json = serde_json::to_value(finished.execution.metrics).unwrap();
    assert!(json.get("host").is_none(), "{json}");
    assert_eq!(finished.events.len(), 2);
    // Telling is output like any other.
    let mut template = with_fs(json!({}));
    template.settings.runtime.audit = true;
    template.settings.limits.max_events = 20;
    let session = test.session(template).await;
    let finished = test.repl(session, "for (;;) require('fs').existsSync('x')").await;
    let error = finished.execution.error.unwrap();
    assert_eq!(error.code, Some(ExecutionErrorCode::OutputLimitExceeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_host_are_bounded() {
    let test = TestHost::start().await;
    let mut template = with_fs(json!({}));
    template.settings.limits.wall_ms = 120_000;
    template.settings.limits.cpu_ms = 60_000;
    let session = test.session(template).await;
    let input = "const fs = require('fs'); let n = 0;
        try { for (;; n++) fs.statSync('.') } catch (error) { console.log(n, error.message) }";
    let finished = test.repl(session, input).await;
    assert_eq!(finished.execution.status, ExecutionStatus::Ok);
    let said =
        "99999 EDQUOT: the execution's limit of 100000 calls of the host is reached, stat '.'";
    assert_eq!(console(&finished.events), [said]);
    assert_eq!(test.preview(session, "fs.statSync('.').isDirectory()").await, "true");
}
