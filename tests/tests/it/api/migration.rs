//! Databases that older releases left, under this one.

use crate::harness::{Daemon, Folder, project};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

fn unpack(from: &Path, to: &Path) {
    let mut packed = GzDecoder::new(File::open(from).unwrap());
    io::copy(&mut packed, &mut File::create(to).unwrap()).unwrap();
}

/// A daemon on a database of the fixtures, with the guests that belong to it.
fn daemon(name: &str) -> Daemon {
    let (folder, fixtures) = (Folder::new(), project().join("fixtures/databases"));
    fs::create_dir(folder.path("libraries")).unwrap();
    fs::create_dir(folder.path("vm-system.redb.guests")).unwrap();
    unpack(&fixtures.join(name), &folder.path("vm-system.redb"));
    for guest in fs::read_dir(fixtures.join("guests")).unwrap() {
        let guest = guest.unwrap().path();
        let name = guest.file_stem().unwrap().to_str().unwrap();
        unpack(&guest, &folder.path(&format!("vm-system.redb.guests/{name}")));
    }
    Daemon::in_folder(Arc::new(folder), &[])
}

fn executions(daemon: &Daemon, session: &str) -> Vec<Value> {
    let path = format!("/executions?session_id={session}&limit=1000");
    daemon.get(&path).is(200).as_array().unwrap().clone()
}

#[test]
fn a_database_of_before_sessions_were_stored_is_taken_over() {
    const READY: &str = "01a20980-e265-7268-9926-9281df096b96";
    const CLOSED: &str = "01a20980-e267-7122-82bd-e4d0e8d941ea";
    const RUNNING: &str = "01a20980-e269-709d-872e-6196fe6fc5f8";
    let mut daemon = daemon("format-1.redb.gz");
    for _ in 0..2 {
        assert_eq!(daemon.get("/templates").is(200)[0]["name"], "format one");
        for session in [READY, CLOSED, RUNNING] {
            let found = daemon.get(&format!("/sessions/{session}")).is(200);
            assert_eq!(found["status"], "closed", "{found}");
            assert_eq!(found.get("last_error").is_some(), session != CLOSED, "{found}");
            daemon.try_repl(session, "n").refused(409, "SESSION_NOT_READY");
        }
        let ran = executions(&daemon, READY);
        let gave: Vec<_> = ran.iter().map(|execution| &execution["result"]["json"]).collect();
        assert_eq!(gave, [8, 6, 4, 2, 0]);
        let path = format!("/executions/{}/events", ran[0]["id"].as_str().unwrap());
        assert_eq!(daemon.get(&path).is(200)[1]["payload"]["text"], "line 4");
        assert_eq!(executions(&daemon, RUNNING)[0]["error"]["code"], "HOST_STOPPED");
        assert_eq!(daemon.get("/ops/stats").is(200)["storage"]["executions"], 7);
        // Again, on what the migration left.
        daemon = Daemon::in_folder(daemon.kill(), &["--verify"]);
    }
    let template = daemon.get("/templates").is(200)[0]["id"].as_str().unwrap().to_owned();
    fs::create_dir(daemon.folder.path("worktree")).unwrap();
    assert_eq!(daemon.preview(&daemon.session(&template), "1 + 1"), "2");
}

#[test]
fn the_first_sessions_that_were_stored_go_on() {
    const FEW: &str = "01a209d3-7983-7122-922f-878f0d631275";
    const MANY: &str = "01a209d3-7985-778f-bf2b-9f68a0c97fab";
    const CLOSED: &str = "01a209d3-798a-7427-b35c-cb25ecd64d51";
    const RUNNING: &str = "01a209d3-798d-7755-80d9-cd1582fa3627";
    let mut daemon = daemon("format-2.redb.gz");
    for round in 0..2 {
        assert_eq!(daemon.active_sessions(), 3);
        let seen = "[next(), box.p, map.get(next)].join()";
        assert_eq!(daemon.preview(FEW, seen), format!("'{},private,key'", round + 1));
        let many = "[all.length, all.reduce((a, b) => a + b), big.every(v => v === 7)].join()";
        assert_eq!(daemon.preview(MANY, many), "'140,9870,true'");
        assert_eq!(daemon.preview(RUNNING, "n"), "1");
        assert_eq!(executions(&daemon, MANY).len(), 143 + round);
        daemon.try_repl(CLOSED, "1").refused(409, "SESSION_NOT_READY");
        daemon = Daemon::in_folder(daemon.kill(), &[]);
    }
    assert_eq!(daemon.preview(FEW, "steps.next().value"), "'b'");
    let stopped = executions(&daemon, RUNNING);
    let codes: Vec<_> = stopped.iter().map(|execution| &execution["error"]["code"]).collect();
    assert!(codes.contains(&&json!("HOST_STOPPED")), "{codes:?}");
}
