//! Two tenants on one daemon: what one has is not there for the other, on every route.

use crate::harness::{Caller, Daemon, Reply};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use vm_api::server::ROUTES;

const EVERYTHING: [&str; 2] = ["execute", "manage"];

/// A tenant with something of each kind, and what names these.
struct Tenant<'a> {
    caller: Caller<'a>,
    id: String,
    template: String,
    session: String,
    execution: String,
    artifact: String,
}

/// Makes a tenant, whose worktree is a folder of its own.
fn tenant<'a>(daemon: &'a Daemon, admin: &str, name: &str) -> Tenant<'a> {
    let root = daemon.folder.path(&format!("roots/{name}"));
    daemon.folder.file(&format!("roots/{name}/start.js"), "globalThis.started = 'yes'");
    daemon.folder.file(&format!("roots/{name}/name.txt"), name);
    let admin = daemon.as_(admin);
    let id = admin.made("/tenants", json!({"name": name, "worktree_roots": [root]}));
    let caller = daemon.as_(&admin.token_of(&id, &EVERYTHING));
    let template = caller.made("/templates", json!({"name": "the same"}));
    for module in ["fs", "kv"] {
        caller.post(&format!("/templates/{template}/modules"), json!({"name": module})).is(201);
    }
    let file = json!({"path": "start.js"});
    caller.post(&format!("/templates/{template}/startup-files"), file).is(201);
    let session = caller.made("/sessions", body(daemon, name, &template));
    let input = "const fs = require('fs'), kv = require('kv');\
                 kv.put('whose', fs.readFileSync('name.txt')); kv.get('whose')";
    let ran = caller.post("/executions/repl", json!({"session_id": session, "input": input}));
    let ran = ran.is(201);
    assert_eq!(ran["result"]["preview"], format!("'{name}'"), "{ran}");
    let artifacts = caller.get(&format!("/templates/{template}/artifacts")).is(200);
    Tenant {
        id,
        execution: ran["id"].as_str().unwrap().to_owned(),
        artifact: artifacts[0]["hash"].as_str().unwrap().to_owned(),
        caller,
        template,
        session,
    }
}

fn body(daemon: &Daemon, name: &str, template: &str) -> Value {
    let path = daemon.folder.path(&format!("roots/{name}"));
    json!({"template_id": template, "workspace_id": "ws", "base_commit_oid": "0", "worktree_path": path})
}

/// Bodies of the routes that take one, about things with these ids.
fn body_of(
    daemon: &Daemon,
    method: &str,
    path: &str,
    template: &str,
    session: &str,
) -> Option<Value> {
    match (method, path) {
        ("PATCH", "/templates/{template_id}") => Some(json!({"name": "mine now"})),
        ("POST", "/templates/{template_id}/capabilities") => {
            Some(json!({"kind": "env", "name": "env", "config": {"names": ["A"]}}))
        }
        ("POST", "/templates/{template_id}/startup-files") => Some(json!({"path": "start.js"})),
        ("POST", "/templates/{template_id}/modules") => Some(json!({"name": "database"})),
        ("POST", "/templates/{template_id}/libraries") => Some(json!({"name": "x-1.0.0"})),
        ("POST", "/sessions") => Some(body(daemon, "two", template)),
        ("POST", "/executions/repl") => Some(json!({"session_id": session, "input": "1"})),
        ("POST", "/executions/run-file") => {
            Some(json!({"session_id": session, "path": "start.js"}))
        }
        _ => None,
    }
}

/// All of an answer that could tell one id from another, with the ids themselves taken out.
fn told(reply: &Reply, ids: &[&str]) -> (u16, Vec<(String, String)>, String) {
    let unstable = ["x-request-id", "date"];
    let headers = reply.headers.iter().filter(|(name, _)| !unstable.contains(&name.as_str()));
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let mut text = reply.body.to_string();
    for id in ids {
        text = text.replace(id, "ID");
    }
    (reply.status, headers.collect(), text)
}

/// Everything of a tenant that a client can see.
fn everything(tenant: &Tenant<'_>) -> Vec<Value> {
    let Tenant { template, session, execution, artifact: _, caller, id: _ } = tenant;
    let paths = [
        "/templates".to_owned(),
        format!("/templates/{template}"),
        "/sessions".to_owned(),
        format!("/sessions/{session}"),
        format!("/executions?session_id={session}"),
        format!("/executions/{execution}"),
        format!("/executions/{execution}/events"),
        "/runtime/summary".to_owned(),
    ];
    paths.iter().map(|path| caller.get(path).is(200)).collect()
}

#[test]
fn what_is_anothers_answers_as_what_is_not_there_on_every_route() {
    let (daemon, admin) = Daemon::with_auth(&[]);
    let one = tenant(&daemon, &admin, "one");
    // As old as what there is: a cursor is a place in a list, whoever is there.
    let nowhere = [(); 3].map(|()| vm_storage::SessionId::new().to_string());
    let two = tenant(&daemon, &admin, "two");
    let before = everything(&one);
    let theirs = [&one.template, &one.session, &one.execution].map(String::as_str);
    let unknown = [&nowhere[0], &nowhere[1], &nowhere[2]].map(String::as_str);
    let hash = one.artifact.as_str();
    let mut crossed = BTreeSet::new();
    for (method, route) in ROUTES {
        let route = route.strip_prefix("/api/v1").unwrap();
        let ask = |[template, session, execution]: [&str; 3]| {
            let path = route
                .replace("{template_id}", template)
                .replace("{session_id}", session)
                .replace("{execution_id}", execution)
                .replace("{hash}", hash)
                .replace("libraries/{name}", "libraries/x-1.0.0")
                .replace("{name}", "fs");
            let queries = match (*method, route) {
                ("GET", "/executions") => vec![format!("?session_id={session}")],
                ("GET", "/executions/{execution_id}/events") => {
                    vec![String::new(), "?after_seq=1".to_owned(), "?wait=1s".to_owned()]
                }
                ("GET", "/executions/{execution_id}") => vec![String::new(), "?wait=1s".to_owned()],
                ("GET", "/sessions") => {
                    vec![format!("?template_id={template}"), format!("?cursor={session}")]
                }
                ("GET", "/templates") => vec![format!("?cursor={template}")],
                _ => vec![String::new()],
            };
            let body = body_of(&daemon, method, route, template, session);
            let ask =
                |query: String| two.caller.request(method, &format!("{path}{query}"), body.clone());
            queries
                .into_iter()
                .map(ask)
                .map(|reply| told(&reply, &[template, session, execution]))
                .collect::<Vec<_>>()
        };
        let names_one = route.contains("template_id}")
            || route.contains("session_id}")
            || route.contains("execution_id}")
            || body_of(&daemon, method, route, "", "").is_some()
            || matches!(*method, "GET")
                && ["/executions", "/sessions", "/templates"].contains(&route);
        if !names_one {
            continue;
        }
        let answers = ask(theirs);
        assert_eq!(answers, ask(unknown), "{method} {route}");
        let is_list = *method == "GET" && ["/sessions", "/templates"].contains(&route);
        assert!(answers.iter().all(|(status, ..)| is_list || *status == 404), "{answers:?}");
        crossed.insert((*method, route));
    }
    assert_eq!(crossed.len(), 27, "{crossed:?}");
    // A stream too, and what is found by the ids of one's own.
    let request = |id: &str| {
        let uri = daemon.url(&format!("/api/v1/executions/{id}/events"));
        let request = ureq::http::Request::get(uri).header("accept", "text/event-stream");
        let request = request.header("authorization", format!("Bearer {}", two.caller.token));
        told(&daemon.send(request.body(Vec::new()).unwrap()), &[id])
    };
    assert_eq!(request(&one.execution), request(&nowhere[2]));
    two.caller
        .get(&format!("/templates/{}/artifacts/{hash}", two.template))
        .refused(404, "ARTIFACT_NOT_FOUND");
    let token = one.caller.get("/tokens").is(200)[0]["id"].as_str().unwrap().to_owned();
    let revoke = |id: &str| told(&two.caller.delete(&format!("/tokens/{id}")), &[id]);
    assert_eq!(revoke(&token), revoke(&nowhere[0]));
    assert_eq!(everything(&one), before);
}

#[test]
fn tenants_share_no_image_no_keys_and_no_folder() {
    let (daemon, admin) = Daemon::with_auth(&[]);
    let (one, two) = (tenant(&daemon, &admin, "one"), tenant(&daemon, &admin, "two"));
    // Their templates and files are the same, and so are the names of their workspaces.
    let artifacts = |tenant: &Tenant<'_>| {
        let path = format!("/templates/{}/artifacts", tenant.template);
        let list = tenant.caller.get(&path).is(200);
        let hashes = list.as_array().unwrap().iter().map(|one| one["hash"].to_string());
        hashes.collect::<BTreeSet<_>>()
    };
    assert!(artifacts(&one).is_disjoint(&artifacts(&two)));
    let session = two.caller.post("/sessions", body(&daemon, "two", &two.template)).is(201);
    assert_eq!(session["runtime_meta"]["startup"], "image");
    let whose = |tenant: &Tenant<'_>| {
        let body = json!({"session_id": tenant.session, "input": "kv.get('whose')"});
        tenant.caller.post("/executions/repl", body).is(201)["result"]["preview"].clone()
    };
    assert_eq!((whose(&one), whose(&two)), (json!("'one'"), json!("'two'")));
    for name in ["one", "one/../one", ""] {
        let refused = two.caller.post("/sessions", body(&daemon, name, &two.template));
        refused.refused(422, "INVALID_PATH");
    }
    let names = |tenant: &Tenant<'_>| tenant.caller.get("/templates").is(200)[0]["name"].clone();
    assert_eq!((names(&one), names(&two)), (json!("the same"), json!("the same")));
}

#[test]
fn a_shared_template_is_read_and_used_by_all_and_changed_by_its_owner() {
    let (daemon, admin) = Daemon::with_auth(&[]);
    let two = tenant(&daemon, &admin, "two");
    let admin = daemon.as_(&admin);
    let shared = admin.made("/templates", json!({"name": "shared"}));
    let path = format!("/templates/{shared}");
    two.caller.get(&path).refused(404, "TEMPLATE_NOT_FOUND");
    two.caller.patch(&path, json!({"shared": true})).refused(403, "FORBIDDEN");
    assert_eq!(admin.patch(&path, json!({"shared": true})).is(200)["template"]["shared"], true);
    assert_eq!(two.caller.get("/templates").is(200).as_array().unwrap().len(), 2);
    assert_eq!(two.caller.get(&path).is(200)["template"]["name"], "shared");
    for (method, path, body) in [
        ("PATCH", path.clone(), Some(json!({"name": "mine"}))),
        ("DELETE", path.clone(), None),
        ("POST", format!("{path}/modules"), Some(json!({"name": "fs"}))),
        ("DELETE", format!("{path}/libraries/x-1"), None),
    ] {
        let refused = two.caller.request(method, &path, body).refused(403, "FORBIDDEN");
        assert_eq!(refused["details"]["template_id"], shared, "{method} {path}");
    }
    // What its sessions left belongs to whose they are: it holds what their worktrees have.
    let file = json!({"path": "start.js"});
    admin.post(&format!("{path}/startup-files"), file).is(201);
    let session = two.caller.made("/sessions", body(&daemon, "two", &shared));
    let artifacts = two.caller.get(&format!("{path}/artifacts")).is(200);
    assert_ne!(artifacts, json!([]));
    let other = admin.made("/tenants", json!({"name": "other"}));
    let other = daemon.as_(&admin.token_of(&other, &["read"]));
    for caller in [&admin, &other] {
        assert_eq!(caller.get(&format!("{path}/artifacts")).is(200), json!([]));
        for artifact in artifacts.as_array().unwrap() {
            let hash = artifact["hash"].as_str().unwrap();
            caller.get(&format!("{path}/artifacts/{hash}")).refused(404, "ARTIFACT_NOT_FOUND");
        }
    }
    admin.get(&format!("/sessions/{session}")).refused(404, "SESSION_NOT_FOUND");
    admin.patch(&path, json!({"shared": false})).is(200);
    two.caller.get(&path).refused(404, "TEMPLATE_NOT_FOUND");
    let ran = two.caller.post("/executions/repl", json!({"session_id": session, "input": "1+1"}));
    assert_eq!(ran.is(201)["result"]["preview"], "2");
}

#[test]
fn a_tenant_that_is_suspended_is_refused_and_one_that_is_deleted_leaves_nothing() {
    let (daemon, token) = Daemon::with_auth(&[]);
    let (one, two) = (tenant(&daemon, &token, "one"), tenant(&daemon, &token, "two"));
    let admin = daemon.as_(&token);
    let path = format!("/tenants/{}", one.id);
    admin.post("/tenants", json!({"name": "two"})).refused(409, "TENANT_EXISTS");
    admin.patch(&path, json!({"name": "two"})).refused(409, "TENANT_EXISTS");
    admin.patch(&path, json!({"worktree_roots": ["relative"]})).refused(400, "VALIDATION_ERROR");
    admin.patch(&path, json!({"status": "gone"})).refused(400, "VALIDATION_ERROR");
    let suspended = admin.patch(&path, json!({"status": "suspended"})).is(200);
    assert_eq!((&suspended["status"], &suspended["name"]), (&json!("suspended"), &json!("one")));
    one.caller.get("/sessions").refused(403, "FORBIDDEN");
    admin.patch(&path, json!({"status": "active"})).is(200);
    assert_eq!(one.caller.get("/sessions").is(200).as_array().unwrap().len(), 1);
    let local = "/tenants/00000000-0000-0000-0000-000000000000";
    admin.patch(local, json!({"status": "suspended"})).refused(403, "FORBIDDEN");
    admin.delete(local).refused(403, "FORBIDDEN");

    let stats = admin.get("/ops/stats").is(200)["storage"].clone();
    assert_eq!((&stats["sessions"], &stats["templates"]), (&json!(2), &json!(2)));
    assert_eq!(admin.delete(&path).is(200), json!({"status": "ok", "tenant_id": one.id}));
    admin.get(&path).refused(404, "TENANT_NOT_FOUND");
    admin.delete(&path).refused(404, "TENANT_NOT_FOUND");
    one.caller.get("/sessions").refused(401, "UNAUTHENTICATED");
    let stats = admin.get("/ops/stats").is(200)["storage"].clone();
    assert_eq!((&stats["sessions"], &stats["templates"]), (&json!(1), &json!(1)));
    assert_eq!(everything(&two)[7]["active_sessions"], 1);
    // Its folders are nobody's business: they are as they were.
    assert!(daemon.folder.path("roots/one/start.js").exists());
}

#[test]
fn a_tenant_is_deleted_however_many_templates_are_shared() {
    let (daemon, token) = Daemon::with_auth(&[]);
    let admin = daemon.as_(&token);
    // More of them, and older, than one part of a list has.
    for _ in 0..1_001 {
        let id = admin.made("/templates", json!({"name": "shared"}));
        admin.patch(&format!("/templates/{id}"), json!({"shared": true})).is(200);
    }
    let one = tenant(&daemon, &token, "one");
    admin.delete(&format!("/tenants/{}", one.id)).is(200);
    let stats = admin.get("/ops/stats").is(200)["storage"].clone();
    assert_eq!((&stats["sessions"], &stats["templates"]), (&json!(0), &json!(1_001)));
}

#[test]
fn a_tenant_whose_client_went_away_is_known() {
    let (daemon, token) = Daemon::with_auth(&[]);
    let names: Vec<_> = (0..60).map(|number| format!("left {number}")).collect();
    for name in &names {
        let body = json!({"name": name}).to_string();
        let request = format!(
            "POST /api/v1/tenants HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // It does not wait for its answer.
        std::net::TcpStream::connect(daemon.address)
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
    }
    let admin = daemon.as_(&token);
    for name in &names {
        // Either it was made, and is listed, or it was not, and can be.
        if admin.post("/tenants", json!({"name": name})).status == 409 {
            let listed = admin.get("/tenants").is(200);
            assert!(listed.as_array().unwrap().iter().any(|one| one["name"] == *name), "{name}");
        }
    }
    assert_eq!(admin.get("/tenants").is(200).as_array().unwrap().len(), names.len() + 1);
}

#[test]
fn what_the_host_is_trusted_with_is_the_local_tenants() {
    let folder = crate::harness::Folder::new();
    folder.file("secrets.toml", "[secrets.KEY]\nvalue = \"hush hush\"\npublic = true\n");
    let secrets = folder.path("secrets.toml");
    let flags = ["--allow-exec", "true", "--secrets", secrets.to_str().unwrap()];
    let (daemon, token) = Daemon::with_auth(&flags);
    let two = tenant(&daemon, &token, "two");
    let admin = daemon.as_(&token);
    let try_it = |caller: &Caller<'_>, worktree: Value| {
        let template = caller.made("/templates", json!({"name": "trusted"}));
        caller.post(&format!("/templates/{template}/modules"), json!({"name": "exec"})).is(201);
        let env =
            json!({"kind": "env", "name": "env", "enabled": true, "config": {"names": ["KEY"]}});
        caller.post(&format!("/templates/{template}/capabilities"), env).is(201);
        let mut body = body(&daemon, "two", &template);
        body["worktree_path"] = worktree;
        let session = caller.made("/sessions", body);
        let input = "let ran; try { require('exec').run('true', []); ran = true } catch { ran = false }\
                     [ran, process.env.KEY !== undefined].join()";
        let ran = caller.post("/executions/repl", json!({"session_id": session, "input": input}));
        ran.is(201)["result"]["preview"].clone()
    };
    assert_eq!(try_it(&admin, json!(daemon.folder.path("worktree"))), "'true,true'");
    assert_eq!(try_it(&two.caller, json!(daemon.folder.path("roots/two"))), "'false,false'");
}
