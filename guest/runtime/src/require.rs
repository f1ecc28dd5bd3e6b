//! Native modules, each there only when the session's template has it, which the host is asked at
//! every call; and those of Node's that grant nothing, which every session has: [`web`].

pub(crate) mod database;
mod exec;
mod fs;
mod kv;

use crate::abi::{self, Operation};
use crate::web;
use javy::quickjs::{Ctx, Exception, Object, Persistent, Result};
use std::cell::RefCell;

thread_local! {
    /// The module objects made so far, so that every `require` of one gives the same.
    static LOADED: RefCell<Vec<(&'static str, Persistent<Object<'static>>)>> =
        const { RefCell::new(Vec::new()) };
}

/// The modules that this guest has.
const NATIVE: [&str; 5] = ["database", "exec", "fs", FS_PROMISES, "kv"];
/// A part of `fs` under a name of its own.
const FS_PROMISES: &str = "fs/promises";
/// What Node's own modules may be named with.
const PREFIX: &str = "node:";

/// The name of the native module that `specifier` names, if it is the name of one.
pub(crate) fn native_name(specifier: &str) -> Option<&str> {
    match specifier.strip_prefix(PREFIX) {
        Some(bare) => Some(bare),
        None => Some(specifier).filter(|name| NATIVE.contains(name) || web::MODULES.contains(name)),
    }
}

/// The native module of a name.
pub(crate) fn native<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Object<'js>> {
    if name == FS_PROMISES {
        return native(ctx, "fs")?.get("promises");
    }
    if web::MODULES.contains(&name) {
        return web::module(ctx, name);
    }
    if abi::call_host(Operation::Require, 0, name.as_bytes(), &[]).is_err() {
        let message = format!("Invalid module: the template has no module '{name}'");
        return Err(Exception::throw_message(ctx, &message));
    }
    match name {
        "database" => loaded(ctx, "database", database::module),
        "exec" => loaded(ctx, "exec", exec::module),
        "fs" => loaded(ctx, "fs", fs::module),
        "kv" => loaded(ctx, "kv", kv::module),
        _ => {
            let message = format!("Invalid module: this guest has no module '{name}'");
            Err(Exception::throw_message(ctx, &message))
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

/// Throws an error of the host's as Node does: `code`, `syscall` and `path` beside the text. Of two paths
/// with a NUL between them the first is `path`.
fn host_error(ctx: &Ctx<'_>, error: &str, syscall: &str, path: &str) -> javy::quickjs::Error {
    let (code, reason) = error.split_once('\n').unwrap_or(("EIO", error));
    let shown = path.replace('\0', "' -> '");
    let message = format!("{code}: {reason}, {syscall} '{shown}'");
    let made = Exception::from_message(ctx.clone(), &message).and_then(|exception| {
        let object = exception.as_object();
        object.set("code", code)?;
        object.set("syscall", syscall)?;
        object.set("path", path.split('\0').next())?;
        Ok(exception)
    });
    match made {
        Ok(exception) => exception.throw(),
        Err(error) => error,
    }
}
