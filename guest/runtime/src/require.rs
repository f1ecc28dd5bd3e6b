//! `require`: native modules, each there only when the session's template has it, which the host
//! is asked at every call.

mod fs;

use crate::abi::{self, Operation};
use javy::quickjs::{Ctx, Exception, Function, Object, Persistent, Result};
use std::cell::RefCell;

thread_local! {
    /// The module objects made so far, so that every `require` of one gives the same.
    static LOADED: RefCell<Vec<(&'static str, Persistent<Object<'static>>)>> =
        const { RefCell::new(Vec::new()) };
}

/// Puts `require` on the global object.
pub(crate) fn install(ctx: &Ctx<'_>) -> Result<()> {
    let require = Function::new(ctx.clone(), require)?.with_name("require")?;
    ctx.globals().set("require", require)
}

fn require<'js>(ctx: Ctx<'js>, name: String) -> Result<Object<'js>> {
    let bare = name.strip_prefix("node:").unwrap_or(&name);
    if abi::call_host(Operation::Require, 0, bare.as_bytes(), &[]).is_err() {
        let message = format!("Invalid module: the template has no module '{name}'");
        return Err(Exception::throw_message(&ctx, &message));
    }
    match bare {
        "fs" => loaded(&ctx, "fs", fs::module),
        _ => {
            let message = format!("Invalid module: this guest has no module '{name}'");
            Err(Exception::throw_message(&ctx, &message))
        }
    }
}

fn loaded<'js>(
    ctx: &Ctx<'js>,
    name: &'static str,
    make: fn(&Ctx<'js>) -> Result<Object<'js>>,
) -> Result<Object<'js>> {
    let known = LOADED.with_borrow(|loaded| {
        loaded.iter().find(|(known, _)| *known == name).map(|(_, module)| module.clone())
    });
    if let Some(module) = known {
        return module.restore(ctx);
    }
    let module = make(ctx)?;
    let saved = Persistent::save(ctx, module.clone());
    LOADED.with_borrow_mut(|loaded| loaded.push((name, saved)));
    Ok(module)
}
