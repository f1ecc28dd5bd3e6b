//! URLs by the WHATWG's standard: the parser of the crate `url`, with its `quirks`, which are made for
//! this interface.

use super::Text;
use javy::quickjs::function::Opt;
use javy::quickjs::{Array, Ctx, Function, Object, Result, Value};
use url::{Url, form_urlencoded, quirks};

pub(super) fn natives<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("parse", Function::new(ctx.clone(), parse)?)?;
    native.set("set", Function::new(ctx.clone(), set)?)?;
    native.set("parseQuery", Function::new(ctx.clone(), parse_query)?)?;
    native.set("serializeQuery", Function::new(ctx.clone(), serialize_query)?)?;
    Ok(native)
}

/// The parts of a URL, as `url.js` lists them; none when it is not valid.
fn parse<'js>(ctx: Ctx<'js>, input: Text, base: Opt<Value<'js>>) -> Result<Option<Array<'js>>> {
    let base = match base.0.filter(|base| !base.is_undefined()) {
        None => None,
        Some(base) => match Url::parse(&base.get::<Text>()?.0) {
            Ok(base) => Some(base),
            Err(_) => return Ok(None),
        },
    };
    let parsed = Url::options().base_url(base.as_ref()).parse(&input.0);
    parsed.ok().map(|url| parts(ctx, &url)).transpose()
}

/// The parts of a URL of which one was set; none when that changes nothing.
fn set<'js>(ctx: Ctx<'js>, href: Text, part: String, value: Text) -> Result<Option<Array<'js>>> {
    let Ok(mut url) = Url::parse(&href.0) else { return Ok(None) };
    let value = value.0.as_str();
    let set = match part.as_str() {
        "href" => match Url::parse(value) {
            Ok(other) => {
                url = other;
                Ok(())
            }
            Err(_) => Err(()),
        },
        "protocol" => quirks::set_protocol(&mut url, value),
        "username" => quirks::set_username(&mut url, value),
        "password" => quirks::set_password(&mut url, value),
        "host" => quirks::set_host(&mut url, value),
        "hostname" => quirks::set_hostname(&mut url, value),
        "port" => quirks::set_port(&mut url, value),
        "pathname" => Ok(quirks::set_pathname(&mut url, value)),
        "search" => Ok(quirks::set_search(&mut url, value)),
        "hash" => Ok(quirks::set_hash(&mut url, value)),
        _ => Err(()),
    };
    if set.is_ok() { parts(ctx, &url).map(Some) } else { Ok(None) }
}

fn parts<'js>(ctx: Ctx<'js>, url: &Url) -> Result<Array<'js>> {
    let parts = Array::new(ctx)?;
    parts.set(0, quirks::href(url))?;
    parts.set(1, quirks::origin(url))?;
    parts.set(2, quirks::protocol(url))?;
    parts.set(3, quirks::username(url))?;
    parts.set(4, quirks::password(url))?;
    parts.set(5, quirks::host(url))?;
    parts.set(6, quirks::hostname(url))?;
    parts.set(7, quirks::port(url))?;
    parts.set(8, quirks::pathname(url))?;
    parts.set(9, quirks::search(url))?;
    parts.set(10, quirks::hash(url))?;
    Ok(parts)
}

/// The names and values of a query.
fn parse_query<'js>(ctx: Ctx<'js>, query: Text) -> Result<Array<'js>> {
    let pairs = Array::new(ctx.clone())?;
    for (index, (name, value)) in form_urlencoded::parse(query.0.as_bytes()).enumerate() {
        let pair = Array::new(ctx.clone())?;
        pair.set(0, &*name)?;
        pair.set(1, &*value)?;
        pairs.set(index, pair)?;
    }
    Ok(pairs)
}

fn serialize_query<'js>(pairs: Array<'js>) -> Result<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for pair in pairs.iter::<Array>() {
        let pair = pair?;
        query.append_pair(&pair.get::<Text>(0)?.0, &pair.get::<Text>(1)?.0);
    }
    Ok(query.finish())
}
