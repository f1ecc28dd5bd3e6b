//! Ids of the durable nouns: newtypes over UUID, so that no id is taken for another.
//!
//! Invariant: a new id is a version 7 UUID, whose bytes sort by time of creation; the keys of the
//! store rely on it. An id read from a client may be of any version.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id that sorts after those made before it in this process.
            #[expect(
                clippy::new_without_default,
                reason = "a default that differs at each call would mislead"
            )]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id of a UUID that came from elsewhere, of any version.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )+};
}

ids! {
    /// Names a [`Tenant`](crate::Tenant).
    TenantId;
    /// Names a [`Token`](crate::Token) of a tenant.
    TokenId;
    /// Names a [`Template`](crate::Template).
    TemplateId;
    /// Names a [`Session`](crate::Session).
    SessionId;
    /// Names an [`Execution`](crate::Execution).
    ExecutionId;
    /// Names a [`Capability`](crate::Capability) of a template.
    CapabilityId;
    /// Names a [`StartupFile`](crate::StartupFile) of a template.
    StartupFileId;
}

/// Ids that records are kept under.
macro_rules! keys {
    ($($name:ident),+) => {$(
        impl $name {
            pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            pub(crate) const fn from_bytes(bytes: &[u8; 16]) -> Self {
                Self(Uuid::from_bytes(*bytes))
            }
        }
    )+};
}

keys!(TenantId, TokenId, TemplateId, SessionId, ExecutionId);

impl TenantId {
    /// The tenant that is there from the beginning. All that was made before there were others, or
    /// without auth, is its own.
    pub const LOCAL: Self = Self(Uuid::nil());

    /// The tenant of records that name none: those of before there were tenants.
    pub(crate) const fn unnamed() -> Self {
        Self::LOCAL
    }

    /// What the keys of one of its workspaces are kept under. No two tenants' are the same: those of
    /// others than the local one begin with a NUL and their id, and it has one more NUL before a name
    /// that begins with one.
    pub fn workspace<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match (self.is_local(), name.starts_with('\0')) {
            (true, false) => Cow::Borrowed(name),
            (true, true) => Cow::Owned(format!("\0{name}")),
            (false, _) => Cow::Owned(format!("\0{self}\0{name}")),
        }
    }

    /// Whether it is [`TenantId::LOCAL`].
    pub fn is_local(&self) -> bool {
        *self == Self::LOCAL
    }
}
