//! `vm-system tenant …`.

use super::local::LocalError;
use super::remote::Remote;
use super::serve::DEFAULT_DB;
use super::{CliError, Exit, Output, local, printer, table};
use crate::wire::{Tenant, TokenMade};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use vm_host::NewToken;
use vm_storage::{Scope, Storage, StorageOptions, TenantId, TenantStatus};

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Make a token that may do everything, in a database that no daemon has open
    ///
    /// It speaks for the local tenant, who owns what was made without auth. It is printed once, and only
    /// its hash is kept.
    Bootstrap,
    /// Make a tenant
    Create {
        /// Its name; no two tenants have the same
        name: String,
        /// A folder beneath which its worktrees must lie, on the daemon's machine; may be given several
        /// times (default: it has no worktrees)
        #[arg(long, value_name = "DIR")]
        worktree_root: Vec<PathBuf>,
    },
    /// List the tenants, oldest first
    List,
    /// Show a tenant
    Get {
        /// The tenant
        tenant_id: TenantId,
    },
    /// Change a tenant: what is given of it
    Update {
        /// The tenant
        tenant_id: TenantId,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        /// The folders beneath which its worktrees must lie, instead of those before
        #[arg(long, value_name = "DIR")]
        worktree_root: Vec<PathBuf>,
        /// Serve it again
        #[arg(long)]
        activate: bool,
    },
    /// Take none of its tokens any more; what it has is kept
    Suspend {
        /// The tenant
        tenant_id: TenantId,
    },
    /// Remove a tenant with its sessions, executions, templates, keys and tokens
    Delete {
        /// The tenant
        tenant_id: TenantId,
    },
}

impl TenantCommand {
    pub(super) async fn run(self, remote: Remote) -> Result<Exit, CliError> {
        let client = &remote.client;
        match self {
            Self::Bootstrap => unreachable!("it needs no daemon"),
            Self::Create { name, worktree_root } => {
                let tenant = client.create_tenant(&name, roots(&worktree_root)?).await?;
                remote.show(&tenant, |tenant| print("Created tenant", tenant));
            }
            Self::List => remote.show(&client.tenants().await?, |tenants| {
                let row = |tenant: &Tenant| {
                    let (id, name) = (tenant.id.to_string(), tenant.name.clone());
                    [id, name, status_name(tenant.status).to_owned(), tenant.created_at.to_string()]
                };
                let header = ["Tenant ID", "Name", "Status", "Created"];
                table::print(header, tenants.iter().map(row).collect(), "No tenants");
            }),
            Self::Get { tenant_id } => {
                let tenant = client.tenant(tenant_id).await?;
                remote.show(&tenant, |tenant| print("Tenant ID", tenant));
            }
            Self::Update { tenant_id, name, worktree_root, activate } => {
                let roots = roots(&worktree_root)?;
                let roots = (!roots.is_empty()).then_some(roots);
                let status = activate.then_some(TenantStatus::Active);
                let tenant = client.update_tenant(tenant_id, name, status, roots).await?;
                remote.show(&tenant, |tenant| print("Updated tenant", tenant));
            }
            Self::Suspend { tenant_id } => {
                let status = Some(TenantStatus::Suspended);
                let tenant = client.update_tenant(tenant_id, None, status, None).await?;
                remote.show(&tenant, |tenant| print("Suspended tenant", tenant));
            }
            Self::Delete { tenant_id } => {
                let deleted = client.delete_tenant(tenant_id);
                let deleted = remote.wait("what the tenant has is being removed", deleted).await?;
                remote.show(&deleted, |deleted| {
                    table::properties(&[("Deleted tenant", deleted.tenant_id.to_string())]);
                });
            }
        }
        Ok(Exit::Success)
    }
}

/// Makes the first token, without a daemon.
pub(super) async fn bootstrap(db: Option<&Path>, output: Output) -> Result<Exit, CliError> {
    let db = local::absolute_db(db.unwrap_or(Path::new(DEFAULT_DB)))?;
    let opening =
        tokio::task::spawn_blocking(move || Storage::open(&db, StorageOptions::default()));
    let (storage, _) =
        opening.await.expect("opening gives its errors").map_err(LocalError::from)?;
    let (name, scopes) = ("bootstrap".to_owned(), vec![Scope::Admin]);
    let new = NewToken { name, scopes, expires_at: None };
    let (token, secret) = new.made(TenantId::LOCAL).map_err(LocalError::from)?;
    storage.create_token(token.clone()).await.map_err(LocalError::from)?;
    storage.shutdown().await.map_err(LocalError::from)?;
    let made = TokenMade { token: token.into(), secret };
    match output {
        Output::Json => printer::json(&made),
        Output::Text => super::token::print_made(&made),
    }
    Ok(Exit::Success)
}

fn roots(paths: &[PathBuf]) -> Result<Vec<String>, LocalError> {
    paths.iter().map(|path| local::absolute(path)).collect()
}

fn print(title: &str, tenant: &Tenant) {
    table::properties(&[
        (title, tenant.id.to_string()),
        ("Name", tenant.name.clone()),
        ("Status", status_name(tenant.status).to_owned()),
        ("Worktree roots", tenant.worktree_roots.join(", ")),
        ("Created", tenant.created_at.to_string()),
    ]);
}

fn status_name(status: TenantStatus) -> &'static str {
    match status {
        TenantStatus::Active => "active",
        TenantStatus::Suspended => "suspended",
    }
}
