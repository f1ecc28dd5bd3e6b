//! The bodies of requests.
//!
//! Invariant: every field is optional here, so that one that is missing is told from one of the wrong
//! type; the routes check them.

use crate::settings_patch::SettingsPatch;
use crate::strict_json;
use crate::whole::Whole;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A new template.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CreateTemplate {
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unique: Option<bool>,
}

/// A change of a template.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpdateTemplate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "strict_json::object")]
    pub(crate) settings: SettingsPatch,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shared: Option<bool>,
}

/// A new tenant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CreateTenant {
    pub(crate) name: Option<String>,
    pub(crate) worktree_roots: Option<Vec<String>>,
}

/// A change of a tenant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpdateTenant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worktree_roots: Option<Vec<String>>,
}

/// A new token.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CreateToken {
    pub(crate) name: Option<String>,
    pub(crate) scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
}

/// A new capability of a template.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AddCapability {
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) enabled: Option<bool>,
    pub(crate) config: Option<Value>,
}

/// A new startup file of a template.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AddStartupFile {
    pub(crate) path: Option<String>,
    pub(crate) order_index: Option<Whole>,
    pub(crate) mode: Option<String>,
}

/// A module or library to add to a template.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AddName {
    pub(crate) name: Option<String>,
}

/// A new session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CreateSession {
    pub(crate) template_id: Option<String>,
    pub(crate) workspace_id: Option<String>,
    pub(crate) base_commit_oid: Option<String>,
    pub(crate) worktree_path: Option<String>,
}

/// A backup to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MakeBackup {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

/// A snippet to run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunSnippet {
    pub(crate) session_id: Option<String>,
    pub(crate) input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_busy: Option<String>,
}

/// A file to run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunFile {
    pub(crate) session_id: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) args: Option<Map<String, Value>>,
    pub(crate) env: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_busy: Option<String>,
}

/// Nothing, for routes that take no body.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}
