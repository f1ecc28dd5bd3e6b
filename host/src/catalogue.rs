//! What a template may name: engines, and the native modules that scripts may require.
//!
//! Invariant: everything listed here works; a name that is not here grants nothing.

pub use crate::capabilities::config_schema;
use crate::capabilities::{
    DEFAULT_FILE_BYTES, MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_RESPONSE_BYTES, MAX_RESULT_BYTES,
    MAX_ROWS,
};
use crate::database::{MAX_MEMORY_BYTES, MAX_SCRATCH_BYTES, MAX_SQL_BYTES, MAX_VALUE_BYTES};
use crate::imports::{
    DEFAULT_OUTPUT_BYTES, MAX_BODIES, MAX_BYTES, MAX_CALLS, MAX_DIR_ENTRIES, MAX_LISTED,
    MAX_OUTPUT_BYTES, MAX_PENDING, MAX_STATEMENTS, MAX_WORKSPACE_BYTES, MAX_WORKSPACE_KEYS,
    MAX_WRITES, MAX_WRITTEN_BYTES,
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
pub const MODULES: &[Entry] = &[DATABASE, EXEC, FS, KV];

const DATABASE: Entry = Entry {
    name: "database",
    description: "SQLite, in the session's memory (:memory:), or in files of its worktree that a \
                  capability named database lists.",
    functions: &["configure", "exec", "query", "close"],
    limits: &[
        ("calls_per_execution", MAX_STATEMENTS),
        ("rows", MAX_ROWS),
        ("result_bytes", MAX_RESULT_BYTES),
        ("memory_bytes", MAX_MEMORY_BYTES),
        ("file_bytes", DEFAULT_FILE_BYTES),
        ("value_bytes", MAX_VALUE_BYTES),
        ("sql_bytes", MAX_SQL_BYTES),
        ("temporary_bytes", MAX_SCRATCH_BYTES),
    ],
};

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

/// What capabilities grant that is no module, by name: their kind is the first of each.
pub const CAPABILITIES: &[(&str, Entry)] = &[("env", ENV), ("net", FETCH)];

const ENV: Entry = Entry {
    name: "env",
    description: "Secrets of the host's (serve --secrets) in process.env, by name; those that the host \
                  keeps for origins as placeholders, which it puts into requests to these alone.",
    functions: &["process.env"],
    limits: &[],
};

const FETCH: Entry = Entry {
    name: "fetch",
    description: "Requests over the network to origins that the config names, from addresses that are \
                  public, or named by it and allowed by the host (serve --allow-net).",
    functions: &["fetch"],
    limits: &[
        ("calls_per_execution", MAX_CALLS),
        ("bytes_per_execution", MAX_BYTES),
        ("requests_under_way", MAX_PENDING as u64),
        ("open_bodies", MAX_BODIES as u64),
        ("max_requests", MAX_REQUESTS as u64),
        ("max_request_bytes", MAX_REQUEST_BYTES),
        ("max_response_bytes", MAX_RESPONSE_BYTES),
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
