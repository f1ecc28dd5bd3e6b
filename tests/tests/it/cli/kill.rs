//! The host dies without a word: what it acknowledged is there, what ran is found.

use crate::harness::Folder;
use std::io::{BufRead, BufReader};
use vm_storage::{
    EventPayload, ExecutionErrorCode, ExecutionStatus, PageRequest, SessionFilter, SessionStatus,
    Storage, StorageOptions,
};

#[test]
fn an_execution_that_ran_when_the_host_was_killed_is_found_stopped() {
    let folder = Folder::with_script(
        "console.log('before'); const end = Date.now() + 3000; while (Date.now() < end);
         console.log('checkpointed'); for (;;);",
    );
    let args = ["run", "app.js", "--db", "vm.redb", "--cpu-ms", "3600000", "--wall-ms", "3600000"];
    let mut child = folder.command(&args).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "checkpointed" {}
    child.kill().unwrap();
    child.wait().unwrap();

    let db = folder.path("vm.redb");
    let (storage, recovery) = Storage::open(&db, StorageOptions::default()).unwrap();
    assert_eq!((recovery.executions_stopped, recovery.sessions_crashed), (1, 0));
    let sessions = storage
        .sessions(vm_storage::TenantId::LOCAL, &SessionFilter::default(), PageRequest::first(10))
        .unwrap();
    let session = &sessions.items[0];
    assert_eq!(session.status, SessionStatus::Ready);
    let executions = storage.executions(session.id, PageRequest::first(10)).unwrap();
    let execution = executions.items[0].clone();
    assert_eq!(execution.status, ExecutionStatus::Error);
    assert_eq!(execution.error.unwrap().code, Some(ExecutionErrorCode::HostStopped));
    let events = storage.events(execution.id, 0, 10).unwrap().unwrap();
    assert!(matches!(&events[1].payload, EventPayload::Console { text, .. } if text == "before"));
    assert!(matches!(events.last().unwrap().payload, EventPayload::System { .. }));
}

#[test]
fn a_database_that_is_open_elsewhere_is_refused() {
    let folder = Folder::with_script("1");
    let db = folder.path("vm.redb");
    let (storage, _) = Storage::open(&db, StorageOptions::default()).unwrap();
    let ended = folder.run(&["run", "app.js", "--db", "vm.redb"]);
    assert_eq!(ended.code, 70);
    assert!(ended.stderr.contains("is open elsewhere"), "{}", ended.stderr);
    drop(storage);
}
