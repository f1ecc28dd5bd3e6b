//! A disk in memory that keeps apart what was synced and what was only written.
//!
//! Invariant: after a power cut, what was synced is there, and of each later write any of nothing,
//! all, or some of its sectors, in any combination: a disk promises no more.

use crate::database::Source;
use crate::database::create::lay_out;
use crate::storage::StorageOptions;
use redb::{BackendError, Builder, Database, StorageBackend};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::ThreadId;

/// What a disk writes whole.
const SECTOR: usize = 512;

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Which operation of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    Sync,
}

/// What becomes of an operation, and of those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It alone fails.
    Once,
    /// They fail until the disk is healed.
    UntilHealed,
    /// The power goes.
    PowerCut,
}

/// A disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    synced: Vec<u8>,
    /// What reads see: everything written.
    written: Vec<u8>,
    unsynced: Vec<Change>,
    /// Syncs until the power goes, which it does in the middle of the last.
    syncs_left: Option<u64>,
    is_off: bool,
    /// Operations of a kind until they fail, and how many do then.
    failing: Option<(Operation, u64, u64)>,
    /// What becomes of the operation of this number, counted from when it was said.
    planned: Option<(usize, Failure)>,
    /// The operations since.
    log: Vec<Operation>,
    /// Who synced last.
    synced_by: Option<ThreadId>,
    opened: u64,
    /// A database has it open; another would be refused.
    is_locked: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Disk {
    /// A disk with a new, empty database of ours.
    pub(super) fn formatted() -> Self {
        let disk = Self::default();
        let database = disk.database();
        lay_out(&database).unwrap();
        database.close().unwrap();
        disk
    }

    /// The database on it, past our own checks.
    pub(super) fn database(&self) -> Database {
        Builder::new().create_with_backend(Backend(self.clone())).unwrap()
    }

    /// A disk with the same bytes.
    pub(super) fn copy(&self) -> Self {
        Self::of(self.state().written.clone())
    }

    pub(super) fn source(&self, options: StorageOptions) -> Source {
        let disk = self.clone();
        let opener = Box::new(move |builder: &Builder| {
            disk.state().opened += 1;
            builder.create_with_backend(Backend(disk.clone()))
        });
        Source::new(Path::new("/simulated/vm.redb"), options, opener)
    }

    /// How often the database was opened.
    pub(super) fn opened(&self) -> u64 {
        self.state().opened
    }

    /// Has the power go in the middle of a sync after so many.
    pub(super) fn cut_power_after(&self, syncs: u64) {
        self.state().syncs_left = Some(syncs);
    }

    /// Has something become of an operation, counted from this moment; of none where there is none.
    pub(super) fn plan(&self, failure: Option<(usize, Failure)>) {
        let mut state = self.state();
        state.planned = failure;
        state.log.clear();
    }

    /// The operations since [`Disk::plan`] was called.
    pub(super) fn log(&self) -> Vec<Operation> {
        self.state().log.clone()
    }

    /// The thread that synced last.
    pub(super) fn synced_by(&self) -> Option<ThreadId> {
        self.state().synced_by
    }

    /// A disk with these bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let state = State { synced: bytes.clone(), written: bytes, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A disk with what is synced on this one.
    pub(super) fn synced(&self) -> Self {
        Self::of(self.state().synced.clone())
    }

    /// Puts the power on again; nothing is left of what was not synced.
    pub(super) fn power_on_losing_all(&self) {
        let mut state = self.state();
        let synced = std::mem::take(&mut state.synced);
        *state = State { written: synced.clone(), synced, ..State::default() };
    }

    /// Puts the power on again; decides what became of what was not synced.
    pub(super) fn power_on(&self, dice: &mut Dice) {
        let mut state = self.state();
        let unsynced = std::mem::take(&mut state.unsynced);
        let mut survived = std::mem::take(&mut state.synced);
        for change in &unsynced {
            apply_some(&mut survived, change, dice);
        }
        *state = State { written: survived.clone(), synced: survived, ..State::default() };
    }

    /// Has operations of a kind fail: `times` of them, after `after` more.
    pub(super) fn fail(&self, operation: Operation, after: u64, times: u64) {
        self.state().failing = Some((operation, after, times));
    }

    pub(super) fn heal(&self) {
        let mut state = self.state();
        (state.failing, state.planned) = (None, None);
    }

    /// Puts other bytes in place of these.
    pub(super) fn replace(&self, other: &Self) {
        let bytes = other.state().written.clone();
        let mut state = self.state();
        (state.synced, state.written) = (bytes.clone(), bytes);
        state.unsynced.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Starts one operation, unless it is to fail.
    fn begin(&self, operation: Operation) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.is_off {
            return Err(io::Error::other("the power is off"));
        }
        state.log.push(operation);
        if let Some((at, failure)) = state.planned
            && state.log.len() > at
        {
            state.is_off = failure == Failure::PowerCut;
            if failure != Failure::Once || state.log.len() == at + 1 {
                return Err(io::Error::other("the disk failed as planned"));
            }
        }
        if let Some((kind, after, times)) = &mut state.failing
            && *kind == operation
        {
            match (*after, *times) {
                (0, 0) => {}
                (0, _) => {
                    *times -= 1;
                    return Err(io::Error::other("the disk failed"));
                }
                _ => *after -= 1,
            }
        }
        Ok(state)
    }
}

fn apply(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Bytes { offset, bytes } => {
            let end = offset + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*offset..end].copy_from_slice(bytes);
        }
        Change::Length(length) => image.resize(*length, 0),
    }
}

/// Applies a change that was not synced: not, wholly, or in some of its sectors.
fn apply_some(image: &mut Vec<u8>, change: &Change, dice: &mut Dice) {
    match (dice.below(3), change) {
        (0, _) => {}
        (1, _) | (_, Change::Length(_)) => apply(image, change),
        (_, Change::Bytes { offset, bytes }) => {
            let mut start = 0;
            while start < bytes.len() {
                // Sectors of the disk, not of the write.
                let end = ((offset + start) / SECTOR + 1) * SECTOR - offset;
                let end = end.min(bytes.len());
                if dice.below(2) == 0 {
                    let bytes = bytes[start..end].to_vec();
                    apply(image, &Change::Bytes { offset: offset + start, bytes });
                }
                start = end;
            }
        }
    }
}

#[derive(Debug)]
struct Backend(Disk);

impl StorageBackend for Backend {
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match (start, end) {
            (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => {
                Ok(!std::mem::replace(&mut self.0.state().is_locked, true))
            }
            _ => Err(BackendError::Unsupported),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.0.state().is_locked = false;
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.begin(Operation::Read)?.written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.begin(Operation::Read)?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.written.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(length).unwrap()))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.change(Change::Bytes { offset, bytes: bytes.to_vec() })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.begin(Operation::Sync)?;
        state.synced_by = Some(std::thread::current().id());
        match &mut state.syncs_left {
            Some(0) => {
                state.is_off = true;
                return Err(io::Error::other("the power went"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        for change in std::mem::take(&mut state.unsynced) {
            apply(&mut state.synced, &change);
        }
        Ok(())
    }
}

impl Backend {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.0.begin(Operation::Write)?;
        apply(&mut state.written, &change);
        state.unsynced.push(change);
        Ok(())
    }
}
