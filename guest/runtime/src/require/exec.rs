//! The `exec` module: programs that the host runs. `exec.js` makes of the host's function the one that
//! scripts know.

use super::host_error;
use crate::abi::{self, Operation};
use crate::raw;
use javy::quickjs::{Ctx, Exception, Function, Object, Result};

/// The functions, in terms of those that [`module`] gives them.
const SOURCE: &[u8] = concat!(include_str!("exec.js"), "\0").as_bytes();
/// Their file: no stack shows frames of files beneath `/vm/` (see `patches/own-frames.patch`).
const NAME: &std::ffi::CStr = c"/vm/exec.js";

/// Makes the module object.
pub(super) fn module<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("run", Function::new(ctx.clone(), run)?)?;
    let make: Function = raw::run(raw::compile(ctx, NAME, SOURCE, 0)?)?.get()?;
    make.call((native,))
}

/// Runs words that have NULs between them; gives the status, the output and the errors.
fn run<'js>(ctx: Ctx<'js>, words: String, program: String) -> Result<Object<'js>> {
    let answer = abi::call_host(Operation::ExecRun, 0, words.as_bytes(), &[])
        .map_err(|error| host_error(&ctx, &error, "spawn", &program))?;
    let malformed = || Exception::throw_message(&ctx, "the host's answer is malformed");
    let (status, rest) = answer.split_first_chunk::<4>().ok_or_else(malformed)?;
    let (output_len, rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
    let output_len = u32::from_le_bytes(*output_len) as usize;
    let (stdout, stderr) = rest.split_at_checked(output_len).ok_or_else(malformed)?;
    let ran = Object::new(ctx.clone())?;
    ran.set("status", u32::from_le_bytes(*status))?;
    ran.set("stdout", &*String::from_utf8_lossy(stdout))?;
    ran.set("stderr", &*String::from_utf8_lossy(stderr))?;
    Ok(ran)
}
