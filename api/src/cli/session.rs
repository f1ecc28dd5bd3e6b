//! `vm-system session …`.

use super::remote::{Part, Remote};
use super::{CliError, Exit, local, table};
use crate::client::NewSession;
use crate::wire::Session;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use vm_storage::{SessionFilter, SessionId, SessionStatus, TemplateId};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Make a session: a runtime of a template, on a worktree
    Create(CreateArgs),
    /// List the sessions, newest first
    List {
        /// Only these statuses, with commas between
        #[arg(long, value_enum, value_delimiter = ',')]
        status: Vec<Status>,
        /// Only sessions made from this template
        #[arg(long, value_name = "ID")]
        template_id: Option<TemplateId>,
        #[command(flatten)]
        part: Part,
    },
    /// Show a session
    Get {
        /// The session
        session_id: SessionId,
    },
    /// End a session; what runs in it is cancelled
    Close {
        /// The session
        session_id: SessionId,
    },
    /// End a session and remove it, with its executions and their events
    Purge {
        /// The session
        session_id: SessionId,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The template
    #[arg(long, value_name = "ID")]
    template_id: TemplateId,
    /// Your name for the workspace
    #[arg(long, value_name = "NAME")]
    workspace_id: String,
    /// The commit that the worktree was made from
    #[arg(long, value_name = "OID")]
    base_commit: String,
    /// The worktree, a folder on the daemon's machine
    #[arg(long, value_name = "DIR")]
    worktree_path: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Status {
    Starting,
    Ready,
    Crashed,
    Closed,
}

impl From<Status> for SessionStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Starting => Self::Starting,
            Status::Ready => Self::Ready,
            Status::Crashed => Self::Crashed,
            Status::Closed => Self::Closed,
        }
    }
}

impl SessionCommand {
    pub(super) async fn run(self, remote: Remote) -> Result<Exit, CliError> {
        let client = &remote.client;
        match self {
            Self::Create(args) => {
                let session = NewSession {
                    template_id: args.template_id,
                    workspace_id: args.workspace_id,
                    base_commit_oid: args.base_commit,
                    worktree_path: local::absolute(&args.worktree_path)?,
                };
                let created = client.create_session(session);
                let session = remote.wait("the session is starting", created).await?;
                remote.show(&session, |session| print("Created session", session));
            }
            Self::List { status, template_id, part } => {
                let statuses = status.into_iter().map(SessionStatus::from).collect();
                let filter = SessionFilter { statuses, template_id };
                let sessions = client.sessions_page(&filter, &part.request()).await?;
                remote.show_page(&sessions, |sessions| {
                    let row = |session: &Session| {
                        let (id, template) =
                            (session.id.to_string(), session.template_id.to_string());
                        let status = status_name(session.status);
                        let workspace = session.workspace_id.clone();
                        [id, template, status, workspace, session.created_at.to_string()]
                    };
                    let header = ["Session ID", "Template ID", "Status", "Workspace", "Created"];
                    table::print(header, sessions.iter().map(row).collect(), "No sessions");
                });
            }
            Self::Get { session_id } => {
                let session = client.session(session_id).await?;
                remote.show(&session, |session| print("Session ID", session));
            }
            Self::Close { session_id } => {
                let closed = client.close_session(session_id);
                let session = remote.wait("the session is closing", closed).await?;
                remote.show(&session, |session| print("Closed session", session));
            }
            Self::Purge { session_id } => {
                let purged = client.purge_session(session_id);
                let session = remote.wait("the session is closing", purged).await?;
                remote.show(&session, |session| print("Removed session", session));
            }
        }
        Ok(Exit::Success)
    }
}

fn print(title: &str, session: &Session) {
    table::properties(&[
        (title, session.id.to_string()),
        ("Status", status_name(session.status)),
        ("Template ID", session.template_id.to_string()),
        ("Workspace ID", session.workspace_id.clone()),
        ("Base commit", session.base_commit_oid.clone()),
        ("Worktree path", session.worktree_path.clone()),
        ("Created", session.created_at.to_string()),
    ]);
    if let Some(closed_at) = session.closed_at {
        table::properties(&[("Closed", closed_at.to_string())]);
    }
    if let Some(last_error) = &session.last_error {
        table::properties(&[("Last error", last_error.clone())]);
    }
}

fn status_name(status: SessionStatus) -> String {
    super::printer::compact(&status).trim_matches('"').to_owned()
}
