//! What is told of the modules that a template's libraries and startup files were made into.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vm_host::{ArtifactForm, ArtifactSource, InputAnswer};

/// A template module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The SHA-256 of its bytes, in hexadecimal.
    pub hash: String,
    /// `image` or `replayed`.
    pub form: ArtifactForm,
    /// Bytes of the module.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Sessions that it started since the daemon did.
    pub hits: u64,
    /// What it was made of, in the order in which it loads.
    pub sources: Vec<ArtifactSource>,
    /// What the startup asked: a session begins with the image if it is answered the same.
    pub inputs: Vec<ArtifactInput>,
}

/// Something that a startup asked of its session's worktree or template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactInput {
    /// `require`, `read`, `exists`, `readdir` or `stat`.
    pub operation: String,
    /// The path or the module.
    pub name: String,
    /// The SHA-256 of what it was answered, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The code of the error that it was answered, such as `ENOENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it was there, when that is all that was asked and it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<bool>,
}

impl From<vm_host::Artifact> for Artifact {
    fn from(artifact: vm_host::Artifact) -> Self {
        let vm_host::Artifact { hash, form, bytes, created_at, hits, sources, asked } = artifact;
        let created_at = Timestamp::try_from(created_at).unwrap_or(Timestamp::UNIX_EPOCH);
        let inputs = asked.into_iter().map(ArtifactInput::from).collect();
        Self { hash, form, bytes, created_at, hits, sources, inputs }
    }
}

impl From<vm_host::ArtifactInput> for ArtifactInput {
    fn from(input: vm_host::ArtifactInput) -> Self {
        let vm_host::ArtifactInput { operation, name, answer } = input;
        let (sha256, error, found) = match answer {
            InputAnswer::Sha256(hash) => (Some(hash), None, None),
            InputAnswer::Error(code) => (None, Some(code), None),
            InputAnswer::Absent => (None, None, Some(false)),
        };
        Self { operation: operation.to_owned(), name, sha256, error, found }
    }
}
