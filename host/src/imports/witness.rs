//! What a guest was given from outside its memory while its startup ran: whether the memory that it
//! left is one that every run would leave, and what has to be the same for that.
//!
//! Invariant: a guest whose witness is not spoilt, and for which everything [`Asked`] would be
//! answered the same again, would run again to the same memory and the same events.

use super::database::is_of_databases;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vm_guest::abi::Operation;

/// Calls of the host whose answers are kept: to use an image, each is made again.
const MAX_ASKED: usize = 1024;

/// What was noted of a guest.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    asked: Vec<Asked>,
    spoilt: Option<Unrepeatable>,
}

/// What no other run is given, or gives, the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unrepeatable {
    /// The time.
    #[error("it read a clock")]
    Clock,
    /// Random numbers.
    #[error("it drew random numbers")]
    Entropy,
    /// It changed files.
    #[error("it changed files")]
    Writing,
    /// It ran a program.
    #[error("it ran a program")]
    Program,
    /// It asked for something over the network.
    #[error("it used the network")]
    Network,
    /// It saw what the host grants of its secrets.
    #[error("it looked at its environment")]
    Environment,
    /// It used a database: what SQL says may be the time, and a file's content is not noted.
    #[error("it used a database")]
    Database,
    /// It used its workspace's keys.
    #[error("it used its workspace's keys")]
    Keys,
    /// It asked for more than is kept.
    #[error("it asked the host for more than {MAX_ASKED} things")]
    Asking,
}

/// A call of the host that changes nothing, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// The number of the operation.
    pub(crate) operation: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) flags: u32,
    /// The path or name that it was about.
    pub(crate) name: String,
    pub(crate) answer: Answer,
}

/// An answer, as far as another has to be the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The SHA-256 of the bytes, in hexadecimal.
    Sha256(String),
    /// It was refused: a code and a reason.
    Error(String),
    /// What was asked for is not there.
    Absent,
}

impl Witness {
    /// Notes what another run would not be given.
    pub(crate) fn spoil(&mut self, what: Unrepeatable) {
        self.spoilt.get_or_insert(what);
    }

    /// Notes a call of the host.
    pub(super) fn note(
        &mut self,
        operation: Operation,
        flags: u32,
        name: &str,
        answer: &Result<Vec<u8>, String>,
    ) {
        match operation {
            Operation::Require
            | Operation::FsRead
            | Operation::FsExists
            | Operation::FsReadDir
            | Operation::FsStat
            | Operation::FsRealPath
            | Operation::ModuleResolve
            | Operation::ModuleSource => {}
            Operation::ExecRun => return self.spoil(Unrepeatable::Program),
            Operation::NetFetch | Operation::NetRead | Operation::NetClose => {
                return self.spoil(Unrepeatable::Network);
            }
            Operation::Env => return self.spoil(Unrepeatable::Environment),
            Operation::KvGet | Operation::KvPut | Operation::KvDelete | Operation::KvList => {
                return self.spoil(Unrepeatable::Keys);
            }
            operation if is_of_databases(operation) => return self.spoil(Unrepeatable::Database),
            _ => return self.spoil(Unrepeatable::Writing),
        }
        let asked = Asked {
            operation: operation as u32,
            flags,
            name: name.to_owned(),
            answer: Answer::of(operation, answer),
        };
        if self.asked.contains(&asked) {
            return;
        }
        if self.asked.len() >= MAX_ASKED {
            return self.spoil(Unrepeatable::Asking);
        }
        self.asked.push(asked);
    }

    /// What has to be answered the same, unless another run would differ whatever is answered.
    pub(crate) fn asked(self) -> Result<Vec<Asked>, Unrepeatable> {
        match self.spoilt {
            None => Ok(self.asked),
            Some(what) => Err(what),
        }
    }
}

impl Answer {
    /// An answer to an operation.
    pub(crate) fn of(operation: Operation, answer: &Result<Vec<u8>, String>) -> Self {
        match answer {
            Ok(bytes) if operation == Operation::FsExists && bytes == &[0] => Self::Absent,
            Ok(bytes) => Self::Sha256(format!("{:x}", Sha256::digest(bytes))),
            Err(error) => Self::Error(error.clone()),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is what serde calls")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
