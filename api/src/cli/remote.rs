//! What the commands that talk to a daemon share: the client, what they print, and errors that say
//! what to do.

use super::progress::Progress;
use super::{Output, printer};
use crate::client::{Client, ClientError};
use crate::error::ErrorCode;
use serde::Serialize;
use std::time::Duration;

/// How long a request takes before a person is shown that something happens.
const PATIENCE: Duration = Duration::from_millis(300);

/// A daemon, and how what it answers is printed.
pub(super) struct Remote {
    pub(super) client: Client,
    output: Output,
}

impl Remote {
    pub(super) fn new(url: &str, output: Output) -> Result<Self, ClientError> {
        Ok(Self { client: Client::new(url)?, output })
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
        ClientError::Address { .. } => None,
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
