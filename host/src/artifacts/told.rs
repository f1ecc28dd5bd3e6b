//! Template modules, as callers are told of them.
//!
//! Invariant: nothing here says where a module is kept.

use super::manifest::{ArtifactForm, ArtifactSource};
use crate::imports::{Answer, Asked};
use std::time::SystemTime;
use vm_guest::abi::Operation;

/// A template module, as it is told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// The SHA-256 of its bytes, in hexadecimal.
    pub hash: String,
    /// Its form.
    pub form: ArtifactForm,
    /// Bytes of the module.
    pub bytes: u64,
    /// When it was made.
    pub created_at: SystemTime,
    /// Sessions that it started, since the host did.
    pub hits: u64,
    /// What it was made of, in the order in which it loads.
    pub sources: Vec<ArtifactSource>,
    /// What was asked of the worktree, and has to be answered the same for it to be used.
    pub asked: Vec<ArtifactInput>,
}

/// Something that a startup asked of its session's worktree or template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactInput {
    /// What it did: `require`, `read`, `exists`, `readdir`, `stat`, `resolve`, `load`.
    pub operation: &'static str,
    /// The path or the module that it named.
    pub name: String,
    /// What it was answered: a SHA-256, an error, or nothing when it is not there.
    pub answer: InputAnswer,
}

/// An answer that an image depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputAnswer {
    /// The SHA-256 of what was answered, in hexadecimal.
    Sha256(String),
    /// The code of an error, such as `ENOENT`.
    Error(String),
    /// It is not there.
    Absent,
}

impl ArtifactInput {
    pub(super) fn of(asked: &Asked) -> Self {
        let operation = match Operation::try_from(asked.operation) {
            Ok(Operation::Require) => "require",
            Ok(Operation::FsRead) => "read",
            Ok(Operation::FsExists) => "exists",
            Ok(Operation::FsReadDir) => "readdir",
            Ok(Operation::FsStat) => "stat",
            Ok(Operation::ModuleResolve) => "resolve",
            Ok(Operation::ModuleSource) => "load",
            Ok(Operation::FsRealPath) => "realpath",
            // None of these is repeated.
            Ok(_) | Err(_) => "other",
        };
        let answer = match &asked.answer {
            Answer::Sha256(hash) => InputAnswer::Sha256(hash.clone()),
            Answer::Error(error) => {
                InputAnswer::Error(error.lines().next().unwrap_or_default().to_owned())
            }
            Answer::Absent => InputAnswer::Absent,
        };
        Self { operation, name: asked.name.replace('\0', " "), answer }
    }
}
