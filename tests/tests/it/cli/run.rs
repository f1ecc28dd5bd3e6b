//! `vm-system run`.

use crate::harness::{Daemon, Ended, Folder};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

fn run(source: &str, flags: &[&str]) -> Ended {
    Folder::with_script(source).run(&[&["run", "app.js"], flags].concat())
}

#[test]
fn output_goes_to_its_stream_by_level_and_the_value_comes_last() {
    let ended = run(
        "console.log('log'); console.info('info'); console.debug('debug');
         console.warn('warn'); console.error('error'); ({ value: [1, 'two'] })",
        &[],
    );
    assert_eq!(ended.stdout, "log\ninfo\ndebug\n{ value: [ 1, 'two' ] }\n");
    assert_eq!(ended.stderr, "warn\nerror\n");
    assert_eq!(ended.code, 0);
}

#[test]
fn an_undefined_value_prints_nothing() {
    let ended = run("void 0", &[]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""));
}

#[test]
fn output_streams_while_the_script_runs() {
    let folder = Folder::with_script("console.log('first'); for (;;);");
    let mut child = folder
        .command(&["run", "app.js", "--cpu-ms", "3600000", "--wall-ms", "3600000"])
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    assert!(child.try_wait().unwrap().is_none(), "it still runs");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn arguments_and_environment_reach_the_script_and_nothing_else_does() {
    let ended = run(
        "[__ARGS__.n + 1, process.env.K, __ENV__.K, Object.keys(process.env).length, typeof require]",
        &["--args", r#"{"n":41}"#, "--env", "K=a=b", "--env", "L="],
    );
    assert_eq!(ended.stdout, "[ 42, 'a=b', 'a=b', 2, 'function' ]\n");
}

#[test]
fn a_thrown_error_is_exit_1_with_file_and_line_on_stderr() {
    let ended =
        run("function f() {\n  throw new TypeError('no')\n}\nconsole.log('before')\nf()", &[]);
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stdout, "before\n");
    assert!(
        ended.stderr.starts_with("Uncaught TypeError: no\n    at f (app.js:2:"),
        "{}",
        ended.stderr
    );
    let ended = run("1\n)", &[]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("SyntaxError") && ended.stderr.contains("app.js:2:"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_limit_is_exit_124() {
    for (source, flags, message) in [
        ("for (;;);", ["--cpu-ms", "20"], "cpu_ms is used up"),
        ("for (;;);", ["--wall-ms", "20"], "wall_ms is used up"),
    ] {
        let ended = run(source, &flags);
        assert_eq!((ended.code, ended.stderr), (124, format!("vm-system: {message}\n")));
    }
    let ended = run("for (;;) console.log('x'.repeat(10000))", &[]);
    assert_eq!(ended.code, 124);
    assert!(ended.stderr.contains("256 KiB of output"), "{}", ended.stderr);
}

#[test]
fn memory_that_runs_out_is_an_error_the_script_may_catch() {
    let source = "const all = []; for (;;) all.push(new Uint8Array(65536))";
    let ended = run(source, &["--mem-mb", "16"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("Uncaught InternalError: out of memory"), "{}", ended.stderr);
    let caught = format!("let why; try {{ {source} }} catch (e) {{ why = e.message }} why");
    assert_eq!(run(&caught, &["--mem-mb", "16"]).stdout, "'out of memory'\n");
}

#[test]
fn bad_usage_is_exit_2_with_a_sentence() {
    for flags in [
        &["--args", "[1]"][..],
        &["--args", "{"],
        &["--env", "NOVALUE"],
        &["--mem-mb", "0"],
        &["--mem-mb", "many"],
        &["--unknown"],
        &["--template", "missing.toml"],
        &["--worktree", "missing"],
    ] {
        let ended = run("1", flags);
        assert_eq!(ended.code, 2, "{flags:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{flags:?}");
    }
    let folder = Folder::new();
    for file in ["missing.js", ".", "..", ""] {
        assert_eq!(folder.run(&["run", file]).code, 2, "{file}");
    }
    assert_eq!(folder.run(&[]).code, 2);
}

#[test]
fn json_output_is_the_execution_with_its_events() {
    let ended = run("console.log('hi'); 42", &["--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["status"], "ok");
    assert_eq!(json["kind"], "run_file");
    assert_eq!(json["result"], serde_json::json!({"type": "number", "preview": "42", "json": 42}));
    let types: Vec<_> =
        json["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["input_echo", "console", "value"]);
    let ended = run("throw 1", &["--output", "json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
}

#[test]
fn a_template_gives_limits_startup_files_modules_and_grants() {
    let folder = Folder::new();
    folder.file(
        "template.toml",
        r#"
        name = "demo"
        modules = ["fs"]
        libraries = ["greet-1.0.0"]
        settings.limits.cpu_ms = 30
        settings.runtime.strict = true

        [[startup_files]]
        path = "init.js"

        [[capabilities]]
        kind = "module"
        name = "fs"
        enabled = true
        config = { write = true }
    "#,
    );
    folder.file("libs/greet-1.0.0.js", "globalThis.greet = name => 'hello ' + name");
    folder.file("work/init.js", "console.log('startup'); var name = greet('template')");
    folder.file(
        "work/app.js",
        "require('fs').writeFileSync('out.txt', name); require('fs').readdirSync('.')",
    );
    let flags = ["--template", "template.toml", "--worktree", "work", "--library-dir", "libs"];
    let ended = folder.run(&[&["run", "app.js"], &flags[..]].concat());
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout, "startup\n[ 'app.js', 'init.js', 'out.txt' ]\n");
    assert_eq!(std::fs::read_to_string(folder.path("work/out.txt")).unwrap(), "hello template");
    folder.file("work/endless.js", "for (;;);");
    assert_eq!(folder.run(&[&["run", "endless.js"], &flags[..]].concat()).code, 124);
    folder.file("work/init.js", "throw new Error('startup')");
    let ended = folder.run(&[&["run", "app.js"], &flags[..]].concat());
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("init.js: Error: startup"), "{}", ended.stderr);
    folder.file("template.toml", "unknown_field = 1");
    assert_eq!(folder.run(&[&["run", "app.js"], &flags[..]].concat()).code, 2);
}

#[test]
fn a_script_sees_its_folder_and_nothing_above() {
    let folder = Folder::new();
    folder.file("template.toml", "modules = ['fs']");
    folder.file("secret.txt", "secret");
    folder.file("src/app.js", "const fs = require('fs'); let why; try { fs.readFileSync('../secret.txt') } catch (e) { why = e.code } [fs.readdirSync('.'), why]");
    let ended = folder.run(&["run", "src/app.js", "--template", "template.toml"]);
    assert_eq!(ended.stdout, "[ [ 'app.js' ], 'EACCES' ]\n");
}

#[test]
fn a_database_that_is_named_keeps_what_ran() {
    let folder = Folder::with_script("console.log('kept'); 1");
    for _ in 0..2 {
        assert_eq!(folder.run(&["run", "app.js", "--db", "kept.redb"]).code, 0);
    }
    let options = vm_storage::StorageOptions::default();
    let (storage, recovery) =
        vm_storage::Storage::open(&folder.path("kept.redb"), options).unwrap();
    let sessions = storage
        .sessions(
            vm_storage::TenantId::LOCAL,
            &vm_storage::SessionFilter::default(),
            vm_storage::PageRequest::first(10),
        )
        .unwrap()
        .items;
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        let first = vm_storage::PageRequest::first(10);
        let executions = storage.executions(session.id, first).unwrap().items;
        assert_eq!(storage.events(executions[0].id, 0, 10).unwrap().unwrap().len(), 3);
    }
    // Both runs closed what they opened.
    assert_eq!((recovery.sessions_crashed, recovery.executions_stopped), (0, 0));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_untouched() {
    let folder = Folder::with_script("1");
    for (name, content) in
        [("empty.redb", ""), ("text.redb", "this is no database, and stays as it is")]
    {
        folder.file(name, content);
        let ended = folder.run(&["run", "app.js", "--db", name]);
        assert_eq!(ended.code, 70, "{}", ended.stderr);
        assert!(ended.stderr.contains("is damaged"), "{}", ended.stderr);
        assert_eq!(std::fs::read_to_string(folder.path(name)).unwrap(), content);
    }
}

#[test]
fn an_interrupt_is_exit_130_and_leaves_nothing_behind() {
    let folder = Folder::with_script("console.log('begun'); for (;;);");
    let args = ["run", "app.js", "--cpu-ms", "3600000", "--wall-ms", "3600000"];
    let mut child = folder.command(&args).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let names: Vec<_> = std::fs::read_dir(folder.path(".")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn an_interrupt_is_recorded_in_a_database_that_stays() {
    let folder = Folder::with_script("console.log('begun'); for (;;);");
    let args = ["--db", "vm.redb", "run", "app.js", "--cpu-ms", "3600000", "--wall-ms", "3600000"];
    let mut child = folder.command(&args).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let daemon = Daemon::in_folder(Arc::new(folder), &["--db", "vm.redb"]);
    let sessions = daemon.get("/sessions").is(200);
    assert_eq!((sessions.as_array().unwrap().len(), &sessions[0]["status"]), (1, &json!("closed")));
    let session = sessions[0]["id"].as_str().unwrap();
    let executions = daemon.get(&format!("/executions?session_id={session}")).is(200);
    assert_eq!(executions[0]["status"], "cancelled");
}
