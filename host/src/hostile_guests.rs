//! The host under guests that are not ours: `fixtures/guests` holds one WebAssembly text each, which
//! replaces some of the functions of a guest that does nothing, and says what must come of it.
//!
//! A script that breaks out of the JavaScript engine is such a guest: it can do all that these do.

use crate::{Host, HostError, HostOptions, SessionRequest, Source, test_cache_dir};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use vm_storage::{
    ExecutionErrorCode, ExecutionStatus, SessionId, SessionStatus, StartupFile, StartupFileId,
    Storage, StorageOptions, Template,
};

const IMPORTS: &str = r#"
(import "vm" "emit" (func $emit (param i32 i32 i32 i32 i32 i32)))
(import "vm" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
(import "vm" "take" (func $take (param i32 i32)))
(import "meter" "out_of_fuel" (func $out_of_fuel))
(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
"#;

/// What a guest exports, unless a fixture says otherwise.
const DEFAULTS: [(&str, &str); 10] = [
    ("_initialize", "(func (export \"_initialize\"))"),
    ("vm_begin", "(func (export \"vm_begin\") (param i64 i32))"),
    ("vm_reseed", "(func (export \"vm_reseed\") (param i64))"),
    ("vm_alloc", "(func (export \"vm_alloc\") (param i32) (result i32) (i32.const 32768))"),
    ("vm_free", "(func (export \"vm_free\") (param i32 i32))"),
    ("vm_inputs", "(func (export \"vm_inputs\") (param i32 i32 i32))"),
    (
        "vm_evaluate",
        "(func (export \"vm_evaluate\") (param i32 i32 i32 i32) (result i32) (i32.const 0))",
    ),
    (
        "vm_compile",
        "(func (export \"vm_compile\") (param i32 i32 i32 i32) (result i64) (i64.const 0x0000100000000001))",
    ),
    ("vm_run", "(func (export \"vm_run\") (param i32 i32))"),
    ("vm_drain", "(func (export \"vm_drain\") (param i32) (result i32) (i32.const 0))"),
];

/// Pages of memory that a guest begins with, unless a fixture says otherwise.
const PAGES: u32 = 1;

struct Fixture {
    name: String,
    expect: String,
    wasm: Vec<u8>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/guests");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fixture(path)).collect()
}

fn fixture(path: &Path) -> Fixture {
    let body = std::fs::read_to_string(path).unwrap();
    let header = |key: &str| {
        let prefix = format!(";; {key}: ");
        body.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    let pages = header("memory").unwrap_or_else(|| PAGES.to_string());
    let mut wat = format!("(module {IMPORTS} (memory (export \"memory\") {pages})\n{body}\n");
    for (name, function) in DEFAULTS {
        if !body.contains(&format!("\"{name}\"")) {
            writeln!(wat, "{function}").unwrap();
        }
    }
    wat.push(')');
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let wasm = wat::parse_str(&wat).unwrap_or_else(|error| panic!("{name}: {error}"));
    Fixture { expect: header("expect").unwrap(), name, wasm }
}

async fn start(wasm: Vec<u8>, folder: &Path) -> Result<Host, HostError> {
    let (storage, _) = Storage::open(&folder.join("vm.redb"), StorageOptions::default()).unwrap();
    let options = HostOptions {
        max_sessions: 2,
        max_resident: 2,
        cache_dir: Some(test_cache_dir()),
        ..HostOptions::new(folder.join("libraries"))
    };
    Host::of_guest(wasm.into(), storage, options).await
}

/// Makes a session of a template that is changed.
async fn session(
    host: &Host,
    folder: &Path,
    change: impl FnOnce(&mut Template),
) -> Result<SessionId, HostError> {
    let mut template = Template::new("hostile");
    let limits = &mut template.settings.limits;
    (limits.cpu_ms, limits.wall_ms, limits.mem_mb) = (20, 60_000, 64);
    change(&mut template);
    let request = SessionRequest {
        template_id: template.id,
        workspace_id: "hostile".to_owned(),
        base_commit_oid: "none".to_owned(),
        worktree_path: folder.display().to_string(),
    };
    host.storage().create_template(template).await.unwrap();
    host.create_session(request, None).await.map(|session| session.id)
}

/// The status and code of an execution.
async fn executed(
    host: &Host,
    session: SessionId,
) -> (ExecutionStatus, Option<ExecutionErrorCode>) {
    let source = Source::Repl { input: "1 + 1".to_owned() };
    let execution = host.execute(session, source, None).await.unwrap().execution;
    (execution.status, execution.error.and_then(|error| error.code))
}

async fn startup_code(host: &Host, folder: &Path) -> Option<ExecutionErrorCode> {
    std::fs::write(folder.join("startup.js"), "1").unwrap();
    let startup_file = StartupFile {
        id: StartupFileId::new(),
        path: "startup.js".to_owned(),
        order_index: 0,
        mode: "eval".to_owned(),
    };
    match session(host, folder, |template| template.startup_files.push(startup_file)).await {
        Err(HostError::StartupFailed { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

async fn check(Fixture { name, expect, wasm }: Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let host = start(wasm, folder).await;
    if expect == "no-host" {
        assert!(matches!(host, Err(HostError::Engine(_))), "{name}");
        return;
    }
    let host = host.unwrap_or_else(|error| panic!("{name}: {error}"));
    let (status, code) = match expect.as_str() {
        "no-session" => {
            let made = session(&host, folder, |_| {}).await;
            assert!(matches!(made, Err(HostError::Engine(_))), "{name}: {made:?}");
            assert_eq!(host.stats().live_sessions, 0, "{name}");
            return;
        }
        "startup-trapped" => {
            let code = startup_code(&host, folder).await;
            return assert_eq!(code, Some(ExecutionErrorCode::GuestTrapped), "{name}");
        }
        "startup-error" => return assert_eq!(startup_code(&host, folder).await, None, "{name}"),
        "startup-fuel" => {
            let code = startup_code(&host, folder).await;
            return assert_eq!(code, Some(ExecutionErrorCode::FuelExhausted), "{name}");
        }
        "ok" => (ExecutionStatus::Ok, None),
        "error" => (ExecutionStatus::Error, None),
        "trapped" => (ExecutionStatus::Error, Some(ExecutionErrorCode::GuestTrapped)),
        "output-limit" => (ExecutionStatus::Error, Some(ExecutionErrorCode::OutputLimitExceeded)),
        "fuel" => (ExecutionStatus::Timeout, Some(ExecutionErrorCode::FuelExhausted)),
        "wall" => (ExecutionStatus::Timeout, Some(ExecutionErrorCode::WallTimeExceeded)),
        expect => panic!("{name} expects {expect}, which is nothing"),
    };
    let wall_ms = if expect == "wall" { 50 } else { 60_000 };
    let session = session(&host, folder, |template| template.settings.limits.wall_ms = wall_ms);
    let session = session.await.unwrap_or_else(|error| panic!("{name}: {error}"));
    // The session outlives it, so the second time is as the first.
    for round in 0..2 {
        assert_eq!(executed(&host, session).await, (status, code), "{name}, round {round}");
        let record = host.session(session).await.unwrap();
        assert_eq!(record.status, SessionStatus::Ready, "{name}");
    }
    host.shutdown(std::future::ready(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_guest_harms_the_host() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 40);
    for fixture in fixtures {
        Box::pin(check(fixture)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_call_that_blocks_is_cancelled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/guests");
    let sleeps = fixture(&folder.join("evaluate-sleeps.wat"));
    let folder = tempfile::tempdir().unwrap();
    let host = start(sleeps.wasm, folder.path()).await.unwrap();
    let session = session(&host, folder.path(), |_| {}).await.unwrap();
    let (sender, begun) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let observer: crate::Observer = std::sync::Arc::new(move |event| {
        if let Some(sender) = sender.lock().unwrap().take() {
            sender.send(event.execution_id).unwrap();
        }
    });
    let running = tokio::spawn({
        let host = host.clone();
        let source = Source::Repl { input: "sleep".to_owned() };
        async move { host.execute(session, source, Some(observer)).await }
    });
    let execution = begun.await.unwrap();
    let cancelled = host.cancel_execution(execution).await.unwrap();
    assert_eq!(cancelled.status, ExecutionStatus::Cancelled);
    assert_eq!(running.await.unwrap().unwrap().execution, cancelled);
    assert_eq!(host.session(session).await.unwrap().status, SessionStatus::Ready);
}

#[test]
fn what_is_no_guest_is_refused() {
    let nothing = b"(module)".as_slice();
    let two_memories = b"(module (memory 1) (memory 1) (export \"memory\" (memory 0)))".as_slice();
    let passive = b"(module (memory (export \"memory\") 1) (data \"x\"))".as_slice();
    for wat in [nothing, two_memories, passive] {
        let wasm = wat::parse_bytes(wat).unwrap();
        assert!(vm_guest::split(&wasm).is_err(), "{}", String::from_utf8_lossy(wat));
    }
    assert!(vm_guest::split(b"\0asm, but no more").is_err());
    assert!(vm_guest::split(&[]).is_err());
}
