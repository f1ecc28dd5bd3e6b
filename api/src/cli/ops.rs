//! `vm-system ops …`.

use super::remote::Remote;
use super::{CliError, Exit, table};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum OpsCommand {
    /// Ask the daemon whether it is well
    Health,
    /// Show which sessions are live
    RuntimeSummary,
}

impl OpsCommand {
    pub(super) async fn run(self, remote: Remote) -> Result<Exit, CliError> {
        match self {
            Self::Health => remote.show(&remote.client.health().await?, |health| {
                table::properties(&[("Status", health.status.clone())]);
            }),
            Self::RuntimeSummary => remote.show(&remote.client.summary().await?, |summary| {
                table::properties(&[("Active sessions", summary.active_sessions.to_string())]);
                for id in &summary.active_session_ids {
                    super::printer::stdout_line(&format!("  {id}"));
                }
            }),
        }
        Ok(Exit::Success)
    }
}
