//! Files to run, and the `fs` module: what a worktree's paths may reach, and what is granted.

use crate::harness::{TestHost, console, template, with_fs};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use vm_host::{FileError, HostError, PathError};
use vm_storage::ExecutionStatus;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_to_run_is_found_beneath_the_worktree_only() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    fs::write(test.outside().join("secret.js"), "'secret'").unwrap();
    fs::create_dir(test.worktree().join("src")).unwrap();
    test.file("src/app.js", "'inside'");
    symlink("src/app.js", test.worktree().join("link.js")).unwrap();
    symlink("../secret.js", test.worktree().join("relative.js")).unwrap();
    symlink(test.outside().join("secret.js"), test.worktree().join("absolute.js")).unwrap();
    let fifo = test.worktree().join("fifo.js");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();

    for path in ["src/app.js", "./src//app.js", "link.js"] {
        let finished = test.run_file(session, path).await.unwrap();
        assert_eq!(finished.execution.result.unwrap().preview, "'inside'", "{path}");
    }
    let absolute = test.worktree().join("src/app.js").display().to_string();
    for (path, expected) in [
        ("../secret.js", PathError::ParentDir),
        ("src/../../secret.js", PathError::ParentDir),
        ("src/../src/app.js", PathError::ParentDir),
        (absolute.as_str(), PathError::Absolute),
        ("src/app.js\0.txt", PathError::Nul),
        ("", PathError::Empty),
    ] {
        let error = test.run_file(session, path).await.unwrap_err();
        let HostError::InvalidPath { source, .. } = error else { panic!("{path}: {error}") };
        assert_eq!(source, expected, "{path}");
    }
    for (path, code) in [
        ("relative.js", "EACCES"),
        ("absolute.js", "EACCES"),
        ("fifo.js", "EINVAL"),
        ("src", "EISDIR"),
        ("missing.js", "ENOENT"),
        ("src/app.js/x", "ENOTDIR"),
        ("%2e%2e/secret.js", "ENOENT"),
    ] {
        let error = test.run_file(session, path).await.unwrap_err();
        let HostError::File { source, .. } = error else { panic!("{path}: {error}") };
        assert_eq!(FileError::code(&source), code, "{path}");
    }
    assert_eq!(test.executions(session).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_granted_with_the_module() {
    let test = TestHost::start().await;
    let session = test.session(with_fs(json!({}))).await;
    fs::create_dir(test.worktree().join("folder")).unwrap();
    test.file("folder/data.txt", "grüße\n");
    test.file("bytes.bin", [0, 255, 10]);
    test.repl(session, "const fs = require('fs')").await;
    let inside = test.worktree().join("folder/data.txt").display().to_string();
    for (input, preview) in [
        ("fs.readFileSync('folder/data.txt')", "'grüße\\n'".to_owned()),
        ("fs.readFileSync('folder/data.txt', 'utf8')", "'grüße\\n'".to_owned()),
        ("fs.readFileSync('folder/data.txt', { encoding: 'utf-8' })", "'grüße\\n'".to_owned()),
        ("fs.readFileSync('folder/../folder/data.txt').length", "6".to_owned()),
        ("fs.readFileSync('bytes.bin', null)", "Uint8Array(3) [ 0, 255, 10 ]".to_owned()),
        ("fs.existsSync('folder') + ',' + fs.existsSync('nope')", "'true,false'".to_owned()),
        ("fs.existsSync('../vm.redb') || fs.existsSync(7)", "false".to_owned()),
        ("fs.readdirSync('.')", "[ 'bytes.bin', 'folder' ]".to_owned()),
        ("fs.statSync('bytes.bin').size", "3".to_owned()),
        ("fs.statSync('folder').isDirectory()", "true".to_owned()),
        (
            "fs.statSync('bytes.bin').isFile() && !fs.statSync('bytes.bin').isDirectory()",
            "true".to_owned(),
        ),
        ("fs.statSync('bytes.bin').mtime instanceof Date", "true".to_owned()),
        ("require('fs') === require('node:fs')", "true".to_owned()),
    ] {
        assert_eq!(test.preview(session, input).await, preview, "{input}");
    }
    let absolute = format!("fs.readFileSync({inside:?})");
    assert_eq!(test.preview(session, &absolute).await, "'grüße\\n'");
}

/// Code and message of what a call of `fs` throws.
async fn refused(test: &TestHost, session: vm_storage::SessionId, call: &str) -> String {
    let script = format!(
        "try {{ require('fs').{call}; 'granted' }} catch (e) {{ e.code + ' ' + e.syscall }}"
    );
    test.preview(session, &script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_throws_as_in_node_and_changes_nothing() {
    let test = TestHost::start().await;
    let session = test.session(with_fs(json!({"write": true}))).await;
    fs::write(test.outside().join("secret.txt"), "secret").unwrap();
    symlink("../secret.txt", test.worktree().join("link.txt")).unwrap();
    for (call, expected) in [
        ("readFileSync('missing')", "'ENOENT open'"),
        ("readFileSync('../secret.txt')", "'EACCES open'"),
        ("readFileSync('/etc/passwd')", "'ENOENT open'"),
        ("readFileSync('link.txt')", "'EACCES open'"),
        ("writeFileSync('link.txt', 'x')", "'EACCES open'"),
        ("writeFileSync('../new.txt', 'x')", "'EACCES open'"),
        ("readFileSync('.')", "'EISDIR open'"),
        ("readFileSync('a\\0b')", "'EINVAL open'"),
        ("readdirSync('..')", "'EACCES scandir'"),
        ("statSync('link.txt')", "'EACCES stat'"),
        ("mkdirSync('../made')", "'EACCES mkdir'"),
        ("unlinkSync('missing')", "'ENOENT unlink'"),
    ] {
        assert_eq!(refused(&test, session, call).await, expected, "{call}");
    }
    assert_eq!(fs::read_to_string(test.outside().join("secret.txt")).unwrap(), "secret");
    assert!(!test.outside().join("new.txt").exists() && !test.outside().join("made").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_needs_its_grant() {
    let calls = [
        "writeFileSync('new.txt', 'text')",
        "mkdirSync('a/b/c', { recursive: true })",
        "writeFileSync('a/b/c/bytes.bin', new Uint8Array([1, 2]))",
        "unlinkSync('old.txt')",
    ];
    for config in [json!({}), json!({"write": false}), json!({"write": "true"}), json!(null)] {
        let test = TestHost::start().await;
        test.file("old.txt", "old");
        let session = test.session(with_fs(config.clone())).await;
        for call in calls {
            let refused = refused(&test, session, call).await;
            assert!(refused.starts_with("'EACCES"), "{config}: {call}: {refused}");
        }
        assert_eq!(fs::read_dir(test.worktree()).unwrap().count(), 1);
    }
    let test = TestHost::start().await;
    test.file("old.txt", "old");
    let session = test.session(with_fs(json!({"write": true}))).await;
    for call in calls {
        assert_eq!(refused(&test, session, call).await, "'granted'", "{call}");
    }
    assert_eq!(fs::read_to_string(test.worktree().join("new.txt")).unwrap(), "text");
    assert_eq!(fs::read(test.worktree().join("a/b/c/bytes.bin")).unwrap(), [1, 2]);
    assert!(!test.worktree().join("old.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_capability_grants_no_writing() {
    let test = TestHost::start().await;
    let mut template = with_fs(json!({"write": true}));
    template.capabilities[0].enabled = false;
    let session = test.session(template).await;
    assert_eq!(refused(&test, session, "writeFileSync('x', 'x')").await, "'EACCES open'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_larger_than_the_memory_is_too_large() {
    let test = TestHost::start().await;
    let mut template = with_fs(json!({}));
    template.settings.limits.mem_mb = 16;
    let session = test.session(template).await;
    let large = fs::File::create(test.worktree().join("large.bin")).unwrap();
    large.set_len(17 << 20).unwrap();
    assert_eq!(refused(&test, session, "readFileSync('large.bin')").await, "'EFBIG open'");
    let finished = test.repl(session, "console.log('alive')").await;
    assert_eq!(finished.execution.status, ExecutionStatus::Ok);
    assert_eq!(console(&finished.events), ["alive"]);
}
