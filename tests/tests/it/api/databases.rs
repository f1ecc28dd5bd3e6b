//! Databases of sessions, over HTTP: what is there after the daemon was killed.

use crate::harness::Daemon;
use serde_json::json;

#[test]
fn what_was_answered_is_in_the_file_and_in_memory_after_a_kill() {
    let mut daemon = Daemon::start();
    let template = daemon.template();
    let path = format!("/templates/{template}");
    daemon.post(&format!("{path}/modules"), json!({"name": "database"})).is(201);
    let files = json!({"kind": "module", "name": "database", "enabled": true, "config": {"files": ["app.db"], "write": true}});
    daemon.post(&format!("{path}/capabilities"), files).is(201);
    let begun = |file: &str| {
        let session = daemon.session(&template);
        let script = format!(
            "var db = require('database'), last = 0; db.configure('sqlite3', '{file}');
             db.exec('CREATE TABLE t (n INTEGER PRIMARY KEY)').changes"
        );
        assert_eq!(daemon.preview(&session, &script), "0");
        session
    };
    let sessions = [begun("app.db"), begun(":memory:")];
    for round in 1..=3 {
        for session in &sessions {
            for _ in 0..10 {
                daemon.preview(session, "db.exec('INSERT INTO t VALUES (?)', ++last).changes");
            }
        }
        let endless = "console.log('begun'); for (;;) db.exec(
            `BEGIN; INSERT OR REPLACE INTO t VALUES (-1); INSERT OR REPLACE INTO t VALUES (-2); COMMIT`)";
        for session in &sessions {
            let begun = daemon.begin(session, endless);
            let id = begun["id"].as_str().unwrap();
            daemon.get(&format!("/executions/{id}/events?after_seq=1&wait=60s")).is(200);
        }
        daemon.signal(rustix::process::Signal::KILL);
        daemon = Daemon::in_folder(daemon.kill(), &["--verify"]);
        for (session, keeps_part) in sessions.iter().zip([true, false]) {
            let seen =
                "const [{ ok }] = db.query('SELECT count(*) = max(n) AS ok FROM t WHERE n > 0');
                const [{ left }] = db.query('SELECT count(*) AS left FROM t WHERE n < 0');
                [ok, last, left, db.query('PRAGMA integrity_check')[0].integrity_check].join()";
            let seen = daemon.preview(session, seen);
            // Both rows of a transaction, or none; of what was in memory, none.
            let all = |left: u32| format!("'1,{},{left},ok'", 10 * round);
            let fits = seen == all(0) || (keeps_part && seen == all(2));
            assert!(fits, "round {round}: {seen}");
        }
    }
}
