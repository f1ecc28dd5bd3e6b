//! The `console` object: five levels, each call one event.

use crate::abi::{self, Level};
use crate::format;
use javy::quickjs::function::Rest;
use javy::quickjs::{Ctx, Function, Object, Result, Value};

/// Puts `console` on the global object.
pub(crate) fn install<'js>(ctx: &Ctx<'js>) -> Result<()> {
    let console = Object::new(ctx.clone())?;
    for (name, level) in [
        ("log", Level::Log),
        ("warn", Level::Warn),
        ("error", Level::Error),
        ("info", Level::Info),
        ("debug", Level::Debug),
    ] {
        let method = Function::new(ctx.clone(), move |ctx: Ctx<'js>, args: Rest<Value<'js>>| {
            abi::emit_console(level, &format::console_text(&ctx, &args.0));
        })?;
        console.set(name, method.with_name(name)?.with_length(0)?)?;
    }
    ctx.globals().set("console", console)
}

/// Takes `console` away, for templates that have none.
pub(crate) fn remove(ctx: &Ctx<'_>) -> Result<()> {
    ctx.globals().remove("console")
}
