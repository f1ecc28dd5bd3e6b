//! A template as a TOML file: what the REST API's template is, for commands without a daemon.

use super::local::LocalError;
use crate::settings_patch::SettingsPatch;
use serde::Deserialize;
use std::path::Path;
use vm_storage::{
    Capability, CapabilityId, CapabilityKind, Settings, StartupFile, StartupFileId, Template,
};

/// Bytes of a template's file; a longer one is no template.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TemplateFile {
    name: Option<String>,
    settings: SettingsPatch,
    modules: Vec<String>,
    libraries: Vec<String>,
    capabilities: Vec<CapabilityEntry>,
    startup_files: Vec<StartupEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilityEntry {
    kind: CapabilityKind,
    name: String,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    config: serde_json::Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StartupEntry {
    path: String,
    #[serde(default)]
    order_index: i64,
    #[serde(default = "eval")]
    mode: String,
}

fn eval() -> String {
    "eval".to_owned()
}

/// Reads a template's file; without one gives the default template.
pub(super) fn read(path: Option<&Path>) -> Result<Template, LocalError> {
    let file = match path {
        None => TemplateFile::default(),
        Some(path) => {
            let at = || path.to_owned();
            let read = || -> std::io::Result<String> {
                let mut text = String::new();
                let file = std::fs::File::open(path)?;
                std::io::Read::read_to_string(
                    &mut std::io::Read::take(file, MAX_BYTES),
                    &mut text,
                )?;
                Ok(text)
            };
            let text = read().map_err(|source| LocalError::TemplateFile { path: at(), source })?;
            toml::from_str(&text)
                .map_err(|error| LocalError::Template { path: at(), reason: error.to_string() })?
        }
    };
    let mut settings = Settings::default();
    file.settings.apply(&mut settings, &vm_host::limits::MAX)?;
    let capability = |entry: CapabilityEntry| {
        let CapabilityEntry { kind, name, enabled, config } = entry;
        vm_host::check_config(kind, &name, &config)?;
        Ok(Capability { id: CapabilityId::new(), kind, name, enabled, config })
    };
    let capabilities = file.capabilities.into_iter().map(capability);
    let capabilities = capabilities.collect::<Result<_, vm_host::ConfigError>>()?;
    let startup_file = |entry: StartupEntry| StartupFile {
        id: StartupFileId::new(),
        path: entry.path,
        order_index: entry.order_index,
        mode: entry.mode,
    };
    Ok(Template {
        settings,
        capabilities,
        startup_files: file.startup_files.into_iter().map(startup_file).collect(),
        modules: file.modules,
        libraries: file.libraries,
        ..Template::new(file.name.unwrap_or_else(|| "local".to_owned()))
    })
}
