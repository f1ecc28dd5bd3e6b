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

use crate::database::literal_paths;
use crate::imports::{DEFAULT_OUTPUT_BYTES, MAX_OUTPUT_BYTES};
use crate::worktree::{LiteralPath, WorktreePath};

/// Name of the native module of files, and of the capabilities that configure it.
pub(crate) const FS: &str = "fs";

/// Name of the native module of programs, and of the capabilities that configure it.
pub(crate) const EXEC: &str = "exec";

/// Name of the native module of databases, and of the capabilities that configure it.
pub(crate) const DATABASE: &str = "database";

/// Rows that a query may give, and bytes, unless a config says less.
pub(crate) const MAX_ROWS: u64 = 1_000_000;
pub(crate) const MAX_RESULT_BYTES: u64 = 16 << 20;
/// Bytes that a database's file may have, unless a config says otherwise, and the most that one may say.
pub(crate) const DEFAULT_FILE_BYTES: u64 = 1 << 30;
const MAX_FILE_BYTES: u64 = 1 << 40;

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

/// Config of a capability of kind `module` named `database`. A file may be used when one of the
/// template's capabilities lists it, and written when one that lists it says so; the least of each limit
/// counts. `:memory:` needs none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
    } else if is_database(kind, name) {
        strictly::<DatabaseConfig>(config)?.check()
    } else {
        Ok(())
    }
}

/// The JSON schema of the config that a module's capabilities have.
pub fn config_schema(module: &str) -> Option<Value> {
    match module {
        FS => Some(schemars::schema_for!(FsConfig).to_value()),
        EXEC => Some(schemars::schema_for!(ExecConfig).to_value()),
        DATABASE => Some(schemars::schema_for!(DatabaseConfig).to_value()),
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

/// The configs of a session's enabled capabilities for databases.
pub(crate) fn database_configs(template: &TemplateSnapshot) -> Vec<DatabaseConfig> {
    let granting = template.capabilities.iter();
    granting
        .filter(|capability| capability.enabled && is_database(capability.kind, &capability.name))
        .map(|capability| {
            let config: Option<DatabaseConfig> = leniently(&capability.config);
            config.filter(|config| config.check().is_ok()).unwrap_or_default()
        })
        .collect()
}

fn is_database(kind: CapabilityKind, name: &str) -> bool {
    kind == CapabilityKind::Module && name == DATABASE
}

impl DatabaseConfig {
    /// Whether it lists a file.
    pub(crate) fn has_file(&self, path: &LiteralPath) -> bool {
        literal_paths(&self.files).any(|listed| path.is_beneath(&listed))
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_paths("files", &self.files)?;
        for (field, value, most) in [
            ("max_rows", self.max_rows, MAX_ROWS),
            ("max_result_bytes", self.max_result_bytes, MAX_RESULT_BYTES),
            ("max_file_bytes", self.max_file_bytes, MAX_FILE_BYTES),
        ] {
            if !(1..=most).contains(&value) {
                let reason = format!("must be from 1 to {most}");
                return Err(ConfigError { path: format!("config.{field}"), reason });
            }
        }
        Ok(())
    }
}

/// Checks a list of paths relative to the worktree.
fn check_paths(field: &str, paths: &[String]) -> Result<(), ConfigError> {
    if paths.len() > MAX_PREFIXES {
        let reason = format!("may have {MAX_PREFIXES} paths, not {}", paths.len());
        return Err(ConfigError { path: format!("config.{field}"), reason });
    }
    for (index, path) in paths.iter().enumerate() {
        WorktreePath::strict(path).map_err(|error| ConfigError {
            path: format!("config.{field}[{index}]"),
            reason: error.to_string(),
        })?;
    }
    Ok(())
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
        check_paths("allow", allow)?;
        check_paths("deny", &self.deny)
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
