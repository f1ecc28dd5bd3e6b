//! What a session's template says, as what its runtimes are made with.
//!
//! Invariant: nothing is granted that the template does not say.

use crate::capabilities::{
    DATABASE, EXEC, EnvConfig, ExecConfig, FS, KV, KvConfig, NetConfig, configs,
};
use crate::database::Databases;
use crate::engine::Guest;
use crate::imports::{Calls, Exec, Files, Kv, Net};
use crate::limits;
use crate::masks::Masks;
use crate::modules::Modules;
use crate::net::Network;
use crate::programs::Programs;
use crate::runtime::{Grants, RuntimeOptions, SessionClock};
use crate::secrets::{GrantedSecrets, Secrets};
use crate::typescript::TypeScript;
use crate::worktree::Worktree;
use std::sync::Arc;
use vm_guest::abi;
use vm_storage::{Session, Storage, TemplateSnapshot};

/// What a host lets templates grant.
#[derive(Debug)]
pub(crate) struct Grantable {
    pub(crate) programs: Arc<Programs>,
    pub(crate) network: Arc<Network>,
    pub(crate) secrets: Secrets,
    /// What strips types from what is loaded.
    pub(crate) typescript: TypeScript,
    /// Where workspaces' keys are.
    pub(crate) storage: Storage,
}

impl Grantable {
    /// What a session's environment has of the host's secrets.
    pub(crate) fn secrets(&self, session: &Session) -> GrantedSecrets {
        let configs = configs::<EnvConfig>(&session.template);
        let names: Vec<String> = configs.into_iter().flat_map(|config| config.names).collect();
        self.secrets.granted(&names, session.id)
    }
}

/// What the runtimes of a session are made with.
pub(crate) fn runtime_options(
    session: &Session,
    worktree: &Arc<Worktree>,
    grantable: &Grantable,
    guest: Arc<Guest>,
) -> RuntimeOptions {
    let template = &session.template;
    let max_memory_bytes = limits::memory_bytes(&template.settings.limits);
    let has = |name| template.modules.iter().any(|module| module == name);
    let programs = has(EXEC).then(|| {
        let programs = Arc::clone(&grantable.programs);
        Exec::new(programs, Arc::clone(worktree), ExecConfig::of(template))
    });
    let files =
        has(FS).then(|| Files::new(Arc::clone(worktree), &configs(template), max_memory_bytes));
    let databases = has(DATABASE)
        .then(|| Databases::new(Arc::clone(worktree), configs(template), max_memory_bytes));
    let GrantedSecrets { variables, placeholders, masks } = grantable.secrets(session);
    let net = configs::<NetConfig>(template);
    let net = (!net.is_empty()).then(|| Net {
        network: Arc::clone(&grantable.network),
        grants: net.iter().map(|config| Arc::new(config.grant())).collect(),
        placeholders: placeholders.into(),
    });
    let kv = has(KV).then(|| {
        let workspace = session.tenant_id.workspace(&session.workspace_id);
        Kv::new(grantable.storage.clone(), &workspace, KvConfig::of(template))
    });
    RuntimeOptions {
        guest,
        clock: SessionClock::of(session),
        max_memory_bytes,
        grants: Grants {
            modules: template.modules.clone(),
            files,
            worktree_modules: Some(Arc::new(modules(template, worktree, &grantable.typescript))),
            databases,
            programs,
            net,
            variables: Arc::new(variables),
            masks: Masks::of(masks),
            kv,
            calls: Calls::new(),
            audit: template.settings.runtime.audit,
        },
        realm_flags: realm_flags(template),
    }
}

/// What a session may load of its worktree.
pub(crate) fn modules(
    template: &TemplateSnapshot,
    worktree: &Arc<Worktree>,
    typescript: &TypeScript,
) -> Modules {
    let max_source_bytes = limits::memory_bytes(&template.settings.limits);
    let (worktree, typescript) = (Arc::clone(worktree), typescript.clone());
    Modules::new(worktree, &template.settings, max_source_bytes, typescript)
}

/// What a realm is told of its template.
pub(crate) fn realm_flags(template: &TemplateSnapshot) -> u32 {
    let runtime = &template.settings.runtime;
    let no_console = if runtime.console { 0 } else { abi::realm_flags::NO_CONSOLE };
    let strict = if runtime.strict { abi::realm_flags::STRICT } else { 0 };
    let has_environment = !configs::<EnvConfig>(template).is_empty();
    let environment = if has_environment { abi::realm_flags::ENVIRONMENT } else { 0 };
    no_console | strict | environment
}
