//! The modules that a template's libraries and startup files were made into: listed, and written to
//! files.
//!
//! Invariant: no file that is there is written over.

use crate::cli::local::LocalError;
use crate::cli::remote::Remote;
use crate::cli::{CliError, table};
use crate::wire::Artifact;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use vm_storage::TemplateId;

/// Prints what there is.
pub(super) async fn list(remote: &Remote, template: TemplateId) -> Result<(), CliError> {
    remote.show(&remote.client.artifacts(template).await?, |artifacts| print(artifacts));
    Ok(())
}

/// Writes one of them to a file.
pub(super) async fn download(
    remote: &Remote,
    template: TemplateId,
    hash: &str,
    to: &Path,
) -> Result<(), CliError> {
    let module = remote.client.artifact(template, hash).await?;
    let written = File::create_new(to).and_then(|mut file| file.write_all(&module));
    let what = "cannot write the artifact";
    written.map_err(|source| LocalError::Io { what, source })?;
    table::properties(&[("Wrote", to.display().to_string())]);
    Ok(())
}

fn print(artifacts: &[Artifact]) {
    let row = |artifact: &Artifact| {
        let Artifact { hash, form, bytes, created_at, hits, sources, inputs: _ } = artifact;
        let sources: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        [
            hash.clone(),
            form.as_str().to_owned(),
            bytes.to_string(),
            created_at.to_string(),
            hits.to_string(),
            sources.join(", "),
        ]
    };
    let rows = artifacts.iter().map(row).collect();
    let header = ["Hash", "Form", "Bytes", "Created", "Hits", "Sources"];
    table::print(header, rows, "No artifacts: no session has started yet");
}
