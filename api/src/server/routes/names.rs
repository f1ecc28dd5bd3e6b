//! The names that a template lists: the modules it exposes and the libraries it loads.
//!
//! Both are sets: adding one that is there, or removing one that is not, changes nothing.

use super::required_text;
use super::templates::{change, refuse_when_full};
use crate::error::{ApiError, ErrorCode};
use crate::server::App;
use crate::server::answer::{Answer, Answered};
use crate::server::body::Json;
use crate::server::if_match::IfMatch;
use crate::server::query::{PathId, PathIdAndName};
use crate::wire;
use vm_host::{LibraryName, catalogue};
use vm_storage::{Template, TemplateId};

/// Bytes of a name, before it is known what it should look like.
const MAX_NAME_BYTES: usize = 256;

/// One of the two lists of a template.
type List = fn(&mut Template) -> &mut Vec<String>;

fn modules_of(template: &mut Template) -> &mut Vec<String> {
    &mut template.modules
}

fn libraries_of(template: &mut Template) -> &mut Vec<String> {
    &mut template.libraries
}

pub(super) async fn modules(app: App, PathId(id): PathId<TemplateId>) -> Answered {
    Ok(Answer::ok(&app.host.template(id).await?.modules))
}

pub(super) async fn add_module(
    app: App,
    PathId(id): PathId<TemplateId>,
    if_match: IfMatch,
    Json(body, _room): Json<wire::AddName>,
) -> Answered {
    let name = required_text("name", body.name, MAX_NAME_BYTES)?;
    let refused = |reason: &str| {
        let message = format!("the module {name:?} {reason}");
        let available: Vec<_> = catalogue::MODULES.iter().map(|module| module.name).collect();
        ApiError::new(ErrorCode::ModuleNotAllowed, message)
            .with("template_id", id)
            .with("available", available)
    };
    if catalogue::is_built_in(&name) {
        return Err(refused("is built into JavaScript: scripts have it without any module"));
    }
    if !catalogue::has_module(&name) {
        return Err(refused("does not exist"));
    }
    add(&app, id, if_match, (modules_of, name)).await
}

pub(super) async fn remove_module(
    app: App,
    PathIdAndName(id, name): PathIdAndName<TemplateId>,
    if_match: IfMatch,
) -> Answered {
    remove(&app, id, if_match, (modules_of, name)).await
}

pub(super) async fn libraries(app: App, PathId(id): PathId<TemplateId>) -> Answered {
    Ok(Answer::ok(&app.host.template(id).await?.libraries))
}

pub(super) async fn add_library(
    app: App,
    PathId(id): PathId<TemplateId>,
    if_match: IfMatch,
    Json(body, _room): Json<wire::AddName>,
) -> Answered {
    let name = required_text("name", body.name, MAX_NAME_BYTES)?;
    let name = library_name(&name)?;
    add(&app, id, if_match, (libraries_of, name)).await
}

pub(super) async fn remove_library(
    app: App,
    PathIdAndName(id, name): PathIdAndName<TemplateId>,
    if_match: IfMatch,
) -> Answered {
    let name = library_name(&name)?;
    remove(&app, id, if_match, (libraries_of, name)).await
}

fn library_name(name: &str) -> Result<String, ApiError> {
    match LibraryName::parse(name) {
        Ok(name) => Ok(name.to_string()),
        Err(error) => Err(ApiError::validation("name", format!("is no library's: {error}"))),
    }
}

async fn add(
    app: &App,
    id: TemplateId,
    if_match: IfMatch,
    (list, name): (List, String),
) -> Answered {
    let added = changed(id, &name);
    change(app, id, if_match, move |template| {
        let list = list(template);
        if !list.contains(&name) {
            refuse_when_full("modules and as many libraries", list.len())?;
            list.push(name);
        }
        Ok(())
    })
    .await?;
    Ok(Answer::created(&added))
}

async fn remove(
    app: &App,
    id: TemplateId,
    if_match: IfMatch,
    (list, name): (List, String),
) -> Answered {
    let removed = changed(id, &name);
    change(app, id, if_match, move |template| {
        list(template).retain(|other| *other != name);
        Ok(())
    })
    .await?;
    Ok(Answer::ok(&removed))
}

fn changed(template_id: TemplateId, name: &str) -> wire::NameChanged {
    wire::NameChanged { status: "ok".to_owned(), template_id, name: name.to_owned() }
}
