//! Policy files, good and bad: every file of `tests/data/policy`, and what no file can show.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod burst;
mod capacity;
mod io_caps;
mod nearly;
mod outside;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairshare::testing::host::account::Directory;
use fairshare::testing::identity::{Gid, Uid};
use fairshare::testing::policy::file::{FILE_BYTES_MAX, FILES_MAX, Names, PolicyError, left_out, load};
use fairshare::testing::policy::{Kept, Policy, QueueRule, Reserve, Role, Visibility};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, Tasks};
use nearly::nearly_a_policy;
use proptest::prelude::*;

/// alice and bob, students and staff, whoever runs the tests.
struct Village;

impl Names for Village {
    fn user(&self, name: &str) -> io::Result<Option<Uid>> {
        match name {
            "alice" | "alicia" => Ok(Uid::new(1001)),
            "bob" => Ok(Uid::new(1002)),
            "root" => Ok(Some(Uid::ROOT)),
            "offline" => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            _ => Ok(None),
        }
    }

    fn group(&self, name: &str) -> io::Result<Option<Gid>> {
        match name {
            "students" => Ok(Gid::new(2001)),
            "staff" => Ok(Gid::new(2002)),
            _ => Ok(None),
        }
    }
}

fn data(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policy").join(kind)
}

/// The policies in a folder of test data, without what is expected of them.
fn policies(kind: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(data(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "expected"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Reads a policy of one file.
fn policy(text: &str) -> Result<Policy, PolicyError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("default.yaml"), text).unwrap();
    load(dir.path(), &Village)
}

fn amount(cpu_milli: u64, mem_gib: u64, tasks: u64) -> Amount {
    Amount { cpu: MilliCpu(cpu_milli), mem: Bytes(mem_gib << 30), tasks: Tasks(tasks) }
}

fn uid(raw: u64) -> Uid {
    Uid::new(raw).unwrap()
}

fn gid(raw: u64) -> Gid {
    Gid::new(raw).unwrap()
}

const SIMPLE: &str = "defaults: {cpu: 2, mem: 8G}\nmax: {cpu: 8, mem: 32G}\n";
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn every_good_policy_is_read() {
    for path in policies("good") {
        load(&path, &Village).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_bad_policy_is_refused_where_and_as_expected() {
    let mut wrong = Vec::new();
    for path in policies("bad") {
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        let said = match load(&path, &Village) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        // The file's line and column follow its path; in a folder, the file's name does.
        let said =
            said.strip_prefix(path.to_str().unwrap()).unwrap().trim_start_matches([':', '/', ' ']).to_owned();
        if said != expected.trim_end() {
            wrong.push(format!("{}\n  said     {said}\n  expected {expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_designs_own_example_says_what_it_says() {
    let policy = load(&data("good/design.yaml"), &Village).unwrap();
    assert_eq!(policy.defaults, amount(2000, 8, 4096));
    assert_eq!(policy.max, amount(8000, 32, 32768));
    assert_eq!(policy.reserve.cpu, Kept::Named(MilliCpu(1000)));
    assert_eq!(policy.reserve.mem, Kept::Named(Bytes(2 << 30)));
    assert_eq!((policy.overcommit.cpu.milli(), policy.overcommit.mem.milli()), (1000, 1000));
    assert_eq!(policy.swap, Bytes(0));
    assert_eq!((policy.lease_default, policy.lease_max), (Some(8 * HOUR), Some(7 * 24 * HOUR)));
    let fairness = (policy.half_life, policy.tau, policy.patience);
    assert_eq!((policy.idle, fairness), (Some(HOUR / 2), (4 * 24 * HOUR, 6 * HOUR, 24 * HOUR)));
    assert_eq!((policy.visibility, policy.evict), (Visibility::Names, false));
    let alice = policy.member(uid(1001), &[gid(2001)]);
    assert_eq!((alice.max, alice.weight.milli(), alice.role), (amount(16000, 64, 32768), 2000, Role::Admin));
    // The general default of 8G is above what students may hold, and no mistake of theirs.
    let student = policy.member(uid(1002), &[gid(2001)]);
    assert_eq!((student.defaults, student.max), (amount(2000, 4, 4096), amount(2000, 4, 32768)));
    assert_eq!((student.lease_default, student.lease_max), (Some(8 * HOUR), Some(7 * 24 * HOUR)));
}

#[test]
fn what_is_left_out_is_as_the_design_says() {
    let policy = policy(SIMPLE).unwrap();
    assert_eq!(policy, Policy::simple(amount(2000, 8, 4096), amount(8000, 32, 32768)));
    assert_eq!(policy.reserve, Reserve { cpu: Kept::Default, mem: Kept::Default });
    assert_eq!((policy.overcommit.cpu.milli(), policy.overcommit.mem.milli()), (1000, 1000));
    assert_eq!((policy.lease_default, policy.lease_max, policy.idle), (None, None, None));
    assert_eq!((policy.swap, policy.half_life, policy.tau), (Bytes(0), 4 * 24 * HOUR, 6 * HOUR));
    assert_eq!((policy.patience, policy.history_keep), (24 * HOUR, 400 * 24 * HOUR));
    assert_eq!((policy.visibility, policy.evict), (Visibility::Names, false));
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let policy = load(&data("good/block-style.yaml"), &Village).unwrap();
    assert_eq!(policy.defaults, Amount { cpu: MilliCpu(500), mem: Bytes(512 << 20), tasks: Tasks(100) });
    assert_eq!(policy.max, Amount { cpu: MilliCpu(1500), mem: Bytes(3 << 29), tasks: Tasks(1000) });
    assert_eq!((policy.swap, policy.visibility, policy.evict), (Bytes(1 << 30), Visibility::Totals, true));
    assert!(policy.from_sandboxes && policy.users.is_empty());
    assert_eq!(policy.groups.len(), 1);
    let other = "reserve: {cpu: 0.25, mem: 1M}\novercommit: {cpu: 1.5, mem: 0.9}\nlease: {max: 2d}\nidle: 10m\n\
                 fairness: {half_life: 1h, tau: 3h, patience: 2h}\nqueue: {member: 7, running: 2}\n\
                 history: {keep: 30d}\ngroups: {staff: {role: read_only, weight: 0.5}}\n";
    let policy = self::policy(&format!("{SIMPLE}{other}")).unwrap();
    let kept = Reserve { cpu: Kept::Named(MilliCpu(250)), mem: Kept::Named(Bytes(1 << 20)) };
    assert_eq!(policy.reserve, kept);
    assert_eq!((policy.overcommit.cpu.milli(), policy.overcommit.mem.milli()), (1500, 900));
    assert_eq!(
        (policy.lease_default, policy.lease_max),
        (Some(48 * HOUR), Some(48 * HOUR)),
        "no lease is longer"
    );
    assert_eq!((policy.idle, policy.half_life), (Some(HOUR / 6), HOUR));
    let times = (policy.tau, policy.patience, policy.history_keep);
    assert_eq!(times, (3 * HOUR, 2 * HOUR, 30 * 24 * HOUR));
    assert_eq!(policy.queue, QueueRule { member: 7, all: 10_000, running: 2 });
    let staff = policy.member(uid(1002), &[gid(2002)]);
    assert_eq!((staff.role, staff.weight.milli()), (Role::ReadOnly, 500));
}

/// Nobody could ask for such a lease.
#[test]
fn a_lease_under_a_minute_is_refused() {
    for lease in ["{default: 59s, max: 7d}", "{max: 59s}", "{default: 1ms}"] {
        let error = policy(&format!("{SIMPLE}lease: {lease}\n")).unwrap_err().to_string();
        assert!(error.contains("must be at least 1m, and "), "{error}");
    }
    policy(&format!("{SIMPLE}lease: {{default: 60s, max: 1m}}\n")).unwrap();
}

#[test]
fn figures_that_no_one_wrote_stay_within_those_that_were() {
    let few = policy("defaults: {cpu: 2, mem: 8G}\nmax: {cpu: 8, mem: 32G, tasks: 1000}\n").unwrap();
    assert_eq!((few.defaults.tasks, few.max.tasks), (Tasks(1000), Tasks(1000)));
    let own = load(&data("good/own-defaults.yaml"), &Village).unwrap().member(uid(1002), &[gid(2001)]);
    assert_eq!((own.defaults, own.max), (amount(1000, 4, 4096), amount(1000, 4, 32768)));
}

#[test]
fn one_file_is_a_policy_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.conf");
    fs::write(&file, SIMPLE).unwrap();
    assert_eq!(load(&file, &Village).unwrap(), policy(SIMPLE).unwrap());
    fs::write(&file, "max: 8").unwrap();
    let error = load(&file, &Village).unwrap_err();
    let said = format!("{}:1:6: max: must be a map: write it like {{cpu: 8, mem: 32G}}", file.display());
    assert_eq!(error.to_string(), said);
}

/// A reader that goes over its input once is done in a blink; one that does not would never end here.
#[test]
fn a_large_file_of_one_thing_over_and_over_is_refused() {
    let pieces = [
        "a: {", "[", "- ", "{a,", "a:\n ", "? ", "'", "\"\\n", "&a ", "*a ", "#", "a ", "a\n", "\n", ": ",
        "!", "|\n ",
    ];
    let size = usize::try_from(FILE_BYTES_MAX).unwrap();
    for piece in pieces {
        policy(&piece.repeat(size / piece.len())).unwrap_err();
    }
    let keys: String = (0..size / 20).map(|n| format!("k{n}: {{a: 1}}\n")).collect();
    policy(&keys).unwrap_err();
}

#[test]
fn a_later_file_overrides_key_by_key() {
    let policy = load(&data("good/layers"), &Village).unwrap();
    assert_eq!(policy.max, amount(4000, 32, 32768), "cpu from the later file, mem from the earlier");
    let alice = policy.member(uid(1001), &[]);
    assert_eq!((alice.max, alice.weight.milli()), (amount(12000, 64, 32768), 2000));
}

#[test]
fn files_are_read_in_byte_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    for (name, cpu) in [("a.yaml", 3), ("B.yaml", 4), ("é.yaml", 7), ("10.yaml", 5), ("9.yaml", 6)] {
        fs::write(dir.path().join(name), SIMPLE.replace("cpu: 8", &format!("cpu: {cpu}"))).unwrap();
    }
    let max = || load(dir.path(), &Village).unwrap().max.cpu;
    assert_eq!(max(), MilliCpu(7000));
    fs::remove_file(dir.path().join("é.yaml")).unwrap();
    assert_eq!(max(), MilliCpu(3000));
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    assert_eq!(max(), MilliCpu(4000));
    fs::remove_file(dir.path().join("B.yaml")).unwrap();
    assert_eq!(max(), MilliCpu(6000));
}

#[test]
fn what_is_not_read_in_a_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str| fs::write(dir.path().join(name), SIMPLE).unwrap();
    for read_or_hidden in ["default.yaml", "site.yaml", ".site.yml.swp"] {
        put(read_or_hidden);
    }
    assert_eq!(left_out(dir.path()), None);
    for name in ["site.yml", "old.yaml.bak", "LOUD.YAML", "two\nlines.yml"] {
        put(name);
    }
    let said = left_out(dir.path()).unwrap();
    let names = r"LOUD.YAML, old.yaml.bak, site.yml, two\nlines.yml";
    assert_eq!(said, format!("left out: {names} (only *.yaml is read)"));
    for more in 0..10 {
        put(&format!("more-{more}"));
    }
    assert!(left_out(dir.path()).unwrap().contains("more-6 and 6 more (only"));
    assert_eq!(left_out(&dir.path().join("default.yaml")), None);
}

#[test]
fn a_missing_policy_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = load(dir.path(), &Village).unwrap_err();
    assert!(error.to_string().contains("has no *.yaml file: create one, default.yaml"), "{error}");
    let gone = dir.path().join("policy.d");
    let error = load(&gone, &Village).unwrap_err();
    let said = format!("{}: does not exist: create the directory, with a file default.yaml", gone.display());
    assert!(error.to_string().starts_with(&said), "{error}");
    assert_eq!((error.file, error.position), (gone, None));
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let default = dir.path().join("default.yaml");
    let refused = || load(dir.path(), &Village).unwrap_err().to_string();
    nix::unistd::mkfifo(&default, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused().ends_with("default.yaml: is not a regular file: move it away"), "{}", refused());
    fs::remove_file(&default).unwrap();
    fs::create_dir(&default).unwrap();
    assert!(refused().ends_with("default.yaml: is not a regular file: move it away"), "{}", refused());
    fs::remove_dir(&default).unwrap();
    symlink("nowhere", &default).unwrap();
    assert!(refused().contains("default.yaml: cannot be read: No such file"), "{}", refused());
    fs::remove_file(&default).unwrap();
    symlink(data("good/simple.yaml"), &default).unwrap();
    load(dir.path(), &Village).unwrap();
}

#[test]
fn files_are_bounded_in_size_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let filled = |bytes: u64| {
        let comment = "#".repeat(usize::try_from(bytes).unwrap() - SIMPLE.len());
        fs::write(dir.path().join("00.yaml"), format!("{SIMPLE}{comment}")).unwrap();
        load(dir.path(), &Village)
    };
    filled(FILE_BYTES_MAX).unwrap();
    let error = filled(FILE_BYTES_MAX + 1).unwrap_err().to_string();
    assert!(error.ends_with("00.yaml: is larger than 1048576 bytes: split it"), "{error}");
    for n in 0..FILES_MAX {
        fs::write(dir.path().join(format!("{n:02}.yaml")), SIMPLE).unwrap();
    }
    load(dir.path(), &Village).unwrap();
    fs::write(dir.path().join("one-more.yaml"), "").unwrap();
    let error = load(dir.path(), &Village).unwrap_err().to_string();
    assert!(error.ends_with("has more than 64 files: join some of them"), "{error}");
}

#[test]
fn this_machines_users_and_groups_are_found_by_name() {
    assert_eq!(Directory::System.user("root").unwrap(), Some(Uid::ROOT));
    assert_eq!(Directory::System.group("root").unwrap(), Some(Gid::ROOT));
    for nobody in ["", "no such user", "a\0b", "0"] {
        assert_eq!(Directory::System.user(nobody).unwrap(), None, "{nobody:?}");
        assert_eq!(Directory::System.group(nobody).unwrap(), None, "{nobody:?}");
    }
}

#[test]
fn the_shipped_policy_is_good() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy.d");
    let policy = load(&shipped, &Directory::System).unwrap();
    let simple = Policy::simple(amount(2000, 8, 4096), amount(8000, 32, 32768));
    let lease = |hours: u64| Some(Duration::from_secs(hours * 3600));
    assert_eq!(policy, Policy { lease_default: lease(8), lease_max: lease(7 * 24), ..simple });
    // Each key that is shown commented out is a key, with the value that holds without it.
    let text = fs::read_to_string(shipped.join("default.yaml")).unwrap();
    let shown: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_ne!(shown, text);
    let all = self::policy(&shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
    assert_eq!(Policy { reserve: policy.reserve, ..all.clone() }, Policy { ..policy.clone() });
    // On the machine of the comment's figures they are the defaults.
    let (cpu, mem) = (MilliCpu(10_000), Bytes(20 << 30));
    assert_eq!(
        (all.reserve.cpu(cpu), all.reserve.mem(mem)),
        (policy.reserve.cpu(cpu), policy.reserve.mem(mem))
    );
}

#[test]
fn a_named_user_wins_over_groups_and_the_most_generous_group_holds() {
    let policy = policy(&format!(
        "{SIMPLE}users: {{alice: {{max: {{cpu: 1}}}}, root: {{role: read_only}}}}\n\
         groups:\n  students: {{max: {{cpu: 3, mem: 40G}}, weight: 2, role: read_only}}\n  \
         staff: {{max: {{cpu: 4}}, weight: 1, role: admin}}\n"
    ))
    .unwrap();
    let both = [gid(2001), gid(2002)];
    let bob = policy.member(uid(1002), &both);
    assert_eq!((bob.max, bob.weight.milli(), bob.role), (amount(4000, 40, 32768), 2000, Role::Admin));
    let student = policy.member(uid(1002), &[gid(2001)]);
    assert_eq!((student.max, student.role), (amount(3000, 40, 32768), Role::ReadOnly));
    let staff = policy.member(uid(1002), &[gid(2002)]);
    assert_eq!(staff.max, amount(4000, 32, 32768), "what staff does not name is general");
    let alice = policy.member(uid(1001), &both);
    assert_eq!(alice.max, amount(1000, 40, 32768), "her own cpu though it is less, their mem");
    assert_eq!(alice.defaults, amount(1000, 8, 4096), "never above her max");
    assert_eq!(alice.role, Role::Admin);
    let other = policy.member(uid(4242), &[gid(4242)]);
    assert_eq!((other.max, other.role, other.weight.milli()), (policy.max, Role::Operator, 1000));
    assert_eq!(policy.role(Uid::ROOT, &[]), Role::Admin, "whatever the policy says");
    assert_eq!(policy.role(uid(1002), &[gid(2001)]), Role::ReadOnly);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.yaml"), bytes).unwrap();
        let _ = load(dir.path(), &Village);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in nearly_a_policy()) {
        if let Err(error) = policy(&text) {
            let place = error.position.unwrap();
            prop_assert!(place.line >= 1 && place.line <= text.lines().count() + 1, "{error}");
            prop_assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn the_later_of_two_files_holds_for_each_figure(
        early in (proptest::option::of(3..50u64), proptest::option::of(9..50u64)),
        late in (proptest::option::of(3..50u64), proptest::option::of(9..50u64)),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("0.yaml"), SIMPLE).unwrap();
        for (name, (cpu, mem)) in [("1.yaml", early), ("2.yaml", late)] {
            let cpu = cpu.map(|cpu| format!("  cpu: {cpu}\n")).unwrap_or_default();
            let mem = mem.map(|mem| format!("  mem: {mem}G\n")).unwrap_or_default();
            fs::write(dir.path().join(name), format!("max:\n{cpu}{mem}")).unwrap();
        }
        let cpu = late.0.or(early.0).unwrap_or(8) * 1000;
        let mem = late.1.or(early.1).unwrap_or(32);
        prop_assert_eq!(load(dir.path(), &Village).unwrap().max, amount(cpu, mem, 32768));
    }

    #[test]
    fn being_in_one_more_group_that_names_the_same_never_takes_away(
        figures in proptest::collection::vec((1..50u64, 1..50u64, 1..50u64, 0..3usize), 2),
    ) {
        let role = |index: usize| ["read_only", "operator", "admin"][index];
        let entry = |(cpu, mem, weight, of): (u64, u64, u64, usize)| {
            format!("{{max: {{cpu: {cpu}, mem: {mem}G}}, weight: {weight}, role: {}}}", role(of))
        };
        let (students, staff) = (entry(figures[0]), entry(figures[1]));
        let policy = policy(&format!("{SIMPLE}groups:\n  students: {students}\n  staff: {staff}\n")).unwrap();
        let of = |groups: &[Gid]| policy.member(uid(1002), groups);
        let (one, other) = (of(&[gid(2001)]), of(&[gid(2002)]));
        let both = of(&[gid(2001), gid(2002)]);
        prop_assert_eq!(both, of(&[gid(2002), gid(2001)]), "in whichever order");
        prop_assert_eq!(both.max.cpu, one.max.cpu.max(other.max.cpu));
        prop_assert_eq!(both.max.mem, one.max.mem.max(other.max.mem));
        prop_assert_eq!(both.weight, one.weight.max(other.weight));
        prop_assert_eq!(both.role, one.role.max(other.role));
        prop_assert!(both.defaults.cpu <= both.max.cpu && both.defaults.mem <= both.max.mem);
    }
}
