//! A change of a template's settings: every field may be left out, and what is left out stays.

use serde::Deserialize;
use vm_storage::{Limits, Resolver, RuntimeSettings, Settings};

/// Settings of which any may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SettingsPatch {
    pub(crate) limits: LimitsPatch,
    pub(crate) resolver: ResolverPatch,
    pub(crate) runtime: RuntimePatch,
}

/// Limits of which any may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsPatch {
    pub(crate) cpu_ms: Option<u64>,
    pub(crate) wall_ms: Option<u64>,
    pub(crate) mem_mb: Option<u64>,
    pub(crate) max_events: Option<u64>,
    pub(crate) max_output_kb: Option<u64>,
}

/// Resolver settings of which any may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResolverPatch {
    pub(crate) roots: Option<Vec<String>>,
    pub(crate) extensions: Option<Vec<String>>,
    pub(crate) allow_absolute_repo_imports: Option<bool>,
}

/// Runtime settings of which any may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RuntimePatch {
    pub(crate) esm: Option<bool>,
    pub(crate) strict: Option<bool>,
    pub(crate) console: Option<bool>,
}

/// A limit that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between 1 and {max}, not {found}")]
pub(crate) struct OutOfRange {
    pub(crate) field: &'static str,
    pub(crate) max: u64,
    pub(crate) found: u64,
}

/// The largest limits that are accepted. An hour of processor or wall time and 4 GiB of memory are
/// what the engine can count; events and output are bounded by what one answer may hold.
const MAX: Limits = Limits {
    cpu_ms: 3_600_000,
    wall_ms: 3_600_000,
    mem_mb: 4_095,
    max_events: 1_000_000,
    max_output_kb: 65_536,
};

impl SettingsPatch {
    /// Changes `settings` field by field, or leaves them untouched and says which limit is wrong.
    pub(crate) fn apply(self, settings: &mut Settings) -> Result<(), OutOfRange> {
        let limits = self.limits.merged(settings.limits)?;
        settings.limits = limits;
        self.resolver.apply(&mut settings.resolver);
        self.runtime.apply(&mut settings.runtime);
        Ok(())
    }
}

impl LimitsPatch {
    fn merged(&self, limits: Limits) -> Result<Limits, OutOfRange> {
        let check = |field, new: Option<u64>, old, max| match new {
            Some(found) if found == 0 || found > max => Err(OutOfRange { field, max, found }),
            Some(new) => Ok(new),
            None => Ok(old),
        };
        Ok(Limits {
            cpu_ms: check("cpu_ms", self.cpu_ms, limits.cpu_ms, MAX.cpu_ms)?,
            wall_ms: check("wall_ms", self.wall_ms, limits.wall_ms, MAX.wall_ms)?,
            mem_mb: check("mem_mb", self.mem_mb, limits.mem_mb, MAX.mem_mb)?,
            max_events: check("max_events", self.max_events, limits.max_events, MAX.max_events)?,
            max_output_kb: check(
                "max_output_kb",
                self.max_output_kb,
                limits.max_output_kb,
                MAX.max_output_kb,
            )?,
        })
    }
}

impl ResolverPatch {
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
    }
}

fn set<T>(field: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *field = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_patch_leaves_out_stays() {
        let mut settings = Settings::default();
        let patch: SettingsPatch =
            toml::from_str("limits.cpu_ms = 7\nruntime.strict = true").unwrap();
        patch.apply(&mut settings).unwrap();
        let mut expected = Settings::default();
        expected.limits.cpu_ms = 7;
        expected.runtime.strict = true;
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_limit_out_of_range_changes_nothing() {
        for wrong in ["limits.mem_mb = 0", "limits.mem_mb = 4096", "limits.wall_ms = 3600001"] {
            let patch: SettingsPatch =
                toml::from_str(&format!("runtime.strict = true\n{wrong}")).unwrap();
            let mut settings = Settings::default();
            patch.apply(&mut settings).unwrap_err();
            assert_eq!(settings, Settings::default(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(toml::from_str::<SettingsPatch>("limits.cpu = 7").is_err());
    }
}
