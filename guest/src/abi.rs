//! The border between host and guest, as the host sees it. `guest/runtime/src/abi.rs` is the other
//! side of it and says what each function does.
//!
//! Invariant: numbers that come from the guest become one of these types or are refused; the guest
//! shares its memory with hostile code.

/// Version of the host functions that guests import: raised when one of them changes what it means
/// to a guest that was built before. Stored heaps are tied to it.
pub const IMPORTS_VERSION: u32 = 1;

/// Name of the module that the guest's code imports its memory from.
pub const IMAGE_MODULE: &str = "image";
/// Name of the module that the guest imports host functions from.
pub const HOST_MODULE: &str = "vm";
/// Name that a template's module imports the guest under.
pub const GUEST_MODULE: &str = "guest";

/// Name of the module that metered code imports the host's part of the meter from.
pub const METER_MODULE: &str = "meter";

/// Names of what code imports that was metered.
pub mod meter_imports {
    /// `() -> ()`: the counter passed below zero.
    pub const OUT_OF_FUEL: &str = "out_of_fuel";
}

/// Names of the guest's exports.
pub mod exports {
    /// The counter of metered code, which the host fills and the code counts down.
    pub const FUEL: &str = "fuel";
    /// How far below zero the counter may get; set by the host.
    pub const FUEL_FLOOR: &str = "fuel_floor";
    /// The linear memory.
    pub const MEMORY: &str = "memory";
    /// `() -> ()`: makes the JavaScript runtime in a fresh memory.
    pub const INITIALIZE: &str = "_initialize";
    /// `(flags: i32) -> ()`: see [`super::realm_flags`]. Needs no call when there are none.
    pub const CONFIGURE: &str = "vm_configure";
    /// `() -> ()`: has a memory that was restored draw fresh entropy when it needs some.
    pub const FORGET_ENTROPY: &str = "vm_forget_entropy";
    /// `(seed: i64, flags: i32) -> ()`: what guests had instead of [`CONFIGURE`] that were given
    /// their entropy.
    pub const BEGIN: &str = "vm_begin";
    /// `(seed: i64) -> ()`: what they had instead of [`FORGET_ENTROPY`].
    pub const RESEED: &str = "vm_reseed";
    /// `(len) -> address`, 0 when memory is short.
    pub const ALLOC: &str = "vm_alloc";
    /// `(address, len) -> ()`.
    pub const FREE: &str = "vm_free";
    /// `(address, args_len, env_len) -> ()`: two JSON texts, one behind the other.
    pub const INPUTS: &str = "vm_inputs";
    /// `(address, name_len, source_len, flags) -> outcome`: name, NUL, source, NUL.
    pub const EVALUATE: &str = "vm_evaluate";
    /// `(address, name_len, source_len, flags) -> address << 32 | len`, 0 after an exception.
    pub const COMPILE: &str = "vm_compile";
    /// `(address, len) -> ()`: starts what `vm_compile` gave.
    pub const RUN: &str = "vm_run";
    /// `(flags) -> outcome`: runs pending jobs and reports.
    pub const DRAIN: &str = "vm_drain";
}

/// Flags of `vm_configure` and `vm_begin`.
pub mod realm_flags {
    /// The template has no console.
    pub const NO_CONSOLE: u32 = 1;
    /// `CommonJS` modules are strict whatever they say; of scripts it is told with each.
    pub const STRICT: u32 = 2;
    /// The template grants an environment, which the guest asks for when a script first looks.
    pub const ENVIRONMENT: u32 = 4;
}

/// Flags of `vm_evaluate`, `vm_compile` and `vm_drain`.
pub mod script_flags {
    /// The script is strict whatever it says.
    pub const STRICT: u32 = 1;
    /// No event tells the script's value.
    pub const QUIET: u32 = 2;
    /// The script is a line of a REPL: its declarations take the place of earlier ones, and an object
    /// literal alone is an expression.
    pub const REPL: u32 = 4;
    /// It is an `ECMAScript` module, and its value is its default export.
    pub const MODULE: u32 = 8;
    /// It is one if that is what its syntax says.
    pub const BY_SYNTAX: u32 = 16;
}

/// A number that no function of the guest gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest gave {number}, which is no {what}")]
pub struct UnknownNumber {
    /// What it should have been.
    pub what: &'static str,
    /// What it was.
    pub number: u32,
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl TryFrom<u32> for $name {
            type Error = UnknownNumber;

            fn try_from(number: u32) -> Result<Self, UnknownNumber> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    _ => Err(UnknownNumber { what: $what, number }),
                }
            }
        }
    };
}

numbered!(
    /// How a script ended.
    Outcome, "outcome" {
        /// It gave a value.
        Value = 0,
        /// It threw, and the exception was emitted.
        Threw = 1,
    }
);

numbered!(
    /// Kinds of emitted events.
    EventKind, "kind of event" {
        /// A console call: the tag is its level, the first text what it printed.
        Console = 1,
        /// A value: the tag is its type, the texts its preview and its JSON.
        Value = 2,
        /// An exception: the texts are its message and its stack.
        Exception = 3,
    }
);

numbered!(
    /// Levels of a console call.
    Level, "level" {
        /// `console.log`
        Log = 0,
        /// `console.warn`
        Warn = 1,
        /// `console.error`
        Error = 2,
        /// `console.info`
        Info = 3,
        /// `console.debug`
        Debug = 4,
    }
);

numbered!(
    /// Types of a value, by JavaScript's names.
    ValueType, "type of value" {
        /// A number.
        Number = 0,
        /// A string.
        String = 1,
        /// A boolean.
        Boolean = 2,
        /// A bigint.
        Bigint = 3,
        /// `undefined`.
        Undefined = 4,
        /// `null`.
        Null = 5,
        /// A symbol.
        Symbol = 6,
        /// A function or class.
        Function = 7,
        /// An array.
        Array = 8,
        /// Any other object.
        Object = 9,
        /// A date.
        Date = 10,
        /// An error.
        Error = 11,
        /// A map.
        Map = 12,
        /// A set.
        Set = 13,
        /// A promise that has not settled.
        Promise = 14,
    }
);

numbered!(
    /// Host functions behind the guest's one `call` import.
    Operation, "operation" {
        /// Whether the template has the native module named.
        Require = 0,
        /// Reads a file.
        FsRead = 1,
        /// Writes a file.
        FsWrite = 2,
        /// Whether a path is there; answers one byte.
        FsExists = 3,
        /// Lists a folder; answers names with a NUL behind each, and with a flag a [`FileKind`] in a
        /// byte before each.
        FsReadDir = 4,
        /// Describes a path, or with a flag the link that it is; answers three little-endian doubles:
        /// a [`FileKind`]; bytes; milliseconds of the last change.
        FsStat = 5,
        /// Makes a folder.
        FsMakeDir = 6,
        /// Removes a file.
        FsUnlink = 7,
        /// Finds a module of the worktree: the name is a referrer's path, a NUL and a specifier, a
        /// flag says by what; answers a [`ModuleFormat`] in a byte, the module's path, a NUL, and the
        /// specifier's query and fragment.
        ModuleResolve = 8,
        /// Reads the source of a module that was found.
        ModuleSource = 9,
        /// Writes behind what a file holds.
        FsAppend = 10,
        /// Gives a path another name: the name is the two with a NUL between them.
        FsRename = 11,
        /// Removes a folder that is empty.
        FsRemoveDir = 12,
        /// Answers the path without links of what a path leads to.
        FsRealPath = 13,
        /// Runs a program: the name is the program's and its arguments, with NULs between them;
        /// answers its exit status, or 256 more than the signal that ended it, and the length of its
        /// output, both little-endian in four bytes, then its output, then its errors.
        ExecRun = 14,
        /// Takes the next answer of the calls that are answered later, each of which gave a ticket, four
        /// little-endian bytes: the ticket, a byte that is 0 or, for an error's text, 1, and the rest.
        Answer = 15,
        /// Begins a request: the name is its method, a blank and its URL, the data a head's length in
        /// four little-endian bytes, that head in JSON, and the body. Answered later by the response's
        /// head in JSON.
        NetFetch = 16,
        /// Begins to read more of the response's body whose number is the name. Answered later by bytes,
        /// or by none at its end.
        NetRead = 17,
        /// Ends the body whose number is the name, or with a flag the call of that ticket.
        NetClose = 18,
        /// Answers the environment that the template grants, an object of strings in JSON.
        Env = 19,
        /// Runs statements in the database named; the data is the statement and its parameters, the
        /// answer how much it changed (see `host/src/database/wire.rs`).
        DbExec = 30,
        /// The same of one statement; answers its rows.
        DbQuery = 31,
        /// Opens a database anew.
        DbOpen = 32,
        /// Closes it, and forgets the one in memory.
        DbClose = 33,
        /// Gives a part of the database in memory, which the guest keeps between executions.
        DbRestore = 34,
        /// Closes what is open, and answers what was changed of the one in memory: its length, then
        /// blocks of 4096 bytes, each behind its number; both in four bytes, little-endian.
        DbKeep = 35,
        /// Reads a key of the workspace; answers nothing, or its version (little-endian, in eight
        /// bytes; below 0 when the execution wrote it itself) and its value.
        KvGet = 20,
        /// Writes a key: the data is the version that is expected, as [`kv_flags`] say, and the value;
        /// answers one byte, whether it was written.
        KvPut = 21,
        /// Removes a key; answers one byte, whether it was there.
        KvDelete = 22,
        /// Lists keys that begin with the name: the data is how many at most, in four bytes, and the
        /// key after which they come, or nothing. Answers of each the lengths of key and rest, four
        /// bytes each, the key, and the rest: version and value as [`Operation::KvGet`] has them.
        KvList = 23,
    }
);

numbered!(
    /// What lies at a path.
    FileKind, "kind of file" {
        /// A FIFO, a socket or a device.
        Other = 0,
        /// A regular file.
        File = 1,
        /// A directory.
        Directory = 2,
        /// A symbolic link, where links are not followed.
        Link = 3,
    }
);

numbered!(
    /// How a module of a worktree is loaded.
    ModuleFormat, "format of a module" {
        /// An `ECMAScript` module if its syntax says so, else as `CommonJS`.
        BySyntax = 0,
        /// An `ECMAScript` module.
        Module = 1,
        /// `CommonJS`; when it is run itself, a script.
        CommonJs = 2,
        /// JSON.
        Json = 3,
    }
);

/// The code of an answer that is a syntax error: a sentence and the first frame of its stack follow, a
/// line each.
pub const SYNTAX_ERROR: &str = "SYNTAX_ERROR";

/// Flags of [`Operation::ModuleResolve`].
pub mod resolve_flags {
    /// It is asked for by `require`, not by `import`.
    pub const REQUIRE: u32 = 1;
}

/// Flags of [`Operation::NetClose`].
pub mod close_flags {
    /// The number is a ticket's.
    pub const PENDING: u32 = 1;
}

/// Flags of [`Operation::DbRestore`].
pub mod database_flags {
    /// It is the first part: what was there before is forgotten.
    pub const FIRST: u32 = 1;
}

/// Flags of [`Operation::KvPut`].
pub mod kv_flags {
    /// The key has to have the version that is expected.
    pub const COMPARE: u32 = 1;
    /// There has to be no such key.
    pub const ABSENT: u32 = 2;
}

/// Flags of [`Operation::FsReadDir`].
pub mod read_dir_flags {
    /// Each name has its kind before it.
    pub const KINDS: u32 = 1;
}

/// Flags of [`Operation::FsStat`].
pub mod stat_flags {
    /// A link is described itself.
    pub const LINK: u32 = 1;
}

/// Flags of [`Operation::FsMakeDir`].
pub mod make_dir_flags {
    /// Parents are made too, and a folder that is there is fine.
    pub const RECURSIVE: u32 = 1;
}
