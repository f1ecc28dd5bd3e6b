//! Opens stores in temporary folders and makes nouns to put into them.
//!
//! Invariant: two nouns of one maker differ only in their ids and times.

use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;
use vm_storage::{
    Capability, CapabilityId, CapabilityKind, ConsoleLevel, Event, EventPayload, Execution,
    ExecutionCommit, ExecutionId, ExecutionKind, ExecutionStatus, MAX_LISTED, Metrics, Page,
    PageRequest, Recovery, Session, SessionFilter, SessionId, SessionStatus, Settings, StartupFile,
    StartupFileId, Storage, StorageError, StorageOptions, Template, TemplateId, TemplateSnapshot,
    TenantId, now,
};

/// A temporary folder with a database in it, removed when dropped.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("vm.redb")
    }

    /// The names of all files in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn open(&self) -> Storage {
        self.try_open().unwrap().0
    }

    pub(crate) fn try_open(&self) -> Result<(Storage, Recovery), StorageError> {
        self.try_open_with(StorageOptions::default())
    }

    pub(crate) fn try_open_with(
        &self,
        options: StorageOptions,
    ) -> Result<(Storage, Recovery), StorageError> {
        Storage::open(&self.path(), options)
    }
}

pub(crate) fn template() -> Template {
    Template {
        id: TemplateId::new(),
        tenant_id: TenantId::LOCAL,
        is_shared: false,
        name: "a template".to_owned(),
        is_unique: false,
        version: 1,
        engine: "javy".to_owned(),
        is_active: true,
        created_at: now(),
        updated_at: now(),
        settings: Settings::default(),
        capabilities: vec![],
        startup_files: vec![],
        modules: vec![],
        libraries: vec![],
    }
}

/// A template with something in each of its parts.
pub(crate) fn full_template() -> Template {
    Template {
        capabilities: vec![Capability {
            id: CapabilityId::new(),
            kind: CapabilityKind::Net,
            name: "fetch".to_owned(),
            enabled: true,
            config: json!({"hosts": ["example.org"], "max": 1.5, "big": u64::MAX, "none": null}),
        }],
        startup_files: vec![StartupFile {
            id: StartupFileId::new(),
            path: "lib/начало.js".to_owned(),
            order_index: -7,
            mode: "eval".to_owned(),
        }],
        modules: vec!["fs".to_owned(), "exec".to_owned()],
        libraries: vec!["lodash-4.17.21".to_owned()],
        ..template()
    }
}

pub(crate) fn session() -> Session {
    Session {
        id: SessionId::new(),
        tenant_id: TenantId::LOCAL,
        template_id: TemplateId::new(),
        workspace_id: "w".to_owned(),
        base_commit_oid: "deadbeef".to_owned(),
        worktree_path: "/srv/w".to_owned(),
        status: SessionStatus::Ready,
        created_at: now(),
        closed_at: None,
        last_error: None,
        template: TemplateSnapshot::default(),
        engine: None,
        worktree: None,
    }
}

pub(crate) fn execution(session_id: SessionId) -> Execution {
    Execution {
        id: ExecutionId::new(),
        tenant_id: TenantId::LOCAL,
        session_id,
        kind: ExecutionKind::Repl,
        input: Some("1+1".to_owned()),
        path: None,
        args: serde_json::Map::new(),
        env: BTreeMap::new(),
        status: ExecutionStatus::Ok,
        started_at: now(),
        ended_at: Some(now()),
        result: None,
        error: None,
        metrics: Metrics::default(),
    }
}

pub(crate) fn running(session_id: SessionId) -> Execution {
    Execution { status: ExecutionStatus::Running, ended_at: None, ..execution(session_id) }
}

pub(crate) fn event(execution: &Execution, seq: u64) -> Event {
    let text = format!("event {seq}");
    let payload = EventPayload::Console { level: ConsoleLevel::Log, text };
    Event { execution_id: execution.id, seq, ts: now(), payload }
}

/// An execution with events of these numbers, its session unchanged.
pub(crate) fn commit(
    execution: &Execution,
    seqs: impl IntoIterator<Item = u64>,
) -> ExecutionCommit {
    ExecutionCommit {
        execution: execution.clone(),
        new_events: seqs.into_iter().map(|seq| event(execution, seq)).collect(),
        session: None,
        heap: None,
        kv: None,
    }
}

/// The first executions of a session, newest first.
pub(crate) fn executions_of(storage: &Storage, session: SessionId, limit: usize) -> Vec<Execution> {
    storage.executions(session, PageRequest::first(limit)).unwrap().items
}

/// The first events of an execution that is there.
pub(crate) fn events_of(storage: &Storage, id: ExecutionId, after_seq: u64) -> Vec<Event> {
    storage.events(id, after_seq, 50).unwrap().expect("the execution is there")
}

/// The first sessions of any kind, newest first.
pub(crate) fn all_sessions(storage: &Storage) -> Vec<Session> {
    storage
        .sessions(TenantId::LOCAL, &SessionFilter::default(), PageRequest::first(50))
        .unwrap()
        .items
}

/// All templates, oldest first.
pub(crate) fn all_templates(storage: &Storage) -> Vec<Template> {
    walk(MAX_LISTED, |page| storage.templates(TenantId::LOCAL, page).unwrap())
}

/// The items of all pages of a list, each of at most so many.
pub(crate) fn walk<T, C>(limit: usize, list: impl Fn(PageRequest<C>) -> Page<T, C>) -> Vec<T> {
    let (mut items, mut page) = (Vec::new(), list(PageRequest::first(limit)));
    loop {
        items.append(&mut page.items);
        let Some(cursor) = page.next else { return items };
        page = list(PageRequest { limit, cursor: Some(cursor) });
    }
}

/// A store with one session in it.
pub(crate) async fn with_session(place: &Place) -> (Storage, Session) {
    let (storage, session) = (place.open(), session());
    storage.put_session(session.clone()).await.unwrap();
    (storage, session)
}
