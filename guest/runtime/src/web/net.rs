//! Requests over the network, as `web/fetch.js` makes them of the host's calls.

use crate::abi::{self, Operation};
use crate::pending;
use javy::quickjs::{
    Ctx, Exception, Function, Object, Result, String as JsString, TypedArray, Value,
};

/// Flag of [`Operation::NetClose`]: the number is that of a call that is pending, not of a body.
const FLAG_PENDING: u32 = 1;

/// The functions of the host's calls. What begins one gives its ticket, or an error's text.
pub(super) fn natives<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("fetch", Function::new(ctx.clone(), fetch)?)?;
    native.set("read", Function::new(ctx.clone(), read)?)?;
    native.set("close", Function::new(ctx.clone(), |handle: u32| close(handle, 0))?)?;
    native.set("cancel", Function::new(ctx.clone(), cancel)?)?;
    native.set("text", Function::new(ctx.clone(), text)?)?;
    Ok(native)
}

/// Begins a request; what it resolves to is the head of the response, as JSON.
fn fetch<'js>(
    ctx: Ctx<'js>,
    name: String,
    head: String,
    body: TypedArray<'js, u8>,
    resolve: Function<'js>,
    reject: Function<'js>,
) -> Result<Value<'js>> {
    let body = body.as_bytes().unwrap_or_default();
    let mut data = Vec::new();
    if data.try_reserve_exact(4 + head.len() + body.len()).is_err() {
        return Err(Exception::throw_range(&ctx, "not enough memory for the request"));
    }
    let head_len = u32::try_from(head.len()).expect("checked by its source: it is in memory");
    data.extend_from_slice(&head_len.to_le_bytes());
    data.extend_from_slice(head.as_bytes());
    data.extend_from_slice(body);
    begun(ctx, pending::begin(Operation::NetFetch, name.as_bytes(), &data, resolve, reject))
}

/// Begins to read the next bytes of a response's body; none are its end.
fn read<'js>(
    ctx: Ctx<'js>,
    handle: u32,
    resolve: Function<'js>,
    reject: Function<'js>,
) -> Result<Value<'js>> {
    let name = handle.to_string();
    begun(ctx, pending::begin(Operation::NetRead, name.as_bytes(), &[], resolve, reject))
}

fn begun<'js>(ctx: Ctx<'js>, begun: std::result::Result<u32, String>) -> Result<Value<'js>> {
    match begun {
        Ok(ticket) => Ok(Value::new_number(ctx, f64::from(ticket))),
        Err(error) => Ok(JsString::from_str(ctx, &error)?.into_value()),
    }
}

/// Ends a call that is pending; nobody is told.
fn cancel(ticket: u32) {
    pending::forget(ticket);
    close(ticket, FLAG_PENDING);
}

fn close(number: u32, flags: u32) {
    // What is over already needs no end.
    let _ = abi::call_host(Operation::NetClose, flags, number.to_string().as_bytes(), &[]);
}

fn text<'js>(bytes: TypedArray<'js, u8>) -> String {
    String::from_utf8_lossy(bytes.as_bytes().unwrap_or_default()).into_owned()
}
