//! What a session has: what is left of its template's modules and capabilities where it runs.
//!
//! Invariant: what is listed is what calls are checked against. What the template says and the host does
//! not allow, or nothing knows, is not listed; nor is the value of any secret.

use crate::capabilities::{
    Config, DATABASE, DatabaseConfig, EXEC, EnvConfig, ExecConfig, FS, FsConfig, KV, KvConfig,
    NetConfig, configs,
};
use crate::catalogue::MODULES;
use crate::grants::Grantable;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vm_storage::{CapabilityKind, TemplateSnapshot};

/// The modules and capabilities that a session has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effective {
    /// Names of the native modules that scripts may load.
    pub modules: Vec<String>,
    /// What these, and what is no module, may do.
    pub capabilities: Vec<EffectiveCapability>,
}

/// A capability that grants something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectiveCapability {
    /// Its kind.
    pub kind: CapabilityKind,
    /// Its name.
    pub name: String,
    /// Its whole config, as the template and the host leave it.
    pub config: Value,
}

impl Grantable {
    /// What a session has of its template.
    pub(crate) fn effective(&self, template: &TemplateSnapshot) -> Effective {
        let known = MODULES.iter().map(|entry| entry.name);
        let has = |name: &str| template.modules.iter().any(|module| module == name);
        let modules: Vec<String> = known.filter(|name| has(name)).map(str::to_owned).collect();
        let mut capabilities = Vec::new();
        if has(DATABASE) {
            list(&mut capabilities, or_default(configs::<DatabaseConfig>(template)));
        }
        let names: Vec<_> =
            configs::<EnvConfig>(template).into_iter().flat_map(|config| config.names).collect();
        let names = self.secrets.known(&names);
        if !names.is_empty() {
            list(&mut capabilities, [EnvConfig { names }]);
        }
        if has(EXEC) {
            let mut config = ExecConfig::of(template);
            config.programs = Some(self.programs.known(config.programs.as_deref()));
            list(&mut capabilities, [config]);
        }
        if has(FS) {
            list(&mut capabilities, or_default(configs::<FsConfig>(template)));
        }
        if has(KV) {
            list(&mut capabilities, [KvConfig::of(template)]);
        }
        let reachable = configs::<NetConfig>(template).into_iter().map(|mut config| {
            config.origins.retain(|origin| self.network.may_ask(origin));
            config.addresses = self.network.allowed_of(&config.addresses);
            config
        });
        list(&mut capabilities, reachable);
        Effective { modules, capabilities }
    }
}

/// What a module may do where no capability says it.
fn or_default<T: Config>(configs: Vec<T>) -> Vec<T> {
    if configs.is_empty() { vec![T::default()] } else { configs }
}

fn list<T: Config>(
    capabilities: &mut Vec<EffectiveCapability>,
    configs: impl IntoIterator<Item = T>,
) {
    for config in configs {
        let config = serde_json::to_value(config).expect("a config came from JSON");
        let (kind, name) = (T::KINDS[0], T::NAME.to_owned());
        capabilities.push(EffectiveCapability { kind, name, config });
    }
}
