//! What a capability of kind `module` named `database` says.

use super::fs::check_paths;
use super::{Config, ConfigError, DATABASE, wrong};
use crate::database::literal_paths;
use crate::worktree::LiteralPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vm_storage::CapabilityKind;

/// Rows that a query may give, and bytes, unless a config says less.
pub(crate) const MAX_ROWS: u64 = 1_000_000;
pub(crate) const MAX_RESULT_BYTES: u64 = 16 << 20;
/// Bytes that a database's file may have, unless a config says otherwise, and the most that one may say.
pub(crate) const DEFAULT_FILE_BYTES: u64 = 1 << 30;
const MAX_FILE_BYTES: u64 = 1 << 40;

/// Config of a capability of kind `module` named `database`. A file may be used when one of the
/// template's capabilities lists it, and written when one that lists it says so; the least of each limit
/// counts. `:memory:` needs none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct DatabaseConfig {
    /// Files, relative to the worktree, or folders with all beneath them, that may be used.
    pub(crate) files: Vec<String>,
    /// Whether they may be made and changed.
    pub(crate) write: bool,
    /// Rows that a query may give.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) max_rows: u64,
    /// Bytes that the rows of a query may have.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub(crate) max_result_bytes: u64,
    /// Bytes that a file may grow to.
    #[schemars(range(min = 1, max = 1_099_511_627_776_u64))]
    pub(crate) max_file_bytes: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            write: false,
            max_rows: MAX_ROWS,
            max_result_bytes: MAX_RESULT_BYTES,
            max_file_bytes: DEFAULT_FILE_BYTES,
        }
    }
}

impl DatabaseConfig {
    /// Whether it lists a file.
    pub(crate) fn has_file(&self, path: &LiteralPath) -> bool {
        literal_paths(&self.files).any(|listed| path.is_beneath(&listed))
    }
}

impl Config for DatabaseConfig {
    const NAME: &str = DATABASE;
    const KINDS: &[CapabilityKind] = &[CapabilityKind::Module];

    fn nothing() -> Self {
        Self::default()
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_paths("files", &self.files)?;
        for (field, value, most) in [
            ("max_rows", self.max_rows, MAX_ROWS),
            ("max_result_bytes", self.max_result_bytes, MAX_RESULT_BYTES),
            ("max_file_bytes", self.max_file_bytes, MAX_FILE_BYTES),
        ] {
            if !(1..=most).contains(&value) {
                return Err(wrong(field, format!("must be from 1 to {most}")));
            }
        }
        Ok(())
    }
}
