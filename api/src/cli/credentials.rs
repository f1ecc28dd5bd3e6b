//! The file of tokens, by the URLs of the daemons that take them.
//!
//! Invariant: a file that others of the machine may read is not used.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    #[error("cannot read the credentials {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("others may read the credentials {}; `chmod 600` it", path.display())]
    Exposed { path: PathBuf },
    #[error("the credentials {}: line {line} is not of the form \"URL\" = \"TOKEN\"", path.display())]
    Malformed { path: PathBuf, line: usize },
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Credentials(BTreeMap<String, String>);

/// The token for a daemon; none where the file that is looked at by default is not there.
pub(super) fn token(named: Option<&Path>, url: &str) -> Result<Option<String>, CredentialsError> {
    let Some(path) = named.map(Path::to_owned).or_else(default_path) else { return Ok(None) };
    let read = |source| CredentialsError::Read { path: path.clone(), source };
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
            return Ok(None);
        }
        text => text.map_err(read)?,
    };
    let mode = std::fs::metadata(&path).map_err(read)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Exposed { path });
    }
    // What the parser says of a line may show it.
    let Credentials(tokens) = toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
        CredentialsError::Malformed { path: path.clone(), line }
    })?;
    let wanted = url.trim_end_matches('/');
    Ok(tokens
        .into_iter()
        .find(|(url, _)| url.trim_end_matches('/') == wanted)
        .map(|(_, token)| token))
}

/// The file that is looked at unless another is named.
fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(folder.join("vm-system").join("credentials.toml"))
}
