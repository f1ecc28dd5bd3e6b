//! The host's side of the `database` module: calls that become requests of [`Databases`].
//!
//! Invariant: no statement runs on an async worker, and one that nobody waits for any more stops.

use super::calls::{Called, Calls};
use crate::database::{Asked, Databases, Request};
use crate::recorder::cut_short;
use vm_guest::abi::{Operation, database_flags};

/// Bytes of a statement that an event shows: what it is, and none of its parameters.
const MAX_SHOWN_BYTES: usize = 80;

impl Databases {
    /// Carries out one operation; an error is a code and a reason with a newline between them.
    pub(super) async fn answer(
        &self,
        calls: &Calls,
        operation: Operation,
        flags: u32,
        dsn: String,
        data: Vec<u8>,
    ) -> Called {
        let databases = self.clone();
        let waiting = self.wait();
        let stopped = waiting.stopped();
        let call = move || {
            let request = request(operation, flags, &data)?;
            databases.call(&stopped, &dsn, &request).map_err(|refused| refused.told())
        };
        let answer = calls.make(call).await;
        waiting.over();
        answer
    }
}

fn request(operation: Operation, flags: u32, data: &[u8]) -> Result<Request<'_>, String> {
    let asked = || Asked::decode(data).map_err(|error| format!("EINVAL\n{error}"));
    Ok(match operation {
        Operation::DbExec => Request::Execute(asked()?),
        Operation::DbQuery => Request::Query(asked()?),
        Operation::DbOpen => Request::Open,
        Operation::DbClose => Request::Close,
        Operation::DbRestore => {
            Request::Restore { is_first: flags & database_flags::FIRST != 0, part: data }
        }
        Operation::DbKeep => Request::Keep,
        other => return Err(format!("EINVAL\n{other:?} is no operation of databases")),
    })
}

/// Whether an operation is one of databases.
pub(super) fn is_of_databases(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::DbExec
            | Operation::DbQuery
            | Operation::DbOpen
            | Operation::DbClose
            | Operation::DbRestore
            | Operation::DbKeep
    )
}

/// What an event shows of a statement: where it begins.
pub(super) fn shown(operation: Operation, data: &[u8]) -> String {
    match operation {
        Operation::DbExec | Operation::DbQuery => {
            let sql = Asked::decode(data).map(|asked| asked.sql().to_owned()).unwrap_or_default();
            if sql.len() > MAX_SHOWN_BYTES { cut_short(sql, MAX_SHOWN_BYTES) } else { sql }
        }
        _ => String::new(),
    }
}
