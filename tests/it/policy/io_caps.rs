//! `io`: the most I/O of one share.

use std::fs;

use fairshare::testing::enforced::io::IoMost;
use fairshare::testing::identity::Gid;
use fairshare::testing::policy::file::load;
use fairshare::testing::quantity::Bytes;

use super::{SIMPLE, Village, data, gid, policy, uid};

fn most(read: u64, write: u64, read_ops: u64, write_ops: u64) -> IoMost {
    // 0 stands for no bound.
    let some = |figure: u64| Some(figure).filter(|figure| *figure > 0);
    IoMost {
        read: some(read << 20).map(Bytes),
        write: some(write << 20).map(Bytes),
        read_ops: some(read_ops),
        write_ops: some(write_ops),
    }
}

#[test]
fn the_most_io_is_what_is_said_of_the_user_else_of_the_groups_else_of_all() {
    let policy = load(&data("good/io.yaml"), &Village).unwrap();
    let (students, staff) = (gid(2001), gid(2002));
    let of = |user, groups: &[Gid]| policy.member(uid(user), groups).io;
    assert!(policy.holds_io());
    assert_eq!(policy.io.on, ["/home", "/srv/data-1"]);
    assert_eq!(of(4242, &[]), most(200, 100, 5000, 2000));
    assert_eq!(of(4242, &[students]), most(50, 20, 5000, 2000), "figure by figure");
    assert_eq!(of(4242, &[students, staff]), most(400, 20, 5000, 0), "the most generous of each figure");
    assert_eq!(of(1001, &[students]), most(0, 0, 0, 0), "none is said of alice");
    assert_eq!(of(1002, &[staff]), most(64, 100, 5000, 0), "bob is named");
}

#[test]
fn of_two_files_the_later_says_figures_and_disks() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("0.yaml", &format!("{SIMPLE}io: {{read: 8M, write: 4M, on: [/home, /scratch]}}\n"));
    write("1.yaml", "io: {write: none, read_ops: 10, on: [/srv]}\nusers: {alice: {io: none}}\n");
    let read = || load(dir.path(), &Village).unwrap();
    assert_eq!(
        (read().member(uid(4242), &[]).io, read().io.on),
        (most(8, 0, 10, 0), vec!["/srv".to_owned()])
    );
    assert_eq!(read().member(uid(1001), &[]).io, most(0, 0, 0, 0));
    write("2.yaml", "users: {alice: {io: {write: 1M}}}\n");
    assert_eq!(
        read().member(uid(1001), &[]).io,
        most(0, 1, 0, 0),
        "what was said before stays, figure by figure"
    );
}

#[test]
fn io_is_bounded_where_some_figure_is_of_everyone_or_of_an_entry() {
    for (more, holds) in [
        ("", false),
        ("io: {on: [/]}\n", false),
        ("io: {read: none, on: [/]}\n", false),
        ("io: {read: 1M, on: [/]}\n", true),
        ("io: {on: [/]}\ngroups: {staff: {io: {write_ops: 10}}}\n", true),
        ("users: {bob: {io: none}}\n", false),
    ] {
        assert_eq!(policy(&format!("{SIMPLE}{more}")).unwrap().holds_io(), holds, "{more}");
    }
}
