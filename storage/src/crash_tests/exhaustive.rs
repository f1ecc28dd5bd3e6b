//! Every operation of the disk that a life of a store takes, failing in four ways.
//!
//! ```text
//! once          it alone fails
//! until healed  it and all after it, and then the same store works again
//! power cut     what was not synced is gone
//! torn          what was not synced is there in any part
//! ```
//!
//! Invariant that is checked: the store shows the state after the last step that was acknowledged,
//! or after the one that was under way, and nothing else; before and after it is opened again.

use super::disk::{Dice, Disk, Failure, Operation};
use super::script::Script;
use super::steady;
use super::view::{View, check_inside};
use crate::{SessionId, Storage, StorageError, StorageOptions};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Of the reads, which change nothing, this share is tried, so that the test takes seconds.
const EVERY_NTH_READ: usize = 7;

const THREADS: usize = 2;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Once,
    UntilHealed,
    PowerCut,
    Torn,
}

const WAYS: [Way; 4] = [Way::Once, Way::UntilHealed, Way::PowerCut, Way::Torn];

/// The life, and what the store is to show after each step of it.
struct Story {
    /// The disk as the process before left it.
    start: Disk,
    script: Script,
    /// The steps that the process before took.
    before: usize,
    views: Vec<View>,
    log: Vec<Operation>,
}

fn options() -> StorageOptions {
    StorageOptions { reopen_pause: Duration::ZERO, ..steady() }
}

fn open(disk: &Disk) -> Result<Storage, StorageError> {
    Storage::open_source(disk.source(options())).map(|(storage, _)| storage)
}

#[test]
fn whatever_operation_fails_the_store_shows_what_was_acknowledged() {
    let story = runtime().block_on(Story::lived());
    let (next, tried) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let runtime = runtime();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(operation) = story.log.get(at) else { return };
                    if *operation == Operation::Read && at % EVERY_NTH_READ != 0 {
                        continue;
                    }
                    for way in WAYS {
                        runtime.block_on(story.live_with(at, way));
                        tried.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let tried = tried.into_inner();
    assert!(tried > 1_000, "only {tried} failures were tried");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

impl Story {
    /// Lives it without failures.
    async fn lived() -> Self {
        let (script, before, owner) = Script::written();
        let disk = Disk::formatted();
        let storage = open(&disk).unwrap();
        for (step, _) in &script.steps[..before] {
            step.take(&storage).await.unwrap();
        }
        let start = disk.synced();
        storage.shutdown().await.unwrap();

        let disk = start.copy();
        disk.plan(None);
        let storage = open(&disk).unwrap();
        let mut views = vec![checked(&storage, &script, before, owner)];
        for (number, (step, _)) in script.steps.iter().enumerate().skip(before) {
            step.take(&storage).await.unwrap();
            views.push(checked(&storage, &script, number + 1, owner));
        }
        storage.shutdown().await.unwrap();
        Self { start, script, before, views, log: disk.log() }
    }

    /// Lives it on a disk one of whose operations fails.
    async fn live_with(&self, at: usize, way: Way) {
        let what = format!("operation {at} of {}, {:?}, {way:?}", self.log.len(), self.log[at]);
        let disk = self.start.copy();
        let failure = match way {
            Way::Once => Failure::Once,
            Way::UntilHealed => Failure::UntilHealed,
            Way::PowerCut | Way::Torn => Failure::PowerCut,
        };
        disk.plan(Some((at, failure)));
        let acknowledged = match open(&disk) {
            Ok(storage) => self.use_it(&disk, storage, way, &what).await,
            Err(error) => {
                let is_named = matches!(error, StorageError::NotWritable { .. });
                assert!(is_named, "{what}: {error:?}");
                0..=0
            }
        };
        match way {
            Way::Once | Way::UntilHealed => disk.heal(),
            Way::PowerCut => disk.power_on_losing_all(),
            Way::Torn => disk.power_on(&mut Dice(at as u64)),
        }
        let storage = open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        self.check(&storage, acknowledged, &what);
        storage.shutdown().await.unwrap();
        check_inside(&disk);
    }

    /// Takes all steps, or those up to the first that fails; gives the views there may be.
    async fn use_it(
        &self,
        disk: &Disk,
        storage: Storage,
        way: Way,
        what: &str,
    ) -> std::ops::RangeInclusive<usize> {
        let mut steps = self.script.steps[self.before..].iter().zip(0..);
        let mut acknowledged = self.views.len() - 1..=self.views.len() - 1;
        for ((step, _), number) in &mut steps {
            match step.take(&storage).await {
                Ok(()) => {}
                Err(StorageError::Unavailable { .. }) => {
                    acknowledged = number..=number + 1;
                    break;
                }
                Err(error) => panic!("{what}, {step:?}: {error}"),
            }
        }
        if matches!(way, Way::Once | Way::UntilHealed) {
            disk.heal();
            // Queues behind the opening of the file, if it is to be opened again.
            let write = storage.postpone_expiry(SessionId::new(), 0, None).await;
            write.unwrap_or_else(|error| panic!("{what}: it stays down: {error}"));
            self.check(&storage, acknowledged.clone(), what);
        }
        drop(storage.shutdown().await);
        acknowledged
    }

    fn check(&self, storage: &Storage, may_be: std::ops::RangeInclusive<usize>, what: &str) {
        let view = View::of(storage).unwrap_or_else(|error| panic!("{what}: {error}"));
        if !self.views[may_be.clone()].contains(&view) {
            let is = self.views.iter().position(|other| *other == view);
            panic!("{what}: it shows {is:?} and not {may_be:?}");
        }
    }
}

/// The view after so many steps, with the memory that the script says.
fn checked(storage: &Storage, script: &Script, steps: usize, owner: SessionId) -> View {
    let view = View::of(storage).unwrap();
    assert!(view.pages(owner) == Some(&script.steps[steps - 1].1), "after {steps} steps");
    view
}
