//! The host's side of `import` and `require`: what a session's scripts may load of its worktree.

use super::calls::{Called, Calls};
use crate::modules::{Asking, Modules};
use crate::recorder::cut_short;
use crate::typescript::{Kind, is_typescript};
use std::sync::Arc;
use vm_guest::abi::{Operation, resolve_flags};

/// Bytes of a specifier that an error shows.
const MAX_SHOWN_BYTES: usize = 256;

/// Carries out one operation on modules.
pub(super) async fn call(
    calls: &Calls,
    modules: Arc<Modules>,
    operation: Operation,
    flags: u32,
    name: String,
) -> Called {
    if operation == Operation::ModuleSource && is_typescript(&name) {
        return stripped(calls, modules, name).await;
    }
    calls
        .make(move || match operation {
            Operation::ModuleResolve => resolve(&modules, flags, &name),
            Operation::ModuleSource => source(&modules, &name),
            _ => Err("EINVAL\nnot an operation on modules".to_owned()),
        })
        .await
}

fn source(modules: &Modules, name: &str) -> Called {
    let source = modules.source(name);
    source.map_err(|error| format!("{}\ncannot load '{name}': {error}", error.code()))
}

/// The source of a TypeScript module without its types.
async fn stripped(calls: &Calls, modules: Arc<Modules>, name: String) -> Called {
    let typescript = modules.typescript().clone();
    let path = name.clone();
    let source = calls.make(move || source(&modules, &path)).await?;
    match typescript.strip(source, Kind::File).await {
        Ok(Ok(text)) => Ok(text.to_vec()),
        Ok(Err(refused)) => Err(refused.answer(&name)),
        Err(error) => Err(format!("EIO\ncannot load '{name}': {error}")),
    }
}

fn resolve(modules: &Modules, flags: u32, name: &str) -> Called {
    let is_required = flags & resolve_flags::REQUIRE != 0;
    let asking = if is_required { Asking::Require } else { Asking::Import };
    let (referrer, specifier) = name.split_once('\0').unwrap_or(("", name));
    let resolved = modules.resolve(asking, referrer, specifier).map_err(|error| {
        let code = error.code(asking);
        let (specifier, referrer) = (shown(specifier), shown(referrer));
        format!("{code}\nInvalid module: cannot load '{specifier}' from '{referrer}': {error}")
    })?;
    let mut answer = vec![resolved.format as u8];
    answer.extend_from_slice(resolved.path.as_bytes());
    answer.push(0);
    answer.extend_from_slice(resolved.suffix.as_bytes());
    Ok(answer)
}

fn shown(name: &str) -> String {
    let name = name.to_owned();
    if name.len() > MAX_SHOWN_BYTES { cut_short(name, MAX_SHOWN_BYTES) } else { name }
}
