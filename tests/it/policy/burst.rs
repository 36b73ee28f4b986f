//! `burst`: who may use CPU that nobody wants.

use fairshare::testing::enforced::Burst;
use fairshare::testing::identity::Gid;
use fairshare::testing::quantity::MilliCpu;

use super::{SIMPLE, gid, policy, uid};

#[test]
fn who_may_use_idle_cpu_is_said_for_everybody_for_groups_and_for_users() {
    let bursts = |text: &str| {
        let policy = policy(&format!("{SIMPLE}{text}")).unwrap();
        let of = |user, groups: &[Gid]| policy.member(uid(user), groups).burst;
        (of(1003, &[]), of(1002, &[gid(2001)]), of(1002, &[gid(2001), gid(2002)]), of(1001, &[gid(2001)]))
    };
    let to = |milli| Some(Burst::To(MilliCpu(milli)));
    let all = Some(Burst::All);
    assert_eq!(bursts(""), (None, None, None, None));
    assert_eq!(bursts("burst: {cpu: all}\n"), (all, all, all, all));
    let differing = "burst: {cpu: 3}\nusers: {alice: {burst: {cpu: all}}}\n\
                     groups: {students: {burst: {cpu: 0.5}}, staff: {burst: {cpu: 6}}}\n";
    assert_eq!(bursts(differing), (to(3000), to(500), to(6000), all), "the most generous of several groups");
}
