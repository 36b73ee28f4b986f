//! What a program in a share is told of it by its environment: programs that ask the machine how much there is (`nproc(1)`,
//! `sysinfo(2)`) are told of all of it.

use std::ffi::{CString, NulError, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::contract::handover::HowEnded;

/// How work came into its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By `run` or `shell`, as the job of this number where it brought room.
    Run(Option<u64>),
    /// By `submit`, as the job of this number.
    Submit(u64),
    /// By `submit`, as the task for this index of the array of this number.
    Task(u64, u64),
}

/// The variables, each with its value; `None` where it is not to be set. `tries` is how often it was tried before, of what is run
/// again; `cpu_milli` and `mem_bytes` are what the work has; `ended` is how it ended, for what is run then.
///
/// CPUs are whole ones, rounded up: what reads such a figure starts so many threads, as `make -j` does.
fn variables(
    kind: Kind,
    tries: Option<u64>,
    (cpu_milli, mem_bytes): (u64, u64),
    ended: Option<&HowEnded>,
) -> [(&'static str, Option<String>); 9] {
    let (name, job, task) = match kind {
        Kind::Run(job) => ("run", job, None),
        Kind::Submit(job) => ("submit", Some(job), None),
        Kind::Task(job, task) => ("submit", Some(job), Some(task)),
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    [
        ("FAIRSHARE_KIND", Some(name.to_owned())),
        ("FAIRSHARE_JOB_ID", number(job)),
        ("FAIRSHARE_TASK", number(task)),
        ("FAIRSHARE_TRY", number(tries.map(|tries| tries.saturating_add(1)))),
        ("FAIRSHARE_CPUS", Some(cpu_milli.div_ceil(1000).max(1).to_string())),
        ("FAIRSHARE_MEM_BYTES", Some(mem_bytes.to_string())),
        ("FAIRSHARE_JOB_STATE", ended.map(|ended| ended.state.clone())),
        ("FAIRSHARE_EXIT_CODE", number(ended.and_then(|ended| ended.exit_code))),
        ("FAIRSHARE_SIGNAL", number(ended.and_then(|ended| ended.signal))),
    ]
}

/// An environment, as `execve(2)` takes it, with what is said of the work that begins. What was said in it of other work, which
/// started this, is replaced: also a job's number, where this is no job.
pub fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    kind: Kind,
    tries: Option<u64>,
    has: (u64, u64),
    ended: Option<&HowEnded>,
) -> Vec<CString> {
    let variables = variables(kind, tries, has, ended);
    let is_ours = |name: &OsString| variables.iter().any(|(ours, _)| name == ours);
    let inherited = inherited.filter(|(name, _)| !is_ours(name));
    let of_work = variables.iter().filter_map(|(name, value)| Some((name.into(), value.as_ref()?.into())));
    // What is of an environment has no NUL, and what has one is of none.
    inherited.chain(of_work).filter_map(|pair| word(&pair).ok()).collect()
}

/// An environment, as `execve(2)` takes it, with nothing said anew: of who stays in the work that it was said to.
pub fn unchanged(inherited: impl Iterator<Item = (OsString, OsString)>) -> Vec<CString> {
    inherited.filter_map(|pair| word(&pair).ok()).collect()
}

/// A variable as `execve(2)` takes it.
fn word((name, value): &(OsString, OsString)) -> Result<CString, NulError> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inherited_from_other_work_is_replaced() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
            pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        let words = |words: &[&str]| -> Vec<CString> {
            words.iter().map(|word| CString::new(*word).expect("no NUL")).collect()
        };
        let outer = pairs(&[
            ("PATH", "/bin"),
            ("FAIRSHARE_JOB_ID", "7"),
            ("FAIRSHARE_TASK", "3"),
            ("FAIRSHARE_TRY", "2"),
            ("FAIRSHARE_KIND", "submit"),
            ("FAIRSHARE_CPUS", "8"),
            ("FAIRSHARE_SOCKET", "/s"),
            ("FAIRSHARE_JOB_STATE", "failed"),
            ("FAIRSHARE_EXIT_CODE", "1"),
        ]);
        let run = environment(outer.clone().into_iter(), Kind::Run(None), None, (2000, 1 << 20), None);
        assert_eq!(
            run,
            words(&[
                "PATH=/bin",
                "FAIRSHARE_SOCKET=/s",
                "FAIRSHARE_KIND=run",
                "FAIRSHARE_CPUS=2",
                "FAIRSHARE_MEM_BYTES=1048576",
            ])
        );
        let own = environment(outer.clone().into_iter(), Kind::Run(Some(9)), None, (2000, 1 << 20), None);
        assert!(own.contains(&CString::new("FAIRSHARE_JOB_ID=9").unwrap()), "{own:?}");
        let task = environment(outer.clone().into_iter(), Kind::Task(9, 0), Some(1), (2000, 1 << 20), None);
        for word in ["FAIRSHARE_JOB_ID=9", "FAIRSHARE_TASK=0", "FAIRSHARE_TRY=2"] {
            assert!(task.contains(&CString::new(word).unwrap()), "{task:?}");
        }
        let killed = HowEnded { state: "cancelled".to_owned(), exit_code: None, signal: Some(15) };
        let end = environment(outer.clone().into_iter(), Kind::Submit(9), None, (1, 1), Some(&killed));
        let said = |name: &str| {
            let text = end.iter().filter_map(|word| word.to_str().unwrap().split_once('='));
            text.filter(|(is, _)| *is == name).map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (said("FAIRSHARE_JOB_STATE"), said("FAIRSHARE_SIGNAL")),
            (vec!["cancelled".to_owned()], vec!["15".to_owned()])
        );
        assert_eq!(said("FAIRSHARE_EXIT_CODE"), Vec::<String>::new());
        let job = environment(outer.into_iter(), Kind::Submit(12), None, (2000, 1 << 30), None);
        assert_eq!(
            job,
            words(&[
                "PATH=/bin",
                "FAIRSHARE_SOCKET=/s",
                "FAIRSHARE_KIND=submit",
                "FAIRSHARE_JOB_ID=12",
                "FAIRSHARE_CPUS=2",
                "FAIRSHARE_MEM_BYTES=1073741824",
            ])
        );
    }

    #[test]
    fn cpus_are_whole_ones_of_which_there_is_always_one() {
        let cpus = |milli| variables(Kind::Run(None), None, (milli, 0), None)[4].1.clone().unwrap();
        assert_eq!([10, 250, 1000, 1001, 1500, 8000].map(cpus), ["1", "1", "1", "2", "2", "8"]);
    }
}
