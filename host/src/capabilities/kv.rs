//! What a capability of kind `module` named `kv` says.

use super::{Config, ConfigError, KV, configs, wrong};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use vm_storage::{CapabilityKind, MAX_KV_KEY_BYTES, TemplateSnapshot};

/// Prefixes that one config may list.
const MAX_PREFIXES: usize = 64;

/// Config of a capability of kind `module` named `kv`, which narrows what may be done with the keys of
/// the session's workspace. Of several, the narrowest of each counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct KvConfig {
    /// Whether keys may be read and not written.
    pub(crate) read_only: bool,
    /// What the keys that may be used begin with; any may, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefixes: Option<Vec<String>>,
    /// Bytes that the workspace's keys and values may have together for a write to be allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota_bytes: Option<u64>,
}

impl KvConfig {
    /// What a session's enabled capabilities leave of its workspace's keys.
    pub(crate) fn of(template: &TemplateSnapshot) -> Self {
        configs::<Self>(template).into_iter().reduce(Self::and).unwrap_or_default()
    }

    fn and(self, other: Self) -> Self {
        let prefixes = match (self.prefixes, other.prefixes) {
            (Some(some), Some(others)) => Some(common_prefixes(&some, &others)),
            (some, others) => some.or(others),
        };
        Self {
            read_only: self.read_only || other.read_only,
            prefixes,
            quota_bytes: self.quota_bytes.into_iter().chain(other.quota_bytes).min(),
        }
    }
}

impl Config for KvConfig {
    const NAME: &str = KV;
    const KINDS: &[CapabilityKind] = &[CapabilityKind::Module];

    fn nothing() -> Self {
        Self { prefixes: Some(Vec::new()), ..Self::default() }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let prefixes = self.prefixes.as_deref().unwrap_or_default();
        if prefixes.len() > MAX_PREFIXES {
            let reason = format!("may have {MAX_PREFIXES} prefixes, not {}", prefixes.len());
            return Err(wrong("prefixes", reason));
        }
        for (index, prefix) in prefixes.iter().enumerate() {
            if prefix.is_empty() || prefix.len() > MAX_KV_KEY_BYTES || prefix.contains('\0') {
                let reason = format!("must have 1 to {MAX_KV_KEY_BYTES} bytes and no NUL");
                return Err(wrong(&format!("prefixes[{index}]"), reason));
            }
        }
        Ok(())
    }
}

/// What begins with one of some prefixes and with one of others begins with one of these.
fn common_prefixes(some: &[String], others: &[String]) -> Vec<String> {
    let longer = |(one, other): (&String, &String)| {
        let is_within = |inner: &String, outer: &String| inner.starts_with(outer.as_str());
        let inner = is_within(one, other).then_some(one);
        inner.or_else(|| is_within(other, one).then_some(other)).cloned()
    };
    let pairs = some.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
    let common: BTreeSet<_> = pairs.filter_map(longer).collect();
    common.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_several_configs_leave_are_the_longer_ones() {
        let leaves = |some: &[&str], others: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            let config = |prefixes| KvConfig { prefixes: Some(prefixes), ..KvConfig::default() };
            config(owned(some)).and(config(owned(others))).prefixes.unwrap()
        };
        assert_eq!(leaves(&["a/", "b"], &["a", "b/1", "c"]), ["a/", "b/1"]);
        assert_eq!(leaves(&["a"], &["a"]), ["a"]);
        assert_eq!(leaves(&["a"], &["b"]), [""; 0]);
    }
}
