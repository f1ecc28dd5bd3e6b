//! The `console` object: five levels, each call one event. `web/console.js` has the rest of it.

use crate::abi::{self, Level};
use crate::format;
use crate::inspect::MAX_BARE;
use javy::quickjs::function::Rest;
use javy::quickjs::{Ctx, Function, Object, Result, Value};
use std::cell::Cell;

/// Spaces before what is printed in a group.
const SPACES: usize = 2;
/// Groups in one another that indent what is in them.
const MAX_GROUPS: usize = 64;

thread_local! {
    /// Groups that are open.
    static GROUPS: Cell<usize> = const { Cell::new(0) };
}

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
            emit(level, &format::console_text(&ctx, &args.0));
        })?;
        console.set(name, method.with_name(name)?.with_length(0)?)?;
    }
    ctx.globals().set("console", console)
}

/// Prints a text, each line behind the spaces of the groups that are open.
fn emit(level: Level, text: &str) {
    let spaces = GROUPS.get() * SPACES;
    if spaces == 0 {
        return abi::emit_console(level, text);
    }
    let indentation = " ".repeat(spaces);
    let mut indented = String::with_capacity(text.len() + spaces);
    for line in text.split_inclusive('\n') {
        // More than an event may hold: the host says so.
        if indented.len() > MAX_BARE as usize {
            break;
        }
        indented.push_str(&indentation);
        indented.push_str(line);
    }
    abi::emit_console(level, &indented);
}

/// Opens a group, or closes the innermost.
pub(crate) fn indent(groups: i32) {
    GROUPS.set(GROUPS.get().saturating_add_signed(groups as isize).min(MAX_GROUPS));
}

/// Takes `console` away, for templates that have none.
pub(crate) fn remove(ctx: &Ctx<'_>) -> Result<()> {
    ctx.globals().remove("console")
}
