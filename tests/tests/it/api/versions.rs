//! Templates of a version, and of a unique name: what races is refused, and says so.

use crate::harness::{Daemon, Reply};
use serde_json::{Value, json};
use std::thread;
use ureq::http::Request;

fn tag(reply: &Reply) -> String {
    reply.headers["etag"].to_str().unwrap().to_owned()
}

fn with_tags(
    daemon: &Daemon,
    (method, path): (&str, &str),
    tags: &[&str],
    body: Option<&Value>,
) -> Reply {
    let uri = daemon.url(&format!("/api/v1{path}"));
    let mut request = Request::builder().method(method).uri(uri);
    for tag in tags {
        request = request.header("if-match", *tag);
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    daemon.send(request.body(body).unwrap())
}

#[test]
fn a_template_changes_only_as_the_version_that_the_client_knows() {
    let daemon = Daemon::start();
    let made = daemon.post("/templates", json!({"name": "a"}));
    assert_eq!(tag(&made), "\"1\"");
    let id = made.is(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/templates/{id}");
    assert_eq!(tag(&daemon.get(&path)), "\"1\"");
    let name = json!({"name": "b"});
    let changed = with_tags(&daemon, ("PATCH", &path), &["\"1\""], Some(&name));
    assert_eq!((changed.status, tag(&changed)), (200, "\"2\"".to_owned()));
    assert_eq!(tag(&daemon.get(&path)), "\"2\"");

    let (module, library) = (json!({"name": "fs"}), json!({"name": "x-1.0.0"}));
    let (file, env) = (json!({"path": "a.js"}), json!({"kind": "env", "name": "env"}));
    let parts = |part: &str| format!("{path}/{part}");
    let requests = [
        ("PATCH", path.clone(), Some(&name)),
        ("POST", parts("modules"), Some(&module)),
        ("DELETE", parts("modules/fs"), None),
        ("POST", parts("libraries"), Some(&library)),
        ("DELETE", parts("libraries/x-1.0.0"), None),
        ("POST", parts("startup-files"), Some(&file)),
        ("POST", parts("capabilities"), Some(&env)),
        ("DELETE", path.clone(), None),
    ];
    let before = daemon.get(&path).is(200);
    for (method, path, body) in &requests {
        for tags in
            [&["\"1\""][..], &["\"3\", \"x\""], &["W/\"2\""], &["\"02\""], &["\"1\"", "\"3\""]]
        {
            let refused = with_tags(&daemon, (method, path), tags, *body);
            let refused = refused.refused(412, "VERSION_MISMATCH");
            assert_eq!(
                refused["details"],
                json!({"template_id": id, "version": 2}),
                "{method} {path}"
            );
        }
        for malformed in ["2", "\"2", "\"2\" \"3\"", "", "*, \"2\"", "\"2\",", "w/\"2\""] {
            let refused = with_tags(&daemon, (method, path), &[malformed], *body);
            refused.refused(400, "VALIDATION_ERROR");
        }
    }
    assert_eq!(daemon.get(&path).is(200), before);
    for (version, (method, path, body)) in (2..).zip(&requests) {
        let tags = [format!("\"7\", \"{version}\"")];
        let reply = with_tags(&daemon, (method, path), &[tags[0].as_str()], *body);
        assert!([200, 201].contains(&reply.status), "{method} {path}: {}", reply.body);
    }
    daemon.get(&path).refused(404, "TEMPLATE_NOT_FOUND");
    with_tags(&daemon, ("DELETE", &path), &["*"], None).refused(404, "TEMPLATE_NOT_FOUND");
}

#[test]
fn a_session_says_which_version_it_was_made_from() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let version = |session: &str| {
        daemon.get(&format!("/sessions/{session}")).is(200)["runtime_meta"]["version"].clone()
    };
    let first = daemon.session(&template);
    daemon.patch(&format!("/templates/{template}"), json!({"name": "b"})).is(200);
    let second = daemon.session(&template);
    assert_eq!((version(&first), version(&second)), (json!(1), json!(2)));
}

#[test]
fn of_changes_that_race_one_is_of_the_version_that_all_knew() {
    let daemon = Daemon::start();
    let path = format!("/templates/{}", daemon.template());
    for version in 1..=5 {
        let tag = format!("\"{version}\"");
        let statuses: Vec<_> = thread::scope(|scope| {
            let race = |number| {
                let (daemon, path, tag) = (&daemon, &path, &tag);
                let body = json!({"name": format!("by {number}")});
                move || with_tags(daemon, ("PATCH", path), &[tag], Some(&body)).status
            };
            let racing: Vec<_> = (0..8).map(|number| scope.spawn(race(number))).collect();
            racing.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(
            (won, statuses.iter().all(|status| [200, 412].contains(status))),
            (1, true),
            "{statuses:?}"
        );
    }
}

#[test]
fn a_unique_name_is_one_templates_in_its_tenant() {
    let (daemon, token) = Daemon::with_auth(&[]);
    let admin = daemon.as_(&token);
    let tenant = admin.made("/tenants", json!({"name": "t"}));
    let other = daemon.as_(&admin.token_of(&tenant, &["manage"]));
    let unique = json!({"name": "job", "unique": true});
    let made = admin.post("/templates", unique.clone()).is(201);
    assert_eq!(made["unique"], true);
    admin.post("/templates", unique.clone()).refused(409, "TEMPLATE_EXISTS");
    other.post("/templates", unique.clone()).is(201);
    // Who does not ask for it may have the name as well, as before.
    admin.post("/templates", json!({"name": "job"})).is(201);
    admin.post("/templates", json!({"name": "job", "unique": false})).is(201);
    let second = admin.made("/templates", json!({"name": "second", "unique": true}));
    let second = format!("/templates/{second}");
    let refused = admin.patch(&second, json!({"name": "job"})).refused(409, "TEMPLATE_EXISTS");
    assert_eq!(refused["details"]["name"], "job");
    assert_eq!(admin.get(&second).is(200)["template"]["name"], "second");
    // Of those that race for a name one has it.
    let statuses: Vec<_> = thread::scope(|scope| {
        let race = |_| {
            scope
                .spawn(|| admin.post("/templates", json!({"name": "raced", "unique": true})).status)
        };
        let racing: Vec<_> = (0..8).map(race).collect();
        racing.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    admin.delete(&format!("/templates/{}", made["id"].as_str().unwrap())).is(200);
    admin.post("/templates", unique).is(201);
}
