//! A real process, really killed: what it was told is there, and nothing is half there.
//!
//! The child is this test binary run again with one test and a variable that says where. It writes
//! on its output what was acknowledged; the parent kills it after a random number of lines, at
//! whatever moment that is.

use crate::harness::{
    Place, all_sessions, commit, event, events_of, executions_of, running, session, template,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use vm_storage::{
    EventPayload, ExecutionCommit, ExecutionErrorCode, ExecutionId, ExecutionStatus, KvCommit,
    KvReads, SessionId, SessionStatus, Storage, StorageOptions,
};

const FOLDER: &str = "VM_STORAGE_KILL_TEST";
const ROUNDS: u64 = 6;
const WRITERS: usize = 4;
const SIGKILL: i32 = 9;

/// What the child was told of one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Running,
    Over,
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let place = Place::new();
    let mut told = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = start_child(&place);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A different number in each round; the moment after the last line is chance enough.
        for (number, line) in lines.enumerate() {
            read_line(&mut told, &line.unwrap());
            if number as u64 == 30 + round * 17 {
                child.kill().unwrap(); // SIGKILL; what is still in the pipe is read below.
            }
        }
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {status}");
        check(&place, &told, round);
    }
    assert!(told.len() > 100, "{} executions", told.len());
}

fn start_child(place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_child_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lines are `<execution> <Told>`; the test runner's own are passed over, as is one cut short.
fn read_line(told: &mut BTreeMap<ExecutionId, Told>, line: &str) {
    let mut words = line.split_whitespace();
    let (Some(id), Some(state)) = (words.next(), words.next()) else {
        return;
    };
    let Ok(id) = id.parse() else { return };
    let state = match state {
        "Running" => Told::Running,
        "Over" => Told::Over,
        _ => return,
    };
    told.insert(id, state);
}

fn check(place: &Place, told: &BTreeMap<ExecutionId, Told>, round: u64) {
    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery.sessions_crashed, 0, "none was starting");
    assert!(recovery.executions_stopped <= WRITERS as u64, "{recovery:?}");
    for (id, state) in told {
        let execution = storage.execution(*id).unwrap().expect("it was acknowledged");
        let stopped = execution
            .error
            .is_some_and(|error| error.code == Some(ExecutionErrorCode::HostStopped));
        assert_eq!(execution.status == ExecutionStatus::Error, stopped);
        assert!(stopped || execution.status == ExecutionStatus::Ok);
        assert!(*state == Told::Running || !stopped, "acknowledged as over");
        // Its key is there exactly when its end is.
        let key = storage.kv_get("w", &id.to_string(), &mut KvReads::default()).unwrap();
        assert_eq!(key.is_some(), !stopped);
    }
    let sessions = all_sessions(&storage);
    assert_eq!(sessions.len() as u64, round + 1);
    assert_eq!(storage.live_session_count().unwrap(), round + 1);
    assert!(sessions.iter().all(|session| session.status == SessionStatus::Ready));
    let all: Vec<ExecutionId> =
        sessions.iter().flat_map(|session| whole_executions(&storage, session.id)).collect();
    assert!(told.keys().all(|id| all.contains(id)));
    // The next child needs the lock.
    runtime().block_on(storage.shutdown()).unwrap();
}

/// The executions of a session, each found to be whole: 2 events with the first commit, 2 with
/// the second or the host's one in their place.
fn whole_executions(storage: &Storage, session: SessionId) -> Vec<ExecutionId> {
    let executions = executions_of(storage, session, 1_000);
    for execution in &executions {
        let events = events_of(storage, execution.id, 0);
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        let is_system = matches!(events.last().unwrap().payload, EventPayload::System { .. });
        match execution.status {
            ExecutionStatus::Ok => assert_eq!((seqs.len(), is_system), (4, false)),
            ExecutionStatus::Error => assert_eq!((seqs.len(), is_system), (3, true)),
            ExecutionStatus::Running | ExecutionStatus::Timeout | ExecutionStatus::Cancelled => {
                panic!("left {:?}", execution.status)
            }
        }
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    }
    executions.into_iter().map(|execution| execution.id).collect()
}

/// Not a test of its own: does nothing unless the variable is set.
#[test]
fn the_child_writes_until_it_is_killed() {
    let Ok(path) = std::env::var(FOLDER) else {
        return;
    };
    runtime().block_on(write_forever(Path::new(&path)));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn write_forever(path: &Path) {
    let (storage, _) = Storage::open(path, StorageOptions::default()).unwrap();
    let session = session();
    storage.put_session(session.clone()).await.unwrap();
    let writers = (0..WRITERS).map(|_| async {
        for _ in 0.. {
            write_one(&storage, session.id).await;
        }
    });
    futures_util::future::join_all(writers).await;
}

async fn write_one(storage: &Storage, session: SessionId) {
    let mut execution = running(session);
    storage.commit_execution(commit(&execution, 1..=2)).await.unwrap();
    say(execution.id, Told::Running);
    storage.create_template(template()).await.unwrap();
    execution.status = ExecutionStatus::Ok;
    let mut rest = commit(&execution, 3..=3);
    rest.new_events.push(event(&execution, 4));
    let writes = [(execution.id.to_string(), Some(b"ended".to_vec()))].into();
    let kv = KvCommit { workspace: "w".to_owned(), writes, ..KvCommit::default() };
    let rest = ExecutionCommit { kv: Some(kv), ..rest };
    storage.commit_execution(rest).await.unwrap();
    say(execution.id, Told::Over);
}

fn say(id: ExecutionId, told: Told) {
    // One write each, so that no line is cut by another.
    std::io::stdout().write_all(format!("\n{id} {told:?}\n").as_bytes()).unwrap();
}
