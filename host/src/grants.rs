//! What a session's template says, as what its runtimes are made with.
//!
//! Invariant: nothing is granted that the template does not say.

use crate::capabilities::{EXEC, FS, KV, exec_config, fs_configs, kv_config};
use crate::engine::Guest;
use crate::imports::{Calls, Exec, Files, Kv};
use crate::limits;
use crate::modules::Modules;
use crate::programs::Programs;
use crate::runtime::{Grants, RuntimeOptions, SessionClock};
use crate::worktree::Worktree;
use std::sync::Arc;
use vm_guest::abi;
use vm_storage::{Session, Storage, TemplateSnapshot};

/// What the runtimes of a session are made with.
pub(crate) fn runtime_options(
    session: &Session,
    worktree: &Arc<Worktree>,
    programs: &Arc<Programs>,
    storage: &Storage,
    guest: Arc<Guest>,
) -> RuntimeOptions {
    let template = &session.template;
    let max_memory_bytes = limits::memory_bytes(&template.settings.limits);
    let has = |name| template.modules.iter().any(|module| module == name);
    let programs = has(EXEC)
        .then(|| Exec::new(Arc::clone(programs), Arc::clone(worktree), exec_config(template)));
    let files =
        has(FS).then(|| Files::new(Arc::clone(worktree), &fs_configs(template), max_memory_bytes));
    let kv = has(KV).then(|| Kv::new(storage.clone(), &session.workspace_id, kv_config(template)));
    RuntimeOptions {
        guest,
        clock: SessionClock::of(session),
        max_memory_bytes,
        grants: Grants {
            modules: template.modules.clone(),
            files,
            worktree_modules: Some(Arc::new(modules(template, worktree))),
            programs,
            kv,
            calls: Calls::new(),
            audit: template.settings.runtime.audit,
        },
        realm_flags: realm_flags(template),
    }
}

/// What a session may load of its worktree.
pub(crate) fn modules(template: &TemplateSnapshot, worktree: &Arc<Worktree>) -> Modules {
    let max_source_bytes = limits::memory_bytes(&template.settings.limits);
    Modules::new(Arc::clone(worktree), &template.settings, max_source_bytes)
}

/// What a realm is told of its template.
pub(crate) fn realm_flags(template: &TemplateSnapshot) -> u32 {
    let runtime = &template.settings.runtime;
    let no_console = if runtime.console { 0 } else { abi::realm_flags::NO_CONSOLE };
    let strict = if runtime.strict { abi::realm_flags::STRICT } else { 0 };
    no_console | strict
}
