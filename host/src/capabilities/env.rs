//! What a capability of kind `env` named `env` says.

use super::{Config, ConfigError, ENV, wrong};
use crate::secrets::is_variable_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vm_storage::CapabilityKind;

/// Names that one config may list.
const MAX_NAMES: usize = 64;

/// Config of a capability of kind `env` named `env`: which of the host's secrets scripts have in
/// `process.env`. One that the host keeps for origins is a placeholder there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct EnvConfig {
    /// Names of the host's secrets.
    pub(crate) names: Vec<String>,
}

impl Config for EnvConfig {
    const NAME: &str = ENV;
    const KINDS: &[CapabilityKind] = &[CapabilityKind::Env];

    fn nothing() -> Self {
        Self::default()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.names.len() > MAX_NAMES {
            return Err(wrong("names", format!("may have {MAX_NAMES}, not {}", self.names.len())));
        }
        match self.names.iter().position(|name| !is_variable_name(name)) {
            Some(index) => {
                Err(wrong(&format!("names[{index}]"), "is no name of a variable".into()))
            }
            None => Ok(()),
        }
    }
}
