//! A host on a folder of its own, and what the tests of this crate ask of it: snippets, each in a
//! session of its own or one after the other in the same.

use crate::harness::template;
use std::path::PathBuf;
use tempfile::TempDir;
use vm_host::{Finished, Host, HostOptions, SessionRequest, Source};
use vm_storage::{EventPayload, SessionId, Storage, StorageOptions, TemplateId, ValuePayload};

/// A host with one template that has every setting's default.
pub(crate) struct Sessions {
    host: Host,
    template: TemplateId,
    folder: TempDir,
}

impl Sessions {
    /// Starts a host. Compiled code is kept for the next test, so that one of them pays for it.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (storage, _) =
            Storage::open(&folder.path().join("vm.redb"), StorageOptions::default()).unwrap();
        let cache_dir = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("modules"));
        let options =
            HostOptions { max_sessions: 4, cache_dir, ..HostOptions::new(folder.path().into()) };
        let host = Host::start(storage, options).await.unwrap();
        let template = template();
        let id = template.id;
        host.storage().create_template(template).await.unwrap();
        Self { host, template: id, folder }
    }

    /// Opens a session.
    pub(crate) async fn open(&self) -> SessionId {
        let request = SessionRequest {
            template_id: self.template,
            workspace_id: "workspace".to_owned(),
            base_commit_oid: "none".to_owned(),
            worktree_path: self.folder.path().display().to_string(),
        };
        self.host.create_session(request, None).await.unwrap().id
    }

    /// Runs a snippet in a session.
    pub(crate) async fn run_in(&self, session: SessionId, input: &str) -> Finished {
        let source = Source::Repl { input: input.to_owned() };
        self.host.execute(session, source, None).await.unwrap()
    }

    /// Runs a snippet in a session of its own.
    pub(crate) async fn run(&self, input: &str) -> Finished {
        let session = self.open().await;
        let finished = self.run_in(session, input).await;
        self.close(session).await;
        finished
    }

    /// Closes a session.
    pub(crate) async fn close(&self, session: SessionId) {
        self.host.close_session(session).await.unwrap();
    }

    /// The value that a snippet gives in a session of its own.
    pub(crate) async fn value(&self, input: &str) -> ValuePayload {
        let finished = self.run(input).await;
        let error = finished.execution.error;
        finished.execution.result.unwrap_or_else(|| panic!("{input} gave no value: {error:?}"))
    }
}

/// What an execution recorded beside the echo of its input.
pub(crate) fn payloads(finished: &Finished) -> Vec<&EventPayload> {
    let payloads = finished.events.iter().map(|event| &event.payload);
    payloads.filter(|payload| !matches!(payload, EventPayload::InputEcho { .. })).collect()
}
