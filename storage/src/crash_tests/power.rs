//! Power cuts at each sync there is: what was acknowledged is there, and nothing is half there.

use super::disk::{Dice, Disk};
use super::{commit, running, session, steady};
use crate::{
    EventPayload, ExecutionErrorCode, ExecutionId, ExecutionStatus, PageRequest, SessionId,
    SessionStatus, Storage, StorageError, StorageOptions, TenantId,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Histories tried, each of its own seed.
const SEEDS: u64 = 120;
/// Power cuts in a history.
const CUTS: u64 = 4;
/// An opening and recovery sync some 5 times and each commit twice, so that cuts fall into all.
const MOST_SYNCS: u64 = 24;
/// Executions that one process makes at most.
const MOST_EXECUTIONS: u64 = 6;

/// What the store said of an execution, at most; `Asked` when it did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Asked,
    Running,
    /// Told of as running, then asked to end it without an answer.
    RunningOrOver,
    Over,
}

type Model = BTreeMap<ExecutionId, Told>;

#[tokio::test]
async fn what_was_acknowledged_survives_power_cuts_at_any_sync() {
    let formatted = Disk::formatted();
    let mut acknowledged = 0;
    for seed in 0..SEEDS {
        acknowledged += live_through(&formatted.copy(), seed).await;
    }
    assert!(acknowledged > SEEDS, "only {acknowledged} were acknowledged");
}

/// Runs one history of processes and power cuts; gives how many executions ended acknowledged.
async fn live_through(disk: &Disk, seed: u64) -> u64 {
    let (mut dice, mut model, mut sessions) = (Dice(seed), Model::new(), Vec::new());
    for _ in 0..CUTS {
        disk.cut_power_after(dice.below(MOST_SYNCS));
        if let Ok((storage, _)) = open(disk, seed) {
            if !settles(seed) {
                check(&storage, &model, &sessions, seed);
            }
            // The power goes somewhere in here; errors are what that looks like.
            drop(write(&storage, &mut model, &mut sessions).await);
            drop(storage.shutdown().await);
        }
        disk.power_on(&mut dice);
    }
    let (storage, _) = open(disk, seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    check(&storage, &model, &sessions, seed);
    storage.shutdown().await.unwrap();
    model.values().map(|told| u64::from(*told == Told::Over)).sum()
}

/// Every second history settles its file whenever there is a pause. The power may then go before
/// anything was asked for, so that only its end is checked.
fn settles(seed: u64) -> bool {
    !seed.is_multiple_of(2)
}

fn open(disk: &Disk, seed: u64) -> Result<(Storage, crate::Recovery), StorageError> {
    let settle_after = if settles(seed) { Duration::ZERO } else { steady().settle_after };
    Storage::open_source(disk.source(StorageOptions { settle_after, ..steady() }))
}

async fn write(
    storage: &Storage,
    model: &mut Model,
    sessions: &mut Vec<SessionId>,
) -> Result<(), StorageError> {
    let session = session();
    let id = session.id;
    storage.put_session(session).await?;
    sessions.push(id);
    for _ in 0..MOST_EXECUTIONS {
        let mut execution = running(id);
        model.insert(execution.id, Told::Asked);
        storage.commit_execution(commit(&execution, 1..=2)).await?;
        model.insert(execution.id, Told::Running);
        execution.status = ExecutionStatus::Ok;
        model.insert(execution.id, Told::RunningOrOver);
        storage.commit_execution(commit(&execution, 3..=4)).await?;
        model.insert(execution.id, Told::Over);
    }
    Ok(())
}

/// Checks a store that was just opened against what was told of it.
fn check(storage: &Storage, model: &Model, sessions: &[SessionId], seed: u64) {
    let live = storage.live_session_ids(TenantId::LOCAL).unwrap().1;
    for id in sessions {
        let session = storage.session(*id).unwrap().expect("it was acknowledged");
        assert_eq!(session.status, SessionStatus::Ready, "seed {seed}");
        assert!(live.contains(id), "seed {seed}");
    }
    for (id, told) in model {
        let found = storage.execution(*id).unwrap();
        let events = storage.events(*id, 0, 50).unwrap();
        let (Some(found), Some(events)) = (found, events) else {
            assert_eq!(*told, Told::Asked, "seed {seed}");
            continue;
        };
        let listed = storage.executions(found.session_id, PageRequest::first(50)).unwrap().items;
        assert!(listed.contains(&found), "seed {seed}");
        let stopped = found
            .error
            .as_ref()
            .is_some_and(|error| error.code == Some(ExecutionErrorCode::HostStopped));
        assert!(!stopped || *told != Told::Over, "seed {seed}: it was acknowledged as over");
        assert!(stopped || *told != Told::Asked, "seed {seed}: its end was never asked for");
        let status = if stopped { ExecutionStatus::Error } else { ExecutionStatus::Ok };
        assert_eq!(found.status, status, "seed {seed}");
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, if stopped { vec![1, 2, 3] } else { vec![1, 2, 3, 4] }, "seed {seed}");
        let ends_in_system = matches!(events.last().unwrap().payload, EventPayload::System { .. });
        assert_eq!(ends_in_system, stopped, "seed {seed}");
    }
}
