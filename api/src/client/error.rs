//! Why a daemon did not give what it was asked for.
//!
//! Invariant: a refusal is told from a daemon that is not there, and from one that is no daemon.

use crate::error::ErrorCode;
use http::StatusCode;
use serde_json::{Map, Value};

/// Why there is no answer of the type that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none of an HTTP server.
    #[error("'{url}' is not the address of a daemon; one is like http://127.0.0.1:3210")]
    Address {
        /// As it was given.
        url: String,
    },
    /// The token cannot be sent.
    #[error("the token has characters that no token has")]
    Token,
    /// Nothing answers there.
    #[error("no daemon answers at {url}: {source}")]
    Unreachable {
        /// Where.
        url: String,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon refused.
    #[error("{} ({} {})", .0.message, .0.status.as_u16(), .0.code)]
    Refused(Box<Refusal>),
    /// What answers is not a daemon, or one of another version.
    #[error("{url} answers what this client does not understand: {reason}")]
    Protocol {
        /// Where.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a daemon refuses, and why.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The code, as [`ErrorCode`] knows it or not.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Ids and limits.
    pub details: Map<String, Value>,
}

impl ClientError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => ErrorCode::parse(&refusal.code),
            Self::Token
            | Self::Address { .. }
            | Self::Unreachable { .. }
            | Self::Protocol { .. } => None,
        }
    }
}
