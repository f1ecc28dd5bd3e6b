//! What the configs of a template's capabilities say, and whether one says it as it should.
//!
//! Invariant: a config is checked when it is added. One that was stored before it was checked, and
//! does not fit, grants nothing.
//!
//! Leaves to others: what is done with what a config grants.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vm_storage::{CapabilityKind, TemplateSnapshot};

use crate::imports::{DEFAULT_OUTPUT_BYTES, MAX_OUTPUT_BYTES};
use crate::worktree::WorktreePath;
use vm_storage::MAX_KV_KEY_BYTES;

/// Name of the native module of files, and of the capabilities that configure it.
pub(crate) const FS: &str = "fs";

/// Name of the native module of programs, and of the capabilities that configure it.
pub(crate) const EXEC: &str = "exec";

/// Name of the native module of workspaces' keys, and of the capabilities that configure it.
pub(crate) const KV: &str = "kv";

/// Programs that one config may list.
const MAX_PROGRAMS: usize = 64;

/// Path prefixes that one config may list.
const MAX_PREFIXES: usize = 64;

/// Config of a capability of kind `fs` or `module` named `fs`. An operation is allowed when one of
/// the template's grants allows it and none denies its path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct FsConfig {
    /// Whether files may be changed.
    pub(crate) write: bool,
    /// Paths, relative to the worktree, that may be used with all beneath them; all, when absent.
    pub(crate) allow: Option<Vec<String>>,
    /// Paths that may not be used, nor anything beneath them, whatever else is allowed.
    pub(crate) deny: Vec<String>,
    /// Bytes that the files of the worktree may have together for a write to be allowed.
    pub(crate) quota_bytes: Option<u64>,
}

/// Config of a capability of kind `module` named `exec`, which narrows what the host allows. Of several,
/// a program has to be in each list, and the least of each limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ExecConfig {
    /// Programs that may be run; all that the host allows, when absent.
    pub(crate) programs: Option<Vec<String>>,
    /// Milliseconds that a program may run; as long as its execution, when absent.
    #[schemars(range(min = 1))]
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

/// Config of a capability of kind `module` named `kv`, which narrows what may be done with the keys of the
/// session's workspace. Of several, the narrowest of each counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct KvConfig {
    /// Whether keys may be read and not written.
    pub(crate) read_only: bool,
    /// What the keys that may be used begin with; any may, when absent.
    pub(crate) prefixes: Option<Vec<String>>,
    /// Bytes that the workspace's keys and values may have together for a write to be allowed.
    pub(crate) quota_bytes: Option<u64>,
}

/// What is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ConfigError {
    /// Where in the capability it is wrong: `config.allow[2]`.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Checks the config of a capability that is about to be added; one that no module knows is kept
/// whatever it says, since it grants nothing.
pub fn check_config(kind: CapabilityKind, name: &str, config: &Value) -> Result<(), ConfigError> {
    if is_fs(kind, name) {
        strictly::<FsConfig>(config)?.check()
    } else if is_exec(kind, name) {
        strictly::<ExecConfig>(config)?.check()
    } else if is_kv(kind, name) {
        strictly::<KvConfig>(config)?.check()
    } else {
        Ok(())
    }
}

/// The JSON schema of the config that a module's capabilities have.
pub fn config_schema(module: &str) -> Option<Value> {
    match module {
        FS => Some(schemars::schema_for!(FsConfig).to_value()),
        EXEC => Some(schemars::schema_for!(ExecConfig).to_value()),
        KV => Some(schemars::schema_for!(KvConfig).to_value()),
        _ => None,
    }
}

/// The configs of a session's enabled capabilities for files.
pub(crate) fn fs_configs(template: &TemplateSnapshot) -> Vec<FsConfig> {
    let granting = template.capabilities.iter();
    granting
        .filter(|capability| capability.enabled && is_fs(capability.kind, &capability.name))
        .map(|capability| {
            let config: Option<FsConfig> = leniently(&capability.config);
            config.filter(|config| config.check().is_ok()).unwrap_or_else(FsConfig::nothing)
        })
        .collect()
}

/// What a session's enabled capabilities leave of the programs that the host allows.
pub(crate) fn exec_config(template: &TemplateSnapshot) -> ExecConfig {
    let narrowing = template.capabilities.iter();
    narrowing
        .filter(|capability| capability.enabled && is_exec(capability.kind, &capability.name))
        .map(|capability| {
            let config: Option<ExecConfig> = leniently(&capability.config);
            config.filter(|config| config.check().is_ok()).unwrap_or_else(ExecConfig::nothing)
        })
        .reduce(ExecConfig::and)
        .unwrap_or_default()
}

/// What a session's enabled capabilities leave of its workspace's keys.
pub(crate) fn kv_config(template: &TemplateSnapshot) -> KvConfig {
    let narrowing = template.capabilities.iter();
    narrowing
        .filter(|capability| capability.enabled && is_kv(capability.kind, &capability.name))
        .map(|capability| {
            let config: Option<KvConfig> = leniently(&capability.config);
            config.filter(|config| config.check().is_ok()).unwrap_or_else(KvConfig::nothing)
        })
        .reduce(KvConfig::and)
        .unwrap_or_default()
}

fn is_kv(kind: CapabilityKind, name: &str) -> bool {
    kind == CapabilityKind::Module && name == KV
}

impl KvConfig {
    fn nothing() -> Self {
        Self { prefixes: Some(Vec::new()), ..Self::default() }
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

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |path: String, reason: String| Err(ConfigError { path, reason });
        let prefixes = self.prefixes.as_deref().unwrap_or_default();
        if prefixes.len() > MAX_PREFIXES {
            let reason = format!("may have {MAX_PREFIXES} prefixes, not {}", prefixes.len());
            return wrong("config.prefixes".to_owned(), reason);
        }
        for (index, prefix) in prefixes.iter().enumerate() {
            if prefix.is_empty() || prefix.len() > MAX_KV_KEY_BYTES || prefix.contains('\0') {
                let reason = format!("must have 1 to {MAX_KV_KEY_BYTES} bytes and no NUL");
                return wrong(format!("config.prefixes[{index}]"), reason);
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
    let common: std::collections::BTreeSet<_> = pairs.filter_map(longer).collect();
    common.into_iter().collect()
}

fn is_exec(kind: CapabilityKind, name: &str) -> bool {
    kind == CapabilityKind::Module && name == EXEC
}

impl ExecConfig {
    fn nothing() -> Self {
        Self { programs: Some(Vec::new()), ..Self::default() }
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

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |path: &str, reason: String| {
            Err(ConfigError { path: format!("config.{path}"), reason })
        };
        let count = self.programs.as_ref().map_or(0, Vec::len);
        if count > MAX_PROGRAMS {
            return wrong("programs", format!("may have {MAX_PROGRAMS} names, not {count}"));
        }
        if self.timeout_ms == Some(0) {
            return wrong("timeout_ms", "must be at least 1".to_owned());
        }
        if !(1..=MAX_OUTPUT_BYTES).contains(&self.max_output_bytes) {
            return wrong("max_output_bytes", format!("must be from 1 to {MAX_OUTPUT_BYTES}"));
        }
        Ok(())
    }
}

fn is_fs(kind: CapabilityKind, name: &str) -> bool {
    matches!(kind, CapabilityKind::Module | CapabilityKind::Fs) && name == FS
}

impl FsConfig {
    fn nothing() -> Self {
        Self { allow: Some(Vec::new()), ..Self::default() }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let allow = self.allow.as_deref().unwrap_or_default();
        for (field, prefixes) in [("allow", allow), ("deny", &self.deny)] {
            if prefixes.len() > MAX_PREFIXES {
                let reason = format!("may have {MAX_PREFIXES} paths, not {}", prefixes.len());
                return Err(ConfigError { path: format!("config.{field}"), reason });
            }
            for (index, prefix) in prefixes.iter().enumerate() {
                WorktreePath::strict(prefix).map_err(|error| ConfigError {
                    path: format!("config.{field}[{index}]"),
                    reason: error.to_string(),
                })?;
            }
        }
        Ok(())
    }
}

/// A config in which every field is known. `null`, which a config left out may be, is an empty one.
fn strictly<T: DeserializeOwned + Default>(config: &Value) -> Result<T, ConfigError> {
    if config.is_null() {
        return Ok(T::default());
    }
    let at = |path: &str| match path {
        "." | "" => "config".to_owned(),
        path => format!("config.{path}"),
    };
    if !config.is_object() {
        return Err(ConfigError { path: at(""), reason: "must be an object".to_owned() });
    }
    let mut unknown = None;
    let mut note = |path: serde_ignored::Path<'_>| {
        unknown.get_or_insert_with(|| path.to_string());
    };
    let deserializer = serde_ignored::Deserializer::new(config, &mut note);
    let parsed = serde_path_to_error::deserialize(deserializer).map_err(|error| ConfigError {
        path: at(&error.path().to_string()),
        reason: error.inner().to_string(),
    })?;
    match unknown {
        None => Ok(parsed),
        Some(path) => Err(ConfigError { path: at(&path), reason: "unknown field".to_owned() }),
    }
}

/// A config as it was stored, perhaps by a version that took any.
fn leniently<T: DeserializeOwned + Default>(config: &Value) -> Option<T> {
    match config {
        Value::Null => Some(T::default()),
        Value::Object(_) => T::deserialize(config).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_config_that_does_not_fit_is_refused_with_the_path_of_what_is_wrong() {
        let check = |config: Value| check_config(CapabilityKind::Fs, FS, &config);
        for good in [
            json!(null),
            json!({}),
            json!({"write": true}),
            json!({"allow": ["data", "out/x"], "deny": ["data/private"], "quota_bytes": 10}),
        ] {
            check(good).unwrap();
        }
        for (bad, path) in [
            (json!([]), "config"),
            (json!("x"), "config"),
            (json!({"write": "yes"}), "config.write"),
            (json!({"Write": true}), "config.Write"),
            (json!({"allow": "data"}), "config.allow"),
            (json!({"allow": ["data", 1]}), "config.allow[1]"),
            (json!({"allow": ["data", "../up"]}), "config.allow[1]"),
            (json!({"deny": ["/etc"]}), "config.deny[0]"),
            (json!({"deny": [""]}), "config.deny[0]"),
            (json!({"quota_bytes": -1}), "config.quota_bytes"),
            (json!({"deny": vec!["x"; 65]}), "config.deny"),
        ] {
            let error = check(bad.clone()).unwrap_err();
            assert_eq!(error.path, path, "{bad}: {error}");
        }
        let anything = json!({"whatever": 1});
        check_config(CapabilityKind::Module, "console", &anything).unwrap();
        check_config(CapabilityKind::Global, FS, &anything).unwrap();
    }

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
