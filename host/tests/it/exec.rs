//! Programs that scripts run: only those that the host and the template allow, and none outlives the
//! execution that ran it.

use crate::harness::{TestHost, template};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use vm_host::{Host, HostError, HostOptions, ProgramError};
use vm_storage::{
    Capability, CapabilityId, CapabilityKind, ExecutionErrorCode, SessionId, Storage,
    StorageOptions, Template,
};

/// A host that allows some programs.
async fn allowing(programs: &[&str]) -> TestHost {
    let programs = programs.iter().map(|&name| name.to_owned()).collect();
    TestHost::with(|options| options.allowed_programs = programs).await
}

/// A template with the module, and capabilities of these configs.
fn with_exec(configs: &[serde_json::Value]) -> Template {
    let capability = |config: &serde_json::Value| Capability {
        id: CapabilityId::new(),
        kind: CapabilityKind::Module,
        name: "exec".to_owned(),
        enabled: true,
        config: config.clone(),
    };
    Template {
        modules: vec!["exec".to_owned()],
        capabilities: configs.iter().map(capability).collect(),
        ..template()
    }
}

/// What a program gives, or the code and text of what it throws.
async fn tried(test: &TestHost, session: SessionId, call: &str) -> String {
    let script =
        format!("try {{ require('exec').run({call}) }} catch (e) {{ [e.code, e.message] }}");
    test.preview(session, &script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_in_the_worktree_with_a_clean_environment_and_no_shell() {
    let test = allowing(&["echo", "pwd", "env", "cat", "ls", "/bin/sh"]).await;
    test.file("data.txt", "in the worktree");
    let session = test.session(with_exec(&[])).await;
    for (call, expected) in [
        ("'echo', ['a  b', '$HOME', '*', '; ls', 'grüße']", "'a  b $HOME * ; ls grüße\\n'"),
        ("'echo'", "'\\n'"),
        ("'cat', ['data.txt']", "'in the worktree'"),
        ("'ls'", "'data.txt\\n'"),
        // Nothing of the host's own environment, and nothing to read.
        ("'env'", "'LANG=C.UTF-8\\nPATH=/usr/local/bin:/usr/bin:/bin\\n'"),
        ("'cat'", "''"),
        ("'/bin/sh', ['-c', 'echo by path']", "'by path\\n'"),
        ("'sh', ['-c', 'echo by name']", "'by name\\n'"),
    ] {
        assert_eq!(tried(&test, session, call).await, expected, "{call}");
    }
    let folder = test.worktree().canonicalize().unwrap().display().to_string();
    assert_eq!(
        tried(&test, session, "'/bin/sh', ['-c', 'pwd -P']").await,
        format!("'{folder}\\n'")
    );
    let failed = "try { require('exec').run('sh', ['-c', 'echo out; echo err >&2; exit 3']) }
        catch (e) { [e.status, e.signal, e.stdout, e.stderr, e.message, e.code] }";
    assert_eq!(
        test.preview(session, failed).await,
        "[ 3, null, 'out\\n', 'err\\n', 'sh exited with 3: err', 'ERR_EXIT' ]"
    );
    let killed = "try { require('exec').run('sh', ['-c', 'kill -9 $$']) }
        catch (e) { [e.status, e.signal] }";
    assert_eq!(test.preview(session, killed).await, "[ null, 9 ]");
    let wrong = "[[1], ['a\\0b'], 'text'].map(args => {
        try { require('exec').run('echo', args) } catch (e) { return e.name } })";
    assert_eq!(test.preview(session, wrong).await, "[ 'TypeError', 'TypeError', 'TypeError' ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_or_the_template_does_not_allow_is_not_run() {
    let refused = |name: &str, reason: &str| {
        format!(
            "[\n  'EACCES',\n  \"EACCES: the program '{name}' is not allowed: {reason}, spawn '{name}'\"\n]"
        )
    };
    let host_says = "the host does not allow it (serve --allow-exec)";
    let template_says = "the template does not allow it";
    let none = TestHost::start().await;
    let session = none.session(with_exec(&[])).await;
    assert_eq!(tried(&none, session, "'echo'").await, refused("echo", host_says));

    let test = allowing(&["echo", "cat", "ls"]).await;
    let session = test.session(with_exec(&[])).await;
    for name in ["pwd", "/bin/cat", "./cat", "../../bin/cat", ""] {
        assert_eq!(tried(&test, session, &format!("'{name}'")).await, refused(name, host_says));
    }
    // A file of the worktree is no program, whatever it is called.
    test.file("echo", "#!/bin/sh\necho mine");
    assert_eq!(tried(&test, session, "'echo', ['theirs']").await, "'theirs\\n'");

    let both = [json!({"programs": ["echo", "ls", "pwd"]}), json!({"programs": ["echo", "cat"]})];
    let session = test.session(with_exec(&both)).await;
    assert_eq!(tried(&test, session, "'echo'").await, "'\\n'");
    for name in ["cat", "ls", "pwd"] {
        assert_eq!(tried(&test, session, &format!("'{name}'")).await, refused(name, template_says));
    }
    // A config that does not fit grants nothing, and without the module there is none to call.
    let session = test.session(with_exec(&[json!({"programs": "echo"})])).await;
    assert_eq!(tried(&test, session, "'echo'").await, refused("echo", template_says));
    let session = test.session(template()).await;
    assert!(tried(&test, session, "'echo'").await.contains("Invalid module"));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_bounded() {
    let test = allowing(&["sh"]).await;
    let session = test.session(with_exec(&[json!({"max_output_bytes": 1000})])).await;
    let zeros = |count: usize, to: &str| {
        format!("'sh', ['-c', 'head -c {count} /dev/zero | tr \"\\\\0\" x {to}']")
    };
    let script = format!("require('exec').run({}).length", zeros(1000, ""));
    assert_eq!(test.preview(session, &script).await, "1000");
    for to in ["", ">&2"] {
        // More than a pipe holds: the program would wait for ever to write the rest.
        for count in [1001, 10_000_000] {
            let refused = tried(&test, session, &zeros(count, to)).await;
            assert!(refused.contains("'ENOBUFS'"), "{count} {to}: {refused}");
        }
    }
}

/// Waits until no process of a number is left; a zombie is none.
async fn gone(process: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let stat = format!("/proc/{process}/stat");
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "{process} still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn written(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "{} is not written", path.display()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_those_it_started_end_with_the_execution() {
    let script = "require('exec').run('sh', ['-c', 'sleep 1000 & echo $! > pid; wait'])";
    // By the deadline of the execution.
    let test = allowing(&["sh"]).await;
    let mut template = with_exec(&[]);
    template.settings.limits.wall_ms = 1_000;
    let session = test.session(template).await;
    let finished = test.repl(session, script).await;
    let code = finished.execution.error.unwrap().code;
    assert_eq!(code, Some(ExecutionErrorCode::WallTimeExceeded));
    gone(&written(&test.worktree().join("pid")).await).await;
    // By a cancel.
    std::fs::remove_file(test.worktree().join("pid")).unwrap();
    let session = test.session(with_exec(&[])).await;
    let begun = test.begin(session, script).await;
    let process = written(&test.worktree().join("pid")).await;
    test.host.cancel_execution(begun.id).await.unwrap();
    begun.finished().await;
    gone(&process).await;
    // By its own limit of time, and the session goes on.
    std::fs::remove_file(test.worktree().join("pid")).unwrap();
    let session = test.session(with_exec(&[json!({"timeout_ms": 200})])).await;
    let call = "'sh', ['-c', 'sleep 1000 & echo $! > pid; wait']";
    assert!(tried(&test, session, call).await.contains("'ETIMEDOUT'"));
    gone(&written(&test.worktree().join("pid")).await).await;
    // What it left in the background is killed when it ends, and is not waited for.
    std::fs::remove_file(test.worktree().join("pid")).unwrap();
    let call = "'sh', ['-c', 'sleep 1000 & echo $! > pid; echo done']";
    assert_eq!(tried(&test, session, call).await, "'done\\n'");
    gone(&written(&test.worktree().join("pid")).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_that_ran_a_program_is_run_in_each_session() {
    let test = allowing(&["sh"]).await;
    test.file("init.js", "var n = require('exec').run('sh', ['-c', 'echo >> ran; wc -l < ran'])");
    let mut template = with_exec(&[]);
    template.startup_files = crate::harness::with_startup(&[("init.js", 1)]).startup_files;
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    assert_eq!(test.preview(first, "n.trim()").await, "'1'");
    assert_eq!(test.preview(second, "n.trim()").await, "'2'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_does_not_start_with_a_program_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "no program").unwrap();
    let file = folder.path().join("file").display().to_string();
    let wrong = ["no-such-program", "./sh", "bin/sh", "/no/such", "/", file.as_str(), ""];
    for (index, name) in wrong.into_iter().enumerate() {
        let db = folder.path().join(format!("{index}.redb"));
        let (storage, _) = Storage::open(&db, StorageOptions::default()).unwrap();
        let options = HostOptions {
            allowed_programs: vec![name.to_owned()],
            ..HostOptions::new(folder.path().join("libraries"))
        };
        let refused = Host::start(storage, options).await.err();
        let Some(HostError::Program(ProgramError::NotFound { name: said, .. })) = refused else {
            panic!("{name}: {refused:?}");
        };
        assert_eq!(said, name);
    }
}
