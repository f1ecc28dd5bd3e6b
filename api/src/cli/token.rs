//! `vm-system token …`.

use super::remote::Remote;
use super::{CliError, Exit, table};
use crate::wire::{Token, TokenMade};
use clap::{Subcommand, ValueEnum};
use jiff::SignedDuration;
use vm_storage::{Scope, TenantId, TokenId, now};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token; its text is printed once
    Create {
        /// A name for people
        name: String,
        /// What it may be used for, with commas between; each includes reading
        #[arg(long, value_enum, value_delimiter = ',', required = true)]
        scope: Vec<ScopeName>,
        /// How long it is taken, such as 12h or 90d (default: until it is revoked)
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires_in: Option<SignedDuration>,
        #[command(flatten)]
        of: Of,
    },
    /// List the tokens, oldest first
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Take a token no more
    Revoke {
        /// The token, by its id
        token_id: TokenId,
        #[command(flatten)]
        of: Of,
    },
}

/// Whose tokens.
#[derive(Debug, clap::Args)]
pub(super) struct Of {
    /// The tenant (default: the one that your own token speaks for)
    #[arg(long, value_name = "ID")]
    tenant_id: Option<TenantId>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ScopeName {
    /// To read what the tenant has
    Read,
    /// To make and close sessions, and to run executions in them
    Execute,
    /// To change templates and tokens, and to remove sessions
    Manage,
    /// All of these, the tenants and the host's operation
    Admin,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Read => Self::Read,
            ScopeName::Execute => Self::Execute,
            ScopeName::Manage => Self::Manage,
            ScopeName::Admin => Self::Admin,
        }
    }
}

impl TokenCommand {
    pub(super) async fn run(self, remote: Remote) -> Result<Exit, CliError> {
        let client = &remote.client;
        match self {
            Self::Create { name, scope, expires_in, of } => {
                let scopes: Vec<_> = scope.into_iter().map(Scope::from).collect();
                // What is past the end of time never expires.
                let expires_at = expires_in.and_then(|lifetime| now().checked_add(lifetime).ok());
                let made = client.create_token(&name, &scopes, expires_at, of.tenant_id).await?;
                remote.show(&made, print_made);
            }
            Self::List { of } => remote.show(&client.tokens(of.tenant_id).await?, |tokens| {
                let row = |token: &Token| {
                    let expires_at = token.expires_at.map(|at| at.to_string());
                    let (id, name) = (token.id.to_string(), token.name.clone());
                    [id, name, scopes(token), expires_at.unwrap_or_else(|| "never".to_owned())]
                };
                let header = ["Token ID", "Name", "Scopes", "Expires"];
                table::print(header, tokens.iter().map(row).collect(), "No tokens");
            }),
            Self::Revoke { token_id, of } => {
                let revoked = client.revoke_token(token_id, of.tenant_id).await?;
                remote.show(&revoked, |token| {
                    table::properties(&[
                        ("Revoked token", token.id.to_string()),
                        ("Name", token.name.clone()),
                    ]);
                });
            }
        }
        Ok(Exit::Success)
    }
}

/// Prints a token that was made, with its text.
pub(super) fn print_made(made: &TokenMade) {
    table::properties(&[
        ("Created token", made.token.id.to_string()),
        ("Name", made.token.name.clone()),
        ("Scopes", scopes(&made.token)),
        ("Token", made.secret.clone()),
    ]);
}

fn scopes(token: &Token) -> String {
    token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ")
}

/// A time such as `12h` or `90d`.
fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<i64>().ok());
    let time = match days {
        Some(days) => days.checked_mul(24).map(SignedDuration::from_hours),
        None => text.parse().ok(),
    };
    let time = time.filter(SignedDuration::is_positive);
    time.ok_or_else(|| "it must be a time such as 12h or 90d".to_owned())
}
