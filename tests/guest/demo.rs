//! `make demo`: the main job, told to a newcomer while it happens.

use std::sync::Mutex;

use crate::floors::{ALICE, BOB, hogs, is_busy};
use crate::guest::Guest;
use crate::image::Release;
use crate::run::Ran;

/// One story at a time on the terminal.
static STAGE: Mutex<()> = Mutex::new(());

/// A program that takes a little memory at a time and says how far it came.
const HUNGRY: &str = "python3 -c 'import itertools
held = []
for mib in itertools.count(8, 8):
    held.append(bytearray(8 << 20))
    print(\"   ... holds\", mib, \"MiB\", flush=True)'";

struct Story<'a> {
    guest: &'a Guest,
}

impl Story<'_> {
    fn say(&self, what: &str) {
        eprintln!("\n\u{2014} {what}");
    }

    fn show(&self, prompt: &str, command: &str, ran: Ran) -> Ran {
        eprintln!("  {prompt} {command}");
        for line in ran.stdout().lines().chain(ran.stderr().lines()) {
            eprintln!("    {line}");
        }
        ran
    }

    fn root(&self, command: &str) -> Ran {
        self.show("root#", command, self.guest.root(command))
    }

    fn user(&self, user: &str, command: &str) -> Ran {
        self.show(&format!("{user}$"), command, self.guest.as_user(user, command))
    }
}

#[test]
fn demo() {
    let _stage = STAGE.lock();
    let guest = Guest::installed(Release::Trixie);
    let story = Story { guest: &guest };
    eprintln!(
        "fairshare on a fresh Debian 13 in QEMU, installed from the .deb. alice, bob and carol are members."
    );

    story.say("Only the socket is there. The daemon starts with the first client.");
    story.root("systemctl is-active fairshared.socket fairshared.service").stdout_has("inactive");
    story.user("alice", "fairshare status").expect_ok();
    story.root("systemctl is-active fairshared.service").expect_ok();

    story.say("alice runs a command in room of its own: half a CPU, 64 MiB, and nothing to give back.");
    story
        .user(
            "alice",
            "fairshare run --cpu 0.5 --mem 64M -- sh -c 'echo working, as pid $$; cat /proc/self/cgroup'",
        )
        .expect_ok()
        .stdout_has("/fairshare.slice/fairshare-1001.slice/fairshare-1001-run1.slice/");
    story.say("For a while she takes standing room, and works in that.");
    story.user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let inside = story.user("alice", "fairshare run -- cat /proc/self/cgroup").expect_ok();
    inside.stdout_has("/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/");
    story.say("What the kernel holds, in its own files, not what anybody declared.");
    let held = story
        .root(&format!("cd /sys/fs/cgroup/{ALICE} && grep . cpu.max memory.max memory.swap.max pids.max"));
    held.expect_ok().stdout_has("cpu.max:50000 100000").stdout_has("memory.max:67108864");

    story
        .say("A program that wants more memory than the share has is stopped at 64 MiB, and nobody else is.");
    story.user("alice", &format!("fairshare run -- {HUNGRY}")).expect_code(137);
    story.user("alice", "fairshare status").expect_ok();

    story.say("bob asks for more than the policy allows, and is told what would do.");
    story.user("bob", "fairshare request --cpu 64").expect_code(1).stderr_has("exceeds maximum allowed");
    story.say("bob cannot touch what is alice's; mallory is no member and cannot even ask.");
    story.user("bob", "fairshare admin release --user alice").expect_code(77);
    story.user("mallory", "fairshare status").expect_code(77);

    story.say("alice has work running when the daemon is killed with SIGKILL.");
    let work = guest.spawn_as("alice", "fairshare run -- sleep 1000");
    guest.await_cmd(&format!("grep -q . /sys/fs/cgroup/{ALICE}/fairshare-1001-own-run*/cgroup.procs"));
    story
        .root(
            "cat /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/*/cgroup.procs",
        )
        .expect_ok();
    let killed = guest.kill_daemon();
    eprintln!("  root# kill -9 {killed}    (fairshared)");
    story.say("The next client starts it again. The share is still held, the work still runs.");
    story.user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
    story
        .root(
            "cat /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/*/cgroup.procs",
        )
        .expect_ok();
    assert!(work.is_running(), "the work died with the daemon");
    assert_eq!(guest.cgroup(ALICE, "cpu.max"), "50000 100000");

    story.say("Giving back a busy share is refused, naming what is inside, until alice says to stop it.");
    story.user("alice", "fairshare release").expect_code(75);
    story.user("alice", "fairshare release --stop").expect_ok();
    assert!(!guest.cgroup_exists(ALICE), "the slice outlived its release");

    two_sweeps(&story);
    lent_and_promised(&story);
    the_end(&story);
}

fn the_end(story: &Story<'_>) {
    story.say("All of it is in the journal.");
    story.root("journalctl --no-pager -o cat -u fairshared.service | tail -n 12").expect_ok();
    eprintln!("\nThat was the main job. `make check` proves all of it and much more, on Debian 12 and 13.");
}

/// Of two members who each have more to do than there is room for, each has half of the machine, whatever becomes of the daemon.
fn two_sweeps(story: &Story<'_>) {
    const TASKS: u64 = 10;
    let guest = story.guest;
    story.say("carol has all the room. alice and bob each have a sweep of ten tasks, and wait.");
    story.user("carol", "fairshare request --cpu 1.5 --mem 64M").expect_ok();
    let sweep =
        format!("fairshare submit --array 1-{TASKS} --cpu 0.5 --mem 32M --output /dev/null -- sleep 1");
    let ids = ["alice", "bob"].map(|user| story.user(user, &sweep).expect_ok().text());
    story.say("She gives it back: there is room for three tasks at a time.");
    story.user("carol", "fairshare release").expect_ok();
    let done = || {
        let jobs = guest.root("fairshare jobs --all --json").expect_ok().json();
        ids.clone().map(|id| {
            let id: u64 = id.parse().unwrap();
            let sweep = jobs["jobs"].as_array().unwrap().iter().find(|job| job["job_id"] == id);
            sweep.unwrap_or_else(|| panic!("no job {id}: {jobs}"))["array"]["done"].as_u64().unwrap_or(TASKS)
        })
    };
    guest.wait_until("both to be under way", || done().into_iter().all(|done| done >= 3));
    story.say("In the middle of them the daemon is killed. Both go on, by turns.");
    let killed = guest.kill_daemon();
    eprintln!("  root# kill -9 {killed}    (fairshared)");
    story.root("fairshare jobs --all").expect_ok();
    guest.wait_until("one to be almost through", || done().into_iter().any(|done| done >= TASKS - 2));
    let [alices, bobs] = done();
    eprintln!("    {alices} of alice's tasks are done, and {bobs} of bob's");
    // Who came first would have had all of it. As many as are at work may make a difference at any moment.
    assert!(alices.abs_diff(bobs) <= TASKS / 2, "one had much more of the machine than the other");
    for (user, id) in ["alice", "bob"].iter().zip(&ids) {
        // A task that was being started when the daemon died may be said to be interrupted.
        story.user(user, &format!("fairshare wait {id}"));
    }
    story.root("fairshare usage --all").expect_ok().stdout_has("alice").stdout_has("bob");
}

/// Idle CPU is lent; what was promised comes back, and is had against everything on the machine.
fn lent_and_promised(story: &Story<'_>) {
    let guest = story.guest;
    let works = |user: &str, cpu: &str| {
        guest.spawn_as(
            user,
            &format!(
                "fairshare request --cpu {cpu} --mem 64M > /dev/null && fairshare run -- bash -c '{}'",
                hogs(2)
            ),
        )
    };
    story.say("CPU that nobody wants is lent, where the policy says so: bob has half a CPU, and more while alice rests.");
    story
        .root("echo 'burst: {cpu: all}' >/etc/fairshare/policy.d/site.yaml; fairshare admin reload")
        .expect_ok();
    let _bobs = works("bob", "0.5");
    guest.await_cmd(&is_busy(BOB));
    let lent = "0.5 CPU, up to 1.5 while nobody wants them (";
    story.user("bob", "fairshare status").expect_ok().stdout_has(lent);
    story.say("alice was promised one: she has it back at once, without anybody being ended.");
    let _alices = works("alice", "1");
    guest.await_cmd(&is_busy(ALICE));
    story.user("alice", "fairshare status").expect_ok().stdout_has("1 CPU, up to 1.5");
    story.say("A login of carol's and a system service begin programs that never rest. alice still has what was promised.");
    let _service = guest.command(&hogs(2)).spawn();
    let _login = guest.command(&hogs(2)).user("carol").login().spawn();
    guest.await_cmd(&is_busy("user.slice/user-1003.slice"));
    story.user("alice", "fairshare status").expect_ok().stdout_has("1 CPU, up to 1.5");
}
