//! A template: what a runtime made from it may do. One record holds all its parts.
//!
//! Invariant: [`Settings::default`] gives exactly the defaults of the wire contract.
//! Which engines, modules and libraries exist is for the host to say, not checked here.

use crate::id::{CapabilityId, StartupFileId, TemplateId, TenantId};
use crate::time::now;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Name of the engine that templates have unless they say otherwise.
const DEFAULT_ENGINE: &str = "javy";

/// What a runtime made from it may do, with all its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// Whose it is; never changes.
    #[serde(default = "TenantId::unnamed", skip_serializing_if = "TenantId::is_local")]
    pub tenant_id: TenantId,
    /// Whether every tenant may read it and make sessions from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_shared: bool,
    /// A name for people; need not be unique.
    pub name: String,
    /// Whether no other template of the tenant that says so too may have its name; never changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unique: bool,
    /// How often it, or a part of it, was written: 1 when it is new. The store counts.
    #[serde(default = "first_version")]
    pub version: u64,
    /// The engine's name, as the client gave it.
    pub engine: String,
    /// Whether sessions may be made from it.
    pub is_active: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it, or a part of it, last changed; set by whoever changes it.
    pub updated_at: Timestamp,
    /// Limits, resolver and runtime.
    pub settings: Settings,
    /// What it grants.
    pub capabilities: Vec<Capability>,
    /// Files that run when a session starts, in order of creation.
    pub startup_files: Vec<StartupFile>,
    /// Names of the host modules that scripts may require.
    #[serde(rename = "exposed_modules")]
    pub modules: Vec<String>,
    /// Libraries loaded into each session, as `name-version`.
    pub libraries: Vec<String>,
}

impl Template {
    /// A new template of the default engine and settings, which grants nothing.
    pub fn new(name: impl Into<String>) -> Self {
        let created_at = now();
        Self {
            id: TemplateId::new(),
            tenant_id: TenantId::LOCAL,
            is_shared: false,
            name: name.into(),
            is_unique: false,
            version: first_version(),
            engine: DEFAULT_ENGINE.to_owned(),
            is_active: true,
            created_at,
            updated_at: created_at,
            settings: Settings::default(),
            capabilities: Vec::new(),
            startup_files: Vec::new(),
            modules: Vec::new(),
            libraries: Vec::new(),
        }
    }
}

/// The version of a template that was never changed, as far as its record tells.
const fn first_version() -> u64 {
    1
}

/// Settings of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What one execution may use.
    pub limits: Limits,
    /// How an import is found.
    pub resolver: Resolver,
    /// How scripts are evaluated.
    pub runtime: RuntimeSettings,
    /// How long its sessions live; left out of JSON while it is the default.
    #[serde(default, skip_serializing_if = "Lifecycle::is_default")]
    pub lifecycle: Lifecycle,
}

/// How long sessions live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Seconds after its last execution, or after its creation, that a session is closed; none
    /// means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_ttl_s: Option<u64>,
}

impl Lifecycle {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What one execution may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time, in milliseconds, counted as fuel.
    pub cpu_ms: u64,
    /// Time from the first slice to the end, in milliseconds.
    pub wall_ms: u64,
    /// Linear memory of the session, in MiB.
    pub mem_mb: u64,
    /// Events of one execution.
    pub max_events: u64,
    /// Output bytes of one execution, in KiB.
    pub max_output_kb: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_ms: 2_000, wall_ms: 5_000, mem_mb: 128, max_events: 50_000, max_output_kb: 256 }
    }
}

/// How an import is found in the worktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Folders to look in, relative to the worktree.
    pub roots: Vec<String>,
    /// Extensions to try, with their dot.
    pub extensions: Vec<String>,
    /// Whether `/a/b` means a path from the worktree's root.
    pub allow_absolute_repo_imports: bool,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            roots: vec![".".to_owned()],
            extensions: vec![".js".to_owned(), ".mjs".to_owned()],
            allow_absolute_repo_imports: true,
        }
    }
}

/// How scripts are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches, one by one on the wire")]
pub struct RuntimeSettings {
    /// Whether `import` works.
    pub esm: bool,
    /// Whether scripts are strict without saying so.
    pub strict: bool,
    /// Whether there is a `console`.
    pub console: bool,
    /// Whether each call of the host leaves a `system` event; left out of JSON when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audit: bool,
    /// Whether lines of a REPL are TypeScript, as files are that are called so; left out of JSON when
    /// not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub typescript: bool,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self { esm: true, strict: false, console: true, audit: false, typescript: false }
    }
}

/// One thing a template grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Its id.
    pub id: CapabilityId,
    /// What sort of thing is granted.
    pub kind: CapabilityKind,
    /// Which one; a name that no module knows is kept and grants nothing.
    pub name: String,
    /// Whether it is granted at present.
    pub enabled: bool,
    /// What the kind wants to know; its shape is the kind's.
    pub config: serde_json::Value,
}

/// What sort of thing a [`Capability`] grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityKind {
    /// A host module.
    Module,
    /// A global name.
    Global,
    /// Files of the worktree.
    Fs,
    /// The network.
    Net,
    /// Environment variables.
    Env,
}

/// A file that runs when a session starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartupFile {
    /// Its id.
    pub id: StartupFileId,
    /// Its path in the worktree.
    pub path: String,
    /// Lower runs earlier; equal ones run in order of creation.
    pub order_index: i64,
    /// How it is evaluated, as the client named it.
    pub mode: String,
}
