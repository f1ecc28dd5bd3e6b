//! A life of a store, step by step, the same each time that it is lived.
//!
//! Invariant: every noun is made beforehand, so that two runs write the same records.

use super::{commit, running, session};
use crate::{
    Bounds, EventPayload, Execution, ExecutionCommit, ExecutionStatus, HEAP_PAGE_BYTES, HeapChange,
    HeapCommit, HeapMemory, HeapPage, HeapPatch, KvCommit, KvWrites, Metrics, PageWrite, Retention,
    Session, SessionId, SessionStatus, Storage, StorageError, Template, TemplateId,
};
use std::ops::RangeInclusive;

/// Pages of each session's memory.
pub(super) const PAGES: usize = 3;

pub(super) type Pages = Vec<HeapPage>;

/// One request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    CreateTemplate(Template),
    RenameTemplate(TemplateId),
    PutSession(Session),
    PutWithHeap(Session, HeapMemory, Vec<(u32, PageWrite)>),
    Commit(Box<ExecutionCommit>),
    Purge(SessionId),
    Sweep(Retention),
    Compact,
}

impl Step {
    pub(super) async fn take(&self, storage: &Storage) -> Result<(), StorageError> {
        match self.clone() {
            Self::CreateTemplate(template) => storage.create_template(template).await,
            Self::RenameTemplate(id) => {
                let rename = |template: &mut Template| {
                    "renamed".clone_into(&mut template.name);
                    Ok(())
                };
                storage.update_template(id, rename).await
            }
            Self::PutSession(session) => storage.put_session(session).await,
            Self::PutWithHeap(session, memory, pages) => {
                storage.put_session_with_heap(session, memory, pages).await
            }
            Self::Commit(commit) => storage.commit_execution(*commit).await.map(drop),
            Self::Purge(id) => storage.purge_session(id).await,
            Self::Sweep(retention) => storage.sweep(retention).await.map(drop),
            Self::Compact => storage.compact().await.map(drop),
        }
    }
}

/// Steps, and the memory of the session that lives through all of them, after each.
#[derive(Default)]
pub(super) struct Script {
    pub(super) steps: Vec<(Step, Pages)>,
    pages: Pages,
    base: Pages,
    ordinal: u64,
    at: u64,
}

impl Script {
    /// What a process did before it was killed, and what the next one does; and the session that
    /// has a memory.
    pub(super) fn written() -> (Self, usize, SessionId) {
        let zero = vec![[0; HEAP_PAGE_BYTES]; PAGES];
        let mut script = Self { pages: zero.clone(), base: zero, ..Self::default() };
        let (kept, gone, starting) = (session(), session(), session());
        let template = Template::new("first");
        let id = template.id;
        script.push(Step::CreateTemplate(template));
        script.push(Step::PutSession(status(&starting, SessionStatus::Starting)));
        script.push(Step::PutSession(status(&kept, SessionStatus::Starting)));
        script.pages[0][..9].fill(1);
        let (memory, pages) = (script.memory(), script.changed());
        script.push(Step::PutWithHeap(kept.clone(), memory, pages));
        script.patch(kept.id, 1);
        script.keys(kept.id, &[("a", Some("1")), ("b", Some("2"))]);
        script.ordinal += 1;
        script.push(Step::Commit(Box::new(commit(&running(kept.id), 1..=2))));
        script.ordinal += 1;
        let before = script.steps.len();

        script.push(Step::RenameTemplate(id));
        script.push(Step::PutSession(gone.clone()));
        script.patch(kept.id, 2);
        script.patch(kept.id, 1);
        script.whole(kept.id);
        script.keys(kept.id, &[("a", None), ("b", Some("3")), ("c", Some("4"))]);
        script.ordinal += 1;
        script.long(kept.id);
        script.patch(kept.id, 0);
        // More rows than one step of sweeping removes.
        script.push(Step::Commit(Box::new(short(commit(&over(gone.id, 600), 1..=600)))));
        script.keys(kept.id, &[("b", None), ("c", None)]);
        script.ordinal += 1;
        script.keys(gone.id, &[("d", Some("5"))]);
        script.push(Step::PutSession(status(&gone, SessionStatus::Closed)));
        script.push(Step::Purge(gone.id));
        (0..3).for_each(|_| script.push(Step::Sweep(Retention::default())));
        let few = |max_count| Bounds { max_count, ..Bounds::default() };
        script.push(Step::Sweep(Retention { executions: few(None), events: few(Some(7)) }));
        script.push(Step::Sweep(Retention { executions: few(Some(2)), events: few(None) }));
        script.push(Step::Compact);
        script.patch(kept.id, 2);
        script.push(Step::Commit(Box::new(commit(&running(kept.id), 1..=1))));
        (script, before, kept.id)
    }

    fn push(&mut self, step: Step) {
        self.steps.push((step, self.pages.clone()));
    }

    fn memory(&self) -> HeapMemory {
        HeapMemory { bytes: (PAGES * HEAP_PAGE_BYTES) as u64, clock_ms: self.steps.len() as u64 }
    }

    /// The pages that differ from the base, which they become.
    fn changed(&mut self) -> Vec<(u32, PageWrite)> {
        let pages = (0_u32..).zip(self.pages.iter().zip(&self.base));
        let pages = pages.filter(|(_, (now, before))| now != before);
        let pages = pages.map(|(number, (now, _))| {
            let is_zero = now.iter().all(|byte| *byte == 0);
            (number, if is_zero { PageWrite::Image } else { PageWrite::of(now) })
        });
        let pages = pages.collect();
        self.base.clone_from(&self.pages);
        pages
    }

    /// An execution that changes some bytes of a page.
    fn patch(&mut self, owner: SessionId, page: usize) {
        let heap = self.patched(page);
        let over = over(owner, 2);
        self.ordinal += 1;
        self.at = self.ordinal;
        self.push(Step::Commit(Box::new(with(&over, 1..=2, Some(heap)))));
    }

    /// An execution that writes keys of the workspace.
    fn keys(&mut self, owner: SessionId, written: &[(&str, Option<&str>)]) {
        let row = |(key, value): &(&str, Option<&str>)| {
            ((*key).to_owned(), value.map(|value| value.as_bytes().to_vec()))
        };
        let writes: KvWrites = written.iter().map(row).collect();
        let kv = KvCommit { workspace: "w".to_owned(), writes, ..KvCommit::default() };
        let commit = with(&over(owner, 1), 1..=1, None);
        self.push(Step::Commit(Box::new(ExecutionCommit { kv: Some(kv), ..commit })));
    }

    fn patched(&mut self, page: usize) -> HeapCommit {
        let (before, step) = (self.pages[page], self.steps.len());
        self.pages[page][step * 50..][..40].fill(u8::try_from(step).unwrap());
        let mut patch = HeapPatch::default();
        patch.add(u32::try_from(page).unwrap(), &before, &self.pages[page]);
        HeapCommit { follows: self.at, memory: self.memory(), change: HeapChange::Patch(patch) }
    }

    /// An execution that is committed as running before it changes its memory.
    fn long(&mut self, owner: SessionId) {
        let runs = running(owner);
        self.push(Step::Commit(Box::new(commit(&runs, 1..=2))));
        self.ordinal += 1;
        let heap = self.patched(0);
        self.at = self.ordinal;
        let metrics = Metrics { events: 4, ..Metrics::default() };
        let over = Execution { status: ExecutionStatus::Ok, metrics, ..runs };
        self.push(Step::Commit(Box::new(with(&over, 3..=4, Some(heap)))));
    }

    /// An execution whose pages are written whole, one of them back to the image.
    fn whole(&mut self, owner: SessionId) {
        self.pages[0] = [0; HEAP_PAGE_BYTES];
        let heap = HeapCommit {
            follows: self.at,
            memory: self.memory(),
            change: HeapChange::Pages(self.changed()),
        };
        self.ordinal += 1;
        self.at = self.ordinal;
        self.push(Step::Commit(Box::new(with(&over(owner, 1), 1..=1, Some(heap)))));
    }
}

fn status(session: &Session, status: SessionStatus) -> Session {
    Session { status, ..session.clone() }
}

fn over(session: SessionId, events: u64) -> Execution {
    let metrics = Metrics { events, ..Metrics::default() };
    Execution { metrics, status: ExecutionStatus::Ok, ..running(session) }
}

/// The same with events of hardly any bytes, to save time.
fn short(mut commit: ExecutionCommit) -> ExecutionCommit {
    for event in &mut commit.new_events {
        event.payload = EventPayload::Stdout { text: String::new() };
    }
    commit
}

fn with(
    execution: &Execution,
    seqs: RangeInclusive<u64>,
    heap: Option<HeapCommit>,
) -> ExecutionCommit {
    ExecutionCommit { heap, ..commit(execution, seqs) }
}
