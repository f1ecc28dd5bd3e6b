//! `vm-system ops …`.

use super::local::{LocalError, guest_dir, module_dir};
use super::remote::Remote;
use super::serve::DEFAULT_DB;
use super::{CliError, Exit, table};
use crate::wire::Stats;
use clap::Subcommand;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum OpsCommand {
    /// Ask the daemon whether it is well
    Health,
    /// Ask the daemon whether it takes work, and if not, why
    Ready,
    /// Show which sessions are live
    RuntimeSummary,
    /// Show what the daemon holds and has done since it started
    Stats,
    /// Make a backup while the daemon serves
    ///
    /// A backup is a folder with a copy of the database, as it was at one moment, and of the guests
    /// of its sessions, on the daemon's machine.
    Backup {
        /// Its name: letters, digits, dots, - and _ (default: the time)
        #[arg(long)]
        name: Option<String>,
    },
    /// Put a backup where there is no database; needs no daemon
    Restore {
        /// The backup's folder
        backup: PathBuf,
    },
    /// Verify every page of a database that no daemon has open
    Verify,
    /// Make the database's file as small as it can be
    ///
    /// Takes a while; requests that read are answered with 503 meanwhile, others wait.
    Compact,
}

impl OpsCommand {
    pub(super) async fn run(self, remote: Remote, db: Option<&Path>) -> Result<Exit, CliError> {
        let client = &remote.client;
        let db = db.unwrap_or(Path::new(DEFAULT_DB));
        match self {
            Self::Health => remote.show(&client.health().await?, |health| {
                table::properties(&[("Status", health.status.clone())]);
            }),
            Self::Ready => remote.show(&client.ready().await?, |ready| {
                table::properties(&[("Status", ready.status.clone())]);
            }),
            Self::RuntimeSummary => remote.show(&client.summary().await?, |summary| {
                table::properties(&[("Active sessions", summary.active_sessions.to_string())]);
                for id in &summary.active_session_ids {
                    super::printer::stdout_line(&format!("  {id}"));
                }
            }),
            Self::Stats => remote.show(&client.stats().await?, print),
            Self::Backup { name } => {
                let made = client.backup(name.as_deref());
                let made = remote.wait("the backup is being written", made).await?;
                remote.show(&made, |made| {
                    table::properties(&[
                        ("Made backup", made.name.clone()),
                        ("Folder", made.path.clone()),
                        ("Database bytes", made.database_bytes.to_string()),
                    ]);
                });
            }
            Self::Restore { backup } => {
                let (guests, modules) = (guest_dir(db), module_dir(db));
                let restored = vm_host::restore_backup(&backup, db, &guests, &modules);
                restored.map_err(LocalError::from)?;
                table::properties(&[("Restored", db.display().to_string())]);
            }
            Self::Verify => {
                vm_storage::verify(db).map_err(LocalError::from)?;
                table::properties(&[("Verified", db.display().to_string())]);
            }
            Self::Compact => {
                let compacted =
                    remote.wait("the database is being compacted", client.compact()).await?;
                remote.show(&compacted, |compacted| {
                    table::properties(&[
                        ("Bytes before", compacted.before_bytes.to_string()),
                        ("Bytes after", compacted.after_bytes.to_string()),
                    ]);
                });
            }
        }
        Ok(Exit::Success)
    }
}

fn print(stats: &Stats) {
    let Stats {
        sessions,
        storage,
        removed,
        executions_under_way,
        template_modules_compiled,
        template_images_made,
    } = stats;
    let number = |name, number: u64| (name, number.to_string());
    table::properties(&[
        number("Live sessions", sessions.live),
        number("Sessions in memory", sessions.held),
        number("Instances", sessions.instances),
        number("Instances made", sessions.instances_made),
        number("Hibernations", sessions.hibernations),
        number("Executions under way", *executions_under_way),
        number("Template modules compiled", *template_modules_compiled),
        number("Template images made", *template_images_made),
        number("Templates", storage.templates),
        number("Sessions", storage.sessions),
        number("Executions", storage.executions),
        number("Events", storage.events),
        number("Bytes of executions", storage.execution_bytes),
        number("Bytes of events", storage.event_bytes),
        number("Bytes of heaps", storage.heap_bytes),
        number("Sessions to sweep", storage.unswept_sessions),
        number("Bytes of the file", storage.file_bytes),
        number("Bytes free on the disk", storage.free_bytes),
        number("Commits", storage.commits),
        number("Writes", storage.writes),
        number("Reopened", storage.reopens),
        number("Executions removed", removed.executions),
        number("Events removed", removed.events),
    ]);
}
