//! Users and groups of the policy that nobody was found for, at a start and at a reload.

use std::fs;

use fairshare::contract::{Answer, Call, Changed, List, Reload};
use fairshare::wire::error::Code;
use fairshare::wire::hello::Role;

use super::harness::{Daemon, Home, PATIENCE, POLICY};
use super::raw::request;
use super::users::{connections, member};
use crate::poll::until;
use crate::root::is_root;
use crate::stand_in::World;

/// Accounts of the test's database.
const ALICE: u32 = 4001;
const EVE: u32 = 4002;

fn daemon(policy: &str, prepare: impl FnOnce(&Home)) -> Option<(World, Home, Daemon)> {
    if !is_root() {
        return None;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{policy}"));
    prepare(&home);
    let daemon = home.activate();
    Some((world, home, daemon))
}

#[test]
fn a_name_that_nobody_has_concerns_nobody_at_a_start_and_is_an_error_at_a_reload() {
    let policy = "users: {ghost: {max: {cpu: 1}}}\ngroups: {ghosts: {role: read_only}}\n";
    let Some((_world, _home, daemon)) = daemon(policy, |_| ()) else { return };
    member(&daemon, ALICE).granted(&request());
    let mut root = daemon.client();
    let check = root.check("names");
    let said = check.detail.unwrap();
    for name in ["users.ghost: no user has this name", "groups.ghosts: no group has this name"] {
        assert!(said.contains(name), "{said}");
    }
    assert!(check.ok && root.healthy());
    daemon.wait_logged("users.ghost: no user has this name");
    let error = root.refused(&Call::Reload(Reload {}), Code::BadRequest);
    assert!(error.more().as_deref().unwrap().contains("users.ghost: no user has this name"), "{error:?}");
}

#[test]
fn a_name_that_somebody_has_later_is_found_without_a_reload() {
    let Some((_world, home, daemon)) = daemon("users: {late: {role: admin}}\n", |_| ()) else { return };
    assert!(daemon.client().check("names").detail.is_some());
    let passwd = home.accounts().join("passwd");
    let text = fs::read_to_string(&passwd).unwrap();
    // In the group, by the primary one.
    fs::write(&passwd, format!("{text}late:x:5001:990:::\n")).unwrap();
    let role = || connections(&daemon, 5001, 1).remove(0).greet().ok().map(|ack| ack.authz.role);
    until("an admin", PATIENCE, || role().filter(|role| *role == Role::Admin));
    assert_eq!(daemon.client().check("names").detail, None);
}

/// The database answers by id, and not for the names of the policy: it hangs, or is away.
#[test]
fn what_cannot_be_looked_up_lifts_no_restriction_and_others_are_served() {
    let policy = "users: {user4002: {role: read_only}}\n";
    let mut kept = String::new();
    let away = |home: &Home| {
        let passwd = home.accounts().join("passwd");
        kept = fs::read_to_string(&passwd).unwrap();
        fs::remove_file(&passwd).unwrap();
    };
    let Some((_world, home, daemon)) = daemon(policy, away) else { return };
    let mut root = daemon.client();
    assert!(!root.check("names").ok);
    root.granted(&request());
    let error = connections(&daemon, ALICE, 1).remove(0).greet().unwrap_err();
    assert!(error.is(Code::Degraded), "{error:?}");
    fs::write(home.accounts().join("passwd"), &kept).unwrap();
    until("alice", PATIENCE, || connections(&daemon, ALICE, 1).remove(0).greet().ok());
    member(&daemon, ALICE).granted(&request());
    // From the first moment on: by name as long as the name was not found, by role from then on.
    let mut eve = member(&daemon, EVE);
    assert!(eve.ask(&Call::List(List {})).is_ok());
    until("the role", PATIENCE, || match eve.ask(&request()) {
        Err(error) if error.is(Code::Forbidden) => Some(()),
        Err(error) if error.is(Code::Degraded) => {
            assert!(error.more().as_deref().unwrap().contains("users.user4002"), "{error:?}");
            None
        }
        other => panic!("{other:?}"),
    });
    assert!(
        root.healthy()
            && matches!(root.ask(&Call::Reload(Reload {})), Ok(Answer::Changed(Changed { changed: false })))
    );
}
