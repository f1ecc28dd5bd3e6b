//! All that a store shows of itself, to be compared with what it is to show; and what it does not
//! show: that its indexes and totals are those of its records.

use super::disk::Disk;
use super::script::{PAGES, Pages};
use crate::tables::{HistoryRow, Snapshot, all_owned, named, own_of, owned};
use crate::writer::totals::Totals;
use crate::{
    Event, EventPayload, Execution, ExecutionErrorCode, ExecutionStatus, HEAP_PAGE_BYTES,
    HeapPatch, KvList, KvListed, KvReads, KvUsage, KvWrites, PageRequest, Session, SessionFilter,
    SessionId, SessionStatus, Storage, StorageError, Template, TenantId,
};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

/// What a store shows. What a process left behind looks the same whether it was put right or not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    templates: Vec<Template>,
    sessions: Vec<Session>,
    live: Vec<SessionId>,
    /// With their events, or the number of the oldest that is left.
    executions: Vec<(Execution, Result<Vec<Event>, u64>)>,
    /// Those of live sessions.
    heaps: Vec<(SessionId, u64, u64, Pages)>,
    /// Keys of the one workspace.
    keys: (KvUsage, Vec<KvListed>),
}

impl View {
    pub(super) fn of(storage: &Storage) -> Result<Self, StorageError> {
        let all = PageRequest::first(1_000);
        let sessions = storage.sessions(TenantId::LOCAL, &SessionFilter::default(), all)?.items;
        let live = storage.live_session_ids(TenantId::LOCAL)?.1;
        assert_eq!(storage.live_session_count()?, live.len() as u64);
        let (mut executions, mut heaps) = (Vec::new(), Vec::new());
        for session in &sessions {
            for execution in storage.executions(session.id, PageRequest::first(1_000))?.items {
                executions.push(as_left(storage, execution)?);
            }
        }
        for id in &live {
            if let Some(heap) = storage.heap(*id)? {
                let patched = heap.patches.iter().flat_map(HeapPatch::pages).map(|page| page.page);
                let numbers = heap.base.iter().map(|(number, _)| *number).chain(patched);
                // One that a release left has more of them.
                let count = numbers.max().map_or(0, |last| last as usize + 1).max(PAGES);
                let mut pages = vec![[0; HEAP_PAGE_BYTES]; count];
                for (number, page) in &heap.base {
                    pages[*number as usize] = **page;
                }
                for patch in heap.patches.iter().flat_map(HeapPatch::pages) {
                    patch.apply(&mut pages[patch.page as usize]);
                }
                heaps.push((*id, heap.at, heap.memory.clock_ms, pages));
            }
        }
        let templates = storage.templates(TenantId::LOCAL, PageRequest::first(1_000))?.items;
        let all = KvList { prefix: "", after: None, limit: 1_000, max_bytes: usize::MAX };
        let listed = storage.kv_list("w", all, &KvWrites::new(), &mut KvReads::default())?;
        let keys = (storage.kv_usage("w", "a")?.0, listed);
        Ok(Self { templates, sessions, live, executions, heaps, keys })
    }

    /// The same, but for when sessions were closed.
    pub(super) fn without_closing_times(mut self) -> Self {
        self.sessions.iter_mut().for_each(|session| session.closed_at = None);
        self
    }

    pub(super) fn pages(&self, of: SessionId) -> Option<&Pages> {
        self.heaps.iter().find(|(id, ..)| *id == of).map(|(.., pages)| pages)
    }
}

/// An execution and its events; one that was stopped as it was while it ran.
fn as_left(
    storage: &Storage,
    mut execution: Execution,
) -> Result<(Execution, Result<Vec<Event>, u64>), StorageError> {
    assert_eq!(storage.execution(execution.id)?.as_ref(), Some(&execution));
    let mut events = match storage.events(execution.id, 0, 1_000) {
        Ok(events) => Ok(events.expect("it is listed")),
        Err(StorageError::EventsExpired { oldest_seq, .. }) => Err(oldest_seq),
        Err(error) => return Err(error),
    };
    let code = execution.error.as_ref().and_then(|error| error.code);
    if code == Some(ExecutionErrorCode::HostStopped) {
        assert_eq!(execution.status, ExecutionStatus::Error);
        if let Ok(events) = &mut events {
            let last = events.pop().expect("the host said so");
            assert!(matches!(last.payload, EventPayload::System { .. }), "{last:?}");
            assert_eq!((Some(last.ts), last.seq), (execution.ended_at, execution.metrics.events));
        }
        execution.status = ExecutionStatus::Running;
        (execution.error, execution.ended_at, execution.metrics.events) = (None, None, 0);
    }
    Ok((execution, events))
}

/// Checks the indexes and totals of a file that was closed.
pub(super) fn check_inside(disk: &Disk) {
    let database = disk.copy().database();
    let tables = Snapshot::open(&database.begin_read().unwrap()).unwrap();
    let (mut executions, mut events, mut heaps) = (0, 0, 0);
    for row in tables.executions.iter().unwrap() {
        executions += row.unwrap().1.value().len() as u64;
    }
    for row in tables.events.iter().unwrap() {
        let (key, row) = row.unwrap();
        events += row.value().len() as u64;
        let owner: &[u8; 16] = key.value().first_chunk().unwrap();
        assert!(tables.executions.get(owner).unwrap().is_some(), "an event of nothing");
    }
    for row in tables.heap_pages.iter().unwrap() {
        heaps += row.unwrap().1.value().len() as u64;
    }
    let mut listed = 0;
    for row in tables.history.iter().unwrap() {
        let row = row.unwrap();
        let row = HistoryRow::decode(row.1.value()).unwrap();
        heaps += row.patch.map_or(0, <[u8]>::len) as u64;
        let is_there = tables.executions.get(row.execution.as_bytes()).unwrap().is_some();
        assert!(is_there || row.patch.is_some());
        listed += u64::from(is_there);
    }
    assert_eq!(listed, tables.executions.iter().unwrap().count() as u64, "each is listed once");
    let totals = Totals::read(&tables.totals).unwrap();
    assert_eq!((totals.executions.0, totals.events.0, totals.heaps.0), (executions, events, heaps));
    check_keys(&tables);
    assert_eq!(tables.running_executions.iter().unwrap().count(), 0);
    assert_eq!(tables.starting_sessions.iter().unwrap().count(), 0);
    for row in tables.sessions.iter().unwrap() {
        let (key, record) = row.unwrap();
        let session: Session = serde_json::from_slice(record.value()).unwrap();
        assert_ne!(session.status, SessionStatus::Starting);
        let is_live =
            tables.active_sessions.get(&owned(session.tenant_id, key.value())).unwrap().is_some();
        assert_eq!(is_live, session.status == SessionStatus::Ready);
        let has_ended =
            tables.ended_sessions.get(&owned(session.tenant_id, key.value())).unwrap().is_some();
        assert_eq!(has_ended, !is_live);
    }
    let listed = tables.active_sessions.len().unwrap() + tables.ended_sessions.len().unwrap();
    assert_eq!(listed, tables.sessions.len().unwrap());
    let (first, last) = all_owned(TenantId::LOCAL);
    let own = tables.owned_templates.range::<&[u8; 32]>(&first..=&last).unwrap();
    let own: Vec<_> = own.map(|row| own_of(row.unwrap().0.value())).collect();
    let all: Vec<_> = tables.templates.iter().unwrap().map(|row| *row.unwrap().0.value()).collect();
    assert_eq!(own, all);
    let mut unique = 0;
    for row in tables.templates.iter().unwrap() {
        let template: Template = serde_json::from_slice(row.unwrap().1.value()).unwrap();
        if template.is_unique {
            let key = named(template.tenant_id, &template.name);
            let named = tables.template_names.get(key.as_slice()).unwrap().unwrap();
            assert_eq!(named.value(), template.id.as_bytes());
            unique += 1;
        }
    }
    assert_eq!(tables.template_names.len().unwrap(), unique);
}

/// Checks that a workspace's row says what its keys come to.
fn check_keys(tables: &Snapshot) {
    let (mut left_bytes, mut left_keys) = (0, 0);
    for row in tables.kv.iter().unwrap() {
        let (key, row) = row.unwrap();
        left_bytes += (key.value().len() + row.value().len()) as u64 - 16;
        left_keys += 1;
    }
    for row in tables.kv_workspaces.iter().unwrap() {
        let (_, _, bytes, keys) = row.unwrap().1.value();
        assert!(keys > 0);
        left_bytes -= bytes;
        left_keys -= keys;
    }
    assert_eq!((left_bytes, left_keys), (0, 0));
}
