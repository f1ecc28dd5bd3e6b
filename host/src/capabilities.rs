//! What the configs of a template's capabilities say, and whether one says it as it should.
//!
//! Invariant: a config is checked when it is added. One that was stored before it was checked, and
//! does not fit, grants nothing.
//!
//! Leaves to others: what is done with what a config grants.

mod database;
mod env;
mod exec;
mod fs;
mod kv;
mod net;

pub(crate) use database::{DEFAULT_FILE_BYTES, DatabaseConfig, MAX_RESULT_BYTES, MAX_ROWS};
pub(crate) use env::EnvConfig;
pub(crate) use exec::ExecConfig;
pub(crate) use fs::FsConfig;
pub(crate) use kv::KvConfig;
pub(crate) use net::{MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_RESPONSE_BYTES, NetConfig};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vm_storage::{CapabilityKind, TemplateSnapshot};

/// Name of the native module of files, and of the capabilities that configure it.
pub(crate) const FS: &str = "fs";

/// Name of the native module of programs, and of the capabilities that configure it.
pub(crate) const EXEC: &str = "exec";

/// Name of the native module of databases, and of the capabilities that configure it.
pub(crate) const DATABASE: &str = "database";

/// Name of the native module of workspaces' keys, and of the capabilities that configure it.
pub(crate) const KV: &str = "kv";

/// Name of the capabilities of kind `net`, which let scripts use the global of that name.
pub(crate) const FETCH: &str = "fetch";

/// Name of the capabilities of kind `env`, which put secrets of the host into `process.env`.
pub(crate) const ENV: &str = "env";

/// What a capability may say.
pub(crate) trait Config: Serialize + DeserializeOwned + Default + JsonSchema {
    /// Name of its capabilities.
    const NAME: &str;
    /// Kinds of its capabilities; the first is what the docs call it.
    const KINDS: &[CapabilityKind];

    /// One that grants nothing.
    fn nothing() -> Self;

    /// Whether all it says is within bounds.
    fn check(&self) -> Result<(), ConfigError>;

    /// Whether a capability of this kind and name has such a config.
    fn is_of(kind: CapabilityKind, name: &str) -> bool {
        Self::KINDS.contains(&kind) && Self::NAME == name
    }
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

fn wrong(field: &str, reason: String) -> ConfigError {
    ConfigError { path: format!("config.{field}"), reason }
}

/// Checks the config of a capability that is about to be added; one that no module knows is kept
/// whatever it says, since it grants nothing.
pub fn check_config(kind: CapabilityKind, name: &str, config: &Value) -> Result<(), ConfigError> {
    let checks = [
        check::<DatabaseConfig>,
        check::<EnvConfig>,
        check::<ExecConfig>,
        check::<FsConfig>,
        check::<KvConfig>,
        check::<NetConfig>,
    ];
    checks.iter().try_for_each(|check| check(kind, name, config))
}

/// Checks a config if it is one of this kind.
fn check<T: Config>(kind: CapabilityKind, name: &str, config: &Value) -> Result<(), ConfigError> {
    if T::is_of(kind, name) { strictly::<T>(config)?.check() } else { Ok(()) }
}

/// The JSON schema of the config that a module's capabilities have.
pub fn config_schema(module: &str) -> Option<Value> {
    match module {
        DATABASE => Some(schemars::schema_for!(DatabaseConfig).to_value()),
        ENV => Some(schemars::schema_for!(EnvConfig).to_value()),
        EXEC => Some(schemars::schema_for!(ExecConfig).to_value()),
        FETCH => Some(schemars::schema_for!(NetConfig).to_value()),
        FS => Some(schemars::schema_for!(FsConfig).to_value()),
        KV => Some(schemars::schema_for!(KvConfig).to_value()),
        _ => None,
    }
}

/// The configs of a session's enabled capabilities of a kind.
pub(crate) fn configs<T: Config>(template: &TemplateSnapshot) -> Vec<T> {
    let granting = template.capabilities.iter();
    granting
        .filter(|capability| capability.enabled && T::is_of(capability.kind, &capability.name))
        .map(|capability| {
            let config: Option<T> = leniently(&capability.config);
            config.filter(|config| config.check().is_ok()).unwrap_or_else(T::nothing)
        })
        .collect()
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
        let check = |config: Value| check_config(CapabilityKind::Module, DATABASE, &config);
        check(json!({"files": ["data/app.db", "db/"], "write": true, "max_rows": 5})).unwrap();
        for (bad, path) in [
            (json!({"files": "x"}), "config.files"),
            (json!({"files": ["a", "/etc"]}), "config.files[1]"),
            (json!({"max_rows": 0}), "config.max_rows"),
            (json!({"max_result_bytes": 16_777_217}), "config.max_result_bytes"),
            (json!({"max_file_bytes": 0}), "config.max_file_bytes"),
            (json!({"file": []}), "config.file"),
        ] {
            assert_eq!(check(bad.clone()).unwrap_err().path, path, "{bad}");
        }
        let anything = json!({"whatever": 1});
        check_config(CapabilityKind::Module, "console", &anything).unwrap();
        check_config(CapabilityKind::Global, FS, &anything).unwrap();
    }
}
