//! What a capability of kind `module` named `exec` says.

use super::{Config, ConfigError, EXEC, configs, wrong};
use crate::imports::{DEFAULT_OUTPUT_BYTES, MAX_OUTPUT_BYTES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vm_storage::{CapabilityKind, TemplateSnapshot};

/// Programs that one config may list.
const MAX_PROGRAMS: usize = 64;

/// Config of a capability of kind `module` named `exec`, which narrows what the host allows. Of several,
/// a program has to be in each list, and the least of each limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ExecConfig {
    /// Programs that may be run; all that the host allows, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) programs: Option<Vec<String>>,
    /// Milliseconds that a program may run; as long as its execution, when absent.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    /// Bytes of output, and as many of errors, that a program may write.
    #[schemars(range(min = 1, max = 67_108_864))]
    pub(crate) max_output_bytes: u64,
}

impl Default for ExecConfig {
    fn default() -> Self {
        Self { programs: None, timeout_ms: None, max_output_bytes: DEFAULT_OUTPUT_BYTES }
    }
}

impl ExecConfig {
    /// What a session's enabled capabilities leave of the programs that the host allows.
    pub(crate) fn of(template: &TemplateSnapshot) -> Self {
        configs::<Self>(template).into_iter().reduce(Self::and).unwrap_or_default()
    }

    fn and(self, other: Self) -> Self {
        let programs = match (self.programs, other.programs) {
            (Some(mut some), Some(others)) => {
                some.retain(|program| others.contains(program));
                Some(some)
            }
            (some, others) => some.or(others),
        };
        let timeout_ms = self.timeout_ms.into_iter().chain(other.timeout_ms).min();
        let max_output_bytes = self.max_output_bytes.min(other.max_output_bytes);
        Self { programs, timeout_ms, max_output_bytes }
    }
}

impl Config for ExecConfig {
    const NAME: &str = EXEC;
    const KINDS: &[CapabilityKind] = &[CapabilityKind::Module];

    fn nothing() -> Self {
        Self { programs: Some(Vec::new()), ..Self::default() }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let count = self.programs.as_ref().map_or(0, Vec::len);
        if count > MAX_PROGRAMS {
            return Err(wrong("programs", format!("may have {MAX_PROGRAMS} names, not {count}")));
        }
        if self.timeout_ms == Some(0) {
            return Err(wrong("timeout_ms", "must be at least 1".to_owned()));
        }
        if !(1..=MAX_OUTPUT_BYTES).contains(&self.max_output_bytes) {
            return Err(wrong("max_output_bytes", format!("must be from 1 to {MAX_OUTPUT_BYTES}")));
        }
        Ok(())
    }
}
