//! What the commands that talk to a daemon share: the client, what they print, and errors that say
//! what to do.

use super::progress::Progress;
use super::{Output, escape, printer};
use crate::client::{Client, ClientError, ListPart, Listed};
use crate::error::ErrorCode;
use clap::Args;
use serde::Serialize;
use std::time::Duration;

/// How long a request takes before a person is shown that something happens.
const PATIENCE: Duration = Duration::from_millis(300);

/// Which part of a list to print.
#[derive(Debug, Args)]
pub(super) struct Part {
    /// How many at most, up to 1000
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// Go on where the part before ended: what it said
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Part {
    pub(super) fn request(self) -> ListPart {
        ListPart { limit: self.limit, cursor: self.cursor }
    }
}

/// A daemon, and how what it answers is printed.
pub(super) struct Remote {
    pub(super) client: Client,
    output: Output,
}

impl Remote {
    pub(super) fn new(url: &str, token: Option<&str>, output: Output) -> Result<Self, ClientError> {
        let client = Client::new(url)?;
        let client = match token {
            Some(token) => client.with_token(token)?,
            None => client,
        };
        Ok(Self { client, output })
    }

    /// Waits for an answer, and shows that it takes long when it does.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let mut request = std::pin::pin!(request);
        if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut request).await {
            return answer;
        }
        let _progress = Progress::start(what);
        request.await
    }

    /// Prints a part of a list, and on stderr how to get the next one.
    pub(super) fn show_page<T: Serialize>(&self, page: &Listed<T>, text: impl FnOnce(&Vec<T>)) {
        self.show(&page.items, text);
        if let Some(cursor) = &page.next {
            printer::stderr_line(&format!("there are more: --cursor {}", escape::lines(cursor)));
        }
    }

    /// Prints an answer as it came, or as `text` shows it.
    pub(super) fn show<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T)) {
        match self.output {
            Output::Json => printer::json(answer),
            Output::Text => text(answer),
        }
    }
}

/// An error with what to do about it.
pub(super) fn explained(error: &ClientError) -> String {
    let hint = match error {
        ClientError::Unreachable { .. } => {
            Some("start one with `vm-system serve`, or name another with --server-url")
        }
        ClientError::Protocol { .. } => Some("is --server-url the address of a vm-system daemon?"),
        ClientError::Address { .. } | ClientError::Token => None,
        ClientError::Refused(_) => error.code().and_then(hint),
    };
    match hint {
        Some(hint) => format!("{error}\n{hint}"),
        None => error.to_string(),
    }
}

fn hint(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::TemplateNotFound => Some("`vm-system template list` lists the templates"),
        ErrorCode::SessionNotFound => Some("`vm-system session list` lists the sessions"),
        ErrorCode::ExecutionNotFound => {
            Some("`vm-system exec list SESSION` lists the executions of a session")
        }
        ErrorCode::SessionNotReady => Some("`vm-system session create` makes a new one"),
        ErrorCode::SessionBusy => Some("try again when what runs in it has ended"),
        ErrorCode::FileNotFound => Some("paths are relative to the session's worktree"),
        ErrorCode::ModuleNotAllowed => {
            Some("`vm-system template list-available-modules` lists the modules")
        }
        ErrorCode::LibraryNotAvailable => Some(
            "`vm-system libs add` installs a library, `vm-system libs download` the usual ones",
        ),
        ErrorCode::CapacityExceeded => Some("close a session, or try again"),
        ErrorCode::StorageUnavailable => Some("try again; the daemon's log says what is wrong"),
        ErrorCode::Internal => Some("the daemon's log says what went wrong"),
        ErrorCode::WorktreeUnavailable => {
            Some("put the worktree back, or `vm-system session create` makes a new session")
        }
        ErrorCode::GuestUnavailable => {
            Some("the folder of guests beside the database lacks what the session was made with")
        }
        ErrorCode::ArtifactNotFound => {
            Some("`vm-system template list-artifacts TEMPLATE` lists the artifacts")
        }
        ErrorCode::Unauthenticated => Some(
            "give a token with --token, VM_SYSTEM_TOKEN or the credentials file; on the daemon's own \
             machine `vm-system tenant bootstrap` makes the first",
        ),
        ErrorCode::Forbidden => Some("`vm-system token create` makes a token of other scopes"),
        ErrorCode::TenantNotFound => Some("`vm-system tenant list` lists the tenants"),
        ErrorCode::TokenNotFound => Some("`vm-system token list` lists the tokens"),
        ErrorCode::TemplateExists => Some("give the template another name"),
        ErrorCode::VersionMismatch => Some("read the template again: somebody changed it"),
        ErrorCode::TenantExists => Some("give the tenant another name"),
        ErrorCode::BackupExists => Some("give the backup another --name"),
        ErrorCode::CursorExpired => Some("read on with --after-seq from the oldest there is"),
        ErrorCode::Validation
        | ErrorCode::InvalidRequest
        | ErrorCode::RouteNotFound
        | ErrorCode::MethodNotAllowed
        | ErrorCode::PayloadTooLarge
        | ErrorCode::RequestTimeout
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::InvalidPath
        | ErrorCode::OutputLimitExceeded
        | ErrorCode::StartupModeUnsupported
        | ErrorCode::EngineUnsupported
        | ErrorCode::StartupFailed
        | ErrorCode::ForbiddenOrigin => None,
    }
}
