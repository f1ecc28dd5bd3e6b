//! `vm-system template …`.

mod artifacts;

use super::remote::{Part, Remote};
use super::{CliError, Exit, printer, table};
use crate::settings_patch::{
    LifecyclePatch, LimitsPatch, ResolverPatch, RuntimePatch, SettingsPatch,
};
use crate::whole::Whole;
use crate::wire::{
    AddCapability, Capability, CatalogueEntry, StartupFile, TemplateDetail, UpdateTemplate,
};
use clap::{ArgAction, Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use vm_storage::TemplateId;

/// The two lists of names that a template has, as paths call them.
const MODULES: &str = "modules";
const LIBRARIES: &str = "libraries";

#[derive(Debug, Subcommand)]
pub(super) enum TemplateCommand {
    /// Make a template
    Create {
        /// Its name
        #[arg(long)]
        name: String,
        /// Its engine
        #[arg(long, default_value = "javy")]
        engine: String,
        /// Refuse when another template that was made so has the name
        #[arg(long)]
        unique: bool,
    },
    /// List the templates, oldest first
    List(Part),
    /// Show a template with its settings and parts
    Get {
        /// The template
        template_id: TemplateId,
    },
    /// Change a template's name or settings; what is not named stays
    Update(Box<UpdateArgs>),
    /// Delete a template; sessions that were made from it live on
    Delete {
        /// The template
        template_id: TemplateId,
    },
    /// Add a file that runs when a session starts
    AddStartup {
        /// The template
        template_id: TemplateId,
        /// Its path in the worktree
        #[arg(long)]
        path: String,
        /// Lower runs earlier
        #[arg(long, default_value_t = 10, allow_negative_numbers = true)]
        order: i64,
        /// How it runs: `eval` as a script, `module` as an ECMAScript module
        #[arg(long, default_value = "eval")]
        mode: String,
    },
    /// List the startup files in the order they run
    ListStartup {
        /// The template
        template_id: TemplateId,
    },
    /// Add a capability
    AddCapability {
        /// The template
        template_id: TemplateId,
        /// module, global, fs, net or env
        #[arg(long, default_value = "module")]
        kind: String,
        /// What is granted
        #[arg(long)]
        name: String,
        /// Whether it is granted
        #[arg(
            long,
            default_value_t = true,
            default_missing_value = "true",
            num_args = 0..=1,
            require_equals = true,
            action = ArgAction::Set
        )]
        enabled: bool,
        /// What the kind wants to know, a JSON object
        #[arg(long, value_name = "JSON", default_value = "{}", value_parser = super::json_object)]
        config: super::JsonObject,
    },
    /// List the capabilities
    ListCapabilities {
        /// The template
        template_id: TemplateId,
    },
    /// Let scripts require a native module
    AddModule(NameArgs),
    /// Take a native module away
    RemoveModule(NameArgs),
    /// List the native modules that scripts may require
    ListModules {
        /// The template
        template_id: TemplateId,
    },
    /// Load a library into each session
    AddLibrary(NameArgs),
    /// Load a library no more
    RemoveLibrary(NameArgs),
    /// List the libraries
    ListLibraries {
        /// The template
        template_id: TemplateId,
    },
    /// List the modules that the libraries and startup files were made into
    ListArtifacts {
        /// The template
        template_id: TemplateId,
    },
    /// Download one of them, a WebAssembly module
    GetArtifact {
        /// The template
        template_id: TemplateId,
        /// Its hash
        hash: String,
        /// The file to write, which must not be there
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// List the native modules there are
    ListAvailableModules,
    /// List the libraries that are known or installed
    ListAvailableLibraries,
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The template
    template_id: TemplateId,
    /// The module, or the library as NAME-VERSION
    #[arg(long)]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The template
    template_id: TemplateId,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    /// Seconds without use after which its sessions are closed; 0 for never
    #[arg(long, value_name = "S")]
    session_ttl_s: Option<u64>,
    /// Milliseconds of processor time of one execution
    #[arg(long, value_name = "N")]
    cpu_ms: Option<u64>,
    /// Milliseconds from start to end
    #[arg(long, value_name = "N")]
    wall_ms: Option<u64>,
    /// MiB of memory of a session
    #[arg(long, value_name = "N")]
    mem_mb: Option<u64>,
    /// Events of one execution
    #[arg(long, value_name = "N")]
    max_events: Option<u64>,
    /// KiB of output of one execution
    #[arg(long, value_name = "N")]
    max_output_kb: Option<u64>,
    /// Folders that imports are looked for in, with commas between
    #[arg(long, value_name = "DIRS", value_delimiter = ',')]
    roots: Option<Vec<String>>,
    /// Extensions that imports may leave out, with commas between
    #[arg(long, value_name = "EXTS", value_delimiter = ',')]
    extensions: Option<Vec<String>>,
    /// Whether /a/b is a path from the worktree's root
    #[arg(long, value_name = "BOOL")]
    allow_absolute_repo_imports: Option<bool>,
    /// Whether import works
    #[arg(long, value_name = "BOOL")]
    esm: Option<bool>,
    /// Whether scripts are strict without saying so
    #[arg(long, value_name = "BOOL")]
    strict: Option<bool>,
    /// Whether there is a console
    #[arg(long, value_name = "BOOL")]
    console: Option<bool>,
    /// Whether each call of the host leaves a system event
    #[arg(long, value_name = "BOOL")]
    audit: Option<bool>,
    /// Whether snippets are TypeScript
    #[arg(long, value_name = "BOOL")]
    typescript: Option<bool>,
    /// Whether every tenant may read it and make sessions from it; for who runs the host
    #[arg(long, value_name = "BOOL")]
    shared: Option<bool>,
}

impl TemplateCommand {
    pub(super) async fn run(self, remote: Remote) -> Result<Exit, CliError> {
        let client = &remote.client;
        match self {
            Self::Create { name, engine, unique } => {
                let template = client.create_template(&name, Some(&engine), unique).await?;
                remote.show(&template, |template| {
                    let name = super::escape::line(&template.name);
                    printer::stdout_line(&format!(
                        "Created template: {name} (ID: {})",
                        template.id
                    ));
                });
            }
            Self::List(part) => {
                let templates = client.templates_page(&part.request()).await?;
                remote.show_page(&templates, |templates| {
                    let rows = templates.iter().map(|template| {
                        let id = template.id.to_string();
                        [
                            id,
                            template.name.clone(),
                            template.engine.clone(),
                            template.created_at.to_string(),
                        ]
                    });
                    table::print(
                        ["ID", "Name", "Engine", "Created"],
                        rows.collect(),
                        "No templates",
                    );
                });
            }
            Self::Get { template_id } => {
                remote.show(&client.template(template_id).await?, print_detail);
            }
            Self::Update(args) => {
                let id = args.template_id;
                let detail = client.update_template(id, &args.change()).await?;
                remote.show(&detail, |detail| {
                    printer::stdout_line(&format!("Updated template: {id}"));
                    print_detail(detail);
                });
            }
            Self::Delete { template_id } => {
                let deleted = client.delete_template(template_id).await?;
                said(&remote, &deleted, &format!("Deleted template: {template_id}"));
            }
            Self::AddStartup { template_id, path, order, mode } => {
                let file = client.add_startup_file(template_id, &path, order, &mode).await?;
                let text = format!(
                    "Added startup file: {path} (order: {order}) to template {template_id}"
                );
                said(&remote, &file, &text);
            }
            Self::ListStartup { template_id } => {
                remote.show(&client.startup_files(template_id).await?, |files| {
                    print_startup_files(files);
                });
            }
            Self::AddCapability { template_id, kind, name, enabled, config } => {
                let text = format!("Added capability: {kind}:{name} to template {template_id}");
                let (kind, name, enabled) = (Some(kind), Some(name), Some(enabled));
                let config = Some(config.0.into());
                let capability = AddCapability { kind, name, enabled, config };
                let added = client.add_capability(template_id, &capability).await?;
                said(&remote, &added, &text);
            }
            Self::ListCapabilities { template_id } => {
                remote.show(&client.capabilities(template_id).await?, |capabilities| {
                    print_capabilities(capabilities);
                });
            }
            Self::AddModule(args) => add(&remote, MODULES, "module", args).await?,
            Self::RemoveModule(args) => remove(&remote, MODULES, "module", args).await?,
            Self::ListModules { template_id } => {
                remote.show(&client.names(template_id, MODULES).await?, |names| {
                    print_names(names, "No modules");
                });
            }
            Self::AddLibrary(args) => add(&remote, LIBRARIES, "library", args).await?,
            Self::RemoveLibrary(args) => remove(&remote, LIBRARIES, "library", args).await?,
            Self::ListLibraries { template_id } => {
                remote.show(&client.names(template_id, LIBRARIES).await?, |names| {
                    print_names(names, "No libraries");
                });
            }
            Self::ListArtifacts { template_id } => artifacts::list(&remote, template_id).await?,
            Self::GetArtifact { template_id, hash, to } => {
                artifacts::download(&remote, template_id, &hash, &to).await?;
            }
            Self::ListAvailableModules => {
                remote.show(&client.catalogue(MODULES).await?, |entries| print_catalogue(entries));
            }
            Self::ListAvailableLibraries => {
                remote
                    .show(&client.catalogue(LIBRARIES).await?, |entries| print_catalogue(entries));
            }
        }
        Ok(Exit::Success)
    }
}

impl UpdateArgs {
    fn change(self) -> UpdateTemplate {
        let limit = |number: Option<u64>| number.map(Whole::from);
        let settings = SettingsPatch {
            limits: LimitsPatch {
                cpu_ms: limit(self.cpu_ms),
                wall_ms: limit(self.wall_ms),
                mem_mb: limit(self.mem_mb),
                max_events: limit(self.max_events),
                max_output_kb: limit(self.max_output_kb),
            },
            resolver: ResolverPatch {
                roots: self.roots,
                extensions: self.extensions,
                allow_absolute_repo_imports: self.allow_absolute_repo_imports,
            },
            runtime: RuntimePatch {
                esm: self.esm,
                strict: self.strict,
                console: self.console,
                audit: self.audit,
                typescript: self.typescript,
            },
            lifecycle: LifecyclePatch { session_ttl_s: limit(self.session_ttl_s) },
        };
        UpdateTemplate { name: self.name, settings, shared: self.shared }
    }
}

/// Prints one sentence about an answer.
fn said<T: Serialize>(remote: &Remote, answer: &T, text: &str) {
    remote.show(answer, |_| printer::stdout_line(&super::escape::line(text)));
}

async fn add(remote: &Remote, list: &str, what: &str, args: NameArgs) -> Result<(), CliError> {
    let NameArgs { template_id, name } = args;
    let added = remote.client.add_name(template_id, list, &name).await?;
    said(remote, &added, &format!("Added {what}: {name} to template {template_id}"));
    Ok(())
}

async fn remove(remote: &Remote, list: &str, what: &str, args: NameArgs) -> Result<(), CliError> {
    let NameArgs { template_id, name } = args;
    let removed = remote.client.remove_name(template_id, list, &name).await?;
    said(remote, &removed, &format!("Removed {what}: {name} from template {template_id}"));
    Ok(())
}

fn print_detail(detail: &TemplateDetail) {
    let TemplateDetail { template, settings, capabilities, startup_files } = detail;
    table::properties(&[
        ("Template", template.name.clone()),
        ("ID", template.id.to_string()),
        ("Engine", template.engine.clone()),
        ("Active", template.is_active.to_string()),
        ("Created", template.created_at.to_string()),
        ("Updated", template.updated_at.to_string()),
        ("Limits", printer::compact(&settings.limits)),
        ("Resolver", printer::compact(&settings.resolver)),
        ("Runtime", printer::compact(&settings.runtime)),
        ("Lifecycle", printer::compact(&settings.lifecycle.unwrap_or_default())),
        ("Modules", template.exposed_modules.join(", ")),
        ("Libraries", template.libraries.join(", ")),
    ]);
    if !capabilities.is_empty() {
        printer::stdout_line("Capabilities:");
        print_capabilities(capabilities);
    }
    if !startup_files.is_empty() {
        printer::stdout_line("Startup files:");
        print_startup_files(startup_files);
    }
}

fn print_startup_files(files: &[StartupFile]) {
    let row =
        |file: &StartupFile| [file.order_index.to_string(), file.mode.clone(), file.path.clone()];
    table::print(["Order", "Mode", "Path"], files.iter().map(row).collect(), "No startup files");
}

fn print_capabilities(capabilities: &[Capability]) {
    let row = |capability: &Capability| {
        let Capability { kind, name, enabled, config, .. } = capability;
        let kind = printer::compact(kind).trim_matches('"').to_owned();
        [kind, name.clone(), enabled.to_string(), printer::compact(config)]
    };
    let rows = capabilities.iter().map(row).collect();
    table::print(["Kind", "Name", "Enabled", "Config"], rows, "No capabilities");
}

fn print_names(names: &[String], none: &str) {
    if names.is_empty() {
        printer::stdout_line(none);
    }
    for name in names {
        printer::stdout_line(&super::escape::line(name));
    }
}

fn print_catalogue(entries: &[CatalogueEntry]) {
    let row = |entry: &CatalogueEntry| {
        let details = entry.functions.as_ref().or(entry.versions.as_ref());
        let details = details.map(|names| names.join(", ")).unwrap_or_default();
        let installed = entry.installed.as_ref().map(|names| names.join(", ")).unwrap_or_default();
        [entry.name.clone(), details, installed, entry.description.clone()]
    };
    let is_library = entries.iter().any(|entry| entry.versions.is_some());
    let details = if is_library { "Versions" } else { "Functions" };
    let header = ["Name", details, if is_library { "Installed" } else { "" }, "Description"];
    table::print(header, entries.iter().map(row).collect(), "Nothing is available");
}
