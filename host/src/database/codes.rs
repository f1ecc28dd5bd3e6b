//! SQLite's results, by the names that scripts and its manual know them under.
//!
//! Invariant: no message names a place on the host: SQLite knows no path, and says what it was given.

use super::Refused;
use super::place::Code;
use rusqlite::{Error, ffi};

/// A parameter that is not there.
pub(super) const RANGE: &str = "SQLITE_RANGE";
/// A call that makes no sense.
pub(super) const MISUSE: &str = "SQLITE_MISUSE";

/// How SQLite begins to say that something may not be done.
const DENIALS: [&str; 2] = ["not authorized", "unsafe use of"];

/// The name of a result. What may not be done is what it is everywhere else.
fn name(code: Code) -> &'static str {
    match code & 0xff {
        ffi::SQLITE_PERM => "SQLITE_PERM",
        ffi::SQLITE_ABORT => "SQLITE_ABORT",
        ffi::SQLITE_BUSY => "SQLITE_BUSY",
        ffi::SQLITE_LOCKED => "SQLITE_LOCKED",
        ffi::SQLITE_NOMEM => "SQLITE_NOMEM",
        ffi::SQLITE_READONLY => "SQLITE_READONLY",
        ffi::SQLITE_INTERRUPT => "SQLITE_INTERRUPT",
        ffi::SQLITE_IOERR => "SQLITE_IOERR",
        ffi::SQLITE_CORRUPT => "SQLITE_CORRUPT",
        ffi::SQLITE_FULL => "SQLITE_FULL",
        ffi::SQLITE_CANTOPEN => "SQLITE_CANTOPEN",
        ffi::SQLITE_SCHEMA => "SQLITE_SCHEMA",
        ffi::SQLITE_TOOBIG => "SQLITE_TOOBIG",
        ffi::SQLITE_CONSTRAINT => "SQLITE_CONSTRAINT",
        ffi::SQLITE_MISMATCH => "SQLITE_MISMATCH",
        ffi::SQLITE_MISUSE => MISUSE,
        ffi::SQLITE_AUTH => "EACCES",
        ffi::SQLITE_RANGE => RANGE,
        ffi::SQLITE_NOTADB => "SQLITE_NOTADB",
        _ => "SQLITE_ERROR",
    }
}

/// The name of a result with its reason: that a function may not be used is an error like any other to
/// SQLite.
fn denial_or(reason: &str, code: Code) -> &'static str {
    let is_denial = DENIALS.iter().any(|denial| reason.starts_with(denial));
    if is_denial { "EACCES" } else { name(code) }
}

impl Refused {
    /// What SQLite says of a result.
    pub(super) fn of_code(code: Code) -> Self {
        Self::new(name(code), ffi::code_to_str(code).to_owned())
    }

    /// What SQLite, or rusqlite, says.
    pub(super) fn of_sqlite(error: &Error) -> Self {
        match error {
            Error::SqliteFailure(failure, message) => {
                let said = ffi::code_to_str(failure.extended_code);
                let reason = message.clone().unwrap_or_else(|| said.to_owned());
                Self::new(denial_or(&reason, failure.extended_code), reason)
            }
            Error::SqlInputError { error, msg, .. } => {
                Self::new(denial_or(msg, error.extended_code), msg.clone())
            }
            other => Self::new("SQLITE_ERROR", other.to_string()),
        }
    }
}
