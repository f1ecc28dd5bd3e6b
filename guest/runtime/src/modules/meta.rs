//! `import.meta`: where a module is, with the worktree as `/`.

use super::{ask, parts};
use crate::require;
use javy::quickjs::{Ctx, Function, Object, Result, Value};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What the path of a URL has encoded, and `?`, `#` and `%`, which would be none of the path's.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What `import.meta` is in the module of a name.
pub(super) fn meta<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Value<'js>> {
    let (path, _) = parts(name);
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let meta = Object::new(ctx.clone())?;
    meta.set_prototype(None)?;
    meta.set("dirname", format!("/{folder}"))?;
    meta.set("filename", format!("/{path}"))?;
    meta.set("url", url(name))?;
    let referrer = name.to_owned();
    let resolve = move |ctx: Ctx<'js>, specifier: String| -> Result<String> {
        match require::native_name(&specifier) {
            Some(name) => Ok(format!("node:{name}")),
            None => ask(&ctx, &specifier, &referrer, 0).map(|found| url(&found.name)),
        }
    };
    meta.set("resolve", Function::new(ctx.clone(), resolve)?.with_name("resolve")?)?;
    Ok(meta.into_value())
}

/// The URL of a module.
fn url(name: &str) -> String {
    let (path, suffix) = parts(name);
    format!("file:///{}{suffix}", utf8_percent_encode(path, IN_PATH))
}
