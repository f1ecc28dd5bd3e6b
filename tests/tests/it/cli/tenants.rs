//! Tenants and tokens from the command line, and how commands come to a token.

use crate::harness::{Daemon, Ended};
use std::os::unix::fs::PermissionsExt;

fn cli(daemon: &Daemon, variables: &[(&str, &str)], args: &[&str]) -> Ended {
    let url = daemon.url("");
    let mut command = daemon.folder.command(&[&["--server-url", &url], args].concat());
    // Nobody's credentials but the test's.
    command.env("HOME", daemon.folder.path("")).env_remove("XDG_CONFIG_HOME");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn line(printed: &str, name: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {printed}")).to_owned()
}

#[test]
fn tenants_and_tokens_are_managed_from_the_command_line() {
    let (daemon, admin) = Daemon::with_auth(&[]);
    let admin = [("VM_SYSTEM_TOKEN", admin.as_str())];
    let ok = |args: &[&str]| {
        let ended = cli(&daemon, &admin, args);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{args:?}");
        ended.stdout
    };
    let created = ok(&["tenant", "create", "one", "--worktree-root", "worktree"]);
    let tenant = line(&created, "Created tenant");
    let root = daemon.folder.path("worktree").display().to_string();
    assert_eq!(line(&ok(&["tenant", "get", &tenant]), "Worktree roots"), root);
    let renamed = ok(&["tenant", "update", &tenant, "--name", "uno"]);
    assert_eq!((line(&renamed, "Name"), line(&renamed, "Worktree roots")), ("uno".into(), root));
    let listed = ok(&["tenant", "list"]);
    assert!(listed.contains("local") && listed.contains("uno"), "{listed}");
    let made = ok(&[
        "token",
        "create",
        "ci",
        "--scope",
        "execute,manage",
        "--expires-in",
        "90d",
        "--tenant-id",
        &tenant,
    ]);
    assert_eq!(line(&made, "Scopes"), "execute, manage");
    let (id, token) = (line(&made, "Created token"), line(&made, "Token"));
    let own = cli(&daemon, &[], &["--token", &token, "token", "list"]);
    assert!(own.stdout.contains("ci") && !own.stdout.contains(&token), "{own:?}");
    let template = cli(&daemon, &[], &["template", "create", "--name", "mine", "--token", &token]);
    assert_eq!(template.code, 0, "{template:?}");
    ok(&["token", "list", "--tenant-id", &tenant]);
    ok(&["tenant", "suspend", &tenant]);
    assert_eq!(cli(&daemon, &[], &["--token", &token, "template", "list"]).code, 1);
    assert_eq!(line(&ok(&["tenant", "update", &tenant, "--activate"]), "Status"), "active");
    ok(&["token", "revoke", &id, "--tenant-id", &tenant]);
    let refused = cli(&daemon, &[], &["--token", &token, "template", "list"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("UNAUTHENTICATED"), "{refused:?}");
    ok(&["tenant", "delete", &tenant]);
    assert!(!ok(&["tenant", "list"]).contains("uno"));
}

#[test]
fn a_token_comes_from_a_flag_a_variable_or_a_file_that_is_ones_own() {
    let (daemon, token) = Daemon::with_auth(&[]);
    let list = ["template", "list"];
    let without = cli(&daemon, &[], &list);
    assert_eq!(without.code, 1);
    assert!(without.stderr.contains("tenant bootstrap"), "{without:?}");
    assert_eq!(cli(&daemon, &[("VM_SYSTEM_TOKEN", &token)], &list).code, 0);
    // The flag counts before the variable, and both before the file.
    let flag = ["template", "list", "--token", &token];
    assert_eq!(cli(&daemon, &[("VM_SYSTEM_TOKEN", "vms_none")], &flag).code, 0);

    let named = ".config/vm-system/credentials.toml";
    let url = daemon.url("");
    daemon.folder.file(named, &format!("\"{url}/\" = \"{token}\"\n\"http://other\" = \"x\"\n"));
    let path = daemon.folder.path(named);
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o640);
    let exposed = cli(&daemon, &[], &list);
    assert_eq!(exposed.code, 2);
    assert!(exposed.stderr.contains("chmod 600"), "{exposed:?}");
    mode(0o600);
    assert_eq!(cli(&daemon, &[], &list).code, 0);
    assert_eq!(cli(&daemon, &[("VM_SYSTEM_TOKEN", "vms_none")], &list).code, 1);
    let elsewhere = ["template", "list", "--credentials", "absent.toml"];
    assert_eq!(cli(&daemon, &[], &elsewhere).code, 2);
    daemon.folder.file(named, &format!("token = {token}\n"));
    mode(0o600);
    let malformed = cli(&daemon, &[], &list);
    assert_eq!(malformed.code, 2);
    assert!(malformed.stderr.contains("line 1") && !malformed.stderr.contains(&token));
    let unfit = cli(&daemon, &[], &["template", "list", "--token", "a\nb"]);
    assert_eq!(unfit.code, 2, "{unfit:?}");
}

#[test]
fn a_daemon_that_others_can_reach_asks_for_tokens_or_is_told_not_to() {
    let folder = crate::harness::Folder::new();
    let ended = folder.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--auth") && ended.stderr.contains("--insecure"), "{ended:?}");
    let both = folder.run(&["serve", "--auth", "--insecure"]);
    assert_eq!(both.code, 2);
    // It takes any name then.
    let open = Daemon::with(&["--insecure"]);
    let request =
        b"GET /api/v1/templates HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    assert!(crate::harness::raw(open.address, request).starts_with("HTTP/1.1 200"));
}
