//! The durable nouns of vm-system on redb: templates, sessions, executions and their events.
//!
//! Owns the one database file, its format (drawn in `tables.rs`), the single writer that groups
//! the commits of many callers, and recovery at start. Knows nothing of Wasm or HTTP, and no redb
//! type is part of its surface.
//!
//! Invariant: a write that was answered `Ok` is on the disk, whole; one answered `Err` left
//! nothing, except that after [`StorageError::Unavailable`] it may be there whole.
//!
//! ```
//! use vm_storage::{Storage, StorageError, StorageOptions, Template};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let (storage, recovery) = Storage::open(&folder.path().join("vm.redb"), StorageOptions::default())?;
//! assert_eq!(recovery.executions_stopped, 0);
//!
//! let template = Template::new("first");
//! let id = template.id;
//! storage.create_template(template).await?;
//! storage
//!     .update_template(id, |template| {
//!         template.modules.push("console".to_owned());
//!         Ok::<_, StorageError>(())
//!     })
//!     .await?;
//! assert_eq!(storage.template(id)?.expect("just created").modules, ["console"]);
//! storage.shutdown().await?;
//! # Ok(())
//! # }
//! ```

mod database;
mod error;
mod event;
mod execution;
mod heap;
mod id;
mod kv;
mod record;
mod retention;
mod session;
mod storage;
mod tables;
mod template;
mod tenant;
mod time;
mod writer;

#[cfg(test)]
mod crash_tests;

pub use database::{StorageStatus, Verification};
pub use error::StorageError;
pub use event::{ConsoleLevel, Event, EventPayload, ValuePayload, ValueType};
pub use execution::{
    Execution, ExecutionError, ExecutionErrorCode, ExecutionKind, ExecutionStatus, HostCalls,
    Metrics,
};
pub use heap::{
    HEAP_PAGE_BYTES, HeapChange, HeapCommit, HeapMemory, HeapPage, HeapPatch, PagePatch, PageWrite,
    PatchRun, StoredHeap,
};
pub use id::{CapabilityId, ExecutionId, SessionId, StartupFileId, TemplateId, TenantId, TokenId};
pub use kv::{
    KvCommit, KvEntry, KvList, KvListed, KvQuota, KvReads, KvUsage, KvWrites, MAX_KV_KEY_BYTES,
    MAX_KV_READS, MAX_KV_VALUE_BYTES,
};
pub use record::{MAX_RECORD_BYTES, MAX_RECORD_DEPTH};
pub use retention::{Bounds, Retention};
pub use session::{
    EngineBinding, Session, SessionFilter, SessionStatus, StartupForm, TemplateSnapshot,
    WorktreeIdentity,
};
pub use storage::backup::{restore, verify};
pub use storage::read::{Contents, MAX_EVENTS_READ, MAX_LISTED, MAX_LIVE_IDS, Page, PageRequest};
pub use storage::write::ExecutionCommit;
pub use storage::{Recovery, Storage, StorageOptions, StorageStats};
pub use tables::FORMAT_VERSION;
pub use template::{
    Capability, CapabilityKind, Lifecycle, Limits, Resolver, RuntimeSettings, Settings,
    StartupFile, Template,
};
pub use tenant::{Scope, Tenant, TenantStatus, Token};
pub use time::now;
pub use writer::{MAX_TEMPLATES, MAX_TENANTS, MAX_TOKENS, Swept};
