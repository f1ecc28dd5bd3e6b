//! What a script's SQL may not do, and how large what it does may be.
//!
//! Invariant: no statement reaches another file, loads code, or turns off what guards the database: what
//! is not listed here as harmless is denied. It is asked while a statement is prepared, also for what a
//! statement prepares by itself, and what the schema of a hostile file says is SQL like any other.

use super::functions;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Result};

/// Bytes of a value, or of a row.
pub(crate) const MAX_VALUE_BYTES: u64 = 4 << 20;
/// Bytes of a text of SQL.
pub(crate) const MAX_SQL_BYTES: u64 = 1 << 20;
/// Parameters of a statement.
pub(crate) const MAX_PARAMS: u64 = 32_766;

/// Bytes that the SQLite of a host may have in its heap for all connections together: one has its cache
/// of 2 MiB and what its statements hold, of which each value has its own bound.
const HEAP_BYTES: u64 = 512 << 20;

/// The rest of what is bounded in SQL.
const LIMITS: [(Limit, i32); 10] = [
    (Limit::SQLITE_LIMIT_COLUMN, 256),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 200),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    // The time that a match takes is the product of the two lengths.
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 20),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    (Limit::SQLITE_LIMIT_PARSER_DEPTH, 500),
];

/// Pragmas that say something, or that set what is the script's own concern.
const PRAGMAS: [&str; 30] = [
    "application_id",
    "auto_vacuum",
    "automatic_index",
    "case_sensitive_like",
    "collation_list",
    "data_version",
    "defer_foreign_keys",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "ignore_check_constraints",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "optimize",
    "page_count",
    "query_only",
    "quick_check",
    "recursive_triggers",
    "reverse_unordered_selects",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
    "secure_delete",
];

/// Pragmas that may be read, and not set.
const READ_PRAGMAS: [&str; 6] =
    ["cache_size", "compile_options", "journal_mode", "max_page_count", "page_size", "synchronous"];

/// Functions that load code, or take a time that is the square of what they are given and cannot be
/// interrupted.
const DENIED_FUNCTIONS: [&str; 4] =
    ["fts3_tokenizer", "json_patch", "jsonb_patch", "load_extension"];

/// Virtual tables that a script may make: text search, ranges.
const VIRTUAL_TABLES: [&str; 5] = ["fts4", "fts5", "fts5vocab", "rtree", "rtree_i32"];

/// Sets a connection up for a script, before any of its SQL is seen.
pub(super) fn guard(connection: &mut Connection) -> Result<()> {
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        connection.set_db_config(config, on)?;
    }
    let sized = [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, MAX_PARAMS),
    ];
    for (limit, value) in sized {
        connection.set_limit(limit, i32::try_from(value).expect("checked by the constants"))?;
    }
    for (limit, value) in LIMITS {
        connection.set_limit(limit, value)?;
    }
    // Sorting goes to temporary files, which are bounded, and not to the heap.
    connection.execute_batch(&format!(
        "PRAGMA hard_heap_limit = {HEAP_BYTES}; PRAGMA temp_store = FILE; PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0"
    ))?;
    functions::replace(connection)?;
    connection.authorizer(Some(authorize))
}

fn authorize(asked: AuthContext<'_>) -> Authorization {
    let allowed = match asked.action {
        AuthAction::Pragma { pragma_name, pragma_value } => may_pragma(pragma_name, pragma_value),
        AuthAction::Function { function_name } => {
            !DENIED_FUNCTIONS.iter().any(|denied| denied.eq_ignore_ascii_case(function_name))
        }
        AuthAction::CreateVtable { module_name, .. } => {
            VIRTUAL_TABLES.iter().any(|known| known.eq_ignore_ascii_case(module_name))
        }
        AuthAction::CreateIndex { .. }
        | AuthAction::CreateTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::Delete { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::DropVtable { .. }
        | AuthAction::Insert { .. }
        | AuthAction::Read { .. }
        | AuthAction::Select
        | AuthAction::Transaction { .. }
        | AuthAction::Update { .. }
        | AuthAction::AlterTable { .. }
        | AuthAction::Reindex { .. }
        | AuthAction::Analyze { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Recursive => true,
        // Other files, and whatever a later SQLite asks about.
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

fn may_pragma(name: &str, value: Option<&str>) -> bool {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    PRAGMAS.iter().any(is) || (value.is_none() && READ_PRAGMAS.iter().any(is))
}
