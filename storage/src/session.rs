//! A session: the durable side of one isolated JavaScript runtime.
//!
//! ```text
//!            +-----------------------> crashed
//!            |                           ^
//! put ---> starting ----> ready ---------+
//!            |  |           |
//!            |  +-----------+--> closed --- purge ---> gone
//!            +---> crashed   (by recovery at open)
//! ```
//!
//! Invariant: the session's template is a snapshot; later changes to the template do not touch it.
//! The transitions are the host's to make; the store only keeps what it is given, and the indexes
//! of live ones (`starting`, `ready`) in step with it. A ready session outlives the process: its
//! heap is stored too (`heap.rs`).

use crate::id::{SessionId, TemplateId, TenantId};
use crate::template::{Capability, Settings, StartupFile, Template};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The durable side of one isolated JavaScript runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is; never changes.
    #[serde(default = "TenantId::unnamed", skip_serializing_if = "TenantId::is_local")]
    pub tenant_id: TenantId,
    /// The template it was made from, which may be gone by now.
    pub template_id: TemplateId,
    /// The client's name for the workspace.
    pub workspace_id: String,
    /// The commit that the worktree was made from, as the client gave it.
    pub base_commit_oid: String,
    /// Absolute path of the worktree.
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
    /// What the template said when the session was made.
    #[serde(rename = "runtime_meta")]
    pub template: TemplateSnapshot,
    /// What its heap can run in; none in sessions of before heaps were stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineBinding>,
    /// Which directory its worktree was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<WorktreeIdentity>,
}

impl Session {
    /// When a live session that was last used at a time is due to end by its template's TTL, in
    /// milliseconds since 1970; never without one.
    pub fn due_ms(&self, last_used: Timestamp) -> Option<u64> {
        let ttl = self.template.settings.lifecycle.session_ttl_s?;
        let since = u64::try_from(last_used.as_millisecond()).unwrap_or(0);
        self.status.is_live().then(|| since.saturating_add(ttl.saturating_mul(1_000)))
    }
}

/// What a session's heap is tied to: with anything else its bytes mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EngineBinding {
    /// SHA-256 of the guest, in hexadecimal.
    pub guest: String,
    /// Version of the functions that the host gives it.
    pub imports: u32,
    /// SHA-256 of the image that its heap differs from, in hexadecimal.
    pub image: String,
}

/// What tells one directory from another that takes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorktreeIdentity {
    /// Its inode.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970; where the file system does not say, which
    /// device it is on. A device may have another number after the machine restarts.
    pub born_or_device: u64,
}

/// Where a [`Session`] is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Being made; takes no executions yet.
    Starting,
    /// Takes executions.
    Ready,
    /// Could not start, or its state is lost.
    Crashed,
    /// Ended.
    Closed,
}

impl SessionStatus {
    /// Whether a runtime stands behind a session of this status.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Starting | Self::Ready => true,
            Self::Crashed | Self::Closed => false,
        }
    }
}

/// What a session keeps of the template it was made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TemplateSnapshot {
    /// The template's settings.
    pub settings: Settings,
    /// Its capabilities.
    pub capabilities: Vec<Capability>,
    /// Its startup files.
    pub startup_files: Vec<StartupFile>,
    /// Its host modules.
    #[serde(rename = "exposed_modules")]
    pub modules: Vec<String>,
    /// Its libraries.
    pub libraries: Vec<String>,
    /// The template's version; none in sessions of before templates had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How its libraries and startup files came to have run; none until they have, and in sessions of
    /// before there were images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<StartupForm>,
}

/// How a session's libraries and startup files came to have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartupForm {
    /// The session began with the memory that they left when they ran before, or there are none.
    Image,
    /// They ran in the session.
    Replayed,
}

impl From<&Template> for TemplateSnapshot {
    fn from(template: &Template) -> Self {
        Self {
            settings: template.settings.clone(),
            capabilities: template.capabilities.clone(),
            startup_files: template.startup_files.clone(),
            modules: template.modules.clone(),
            libraries: template.libraries.clone(),
            version: Some(template.version),
            startup: None,
        }
    }
}

/// Which sessions a list holds; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only these statuses; none named means any.
    pub statuses: Vec<SessionStatus>,
    /// Only sessions made from this template.
    pub template_id: Option<TemplateId>,
}

impl SessionFilter {
    /// Whether only live sessions can be in a list with this filter.
    pub(crate) fn is_for_live_ones(&self) -> bool {
        !self.statuses.is_empty() && self.statuses.iter().all(|status| status.is_live())
    }

    /// Whether a list with this filter holds `session`.
    pub fn accepts(&self, session: &Session) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&session.status))
            && self.template_id.is_none_or(|id| id == session.template_id)
    }
}
