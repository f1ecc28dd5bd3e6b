//! How a host is made, and what it tells of itself.

use crate::artifacts::Forms;
use crate::heap::PageTracking;
use crate::limits;
use crate::scheduler::Concurrency;
use std::path::PathBuf;
use std::time::Duration;
use vm_storage::{Limits, Retention};

/// How a host is made.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Sessions that may be starting or ready at one time, most of which take room in the store
    /// and nowhere else.
    pub max_sessions: u32,
    /// Sessions that may have an instance at one time. Each reserves 4 GiB of address space, of
    /// which it uses what it touches.
    pub max_resident: u32,
    /// How long a session keeps its instance without being used.
    pub idle_hibernate: Duration,
    /// Folder of libraries, `NAME-VERSION.js` each; one that does not exist has none.
    pub library_dir: PathBuf,
    /// Folder for compiled code, of this user alone; `None` compiles the guest at every start,
    /// which takes about a second.
    pub cache_dir: Option<PathBuf>,
    /// Folder beside the database where the guests of its sessions are kept, so that a later version
    /// of this program restores them; `None` keeps none.
    pub guest_dir: Option<PathBuf>,
    /// Folder beside the database where template modules are kept, images among them that stored
    /// sessions begin with; `None` keeps none, and makes no images.
    pub module_dir: Option<PathBuf>,
    /// Bytes of template modules that are kept, beyond what stored sessions need.
    pub max_module_bytes: u64,
    /// Which forms of template modules there are.
    pub forms: Forms,
    /// Folder that backups are made in; `None` makes none.
    pub backup_dir: Option<PathBuf>,
    /// How long executions and events are kept.
    pub retention: Retention,
    /// How often the host looks for what it has to remove or end.
    pub upkeep_period: Duration,
    /// Folders that every worktree must lie in; none named means that any will do.
    pub worktree_roots: Vec<PathBuf>,
    /// Programs that scripts may run whose templates have the `exec` module, by name or absolute path:
    /// with the powers of the user that the host runs as.
    pub allowed_programs: Vec<String>,
    /// Addresses that are not public, or ranges of them as CIDR has it, that scripts may reach whose
    /// templates name them.
    pub allowed_addresses: Vec<String>,
    /// A TOML file of secrets that templates may grant by name; `None` has none.
    pub secrets: Option<PathBuf>,
    /// What no session may pass, whatever its template says.
    pub ceilings: Limits,
    /// Executions that may be under way at one time.
    pub concurrency: Concurrency,
    /// How the pages that an execution changed are found; where the kernel does not offer it,
    /// by comparison.
    pub page_tracking: PageTracking,
}

impl HostOptions {
    /// Sessions that may be live unless the options say otherwise.
    pub const DEFAULT_MAX_SESSIONS: u32 = 100_000;

    /// Sessions that may have an instance unless the options say otherwise.
    pub const DEFAULT_MAX_RESIDENT: u32 = 1_000;

    /// How long a session keeps its instance unless the options say otherwise.
    pub const DEFAULT_IDLE_HIBERNATE: Duration = Duration::from_secs(30);

    /// Bytes of template modules that are kept unless the options say otherwise: an image with large
    /// libraries takes four million.
    pub const DEFAULT_MAX_MODULE_BYTES: u64 = 1 << 30;

    /// A host of the default size, without a cache, with worktrees anywhere.
    pub fn new(library_dir: PathBuf) -> Self {
        Self {
            max_sessions: Self::DEFAULT_MAX_SESSIONS,
            max_resident: Self::DEFAULT_MAX_RESIDENT,
            idle_hibernate: Self::DEFAULT_IDLE_HIBERNATE,
            library_dir,
            cache_dir: None,
            guest_dir: None,
            module_dir: None,
            max_module_bytes: Self::DEFAULT_MAX_MODULE_BYTES,
            forms: Forms::ImagesAndReplayed,
            backup_dir: None,
            retention: Retention::default(),
            upkeep_period: Duration::from_secs(1),
            worktree_roots: Vec::new(),
            allowed_programs: Vec::new(),
            allowed_addresses: Vec::new(),
            secrets: None,
            ceilings: limits::MAX,
            concurrency: Concurrency::default(),
            page_tracking: PageTracking::Kernel,
        }
    }
}

/// Counters of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStats {
    /// Sessions that are starting or ready.
    pub live_sessions: u64,
    /// Sessions of which anything is in memory.
    pub held_sessions: usize,
    /// Instances there are.
    pub instances: usize,
    /// Instances made since the host started.
    pub instances_made: u64,
    /// Sessions that gave up what they had in memory, since the host started.
    pub hibernations: u64,
    /// Executions removed by retention or a purge, since the host started.
    pub executions_removed: u64,
    /// Events removed so.
    pub events_removed: u64,
    /// Executions, and sessions being made, that have started or wait to start.
    pub executions: usize,
    /// Template modules compiled since the host started.
    pub template_modules_compiled: u64,
    /// Images made of what they left.
    pub template_images_made: u64,
    /// How the pages that an execution changed are found.
    pub page_tracking: PageTracking,
}
