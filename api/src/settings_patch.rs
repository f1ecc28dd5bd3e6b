//! A change of a template's settings: every field may be left out, and what is left out stays.
//!
//! Invariant: a change that is refused changes nothing.

use crate::strict_json::object;
use crate::whole::{OutOfRange, Whole};
use serde::{Deserialize, Serialize};
use vm_storage::{Lifecycle, Limits, Resolver, RuntimeSettings, Settings};

/// Folders, or extensions, that a resolver may have.
const MAX_RESOLVER_ENTRIES: usize = 32;

/// Seconds that a session may live without being used: ten years.
const MAX_TTL_S: i64 = 10 * 365 * 24 * 3_600;

/// Bytes of an extension.
const MAX_EXTENSION_BYTES: usize = 32;

/// Settings of which any may be missing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SettingsPatch {
    #[serde(deserialize_with = "object")]
    pub(crate) limits: LimitsPatch,
    #[serde(deserialize_with = "object")]
    pub(crate) resolver: ResolverPatch,
    #[serde(deserialize_with = "object")]
    pub(crate) runtime: RuntimePatch,
    #[serde(deserialize_with = "object")]
    pub(crate) lifecycle: LifecyclePatch,
}

/// How long sessions live, of which any may be missing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LifecyclePatch {
    /// 0 means that they live until they are closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_ttl_s: Option<Whole>,
}

/// Limits of which any may be missing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ms: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wall_ms: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mem_mb: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_events: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_output_kb: Option<Whole>,
}

/// Resolver settings of which any may be missing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResolverPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) roots: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extensions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow_absolute_repo_imports: Option<bool>,
}

/// Runtime settings of which any may be missing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RuntimePatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) esm: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) console: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audit: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) typescript: Option<bool>,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A limit is zero or above what the host allows.
    #[error(transparent)]
    Limit(#[from] OutOfRange),
    /// A list of the resolver's is too long, or has an entry that is none.
    #[error("{field} {reason}")]
    Resolver { field: &'static str, reason: String },
}

impl SettingsPatch {
    /// Changes `settings` field by field, or leaves them untouched and says what is wrong.
    pub(crate) fn apply(
        self,
        settings: &mut Settings,
        ceilings: &Limits,
    ) -> Result<(), SettingsError> {
        let limits = self.limits.merged(settings.limits, ceilings)?;
        let lifecycle = self.lifecycle.merged(settings.lifecycle)?;
        self.resolver.check()?;
        (settings.limits, settings.lifecycle) = (limits, lifecycle);
        self.resolver.apply(&mut settings.resolver);
        self.runtime.apply(&mut settings.runtime);
        Ok(())
    }
}

impl LimitsPatch {
    /// Limits with this change; each that it names is between 1 and its ceiling.
    pub(crate) fn merged(&self, old: Limits, ceilings: &Limits) -> Result<Limits, OutOfRange> {
        let limit = |field, new: Option<Whole>, old, max| match new {
            Some(new) => {
                let max = i64::try_from(max).unwrap_or(i64::MAX);
                let number = new.within(field, 1, max)?;
                Ok(u64::try_from(number).expect("checked by `within`: it is at least 1"))
            }
            None => Ok(old),
        };
        let Limits { cpu_ms, wall_ms, mem_mb, max_events, max_output_kb } = *ceilings;
        Ok(Limits {
            cpu_ms: limit("limits.cpu_ms", self.cpu_ms, old.cpu_ms, cpu_ms)?,
            wall_ms: limit("limits.wall_ms", self.wall_ms, old.wall_ms, wall_ms)?,
            mem_mb: limit("limits.mem_mb", self.mem_mb, old.mem_mb, mem_mb)?,
            max_events: limit("limits.max_events", self.max_events, old.max_events, max_events)?,
            max_output_kb: limit(
                "limits.max_output_kb",
                self.max_output_kb,
                old.max_output_kb,
                max_output_kb,
            )?,
        })
    }
}

impl LifecyclePatch {
    fn merged(self, old: Lifecycle) -> Result<Lifecycle, OutOfRange> {
        let Some(ttl) = self.session_ttl_s else { return Ok(old) };
        let ttl = ttl.within("lifecycle.session_ttl_s", 0, MAX_TTL_S)?;
        Ok(Lifecycle { session_ttl_s: u64::try_from(ttl).ok().filter(|ttl| *ttl > 0) })
    }
}

impl ResolverPatch {
    fn check(&self) -> Result<(), SettingsError> {
        check_list("resolver.roots", self.roots.as_deref(), |root| {
            vm_host::check_path(root).map_err(|error| error.to_string())
        })?;
        check_list("resolver.extensions", self.extensions.as_deref(), |extension| {
            let good = extension.strip_prefix('.').is_some_and(|name| {
                !name.is_empty()
                    && extension.len() <= MAX_EXTENSION_BYTES
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            });
            if good { Ok(()) } else { Err("an extension is like '.js'".to_owned()) }
        })
    }

    fn apply(self, resolver: &mut Resolver) {
        set(&mut resolver.roots, self.roots);
        set(&mut resolver.extensions, self.extensions);
        set(&mut resolver.allow_absolute_repo_imports, self.allow_absolute_repo_imports);
    }
}

impl RuntimePatch {
    fn apply(self, runtime: &mut RuntimeSettings) {
        set(&mut runtime.esm, self.esm);
        set(&mut runtime.strict, self.strict);
        set(&mut runtime.console, self.console);
        set(&mut runtime.audit, self.audit);
        set(&mut runtime.typescript, self.typescript);
    }
}

fn check_list(
    field: &'static str,
    entries: Option<&[String]>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<(), SettingsError> {
    let entries = entries.unwrap_or_default();
    if entries.len() > MAX_RESOLVER_ENTRIES {
        let reason = format!("may have {MAX_RESOLVER_ENTRIES} entries, not {}", entries.len());
        return Err(SettingsError::Resolver { field, reason });
    }
    for entry in entries {
        check(entry).map_err(|reason| {
            let reason = format!("has an entry that is none: {reason}");
            SettingsError::Resolver { field, reason }
        })?;
    }
    Ok(())
}

fn set<T>(field: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *field = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_host::limits::MAX;

    #[test]
    fn what_a_patch_leaves_out_stays() {
        let mut settings = Settings::default();
        let patch: SettingsPatch =
            toml::from_str("limits.cpu_ms = 7\nruntime.strict = true").unwrap();
        patch.apply(&mut settings, &MAX).unwrap();
        let mut expected = Settings::default();
        expected.limits.cpu_ms = 7;
        expected.runtime.strict = true;
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_limit_out_of_range_changes_nothing() {
        for wrong in [
            "limits.mem_mb = 0",
            "limits.mem_mb = 4096",
            "limits.wall_ms = 3600001",
            "limits.cpu_ms = -1",
            "lifecycle.session_ttl_s = -1",
            "lifecycle.session_ttl_s = 315360001",
            "resolver.roots = ['../up']",
            "resolver.extensions = ['js']",
        ] {
            let patch: SettingsPatch =
                toml::from_str(&format!("runtime.strict = true\n{wrong}")).unwrap();
            let mut settings = Settings::default();
            patch.apply(&mut settings, &MAX).unwrap_err();
            assert_eq!(settings, Settings::default(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(toml::from_str::<SettingsPatch>("limits.cpu = 7").is_err());
    }
}
