//! What a template may name: engines, and the native modules that scripts may require.
//!
//! Invariant: everything listed here works; a name that is not here grants nothing.

pub use crate::capabilities::config_schema;
use crate::imports::{
    DEFAULT_OUTPUT_BYTES, MAX_BYTES, MAX_CALLS, MAX_DIR_ENTRIES, MAX_LISTED, MAX_OUTPUT_BYTES,
    MAX_WORKSPACE_BYTES, MAX_WORKSPACE_KEYS, MAX_WRITES, MAX_WRITTEN_BYTES,
};
use vm_storage::{MAX_KV_KEY_BYTES, MAX_KV_READS, MAX_KV_VALUE_BYTES};

/// Something that a template may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in templates.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub description: &'static str,
    /// What a script may call on it.
    pub functions: &'static [&'static str],
    /// Bounds of what it does, by name.
    pub limits: &'static [(&'static str, u64)],
}

/// The native modules, by name.
pub const MODULES: &[Entry] = &[EXEC, FS, KV];

const EXEC: Entry = Entry {
    name: "exec",
    description: "Programs of the host's machine, those that it allows (serve --allow-exec), with the \
                  powers of the host's user; a capability may narrow them.",
    functions: &["run"],
    limits: &[
        ("calls_per_execution", MAX_CALLS),
        ("output_bytes", DEFAULT_OUTPUT_BYTES),
        ("max_output_bytes", MAX_OUTPUT_BYTES),
    ],
};

const FS: Entry = Entry {
    name: "fs",
    description: "Files of the session's worktree; writing needs a capability named fs \
                  whose config is {\"write\": true}. The promise forms are fs/promises too.",
    functions: &[
        "accessSync",
        "appendFileSync",
        "copyFileSync",
        "existsSync",
        "lstatSync",
        "mkdirSync",
        "mkdtempSync",
        "readFileSync",
        "readdirSync",
        "realpathSync",
        "renameSync",
        "rmSync",
        "rmdirSync",
        "statSync",
        "truncateSync",
        "unlinkSync",
        "writeFileSync",
        "promises.access",
        "promises.appendFile",
        "promises.copyFile",
        "promises.lstat",
        "promises.mkdir",
        "promises.mkdtemp",
        "promises.readFile",
        "promises.readdir",
        "promises.realpath",
        "promises.rename",
        "promises.rm",
        "promises.rmdir",
        "promises.stat",
        "promises.truncate",
        "promises.unlink",
        "promises.writeFile",
    ],
    limits: &[
        ("calls_per_execution", MAX_CALLS),
        ("bytes_per_execution", MAX_BYTES),
        ("directory_entries", MAX_DIR_ENTRIES as u64),
    ],
};

const KV: Entry = Entry {
    name: "kv",
    description: "Keys and values that the sessions of a workspace share, in the same commit as the \
                  execution; a capability may narrow them.",
    functions: &["compareAndSet", "delete", "get", "getEntry", "list", "put"],
    limits: &[
        ("calls_per_execution", MAX_CALLS),
        ("key_bytes", MAX_KV_KEY_BYTES as u64),
        // One byte says what they are.
        ("value_bytes", MAX_KV_VALUE_BYTES as u64 - 1),
        ("workspace_bytes", MAX_WORKSPACE_BYTES),
        ("workspace_keys", MAX_WORKSPACE_KEYS),
        ("keys_read_per_execution", MAX_KV_READS as u64),
        ("keys_written_per_execution", MAX_WRITES as u64),
        ("bytes_written_per_execution", MAX_WRITTEN_BYTES as u64),
        ("keys_listed", MAX_LISTED as u64),
    ],
};

/// The engines. The first is the default; the others are names that older clients use for it.
pub const ENGINES: &[Entry] = &[
    Entry {
        name: "javy",
        description: "QuickJS-NG built by Javy, in a WebAssembly instance of its own.",
        functions: &[],
        limits: &[],
    },
    Entry { name: "quickjs", description: "Another name for javy.", functions: &[], limits: &[] },
    Entry {
        name: "goja",
        description: "Another name for javy, for old clients.",
        functions: &[],
        limits: &[],
    },
];

/// Globals that every script has: no template needs, or may, name them as modules.
const BUILT_INS: &[&str] = &[
    "AggregateError",
    "Array",
    "ArrayBuffer",
    "Atomics",
    "BigInt",
    "BigInt64Array",
    "BigUint64Array",
    "Boolean",
    "DataView",
    "Date",
    "Error",
    "EvalError",
    "FinalizationRegistry",
    "Float16Array",
    "Float32Array",
    "Float64Array",
    "Function",
    "Int16Array",
    "Int32Array",
    "Int8Array",
    "Intl",
    "Iterator",
    "JSON",
    "Map",
    "Math",
    "Number",
    "Object",
    "Promise",
    "Proxy",
    "RangeError",
    "ReferenceError",
    "Reflect",
    "RegExp",
    "Set",
    "SharedArrayBuffer",
    "String",
    "Symbol",
    "SyntaxError",
    "TextDecoder",
    "TextEncoder",
    "TypeError",
    "URIError",
    "Uint16Array",
    "Uint32Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "WeakMap",
    "WeakRef",
    "WeakSet",
    "console",
    "globalThis",
];

/// Whether templates may name this engine.
pub fn has_engine(name: &str) -> bool {
    ENGINES.iter().any(|engine| engine.name == name)
}

/// Whether templates may expose this module.
pub fn has_module(name: &str) -> bool {
    MODULES.iter().any(|module| module.name == name)
}

/// Whether this is a global that JavaScript has without any module, in any case of its letters.
pub fn is_built_in(name: &str) -> bool {
    BUILT_INS.iter().any(|built_in| built_in.eq_ignore_ascii_case(name))
}
