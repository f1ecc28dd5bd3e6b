//! A host with a worktree and a database of its own, gone when the test ends.

pub(crate) mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use vm_host::{Finished, Host, HostError, HostOptions, Observer, SessionRequest, Source};
use vm_storage::{
    Capability, CapabilityId, CapabilityKind, Event, EventPayload, Execution, ExecutionId,
    PageRequest, SessionId, StartupFile, StartupFileId, Storage, StorageOptions, Template,
};

/// Sessions that a test's host may hold.
pub(crate) const MAX_SESSIONS: u32 = 20;

pub(crate) struct TestHost {
    pub(crate) host: Host,
    options: HostOptions,
    folder: TempDir,
}

/// An execution that was begun.
pub(crate) struct Begun {
    pub(crate) id: ExecutionId,
    task: tokio::task::JoinHandle<Result<Finished, HostError>>,
}

impl Begun {
    /// Waits until it is over.
    pub(crate) async fn finished(self) -> Finished {
        self.task.await.unwrap().unwrap()
    }
}

impl TestHost {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A host whose options were changed.
    pub(crate) async fn with(change: impl FnOnce(&mut HostOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["worktree", "libraries"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut options = HostOptions {
            max_sessions: MAX_SESSIONS,
            max_resident: MAX_SESSIONS,
            cache_dir: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("modules")),
            guest_dir: Some(folder.path().join("guests")),
            module_dir: Some(folder.path().join("modules")),
            backup_dir: Some(folder.path().join("backups")),
            upkeep_period: Duration::from_millis(20),
            ..HostOptions::new(folder.path().join("libraries"))
        };
        change(&mut options);
        let host = Host::start(open(folder.path()), options.clone()).await.unwrap();
        Self { host, options, folder }
    }

    /// Stops the host at once, and starts another on the same store.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    /// The same, with options that were changed, after what is done between the two.
    pub(crate) async fn restart_with(&mut self, change: impl FnOnce(&mut HostOptions)) {
        self.host.clone().shutdown(std::future::ready(())).await.unwrap();
        change(&mut self.options);
        self.host = Host::start(open(self.folder.path()), self.options.clone()).await.unwrap();
    }

    /// The executions of a session, newest first, as the store has them.
    pub(crate) fn executions(&self, session: SessionId) -> Vec<Execution> {
        self.host.storage().executions(session, PageRequest::first(1_000)).unwrap().items
    }

    /// The events of an execution, as the store has them.
    pub(crate) fn events(&self, execution: ExecutionId) -> Vec<Event> {
        self.host.storage().events(execution, 0, 1_000).unwrap().unwrap()
    }

    /// Begins an execution of a snippet, and gives it once it is on its way; it may wait to start.
    pub(crate) async fn begin(&self, session: SessionId, input: &str) -> Begun {
        self.begin_until(session, input, 1).await
    }

    /// The same, once the event of this `seq` is there: from the second on, the script made it.
    pub(crate) async fn begin_until(&self, session: SessionId, input: &str, seq: u64) -> Begun {
        let (sender, begun) = tokio::sync::oneshot::channel();
        let sender = Mutex::new(Some(sender));
        let observer: Observer = Arc::new(move |event| {
            if event.seq == seq
                && let Some(sender) = sender.lock().unwrap().take()
            {
                sender.send(event.execution_id).unwrap();
            }
        });
        let (host, source) = (self.host.clone(), Source::Repl { input: input.to_owned() });
        let task = tokio::spawn(async move { host.execute(session, source, Some(observer)).await });
        Begun { id: begun.await.unwrap(), task }
    }

    pub(crate) fn worktree(&self) -> PathBuf {
        self.folder.path().join("worktree")
    }

    pub(crate) fn outside(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the worktree.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.worktree().join(path), content).unwrap();
    }

    pub(crate) fn library(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join("libraries").join(format!("{name}.js")), content)
            .unwrap();
    }

    pub(crate) async fn try_session(&self, template: Template) -> Result<SessionId, HostError> {
        self.host.storage().create_template(template.clone()).await.unwrap();
        self.another(&template).await
    }

    /// One more session of a template that is there.
    pub(crate) async fn another(&self, template: &Template) -> Result<SessionId, HostError> {
        self.another_in(template, &self.worktree()).await
    }

    /// One more session of a template, in a worktree of its own.
    pub(crate) async fn another_in(
        &self,
        template: &Template,
        worktree: &Path,
    ) -> Result<SessionId, HostError> {
        let request = SessionRequest {
            template_id: template.id,
            workspace_id: "test".to_owned(),
            base_commit_oid: "none".to_owned(),
            worktree_path: worktree.display().to_string(),
        };
        Ok(self.host.create_session(request, None).await?.id)
    }

    pub(crate) async fn session(&self, template: Template) -> SessionId {
        self.try_session(template).await.unwrap()
    }

    pub(crate) async fn repl(&self, session: SessionId, input: &str) -> Finished {
        let source = Source::Repl { input: input.to_owned() };
        self.host.execute(session, source, None).await.unwrap()
    }

    pub(crate) async fn run_file(
        &self,
        session: SessionId,
        path: &str,
    ) -> Result<Finished, HostError> {
        let source = Source::File {
            path: path.to_owned(),
            args: serde_json::Map::new(),
            env: std::collections::BTreeMap::new(),
        };
        self.host.execute(session, source, None).await
    }

    /// The preview of what a snippet gives.
    pub(crate) async fn preview(&self, session: SessionId, input: &str) -> String {
        let finished = self.repl(session, input).await;
        match &finished.execution.result {
            Some(value) => value.preview.clone(),
            None => panic!("{input} gave {:?}", finished.execution.error),
        }
    }
}

fn open(folder: &Path) -> Storage {
    Storage::open(&folder.join("vm.redb"), StorageOptions::default()).unwrap().0
}

/// A template that grants nothing.
pub(crate) fn template() -> Template {
    Template::new("test")
}

/// The same with startup files, in the order they were added.
pub(crate) fn with_startup(files: &[(&str, i64)]) -> Template {
    let startup_file = |(path, order_index): &(&str, i64)| StartupFile {
        id: StartupFileId::new(),
        path: (*path).to_owned(),
        order_index: *order_index,
        mode: "eval".to_owned(),
    };
    Template { startup_files: files.iter().map(startup_file).collect(), ..template() }
}

/// A template with the `fs` module and a capability of this config.
pub(crate) fn with_fs(config: serde_json::Value) -> Template {
    let capability = Capability {
        id: CapabilityId::new(),
        kind: CapabilityKind::Module,
        name: "fs".to_owned(),
        enabled: true,
        config,
    };
    Template { modules: vec!["fs".to_owned()], capabilities: vec![capability], ..template() }
}

/// An enabled capability.
pub(crate) fn capability(
    kind: CapabilityKind,
    name: &str,
    config: serde_json::Value,
) -> Capability {
    Capability { id: CapabilityId::new(), kind, name: name.to_owned(), enabled: true, config }
}

/// What an execution printed on its console, a line each.
pub(crate) fn console(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match &event.payload {
        EventPayload::Console { text, .. } => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

/// A file of secrets.
pub(crate) fn secrets(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// What the host said in events of an execution.
pub(crate) fn said(finished: &Finished) -> Vec<&str> {
    let events = finished.events.iter();
    events
        .filter_map(|event| match &event.payload {
            EventPayload::System { message, .. } => Some(message.as_str()),
            _ => None,
        })
        .collect()
}
