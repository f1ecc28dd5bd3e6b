//! Databases that scripts use: in the session's memory, with which they are kept and rolled back, and in
//! files of the worktree, which no statement leaves.

use crate::harness::{TestHost, template, with_startup};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use vm_storage::{
    Capability, CapabilityId, CapabilityKind, EventPayload, ExecutionErrorCode, ExecutionStatus,
    SessionId, Template,
};

/// A template with the module, and capabilities of these configs.
fn with_database(configs: &[serde_json::Value]) -> Template {
    let capability = |config: &serde_json::Value| Capability {
        id: CapabilityId::new(),
        kind: CapabilityKind::Module,
        name: "database".to_owned(),
        enabled: true,
        config: config.clone(),
    };
    Template {
        modules: vec!["database".to_owned()],
        capabilities: configs.iter().map(capability).collect(),
        ..template()
    }
}

/// A template that may write files of these names.
fn with_files(files: &[&str]) -> Template {
    with_database(&[json!({"files": files, "write": true})])
}

/// What an expression gives with `db` as the module, or the code of what it throws.
async fn tried(test: &TestHost, session: SessionId, expression: &str) -> String {
    let script = format!(
        "var db = require('database'); try {{ ({expression}) }} catch (e) {{ `${{e.code}}` }}"
    );
    test.preview(session, &script).await
}

/// Configures a database of a session and runs statements in it.
async fn prepared(test: &TestHost, session: SessionId, dsn: &str, sql: &str) {
    let call = format!("db.configure('sqlite3', '{dsn}'), db.exec(`{sql}`).changes");
    let came = tried(test, session, &call).await;
    assert!(came.parse::<u64>().is_ok(), "{came}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_keep_their_types_on_the_way_there_and_back() {
    let test = TestHost::start().await;
    let session = test.session(with_database(&[])).await;
    prepared(&test, session, ":memory:", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)").await;
    for (given, back, kind) in [
        ("null", "null", "null"),
        ("undefined", "null", "null"),
        ("1", "1", "integer"),
        ("-1.5", "-1.5", "real"),
        ("2 ** 53 - 1", "9007199254740991", "integer"),
        ("1e300", "1e+300", "real"),
        ("NaN", "null", "null"),
        ("true", "1", "integer"),
        ("9223372036854775807n", "9223372036854775807n", "integer"),
        ("-9223372036854775808n", "-9223372036854775808n", "integer"),
        ("5n", "5", "integer"),
        ("'grüße \\u{1f600}'", "'grüße 😀'", "text"),
        ("'a\\0b'", "'a\\x00b'", "text"),
        ("new Uint8Array([1, 0, 255])", "Uint8Array(3) [ 1, 0, 255 ]", "blob"),
        ("new Uint8Array([9, 1, 2, 9]).subarray(1, 3)", "Uint8Array(2) [ 1, 2 ]", "blob"),
        ("new ArrayBuffer(2)", "Uint8Array(2) [ 0, 0 ]", "blob"),
    ] {
        let call = format!(
            "db.exec('DELETE FROM t'), db.exec('INSERT INTO t (v) VALUES (?)', {given}).changes"
        );
        assert_eq!(tried(&test, session, &call).await, "1", "{given}");
        let call = "db.query('SELECT v FROM t')[0].v";
        assert_eq!(tried(&test, session, call).await, back, "{given}");
        let call = "db.query('SELECT typeof(v) AS k FROM t')[0].k";
        assert_eq!(tried(&test, session, call).await, format!("'{kind}'"), "{given}");
    }
    for (call, expected) in [
        (
            "db.exec('DELETE FROM t; INSERT INTO t (v) VALUES (1), (2); UPDATE t SET v = 3')",
            "{ changes: 5, lastInsertRowid: 2 }",
        ),
        (
            "db.query('SELECT id, v AS w FROM t WHERE v = ?', 3)",
            "[ { id: 1, w: 3 }, { id: 2, w: 3 } ]",
        ),
        ("db.query('SELECT $a + @b + :c AS sum', { a: 1, b: 2, c: 3 })", "[ { sum: 6 } ]"),
        ("db.query('SELECT ? + ? AS sum', [1, 2])", "[ { sum: 3 } ]"),
        ("db.query('SELECT 1 AS a, 2 AS a')", "[ { a: 2 } ]"),
        ("db.query('SELECT 1 AS __proto__')[0].__proto__", "1"),
        ("db.query('SELECT 1 WHERE 0')", "[]"),
        ("db.query('INSERT INTO t (v) VALUES (4) RETURNING id')", "[ { id: 3 } ]"),
        ("db.query('SELECT 1;  -- and no more')", "[ { '1': 1 } ]"),
        ("db.query(\"SELECT json_extract('{\\\"a\\\": [1, 2]}', '$.a[1]') AS j\")", "[ { j: 2 } ]"),
        // What is wrong is said, and does nothing.
        ("db.exec('INSERT INTO t (v) VALUES (?)')", "'SQLITE_RANGE'"),
        ("db.exec('SELECT 1', 2)", "'SQLITE_RANGE'"),
        ("db.query('SELECT :a', { b: 1 })", "'SQLITE_RANGE'"),
        ("db.query('SELECT :a, :b', { a: 1 })", "'SQLITE_RANGE'"),
        ("db.query('SELECT 1; SELECT 2')", "'SQLITE_MISUSE'"),
        ("db.exec('DELETE FROM t; SELECT ?', 1)", "'SQLITE_MISUSE'"),
        ("db.query('')", "'SQLITE_MISUSE'"),
        ("db.exec('').changes", "0"),
        ("db.query('SELEKT')", "'SQLITE_ERROR'"),
        ("db.query('SELECT * FROM nowhere')", "'SQLITE_ERROR'"),
        ("db.exec('INSERT INTO t (id) VALUES (1)')", "'SQLITE_CONSTRAINT'"),
        ("db.query('SELECT ?', 2n ** 63n)", "'ERR_OUT_OF_RANGE'"),
        ("db.query('SELECT ?', Symbol())", "'ERR_INVALID_ARG_TYPE'"),
        ("db.query('SELECT ?, ?', {}, 1)", "'ERR_INVALID_ARG_TYPE'"),
        ("db.query(1)", "'ERR_INVALID_ARG_TYPE'"),
        ("db.configure('postgres', 'x')", "'ERR_INVALID_ARG_VALUE'"),
        ("db.query('SELECT count(*) AS n FROM t')", "[ { n: 3 } ]"),
    ] {
        assert_eq!(tried(&test, session, call).await, expected, "{call}");
    }
    let message =
        "try { require('database').exec('INSERT INTO t (id) VALUES (1)') } catch (e) { e.message }";
    assert_eq!(
        test.preview(session, message).await,
        "\"SQLITE_CONSTRAINT: UNIQUE constraint failed: t.id, exec ':memory:'\""
    );
    // Closed and configured again, it is another one; not configured, it is none.
    assert_eq!(tried(&test, session, "db.close()").await, "undefined");
    assert_eq!(tried(&test, session, "db.query('SELECT 1')").await, "'ERR_INVALID_STATE'");
    prepared(&test, session, ":memory:", "CREATE TABLE t (v)").await;
    let none = test.session(template()).await;
    let refused = test.repl(none, "require('database')").await;
    assert!(refused.execution.error.unwrap().message.contains("Invalid module"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_are_loaded_within_the_default_limits() {
    let test = TestHost::start().await;
    let session = test.session(with_files(&["data.db"])).await;
    for dsn in [":memory:", "data.db"] {
        let script = format!(
            "var db = require('database');
            db.configure('sqlite3', '{dsn}');
            db.exec('CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, score REAL)');
            db.exec('BEGIN');
            const many = 100, marks = Array(many).fill('(?, ?, ?)').join();
            for (let id = 0; id < 100000; id += many) {{
                const values = [];
                for (let i = id; i < id + many; i++) values.push(i, 'name ' + i, i / 4);
                db.exec('INSERT INTO rows VALUES ' + marks, values);
            }}
            db.exec('COMMIT');
            const [{{ n, last }}] = db.query('SELECT count(*) AS n, max(score) AS last FROM rows');
            [n, last, db.query('SELECT * FROM rows WHERE id % 1000 = 7 ORDER BY name').length]"
        );
        assert_eq!(test.preview(session, &script).await, "[ 100000, 24999.75, 100 ]", "{dsn}");
        // Each row a call of its own.
        let script =
            "db.exec('DROP TABLE rows; CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT)');
            db.exec('BEGIN');
            for (let i = 0; i < 5000; i++) db.exec('INSERT INTO rows VALUES (?, ?)', i, 'row');
            db.exec('COMMIT');
            db.query('SELECT count(*) AS n FROM rows')[0].n";
        assert_eq!(test.preview(session, script).await, "5000", "{dsn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_memory_is_kept_with_its_session_and_rolled_back_with_its_executions() {
    let mut test = TestHost::start().await;
    let mut template = with_database(&[]);
    template.settings.limits.wall_ms = 1_000;
    let session = test.session(template.clone()).await;
    prepared(&test, session, ":memory:", "CREATE TABLE t (v)").await;
    let count = "require('database').query('SELECT count(*) AS n, sum(v) AS s FROM t')[0]";
    tried(&test, session, "db.exec('INSERT INTO t VALUES (1), (2)')").await;
    assert_eq!(test.preview(session, count).await, "{ n: 2, s: 3 }");
    // One that throws leaves what it did; a transaction that is open is rolled back.
    let threw = test.repl(session, "db.exec('INSERT INTO t VALUES (4)'); throw 1").await;
    assert_eq!(threw.execution.status, ExecutionStatus::Error);
    tried(&test, session, "db.exec('BEGIN; INSERT INTO t VALUES (100)')").await;
    assert_eq!(test.preview(session, count).await, "{ n: 3, s: 7 }");
    assert_eq!(tried(&test, session, "db.exec('COMMIT')").await, "'SQLITE_ERROR'");
    // A statement that fails in its middle leaves what those before it did.
    let call = "db.exec('INSERT INTO t VALUES (8); INSERT INTO nowhere VALUES (1)')";
    assert_eq!(tried(&test, session, call).await, "'SQLITE_ERROR'");
    assert_eq!(test.preview(session, count).await, "{ n: 4, s: 15 }");
    // One that is stopped leaves nothing.
    let stopped = test.repl(session, "db.exec('INSERT INTO t VALUES (200)'); for (;;);").await;
    assert_eq!(stopped.execution.status, ExecutionStatus::Timeout);
    assert_eq!(test.preview(session, count).await, "{ n: 4, s: 15 }");
    let stopped = test.repl(session, "db.configure('sqlite3', ':memory:'); for (;;);").await;
    assert_eq!(stopped.execution.status, ExecutionStatus::Timeout);
    assert_eq!(test.preview(session, count).await, "{ n: 4, s: 15 }");
    // Large ones too, and ones that became smaller.
    let fill = "db.exec('CREATE TABLE big (b)');
        for (let i = 0; i < 5; i++) db.exec('INSERT INTO big VALUES (randomblob(1000000))');
        const sum = () => db.query('SELECT sum(length(b)) AS l, hex(substr(b, 5, 3)) AS h FROM big')[0];
        var known = sum(); known.l";
    assert_eq!(test.preview(session, fill).await, "5000000");
    let same = "JSON.stringify(db.query('SELECT sum(length(b)) AS l, hex(substr(b, 5, 3)) AS h FROM big')[0]) === JSON.stringify(known)";
    assert_eq!(test.preview(session, same).await, "true");
    test.restart().await;
    assert_eq!(test.preview(session, same).await, "true");
    assert_eq!(test.preview(session, count).await, "{ n: 4, s: 15 }");
    let shrunk = "db.exec('PRAGMA auto_vacuum'); db.exec('DROP TABLE big'); 1";
    assert_eq!(test.preview(session, shrunk).await, "1");
    assert_eq!(
        tried(&test, session, "db.query('PRAGMA integrity_check')").await,
        "[ { integrity_check: 'ok' } ]"
    );
    test.restart_with(|options| options.max_resident = 1).await;
    let other = test.another(&template).await.unwrap();
    assert_eq!(test.preview(other, "1").await, "1");
    assert_eq!(test.preview(session, count).await, "{ n: 4, s: 15 }");
    // Another session of the template has its own.
    prepared(&test, other, ":memory:", "CREATE TABLE t (v)").await;
    assert_eq!(test.preview(other, count).await, "{ n: 0, s: null }");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_end_ends_with_its_execution() {
    let test = TestHost::start().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT count(*) FROM n";
    let template_of = |wall_ms| {
        let mut template = with_files(&["app.db"]);
        template.settings.limits.wall_ms = wall_ms;
        template
    };
    for dsn in [":memory:", "app.db"] {
        let session = test.session(template_of(500)).await;
        prepared(&test, session, dsn, "CREATE TABLE IF NOT EXISTS t (v)").await;
        let since = Instant::now();
        let script = format!("db.exec('BEGIN; INSERT INTO t VALUES (1)'); db.query(`{endless}`)");
        let stopped = test.repl(session, &script).await;
        assert_eq!(stopped.execution.status, ExecutionStatus::Timeout);
        let code = stopped.execution.error.unwrap().code;
        assert_eq!(code, Some(ExecutionErrorCode::WallTimeExceeded));
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        // The session is ready, and what it had open is rolled back: others may write.
        let again = "db.query('SELECT count(*) AS n FROM t')[0].n";
        assert_eq!(tried(&test, session, again).await, "0", "{dsn}");
        assert_eq!(tried(&test, session, "db.exec('INSERT INTO t VALUES (2)').changes").await, "1");
    }
    // By a cancel, and more often than calls of a session may be under way at one time.
    let session = test.session(template_of(60_000)).await;
    prepared(&test, session, ":memory:", "CREATE TABLE t (v)").await;
    for _ in 0..6 {
        let begun =
            test.begin_until(session, &format!("console.log(1); db.query(`{endless}`)"), 2).await;
        test.host.cancel_execution(begun.id).await.unwrap();
        assert_eq!(begun.finished().await.execution.status, ExecutionStatus::Cancelled);
    }
    let mut last = String::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while last != "1" && Instant::now() < deadline {
        last = tried(&test, session, "db.query('SELECT 1 AS one')[0].one").await;
    }
    assert_eq!(last, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reaches_beyond_its_database() {
    let test = TestHost::start().await;
    let session = test.session(with_files(&["app.db"])).await;
    for dsn in [":memory:", "app.db"] {
        prepared(&test, session, dsn, "CREATE TABLE t (v); INSERT INTO t VALUES (1)").await;
        for sql in [
            "ATTACH 'other.db' AS other",
            "ATTACH ':memory:' AS other",
            "ATTACH '' AS other",
            "ATTACH 'file:/etc/passwd?mode=ro' AS other",
            "DETACH main",
            "VACUUM INTO 'copy.db'",
            "VACUUM",
            "SELECT load_extension('/tmp/x.so')",
            "SELECT fts3_tokenizer('simple')",
            "SELECT json_patch('{}', '{}')",
            "CREATE VIRTUAL TABLE x USING dbstat",
            "CREATE VIRTUAL TABLE x USING fts3(a)",
            "PRAGMA journal_mode = WAL",
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA writable_schema = ON",
            "PRAGMA temp_store = MEMORY",
            "PRAGMA temp_store_directory = '/tmp'",
            "PRAGMA data_store_directory = '/tmp'",
            "PRAGMA mmap_size = 1000000",
            "PRAGMA cache_size = 1000000",
            "PRAGMA page_size = 65536",
            "PRAGMA max_page_count = 1000000",
            "PRAGMA hard_heap_limit = 1",
            "PRAGMA soft_heap_limit = 1",
            "PRAGMA trusted_schema = ON",
            "PRAGMA threads = 4",
            "PRAGMA locking_mode = EXCLUSIVE",
            "PRAGMA wal_checkpoint",
            "PRAGMA lock_proxy_file = '/tmp/x'",
            "SELECT * FROM pragma_database_list",
        ] {
            let came = tried(&test, session, &format!("db.query(`{sql}`)")).await;
            assert_eq!(came, "'EACCES'", "{dsn}: {sql}");
        }
        for (sql, code) in [
            ("SELECT readfile('/etc/passwd')", "'SQLITE_ERROR'"),
            ("SELECT writefile('x', 'y')", "'SQLITE_ERROR'"),
            ("SELECT * FROM sqlite_dbpage", "'SQLITE_ERROR'"),
            ("UPDATE sqlite_schema SET sql = 'x'", "'SQLITE_ERROR'"),
        ] {
            assert_eq!(tried(&test, session, &format!("db.query(`{sql}`)")).await, code, "{sql}");
        }
        for sql in ["PRAGMA user_version = 7", "PRAGMA foreign_keys = OFF"] {
            assert_eq!(tried(&test, session, &format!("db.exec('{sql}').changes")).await, "0");
        }
        for (sql, expected) in [
            ("PRAGMA user_version", "[ { user_version: 7 } ]"),
            ("PRAGMA page_size", "[ { page_size: 4096 } ]"),
            ("SELECT name FROM pragma_table_info('t')", "[ { name: 'v' } ]"),
            ("PRAGMA integrity_check", "[ { integrity_check: 'ok' } ]"),
        ] {
            assert_eq!(tried(&test, session, &format!("db.query(`{sql}`)")).await, expected);
        }
    }
    let names: Vec<_> = std::fs::read_dir(test.worktree())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["app.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_that_are_granted_are_opened_and_none_outside() {
    let test = TestHost::start().await;
    let outside = test.outside().join("outside.db");
    std::fs::write(&outside, "").unwrap();
    let tree = test.worktree();
    for name in ["data", "dir.db"] {
        std::fs::create_dir(tree.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(&outside, tree.join("link.db")).unwrap();
    std::os::unix::fs::symlink(tree.join("data"), tree.join("folder")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("fifo.db"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let all = ["data", "link.db", "fifo.db", "folder", "dir.db", "new.db"];
    let session = test.session(with_files(&all)).await;
    let open = |dsn: &str| format!("db.configure('sqlite3', '{dsn}')");
    for (dsn, code) in [
        ("../outside.db", "'EACCES'"),
        ("data/../../outside.db", "'EACCES'"),
        ("/etc/passwd", "'EACCES'"),
        ("other.db", "'EACCES'"),
        ("data.db", "'EACCES'"),
        ("link.db", "'EACCES'"),
        ("folder/x.db", "'EACCES'"),
        ("fifo.db", "'EINVAL'"),
        ("dir.db", "'EISDIR'"),
        ("data/none/x.db", "'ENOENT'"),
        ("file:new.db", "'EINVAL'"),
        ("FILE:new.db?vfs=unix", "'EINVAL'"),
        ("", "'EINVAL'"),
        ("new.db-journal", "'EINVAL'"),
        ("data/x-wal", "'EINVAL'"),
        ("a\\0b", "'EINVAL'"),
        (":memory", "'EACCES'"),
        ("data/../new.db", "undefined"),
        ("/data/x.db", "undefined"),
    ] {
        assert_eq!(tried(&test, session, &open(dsn)).await, code, "{dsn}");
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"");
    prepared(&test, session, "data/x.db", "CREATE TABLE t (v); INSERT INTO t VALUES (1)").await;
    // Without a grant, or without one to write.
    let session = test.session(with_database(&[])).await;
    assert_eq!(tried(&test, session, &open("data/x.db")).await, "'EACCES'");
    let reading = json!({"files": ["data"]});
    let session = test.session(with_database(&[reading, json!({"files": "x"})])).await;
    assert_eq!(tried(&test, session, &open("data/new.db")).await, "'ENOENT'");
    assert_eq!(tried(&test, session, &open("data/x.db")).await, "undefined");
    assert_eq!(tried(&test, session, "db.query('SELECT v FROM t')").await, "[ { v: 1 } ]");
    assert_eq!(tried(&test, session, "db.exec('DELETE FROM t')").await, "'SQLITE_READONLY'");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_gives_and_a_database_holds_is_bounded() {
    let test = TestHost::start().await;
    let narrow = json!({"files": ["app.db"], "write": true, "max_rows": 10, "max_result_bytes": 1000,
        "max_file_bytes": 100_000});
    let session = test.session(with_database(&[narrow])).await;
    let numbers = |count: u32| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count}) SELECT i FROM n"
        )
    };
    for dsn in [":memory:", "app.db"] {
        prepared(&test, session, dsn, "CREATE TABLE t (v)").await;
        let rows = |count| format!("db.query(`{}`).length", numbers(count));
        assert_eq!(tried(&test, session, &rows(10)).await, "10");
        assert_eq!(tried(&test, session, &rows(11)).await, "'ENOBUFS'");
        assert_eq!(
            tried(&test, session, "db.query('SELECT zeroblob(900) AS b')[0].b.length").await,
            "900"
        );
        assert_eq!(
            tried(&test, session, "db.query('SELECT zeroblob(1000) AS b')").await,
            "'ENOBUFS'"
        );
        assert_eq!(
            tried(&test, session, "db.query('SELECT zeroblob(5000000) AS b')").await,
            "'SQLITE_TOOBIG'"
        );
    }
    let call = "db.exec('INSERT INTO t VALUES (zeroblob(200000))')";
    assert_eq!(tried(&test, session, call).await, "'SQLITE_FULL'");
    assert!(std::fs::metadata(test.worktree().join("app.db")).unwrap().len() <= 100_000);
    // By default: 16 MiB of rows, and of a database in memory, which stays as it was.
    let session = test.session(with_database(&[])).await;
    prepared(&test, session, ":memory:", "CREATE TABLE t (v)").await;
    let call = "db.query(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(1000000) FROM n`)";
    assert_eq!(tried(&test, session, call).await, "'ENOBUFS'");
    let fill = "(() => { for (let i = 0; ; i++) try { db.exec('INSERT INTO t VALUES (zeroblob(1000000))') } catch (e) { return [i, e.code] } })()";
    assert_eq!(tried(&test, session, fill).await, "[ 16, 'SQLITE_FULL' ]");
    assert_eq!(tried(&test, session, "db.query('SELECT count(*) AS n FROM t')[0].n").await, "16");
    assert_eq!(tried(&test, session, "db.exec('DELETE FROM t').changes").await, "16");
    // What is sorted, or put aside, is bounded too.
    for sql in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, hex(randomblob(500)) AS r FROM n ORDER BY r",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT count(DISTINCT i || hex(zeroblob(500))) FROM n",
    ] {
        assert_eq!(
            tried(&test, session, &format!("db.query(`{sql}`)")).await,
            "'SQLITE_FULL'",
            "{sql}"
        );
    }
    let mut small = with_database(&[]);
    small.settings.limits.mem_mb = 16;
    let session = test.session(small).await;
    prepared(&test, session, ":memory:", "CREATE TABLE t (v)").await;
    assert_eq!(tried(&test, session, fill).await, "[ 4, 'SQLITE_FULL' ]");
    assert_eq!(tried(&test, session, "db.query('SELECT count(*) AS n FROM t')[0].n").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_share_a_file_wait_for_each_other() {
    let test = TestHost::start().await;
    let mut template = with_files(&["app.db"]);
    // However slow the machine is, what waits has more time than what it waits for has fuel.
    (template.settings.limits.cpu_ms, template.settings.limits.wall_ms) = (500, 30_000);
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    prepared(&test, first, "app.db", "CREATE TABLE t (v)").await;
    prepared(&test, second, "app.db", "INSERT INTO t VALUES (1)").await;
    assert_eq!(tried(&test, first, "db.query('SELECT v FROM t')").await, "[ { v: 1 } ]");
    // A transaction that is open keeps others from writing, not from reading.
    let held = test
        .begin_until(
            first,
            "db.exec('BEGIN IMMEDIATE; INSERT INTO t VALUES (2)'); console.log(1); for (;;);",
            2,
        )
        .await;
    assert_eq!(tried(&test, second, "db.query('SELECT v FROM t')").await, "[ { v: 1 } ]");
    // It ends by its fuel, and the other goes on.
    assert_eq!(tried(&test, second, "db.exec('INSERT INTO t VALUES (3)').changes").await, "1");
    assert_eq!(held.finished().await.execution.status, ExecutionStatus::Timeout);
    assert_eq!(tried(&test, first, "db.query('SELECT v FROM t')").await, "[ { v: 1 }, { v: 3 } ]");
    // Many writers: nothing is lost.
    let script = "for (let i = 0; i < 50; i++) db.exec('INSERT INTO t VALUES (9)'); 0";
    let (one, two) = tokio::join!(test.preview(first, script), test.preview(second, script));
    assert_eq!((one.as_str(), two.as_str()), ("0", "0"));
    assert_eq!(tried(&test, first, "db.query('SELECT count(*) AS n FROM t')[0].n").await, "102");
}

/// Copies the files of a folder.
fn copied(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_journal_is_neither_played_back_nor_touched() {
    let test = TestHost::start().await;
    let session = test.session(with_files(&["app.db"])).await;
    prepared(&test, session, "app.db", "CREATE TABLE t (v); INSERT INTO t VALUES (1)").await;
    let refused = |name: &'static str, content: &'static [u8], code: &'static str| {
        let (test, path) = (&test, test.worktree().join(name));
        async move {
            std::fs::write(&path, content).unwrap();
            assert_eq!(
                tried(test, session, "db.configure('sqlite3', 'app.db')").await,
                code,
                "{name}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), content, "{name}");
            std::fs::remove_file(&path).unwrap();
        }
    };
    refused("app.db-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and so on", "'EACCES'").await;
    refused("app.db-journal", b"anything", "'EACCES'").await;
    refused("app.db-wal", b"anything", "'ENOTSUP'").await;
    std::os::unix::fs::symlink("nowhere", test.worktree().join("app.db-journal")).unwrap();
    assert_eq!(tried(&test, session, "db.configure('sqlite3', 'app.db')").await, "'EACCES'");
    std::fs::remove_file(test.worktree().join("app.db-journal")).unwrap();
    prepared(&test, session, "app.db", "INSERT INTO t VALUES (2)").await;
    // One that comes while the database is open.
    let script =
        "db.exec('BEGIN'); db.query('SELECT * FROM t'); db.exec('ROLLBACK'); console.log(1);
        const until = Date.now() + 300; while (Date.now() < until);
        try { db.query('SELECT * FROM t') } catch (e) { e.code }";
    let begun = test.begin_until(session, script, 2).await;
    std::fs::write(test.worktree().join("app.db-journal"), "anything").unwrap();
    let came = begun.finished().await.execution.result.unwrap().preview;
    assert_eq!(came, "'SQLITE_IOERR'");
    assert_eq!(std::fs::read(test.worktree().join("app.db-journal")).unwrap(), b"anything");
    std::fs::remove_file(test.worktree().join("app.db-journal")).unwrap();
    // A database of another mode, and what is no database.
    let mut bytes = std::fs::read(test.worktree().join("app.db")).unwrap();
    bytes[18..20].fill(2);
    std::fs::write(test.worktree().join("app.db"), &bytes).unwrap();
    assert_eq!(tried(&test, session, "db.configure('sqlite3', 'app.db')").await, "'ENOTSUP'");
    std::fs::write(test.worktree().join("app.db"), "x".repeat(5000)).unwrap();
    assert_eq!(
        tried(&test, session, "(db.configure('sqlite3', 'app.db'), db.query('SELECT * FROM t'))")
            .await,
        "'SQLITE_NOTADB'"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_host_died_is_rolled_back_by_the_next() {
    let test = TestHost::start().await;
    let session = test.session(with_files(&["app.db"])).await;
    prepared(&test, session, "app.db", "CREATE TABLE t (v); INSERT INTO t VALUES ('kept')").await;
    let before = std::fs::read(test.worktree().join("app.db")).unwrap();
    // More than the cache holds, so that the database is written before the transaction is over.
    let script = "db.exec('BEGIN'); db.exec(\"UPDATE t SET v = 'lost'\");
        for (let i = 0; i < 6; i++) db.exec('INSERT INTO t VALUES (randomblob(1000000))');
        console.log(1); for (;;);";
    let begun = test.begin_until(session, script, 2).await;
    let journal = test.worktree().join("app.db-journal");
    assert!(std::fs::metadata(&journal).unwrap().len() > 512);
    let middle = std::fs::read(test.worktree().join("app.db")).unwrap();
    assert_ne!(middle, before);
    let hot = std::fs::read(&journal).unwrap();
    let same = test.outside().join("journal");
    std::fs::hard_link(&journal, &same).unwrap();
    // A copy of all is what a killed host would leave, but for the mark that no copy has: it is refused.
    let copy = tempfile::tempdir().unwrap();
    copied(&test.worktree(), copy.path());
    begun.finished().await;
    let other = test
        .another_in(&with_stored(&test, with_files(&["app.db"])).await, copy.path())
        .await
        .unwrap();
    assert_eq!(tried(&test, other, "db.configure('sqlite3', 'app.db')").await, "'EACCES'");
    // The rest of the work was undone here, without a journal left.
    assert_eq!(tried(&test, session, "db.query('SELECT v FROM t')").await, "[ { v: 'kept' } ]");
    assert!(!journal.exists());
    // The files themselves, as the killed host would leave them: the next to open plays the journal back.
    std::fs::write(test.worktree().join("app.db"), &middle).unwrap();
    std::fs::write(&same, &hot).unwrap();
    std::fs::rename(&same, &journal).unwrap();
    let third = test.another(&with_stored(&test, with_files(&["app.db"])).await).await.unwrap();
    assert_eq!(
        tried(&test, third, "(db.configure('sqlite3', 'app.db'), db.query('SELECT v FROM t'))")
            .await,
        "[ { v: 'kept' } ]"
    );
    assert!(!journal.exists());
    assert_eq!(
        tried(&test, third, "db.query('PRAGMA integrity_check')").await,
        "[ { integrity_check: 'ok' } ]"
    );
}

/// A template that the store has.
async fn with_stored(test: &TestHost, template: Template) -> Template {
    test.host.storage().create_template(template.clone()).await.unwrap();
    template
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_file_gets_an_error_and_nothing_else() {
    let test = TestHost::start().await;
    let session = test.session(with_files(&["app.db"])).await;
    let schema = "CREATE TABLE t (v, w AS (load_extension('x')));
        CREATE TABLE u (v); INSERT INTO u VALUES (1);
        CREATE VIEW v AS SELECT * FROM u;
        CREATE TRIGGER r AFTER INSERT ON u BEGIN DELETE FROM u; END";
    assert_eq!(
        tried(&test, session, &format!("(db.configure('sqlite3', 'app.db'), db.exec(`{schema}`))"))
            .await,
        "'EACCES'"
    );
    prepared(
        &test,
        session,
        "app.db",
        "CREATE TABLE u (v); CREATE INDEX i ON u (v);
        CREATE VIEW w AS SELECT replace(v, 'XXXXXXXX', 'y') AS a FROM u",
    )
    .await;
    let path = test.worktree().join("app.db");
    let sound = std::fs::read(&path).unwrap();
    // The schema says what no statement of a script could: the view loads code.
    let at = sound.windows(7).position(|window| window == b"replace").unwrap();
    let mut bytes = sound.clone();
    let evil = b"load_extension('x')           ";
    let end = sound[at..].iter().position(|byte| *byte == b')').unwrap() + 1;
    bytes[at..at + end].fill(b' ');
    bytes[at..at + evil.len().min(end)].copy_from_slice(&evil[..evil.len().min(end)]);
    std::fs::write(&path, &bytes).unwrap();
    let call = "db.configure('sqlite3', 'app.db');
        try { db.query('SELECT * FROM w') } catch (e) { e.message }";
    let said = test.preview(session, call).await;
    assert!(said.contains("EACCES"), "{said}");
    // Any bytes at all.
    let mut seed = 1_u32;
    for round in 0..60 {
        let mut bytes = sound.clone();
        for _ in 0..20 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 8) as usize % bytes.len();
            bytes[at] = seed.to_le_bytes()[3];
        }
        std::fs::write(&path, &bytes).unwrap();
        let call = "(db.configure('sqlite3', 'app.db'), db.query('SELECT * FROM u, w'), db.exec('INSERT INTO u VALUES (1)'), db.query('PRAGMA integrity_check'), 1)";
        let came = tried(&test, session, call).await;
        assert!(
            came == "1" || came.starts_with("'SQLITE_") || came.starts_with("'E"),
            "{round}: {came}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_count_and_are_told_without_their_parameters() {
    let test = TestHost::start().await;
    let mut template = with_database(&[]);
    template.settings.runtime.audit = true;
    let session = test.session(template).await;
    prepared(&test, session, ":memory:", "CREATE TABLE t (v)").await;
    let finished = test
        .repl(session, "db.exec('INSERT INTO t VALUES (?) -- and a comment that goes on and on and on and on and on', 'secret')")
        .await;
    assert!(finished.execution.metrics.host.calls >= 2);
    assert!(finished.execution.metrics.host.bytes_out > 4096);
    let told: Vec<_> = finished
        .events
        .iter()
        .filter_map(|event| match &event.payload {
            EventPayload::System { message, .. } => Some(message.clone()),
            _ => None,
        })
        .collect();
    let statement = told.iter().find(|message| message.contains("database exec")).unwrap();
    assert!(statement.contains("':memory: INSERT INTO t VALUES (?)"), "{statement}");
    assert!(statement.len() < 200, "{statement}");
    assert!(told.iter().all(|message| !message.contains("secret")), "{told:?}");
    assert!(told.iter().any(|message| message.contains("database keep")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_that_fills_a_database_runs_in_each_session() {
    let test = TestHost::start().await;
    test.file(
        "init.js",
        "var db = require('database'); db.configure('sqlite3', ':memory:');
         db.exec('CREATE TABLE t AS SELECT hex(randomblob(8)) AS r')",
    );
    let mut template = with_database(&[]);
    template.startup_files = with_startup(&[("init.js", 1)]).startup_files;
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    let drawn = "db.query('SELECT r FROM t')[0].r";
    assert_ne!(test.preview(first, drawn).await, test.preview(second, drawn).await);
}
