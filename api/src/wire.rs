//! The bodies of the API, requests and answers, as both the server and the client know them.
//!
//! Invariant: the shapes are those of docs/api.md.

mod artifact;
mod ops;
mod request;
mod tenant;

pub use artifact::{Artifact, ArtifactInput};
pub use ops::{BackupMade, Compacted, RemovedStats, SessionStats, Stats, StorageStats};
pub(crate) use request::{
    AddCapability, AddName, AddStartupFile, CreateSession, CreateTemplate, CreateTenant,
    CreateToken, MakeBackup, Nothing, RunFile, RunSnippet, UpdateTemplate, UpdateTenant,
};
pub use tenant::{Tenant, TenantDeleted, Token, TokenMade};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use vm_host::{Effective, Host, catalogue};
use vm_storage::{
    CapabilityKind, Event, Lifecycle, Limits, Resolver, RuntimeSettings, SessionId, SessionStatus,
    TemplateId, TemplateSnapshot,
};

/// The path that every route begins with.
pub const BASE: &str = "/api/v1";

/// A template without its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// Its name.
    pub name: String,
    /// Its engine, by the name the client gave.
    pub engine: String,
    /// Whether sessions may be made from it.
    pub is_active: bool,
    /// Native modules that scripts may require.
    pub exposed_modules: Vec<String>,
    /// Libraries loaded into each session.
    pub libraries: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it, or a part of it, last changed.
    pub updated_at: Timestamp,
    /// Whether no other template of the tenant that says so too may have its name; left out when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
    /// Whether every tenant may read it and make sessions from it; left out when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// A template with its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateDetail {
    /// The template.
    pub template: Template,
    /// Its settings.
    pub settings: Settings,
    /// What it grants.
    pub capabilities: Vec<Capability>,
    /// What runs when a session starts, in order.
    pub startup_files: Vec<StartupFile>,
}

/// A template's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The template's id.
    pub vm_id: TemplateId,
    /// What one execution may use.
    pub limits: Limits,
    /// How imports are found.
    pub resolver: Resolver,
    /// How scripts are evaluated.
    pub runtime: RuntimeSettings,
    /// How long its sessions live; left out while they live until they are closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// What a template grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Its id.
    pub id: vm_storage::CapabilityId,
    /// The template's id.
    pub vm_id: TemplateId,
    /// What sort of thing.
    pub kind: CapabilityKind,
    /// Which one.
    pub name: String,
    /// Whether it is granted.
    pub enabled: bool,
    /// What the kind wants to know.
    pub config: Value,
}

/// A file that runs when a session starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartupFile {
    /// Its id.
    pub id: vm_storage::StartupFileId,
    /// The template's id.
    pub vm_id: TemplateId,
    /// Its path in the worktree.
    pub path: String,
    /// Lower runs earlier.
    pub order_index: i64,
    /// How it is evaluated.
    pub mode: String,
}

/// That a template is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateDeleted {
    /// `ok`.
    pub status: String,
    /// The template.
    pub template_id: TemplateId,
}

/// That a template has, or has not, a module or library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NameChanged {
    /// `ok`.
    pub status: String,
    /// The template.
    pub template_id: TemplateId,
    /// The module or library.
    pub name: String,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The template's id, by the name that old clients read.
    pub vm_id: TemplateId,
    /// The template it was made from, which may be gone.
    pub template_id: TemplateId,
    /// The client's name for the workspace.
    pub workspace_id: String,
    /// The commit that the worktree was made from.
    pub base_commit_oid: String,
    /// The worktree.
    pub worktree_path: String,
    /// Where it is in its life.
    pub status: SessionStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Why it crashed or was closed by the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What it is made with.
    pub runtime_meta: RuntimeMeta,
}

/// What a session is made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeMeta {
    /// What the template said when the session was made.
    #[serde(flatten)]
    pub template: TemplateSnapshot,
    /// What the session has of its modules and capabilities, as the daemon allows them now.
    #[serde(default)]
    pub effective: Effective,
}

/// An execution, with its events in the answer to a request that ran it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// The execution.
    #[serde(flatten)]
    pub execution: vm_storage::Execution,
    /// Its events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
}

/// That the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

/// The sessions that are live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeSummary {
    /// How many.
    pub active_sessions: u64,
    /// Which, sorted; at most 10,000 of them.
    pub active_session_ids: Vec<SessionId>,
}

/// An engine, module or library that a template may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueEntry {
    /// What templates call it; a library's package.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// `engine`, `module` or `library`; `env` or `net` of what a capability of that kind grants.
    pub kind: String,
    /// What it is.
    pub description: String,
    /// What a script may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<String>>,
    /// The JSON schema of the config that a module's capabilities have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<serde_json::Value>,
    /// Bounds of what scripts do with a module, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, u64>>,
    /// The versions of a library that are installed or can be downloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<String>>,
    /// Those of them that are installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Vec<String>>,
}

impl From<vm_storage::Template> for Template {
    fn from(template: vm_storage::Template) -> Self {
        Self {
            id: template.id,
            name: template.name,
            engine: template.engine,
            is_active: template.is_active,
            exposed_modules: template.modules,
            libraries: template.libraries,
            created_at: template.created_at,
            updated_at: template.updated_at,
            unique: template.is_unique,
            shared: template.is_shared,
        }
    }
}

impl From<vm_storage::Template> for TemplateDetail {
    fn from(mut template: vm_storage::Template) -> Self {
        let vm_id = template.id;
        let settings = Settings::of(vm_id, std::mem::take(&mut template.settings));
        let capabilities = std::mem::take(&mut template.capabilities).into_iter();
        let startup_files = std::mem::take(&mut template.startup_files);
        Self {
            template: template.into(),
            settings,
            capabilities: capabilities.map(|own| Capability::of(vm_id, own)).collect(),
            startup_files: StartupFile::ordered(vm_id, startup_files),
        }
    }
}

impl Settings {
    fn of(vm_id: TemplateId, settings: vm_storage::Settings) -> Self {
        let vm_storage::Settings { limits, resolver, runtime, lifecycle } = settings;
        let lifecycle = (lifecycle != Lifecycle::default()).then_some(lifecycle);
        Self { vm_id, limits, resolver, runtime, lifecycle }
    }
}

impl Capability {
    pub(crate) fn of(vm_id: TemplateId, capability: vm_storage::Capability) -> Self {
        let vm_storage::Capability { id, kind, name, enabled, config } = capability;
        Self { id, vm_id, kind, name, enabled, config }
    }
}

impl StartupFile {
    pub(crate) fn of(vm_id: TemplateId, file: vm_storage::StartupFile) -> Self {
        let vm_storage::StartupFile { id, path, order_index, mode } = file;
        Self { id, vm_id, path, order_index, mode }
    }

    /// Startup files as they run: by their order, those of the same order as they were added.
    pub(crate) fn ordered(vm_id: TemplateId, mut files: Vec<vm_storage::StartupFile>) -> Vec<Self> {
        files.sort_by_key(|file| file.order_index);
        files.into_iter().map(|file| Self::of(vm_id, file)).collect()
    }
}

impl Session {
    /// A session, with what it has on its host.
    pub(crate) fn of(session: vm_storage::Session, host: &Host) -> Self {
        let effective = host.effective(&session.template);
        Self {
            id: session.id,
            vm_id: session.template_id,
            template_id: session.template_id,
            workspace_id: session.workspace_id,
            base_commit_oid: session.base_commit_oid,
            worktree_path: session.worktree_path,
            status: session.status,
            created_at: session.created_at,
            closed_at: session.closed_at,
            last_error: session.last_error,
            runtime_meta: RuntimeMeta { template: session.template, effective },
        }
    }
}

impl From<vm_storage::Execution> for Execution {
    fn from(execution: vm_storage::Execution) -> Self {
        Self { execution, events: None }
    }
}

impl From<vm_host::Finished> for Execution {
    fn from(finished: vm_host::Finished) -> Self {
        Self { execution: finished.execution, events: Some(finished.events) }
    }
}

impl CatalogueEntry {
    pub(crate) fn engine(entry: &catalogue::Entry) -> Self {
        Self::of(entry, "engine")
    }

    pub(crate) fn grant(entry: &catalogue::Entry, kind: &str) -> Self {
        let functions = entry.functions.iter().map(|&name| name.to_owned()).collect();
        let limits = entry.limits.iter().map(|&(name, limit)| (name.to_owned(), limit)).collect();
        Self {
            functions: Some(functions),
            config_schema: catalogue::config_schema(entry.name),
            limits: Some(limits),
            ..Self::of(entry, kind)
        }
    }

    fn of(entry: &catalogue::Entry, kind: &str) -> Self {
        Self {
            id: entry.name.to_owned(),
            name: entry.name.to_owned(),
            kind: kind.to_owned(),
            description: entry.description.to_owned(),
            functions: None,
            config_schema: None,
            limits: None,
            versions: None,
            installed: None,
        }
    }
}
