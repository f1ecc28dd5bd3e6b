//! The corpus of hostile scripts, `fixtures/hostile`: each says what must come of it, and whatever
//! that is, its session still holds what it held before, and a neighbour is answered.

use crate::harness::Daemon;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Scripts that run at one time.
const THREADS: usize = 4;

/// What a script's first lines say.
struct Script {
    name: String,
    source: String,
    headers: BTreeMap<String, String>,
}

impl Script {
    fn read(path: &Path) -> Self {
        let source = std::fs::read_to_string(path).unwrap();
        let header = |line: &str| {
            let (key, value) = line.strip_prefix("// ")?.split_once(": ")?;
            Some((key.to_owned(), value.to_owned()))
        };
        let headers = source.lines().map_while(header).collect();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Self { name, source, headers }
    }

    fn header(&self, key: &str) -> Option<&str> {
        self.headers.get(key).map(String::as_str)
    }
}

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/hostile");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Script::read(path)).collect()
}

/// What is wrong with what came of a script, if anything.
fn wrong(script: &Script, status: u16, body: &Value) -> Option<String> {
    let expect = script.header("expect").expect("every script says what it expects");
    let code = &body["error"]["code"];
    let sound = match expect {
        "ok" => {
            let preview = script.header("preview");
            status == 201
                && body["status"] == "ok"
                && body["result"]["preview"].is_string()
                && preview.is_none_or(|preview| body["result"]["preview"] == preview)
        }
        "error" => {
            let message = body["error"]["message"].as_str().unwrap_or_default();
            status == 201
                && body["status"] == "error"
                && code.is_null()
                && message.contains(script.header("message").expect("an error says which"))
        }
        "timeout" => {
            status == 201
                && body["status"] == "timeout"
                && code == script.header("code").expect("a timeout says which")
        }
        // Memory ran out where the engine cannot say so: the session goes back to where it was.
        "trapped" => status == 201 && body["status"] == "error" && code == "GUEST_TRAPPED",
        "output-limit" => status == 422 && code == "OUTPUT_LIMIT_EXCEEDED",
        other => panic!("{} expects {other}, which is nothing", script.name),
    };
    let shown = || {
        let brief =
            json!({"status": body["status"], "error": body["error"], "result": body["result"]});
        let mut text = brief.to_string();
        text.truncate(text.floor_char_boundary(400));
        text
    };
    (!sound).then(|| format!("{}: {status} {}", script.name, shown()))
}

/// Runs one script in a session of its own. Gives all that is wrong.
fn run(daemon: &Daemon, template: &str, script: &Script, neighbour: &Mutex<String>) -> Vec<String> {
    let mut found = Vec::new();
    let session = daemon.session(template);
    daemon.repl(&session, "globalThis.kept = { n: 41, inner: [1, 2, 3] }");
    let reply = daemon.try_run_file(&session, &script.name);
    found.extend(wrong(script, reply.status, &reply.body));
    // Nothing that a script may have replaced is asked for.
    for (input, preview) in
        [("kept.n + 1", "42"), ("kept", "{ n: 41, inner: [ 1, 2, 3 ] }"), ("1 + 41", "42")]
    {
        let reply = daemon.try_repl(&session, input);
        if reply.body["result"]["preview"] != preview {
            found.push(format!("{}: after it {input} gives {}", script.name, reply.body));
        }
    }
    let reply = daemon.try_repl(&session, "null.missing");
    if !reply.body["error"]["message"].as_str().is_some_and(|said| said.contains("missing")) {
        found.push(format!("{}: after it an error is {}", script.name, reply.body));
    }
    daemon.delete(&format!("/sessions/{session}")).is(200);
    let neighbour = neighbour.lock().unwrap();
    if daemon.preview(&neighbour, "held") != "'held'" {
        found.push(format!("{}: a neighbour lost its state", script.name));
    }
    found
}

#[test]
fn every_script_of_the_corpus_gets_what_it_says_and_harms_nobody() {
    let scripts = scripts();
    assert!(scripts.len() >= 80, "{}", scripts.len());
    let daemon = Daemon::start();
    for script in &scripts {
        daemon.folder.file(&format!("worktree/{}", script.name), &script.source);
    }
    let template = daemon.template_with_limits(&json!({
        "cpu_ms": 500, "wall_ms": 30_000, "mem_mb": 64, "max_events": 200, "max_output_kb": 64,
    }));
    let neighbour = daemon.any_session();
    daemon.repl(&neighbour, "var held = 'held'");
    let neighbour = Mutex::new(neighbour);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(script) = scripts.get(index) else { break };
                    let wrong = run(&daemon, &template, script, &neighbour);
                    found.lock().unwrap().extend(wrong);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), scripts.len(), found.join("\n"));
    assert_eq!(daemon.active_sessions(), 1);
}
