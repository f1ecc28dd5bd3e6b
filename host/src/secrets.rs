//! The host's own secrets: values that scripts are given by name, or use without ever seeing them.
//!
//! ```toml
//! [secrets.PASSWORD]                        # given to scripts whose template names it; events show ***
//! value = "hunter2"
//! [secrets.REGION]                          # no secret at all
//! value = "eu-1"
//! public = true
//! [secrets.API_KEY]                         # a placeholder to scripts, put into requests to these
//! file = "/run/secrets/api-key"             # origins alone; or `env = "API_KEY"`
//! origins = ["https://api.example.com"]
//! ```
//!
//! Invariant: a secret with origins is never handed to a guest; the guest has a placeholder, which means
//! something only in its own session's requests.

use crate::masks::{self, Mask};
use crate::net::OriginPattern;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vm_storage::SessionId;

/// Bytes of a value: more than any key or token has.
const MAX_VALUE_BYTES: usize = 64 << 10;

/// The secrets of a host, by name.
#[derive(Default)]
pub(crate) struct Secrets(BTreeMap<String, Secret>);

struct Secret {
    value: String,
    /// Where it may be sent; `None` for one that scripts are given.
    origins: Option<Vec<OriginPattern>>,
    /// What keeps events from showing it; none where they may.
    mask: Option<Arc<Mask>>,
}

/// What a session knows a secret by that it does not see.
#[derive(Clone)]
pub(crate) struct Placeholder {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) value: String,
    pub(crate) origins: Vec<OriginPattern>,
}

/// What a session's environment has of the host's secrets.
#[derive(Clone, Default)]
pub(crate) struct GrantedSecrets {
    /// What scripts see, by name: values, and placeholders.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) placeholders: Vec<Placeholder>,
    /// What events do not show.
    pub(crate) masks: Vec<Arc<Mask>>,
}

/// Why a file of secrets cannot be used. It never shows a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file, or one that it names, cannot be read.
    #[error("cannot read '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the secrets in '{}' are malformed: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what, without any value.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    secrets: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    value: Option<String>,
    env: Option<String>,
    file: Option<PathBuf>,
    origins: Option<Vec<String>>,
    #[serde(default)]
    public: bool,
}

impl Secrets {
    /// The secrets of a TOML file; none without one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, SecretsError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = read(path)?;
        let malformed = |reason: String| SecretsError::Malformed { path: path.to_owned(), reason };
        // What the parser says of a line may show it.
        let file: File = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
            malformed(format!(
                "line {line} is not of the form [secrets.NAME] with value, env or file"
            ))
        })?;
        let mut secrets = BTreeMap::new();
        for (name, entry) in file.secrets {
            let secret = Secret::of(&name, entry, &malformed)?;
            secrets.insert(name, secret);
        }
        Ok(Self(secrets))
    }

    /// Those of some names that there are.
    pub(crate) fn known(&self, names: &[String]) -> Vec<String> {
        self.0.keys().filter(|name| names.contains(name)).cloned().collect()
    }

    /// What a session is given of the secrets that its template names. One that the host lacks is left
    /// out, as a variable that is not set.
    pub(crate) fn granted(&self, names: &[String], session: SessionId) -> GrantedSecrets {
        let mut granted = GrantedSecrets::default();
        for name in names {
            let Some(secret) = self.0.get(name) else { continue };
            let shown = match &secret.origins {
                None => secret.value.clone(),
                Some(origins) => {
                    let text = placeholder_text(name, session);
                    granted.placeholders.push(Placeholder {
                        name: name.clone(),
                        text: text.clone(),
                        value: secret.value.clone(),
                        origins: origins.clone(),
                    });
                    text
                }
            };
            granted.masks.extend(secret.mask.clone());
            granted.variables.insert(name.clone(), shown);
        }
        granted
    }
}

impl Secret {
    fn of(
        name: &str,
        entry: Entry,
        malformed: &impl Fn(String) -> SecretsError,
    ) -> Result<Self, SecretsError> {
        if !is_variable_name(name) {
            return Err(malformed(format!("'{name}' is no name of a variable")));
        }
        let given = (entry.value, entry.env, entry.file);
        let value = match given {
            (Some(value), None, None) => value,
            (None, Some(variable), None) => std::env::var(&variable)
                .map_err(|_| malformed(format!("{name}: the variable '{variable}' is not set")))?,
            (None, None, Some(path)) => read(&path)?.trim_end_matches(['\r', '\n']).to_owned(),
            _ => return Err(malformed(format!("{name}: give one of value, env and file"))),
        };
        if value.is_empty() || value.len() > MAX_VALUE_BYTES || value.contains('\0') {
            let bound = format!("{name}: a value has 1 to {MAX_VALUE_BYTES} bytes, and no NUL");
            return Err(malformed(bound));
        }
        if entry.public && entry.origins.is_some() {
            return Err(malformed(format!("{name}: a public value is for every origin")));
        }
        let mask = if entry.public || entry.origins.is_some() {
            None
        } else {
            let least = masks::MIN_BYTES;
            let reason = format!("has at least {least} bytes, or is public = true");
            let short = || malformed(format!("{name}: a value that scripts are given {reason}"));
            Some(Arc::new(Mask::of(&value).ok_or_else(short)?))
        };
        let origins = entry.origins.map(|origins| {
            if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(malformed(format!("{name}: a value for requests is printable ASCII")));
            }
            let parse = |origin: &String| {
                origin.parse().map_err(|wrong| malformed(format!("{name}: {wrong}")))
            };
            origins.iter().map(parse).collect()
        });
        Ok(Self { value, origins: origins.transpose()?, mask })
    }
}

/// Whether a text may name an environment variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.len() <= 128
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The same in every execution of a session, whose heap may keep it, and unknown to others.
fn placeholder_text(name: &str, session: SessionId) -> String {
    let digest = format!("{:x}", Sha256::digest(format!("placeholder\0{name}\0{session}")));
    format!("vm-secret-{name}-{}", &digest[..24])
}

fn read(path: &Path) -> Result<String, SecretsError> {
    std::fs::read_to_string(path)
        .map_err(|source| SecretsError::Read { path: path.to_owned(), source })
}

// Values are in no log.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Result<Secrets, SecretsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Secrets::read(Some(file.path()))
    }

    #[test]
    fn a_secret_with_origins_is_a_placeholder_and_another_for_each_session() {
        let secrets = secrets(
            "[secrets.REGION]\nvalue = 'eu-1'\n\
             [secrets.KEY]\nvalue = 'hunter2'\norigins = ['https://api.test']\n",
        )
        .unwrap();
        let names = ["REGION", "KEY", "MISSING"].map(str::to_owned);
        let (one, other) = (SessionId::new(), SessionId::new());
        let granted = secrets.granted(&names, one);
        assert_eq!(granted.variables["REGION"], "eu-1");
        assert_eq!(granted.variables.len(), 2);
        assert_eq!(granted.placeholders.len(), 1);
        assert!(granted.variables["KEY"].starts_with("vm-secret-KEY-"));
        assert_eq!(granted.variables["KEY"], secrets.granted(&names, one).variables["KEY"]);
        assert_ne!(granted.variables["KEY"], secrets.granted(&names, other).variables["KEY"]);
        assert_eq!(format!("{secrets:?}"), r#"{"KEY", "REGION"}"#);
        assert!(secrets.granted(&[], one).variables.is_empty());
    }

    #[test]
    fn a_malformed_file_is_refused_without_its_values() {
        for text in [
            "[secrets.A]\nvalue = 'hunter2\n",
            "[secrets.A]\nvalue = 'hunter2'\nenv = 'B'\n",
            "[secrets.A]\n",
            "[secrets.A]\nvalue = ''\n",
            "[secrets.A]\nvalue = 'hunter2'\norigins = ['nowhere']\n",
            "[secrets.A]\nvalue = \"hunter2\\n\"\norigins = ['https://x.test']\n",
            "[secrets.'A-B']\nvalue = 'hunter2'\n",
            "[secrets.A]\nvalue = 'hunter2'\nother = 1\n",
            "A = 'hunter2'\n",
        ] {
            let error = secrets(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(matches!(
            secrets("[secrets.A]\nfile = '/does/not/exist'\n"),
            Err(SecretsError::Read { .. })
        ));
    }
}
