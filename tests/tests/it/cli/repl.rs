//! `vm-system repl` without a terminal; with one it is a line editor around the same loop.

use crate::harness::{Daemon, Folder};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout};

#[test]
fn piped_snippets_are_evaluated_as_they_are_complete() {
    let input =
        "let a = 1\nfunction f() {\n  return a + 1\n}\nf()\n`a${\n1}`\n\nconsole.warn('w')\n";
    let ended = Folder::new().run_with_input(&["repl"], input);
    assert_eq!(ended.stdout, "2\n'a1'\n");
    assert_eq!(ended.stderr, "w\n");
    assert_eq!(ended.code, 0);
}

#[test]
fn an_error_is_shown_and_the_session_goes_on() {
    let ended = Folder::new().run_with_input(&["repl"], "var n = 1\nmissing\n)\nn\n");
    assert_eq!(ended.stdout, "1\n");
    assert!(
        ended.stderr.contains("Uncaught ReferenceError: missing is not defined"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("Uncaught SyntaxError"), "{}", ended.stderr);
}

#[test]
fn a_limit_leaves_the_session_as_it_was() {
    let folder = Folder::new();
    folder.file("template.toml", "settings.limits.cpu_ms = 20");
    let args = ["repl", "--template", "template.toml"];
    let ended = folder.run_with_input(&args, "var n = 1\nfor (;;);\ntypeof n\n");
    assert_eq!(ended.stdout, "'number'\n");
    assert!(ended.stderr.contains("cpu_ms is used up"), "{}", ended.stderr);
}

/// Writes a snippet to a REPL's standard input that sets `n` and loops for ever, interrupts it once
/// `begun` says that it runs, and gives what was printed after that, `n` at the end.
fn interrupted(mut child: Child, begun: impl FnOnce(&mut BufReader<ChildStdout>)) -> String {
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(b"n = 2; console.log('begun'); for (;;);\n").unwrap();
    begun(&mut stdout);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    stdin.write_all(b"n\n").unwrap();
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rest
}

#[test]
fn an_interrupt_stops_the_line_and_the_session_goes_on() {
    let folder = Folder::new();
    folder.file("set.js", "var n = 1");
    folder.file(
        "template.toml",
        "startup_files = [{ path = 'set.js' }]\n\
         settings.limits = { cpu_ms = 3600000, wall_ms = 3600000 }",
    );
    let child = folder.command(&["repl", "--template", "template.toml"]).spawn().unwrap();
    let rest = interrupted(child, |stdout| {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
    });
    assert_eq!(rest, "1\n");
}

#[test]
fn an_interrupt_stops_the_line_in_the_daemon_and_the_session_goes_on() {
    let daemon = Daemon::start();
    let limits = json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000});
    let session = daemon.session(&daemon.template_with_limits(&limits));
    daemon.repl(&session, "var n = 1");
    let args = ["--server-url", &daemon.url(""), "exec", "repl", &session];
    let child = daemon.folder.command(&args).spawn().unwrap();
    let rest = interrupted(child, |_| {
        daemon.wait_until_running(&session);
    });
    assert_eq!(rest, "begun\n1\n");
    let executions = daemon.get(&format!("/executions?session_id={session}")).is(200);
    assert_eq!(executions[1]["status"], "cancelled");
    // A single snippet is stopped the same way.
    let args = ["--server-url", &daemon.url(""), "exec", "repl", &session, "for (;;);"];
    let mut child = daemon.folder.command(&args).spawn().unwrap();
    daemon.wait_until_running(&session);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(daemon.preview(&session, "n"), "1");
}

#[test]
fn an_interrupt_while_nothing_runs_ends_it() {
    let folder = Folder::new();
    let mut child = folder.command(&["repl"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"'begun'\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    // The first may come while the snippet is still being closed.
    while child.try_wait().unwrap().is_none() {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        std::thread::yield_now();
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn exit_ends_and_help_lists_the_commands() {
    let ended = Folder::new().run_with_input(&["repl"], ".help\n.exit\n1\n");
    assert!(ended.stdout.contains(".exit"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("\n1\n"), "{}", ended.stdout);
}
