//! `vm-system serve` as an operator starts it.

use crate::harness::{Daemon, Folder};

#[test]
fn it_prints_one_line_and_everything_else_goes_to_stderr() {
    use std::io::Read;
    let folder = Folder::new();
    let mut child = folder.command(&["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 24];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"listening on http://127.");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(
        rest.starts_with("0.0.1:") && rest.ends_with('\n') && rest.lines().count() == 1,
        "{rest:?}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(folder.path("vm-system.redb").exists(), "the database is where none was named");
}

#[test]
fn it_listens_by_name_too() {
    let folder = Folder::new();
    let mut child = folder.command(&["serve", "--listen", "localhost:0"]).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("listening on http://"), "{line}");
}

#[test]
fn it_listens_on_this_machine_alone() {
    let folder = Folder::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let ended = folder.run(&["serve", "--listen", address]);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
        assert!(ended.stderr.contains("loopback"), "{}", ended.stderr);
    }
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let daemon = Daemon::start();
    let taken = daemon.address.to_string();
    let second = daemon.folder.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 70);
    assert!(second.stderr.contains("open elsewhere"), "{}", second.stderr);
    let other = Folder::new();
    let ended = other.run(&["serve", "--listen", &taken]);
    assert_eq!(ended.code, 70);
    assert!(ended.stderr.contains("cannot listen"), "{}", ended.stderr);
    for (args, code) in [
        (&["--db", "missing/vm.redb"][..], 70),
        (&["--worktree-root", "missing"], 2),
        (&["--log", "=["], 2),
        (&["--listen", "127.0.0.1"], 2),
        (&["--max-sessions", "0"], 2),
        (&["--max-body-kb", "999999"], 2),
        (&["--body-timeout-s", "0"], 2),
    ] {
        let ended = other.run(&[&["serve", "--listen", "127.0.0.1:0"], args].concat());
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
    }
}
