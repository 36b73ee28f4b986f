//! How jobs and allocations ended, on a real systemd: what the kernel says of them, and a disk that is full.

use crate::guest::Guest;

guest_test!(what_was_is_remembered_and_summed_up, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 128M").expect_ok();
    guest
        .as_user("alice", "fairshare run -- sh -c 'i=0; while test $i -lt 20000; do i=$((i + 1)); done'")
        .expect_ok();
    let inside =
        guest.as_user("alice", "fairshare submit --output /dev/null -- sh -c 'exit 3'").expect_ok().text();
    guest.as_user("alice", &format!("fairshare wait {inside}")).expect_code(3);
    guest.as_user("alice", "fairshare release --stop").expect_ok();
    let own = guest
        .as_user("bob", "fairshare submit --cpu 0.25 --mem 64M --output /dev/null -- true")
        .expect_ok()
        .text();
    guest.as_user("bob", &format!("fairshare wait {own}")).expect_ok();
    let history = |user: &str, options: &str| {
        let json = guest.as_user(user, &format!("fairshare history --json {options}")).expect_ok().json();
        json["history"].as_array().unwrap().clone()
    };
    guest.await_cmd("fairshare history --all --json | grep -q standing");
    let alices = history("alice", "");
    let kinds: Vec<_> = alices.iter().map(|end| end["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["submit", "standing"], "{alices:?}");
    assert_eq!(alices[0]["exit_code"], 3);
    // What ran in it is counted by the kernel, to the last moment.
    let standing = &alices[1];
    assert_eq!((&standing["cpu_milli"], &standing["mem_bytes"]), (&500.into(), &(128u64 << 20).into()));
    assert!(
        standing["cpu_usec"].as_u64().unwrap() > 0 && standing["held_ms"].as_u64().unwrap() > 0,
        "{standing}"
    );
    assert_eq!(history("bob", "").len(), 1);
    guest.as_user("bob", "fairshare history --all").expect_code(77);
    let before = history("root", "--all");
    assert_eq!(before.len(), 3);
    guest.kill_daemon();
    assert_eq!(history("root", "--all"), before);
    guest.root("fairshare usage --all --by group").expect_ok().stdout_has("fairshare ");
    guest.root("fairshare usage --all --csv").expect_ok().stdout_has("alice,2,");
    guest.root("fairshare policy simulate --from-history").expect_ok().stdout_has("alice");
    guest.root("test $(stat -c %a /var/lib/fairshare/history) = 700").expect_ok();
});

guest_test!(a_full_disk_leaves_the_history_as_it_is_and_it_is_made_up_for, |guest: Guest| {
    // A disk of its own: on a full one that it shares with the journal, that deletes old files to go on, and there is room.
    let disk = "mkdir -pm 700 /var/lib/fairshare/history
         mount -t tmpfs -o size=8m,mode=700 tmpfs /var/lib/fairshare/history";
    guest.root(disk).expect_ok();
    guest.as_user("alice", "fairshare request --cpu 0.25 --mem 64M && fairshare release").expect_ok();
    guest.await_cmd("fairshare history --all --json | grep -q standing");
    guest.as_user("alice", "fairshare request --cpu 0.25 --mem 64M").expect_ok();
    let length = "stat -c '%s %b' /var/lib/fairshare/history/history.redb";
    let before = guest.root(length).expect_ok().text();
    guest
        .root(
            "for size in 1M 64K 4K; do
                 at=0
                 while fallocate -l $size /var/lib/fairshare/history/fill.$size.$at 2>/dev/null; do at=$((at + 1)); done
             done",
        )
        .expect_ok();
    guest.as_user("alice", "fairshare release").expect_ok();
    guest.await_cmd("! fairshare health > /run/health; grep -q 'wait to be written' /run/health");
    // Nothing was taken from the disk, and nothing given back to it.
    assert_eq!(guest.root(length).expect_ok().text(), before);
    guest.root("rm /var/lib/fairshare/history/fill.*").expect_ok();
    guest.await_cmd("fairshare health");
    let json = guest.root("fairshare history --all --json").expect_ok().json();
    assert_eq!(json["history"].as_array().unwrap().len(), 2);
});
