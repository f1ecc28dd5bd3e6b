//! The host of vm-system: sessions, each one instance of the guest in one WASI store, and the
//! executions that run in them. It knows nothing of HTTP; the `vm-api` crate is one caller of it.
//!
//! Invariant: what a call answers is durable, and no script can make one fail in a way that is
//! not among [`HostError`] or in the execution's own record.
//!
//! ```
//! use vm_host::{Host, HostOptions, SessionRequest, Source};
//! use vm_storage::{ExecutionStatus, Storage, StorageOptions, Template};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let (storage, _) = Storage::open(&folder.path().join("vm.redb"), StorageOptions::default())?;
//! # let cache_dir = option_env!("CARGO_TARGET_TMPDIR").map(std::path::PathBuf::from);
//! let options = HostOptions { cache_dir, ..HostOptions::new(folder.path().join("libraries")) };
//! let host = Host::start(storage, options).await?;
//!
//! let template = Template::new("example");
//! let request = SessionRequest {
//!     template_id: template.id,
//!     workspace_id: "example".to_owned(),
//!     base_commit_oid: "none".to_owned(),
//!     worktree_path: folder.path().display().to_string(),
//! };
//! host.storage().create_template(template).await?;
//! let session = host.create_session(request, None).await?;
//!
//! let run = |input: &str| host.execute(session.id, Source::Repl { input: input.to_owned() }, None);
//! run("let n = 20").await?;
//! let finished = run("n * 2 + 2").await?;
//! assert_eq!(finished.execution.status, ExecutionStatus::Ok);
//! assert_eq!(finished.execution.result.expect("it gave a value").preview, "42");
//! # Ok(())
//! # }
//! ```

mod artifacts;
mod backup;
#[cfg(feature = "bench")]
pub mod bare;
mod capabilities;
pub mod catalogue;
mod close;
mod database;
mod effective;
mod engine;
mod error;
mod execution;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grants;
mod heap;
mod hibernate;
mod host;
#[cfg(test)]
mod hostile_guests;
mod imports;
mod library;
pub mod limits;
mod live;
mod masks;
mod modules;
mod net;
mod places;
mod programs;
mod reads;
mod recorder;
mod running;
mod runtime;
mod scheduler;
mod secrets;
mod startup;
mod tenancy;
mod typescript;
#[cfg(test)]
mod upgrade_tests;
mod upkeep;
mod worktree;

pub use artifacts::{
    Artifact, ArtifactForm, ArtifactInput, ArtifactSource, Forms, InputAnswer, SourceKind,
};
pub use backup::{BackupMade, restore_backup};
pub use capabilities::{ConfigError, check_config};
pub use effective::{Effective, EffectiveCapability};
pub use engine::GuestError;
pub use error::{Capacity, FileError, HostError, LibraryError, PathError, WorktreeError};
pub use execution::Finished;
pub use feed::EventFeed;
pub use heap::PageTracking;
pub use host::{Host, HostOptions, HostStats, Manner, OnBusy, Source};
pub use library::{LibraryFolder, LibraryName, LibraryNameError};
pub use programs::ProgramError;
pub use reads::Summary;
pub use recorder::Observer;
pub use scheduler::Concurrency;
pub use secrets::SecretsError;
pub use startup::SessionRequest;
pub use tenancy::{NewToken, Principal, TokenRefused};
pub use worktree::check_path;

/// Where the unit tests keep compiled code, so that only the first of them compiles the guest.
#[cfg(test)]
fn test_cache_dir() -> std::path::PathBuf {
    std::env::temp_dir().join("vm-system-unit-tests")
}
