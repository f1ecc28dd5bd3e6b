//! What a capability of kind `fs` or `module` named `fs` says.

use super::{Config, ConfigError, FS, wrong};
use crate::worktree::WorktreePath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vm_storage::CapabilityKind;

/// Path prefixes that one config may list.
const MAX_PREFIXES: usize = 64;

/// Config of a capability of kind `fs` or `module` named `fs`. An operation is allowed when one of
/// the template's grants allows it and none denies its path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct FsConfig {
    /// Whether files may be changed.
    pub(crate) write: bool,
    /// Paths, relative to the worktree, that may be used with all beneath them; all, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow: Option<Vec<String>>,
    /// Paths that may not be used, nor anything beneath them, whatever else is allowed.
    pub(crate) deny: Vec<String>,
    /// Bytes that the files of the worktree may have together for a write to be allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota_bytes: Option<u64>,
}

impl Config for FsConfig {
    const NAME: &str = FS;
    const KINDS: &[CapabilityKind] = &[CapabilityKind::Module, CapabilityKind::Fs];

    fn nothing() -> Self {
        Self { allow: Some(Vec::new()), ..Self::default() }
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_paths("allow", self.allow.as_deref().unwrap_or_default())?;
        check_paths("deny", &self.deny)
    }
}

/// Checks a list of paths relative to the worktree.
pub(super) fn check_paths(field: &str, paths: &[String]) -> Result<(), ConfigError> {
    if paths.len() > MAX_PREFIXES {
        return Err(wrong(field, format!("may have {MAX_PREFIXES} paths, not {}", paths.len())));
    }
    for (index, path) in paths.iter().enumerate() {
        WorktreePath::strict(path)
            .map_err(|error| wrong(&format!("{field}[{index}]"), error.to_string()))?;
    }
    Ok(())
}
