//! What a command waits for before it starts, and before which others, as it is typed.

use std::time::Duration;

use clap::ArgGroup;

use super::array::{self, Named};
use super::exit::{Exit, Failure};
use super::link::Link;
use super::render;
use super::typed::Moment;
use super::whom;
use crate::contract::{AFTER_MAX, JobAlter, JobInfo, Submit, WaitsFor};
use crate::quantity::Priority;

/// How many of the jobs that are waited for are named to a person.
const AFTER_SHOWN_MAX: usize = 4;

/// What a command waits for before it waits for room.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Conditions {
    /// Start it when these jobs of yours have ended with exit 0; where one does not, it never runs
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    pub after: Vec<Named>,
    /// Start it when these jobs of yours have ended, in whatever way
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    pub after_any: Vec<Named>,
    /// Start it at this time or later: 2h, "2030-12-01 08:00", or with a Z at its end in UTC
    #[arg(long, value_name = "TIME")]
    pub begin: Option<Moment>,
    /// Start it no sooner than `fairshare jobs --release` says
    #[arg(long)]
    pub hold: bool,
    /// Before which of your own that wait it goes, 0 to 100: the more the sooner [default: 50]
    #[arg(long, value_name = "N")]
    pub priority: Option<Priority>,
}

/// What becomes of jobs that wait.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(group = ArgGroup::new("alteration").args(["hold", "release", "first"]).conflicts_with_all(["all", "states", "json"]))]
pub struct Alteration {
    /// Hold these, so that they wait apart from the queue
    #[arg(long, value_name = "ID,...", value_delimiter = ',', num_args = 1..)]
    pub hold: Vec<Named>,
    /// Release these: they join the queue, at the end of what is as urgent of yours
    #[arg(long, value_name = "ID,...", value_delimiter = ',', num_args = 1..)]
    pub release: Vec<Named>,
    /// Put these before all else of yours that waits, the first that is named in front
    #[arg(long, value_name = "ID,...", value_delimiter = ',', num_args = 1..)]
    pub first: Vec<Named>,
}

impl Conditions {
    /// The option by which something is waited for, where there is one.
    fn named(&self) -> Option<&'static str> {
        let named = [
            ("--after", !self.after.is_empty()),
            ("--after-any", !self.after_any.is_empty()),
            ("--begin", self.begin.is_some()),
            ("--hold", self.hold),
        ];
        named.into_iter().find(|(_, named)| *named).map(|(option, _)| option)
    }

    /// Whether they can be with the rest of the command line.
    ///
    /// # Errors
    /// They cannot, and why.
    pub fn checked(&self, no_wait: bool, in_share: bool) -> Result<(), Failure> {
        let wrong = |message: String, hint: &str| Err(Failure::new(Exit::USAGE, message).hint(hint));
        for (option, ids) in [("--after", &self.after), ("--after-any", &self.after_any)] {
            if ids.len() > AFTER_MAX {
                let message = format!("{option} names {} jobs, and {AFTER_MAX} are the most", ids.len());
                return wrong(
                    message,
                    "have a job of its own wait for some of them: `submit --after ... -- true`",
                );
            }
        }
        if let Some(begin) = self.begin
            && begin.ms(u64::MAX) <= render::now_ms()
        {
            return wrong(
                "--begin names a time that is over".to_owned(),
                "leave --begin out to start it at once",
            );
        }
        match (self.named(), no_wait, in_share) {
            (Some(option), true, _) => wrong(
                format!(
                    "--no-wait cannot be with {option}: whether there is room is not known before it is to start"
                ),
                "leave --no-wait out",
            ),
            (Some(option), _, true) => wrong(
                format!(
                    "--in-share cannot be with {option}: nobody knows whether you hold a standing allocation when it is to start"
                ),
                "leave --in-share out: the command has room of its own then, as large as --cpu and --mem say",
            ),
            _ => Ok(()),
        }
    }

    /// The same, where what was not said is as the `other` says it.
    pub fn or(self, other: Self) -> Self {
        let Self { after, after_any, begin, hold, priority } = self;
        let ids = |own: Vec<Named>, others| if own.is_empty() { others } else { own };
        Self {
            after: ids(after, other.after),
            after_any: ids(after_any, other.after_any),
            begin: begin.or(other.begin),
            hold: hold || other.hold,
            priority: priority.or(other.priority),
        }
    }

    /// Puts them in what is submitted.
    ///
    /// # Errors
    /// A task is named that is none or has not begun, or no daemon answers.
    pub fn put_in(&self, submission: &mut Submit, link: &mut Link) -> Result<(), Failure> {
        let mut ids = |named: &[Named]| {
            let ids = array::all_numbers(link, named)?;
            Ok(Some(ids).filter(|ids| !ids.is_empty()))
        };
        submission.after = ids(&self.after)?;
        submission.after_any = ids(&self.after_any)?;
        submission.begin_ms = self.begin.map(|begin| begin.ms(render::now_ms()));
        submission.hold = self.hold.then_some(true);
        submission.priority = self.priority.map(Priority::number);
        Ok(())
    }
}

impl Alteration {
    /// What becomes of which, in the order in which it is done; the calls are still to be told the jobs' numbers.
    pub fn changes(&self) -> Vec<(Named, JobAlter)> {
        let hold = self.hold.iter().map(|job| (*job, JobAlter { hold: Some(true), ..JobAlter::default() }));
        let release =
            self.release.iter().map(|job| (*job, JobAlter { hold: Some(false), ..JobAlter::default() }));
        // The last that is put first is in front.
        let first = self.first.iter().rev();
        let first = first.map(|job| (*job, JobAlter { first: Some(true), ..JobAlter::default() }));
        hold.chain(release).chain(first).collect()
    }
}

/// Where a queued job stands: `place 2, starts in 5m`, or `in about 5m, when job 17 ends`, or what of its member's own it waits for;
/// or what it waits for before it is in the queue.
pub fn place(job: &JobInfo, now_ms: u64) -> String {
    let place = place_for(job, job.uid == whom::own_uid(), now_ms);
    match try_of(job) {
        Some(which) => {
            let last = job.again.as_ref().and_then(|again| again.last.as_deref());
            let last = last.map_or(String::new(), |last| format!("; the last {}", render::safe(last)));
            format!("{which}: {place}{last}")
        }
        None => place,
    }
}

/// Which try of a job it is, where it was tried before: `try 2`, or `try 2 of 4`.
pub fn try_of(job: &JobInfo) -> Option<String> {
    let again = job.again.as_ref().filter(|again| again.tries > 0)?;
    let which = again.tries.saturating_add(1);
    Some(match again.retry {
        0 => format!("try {which}"),
        // Where it is interrupted as well there are more.
        retry => format!("try {which} of {}", which.saturating_add(retry.saturating_sub(again.failed))),
    })
}

/// The same, for who reads it: the job's own member, or another.
fn place_for(job: &JobInfo, own: bool, now_ms: u64) -> String {
    if let (Some(waits_for), None) = (&job.waits_for, job.place) {
        return shown(waits_for, now_ms);
    }
    let about = if job.about == Some(true) { "about " } else { "" };
    let after = job.starts_after.map_or(String::new(), |job| format!(", when job {job} ends"));
    let starts = job.starts_ms.map(|ms| {
        let left = render::span(Duration::from_millis(ms.saturating_sub(now_ms)));
        format!("starts in {about}{left}{after}")
    });
    let waits = job.waits_for.as_ref().filter(|_| starts.is_none());
    let waits = waits.and_then(|waits_for| in_line(waits_for, own));
    let place = job.place.map(|place| format!("place {place}"));
    place.into_iter().chain(starts).chain(waits).collect::<Vec<_>>().join(", ")
}

/// What a job in the queue waits for.
fn in_line(waits_for: &WaitsFor, own: bool) -> Option<String> {
    let (whose, they) = if own { ("your", "you") } else { ("its member's", "they") };
    let max = format!("with it {they} would hold more than {they} may");
    let running = format!("as many commands are at work as {they} may have");
    let whys = [(waits_for.max, max), (waits_for.running, running)];
    let whys: Vec<String> =
        whys.into_iter().filter(|(so, _)| *so == Some(true)).map(|(_, why)| why).collect();
    if whys.is_empty() {
        return (waits_for.room == Some(true)).then(|| "waits for room".to_owned());
    }
    Some(format!("waits for {whose} own work to end: {}", whys.join(", and ")))
}

/// What a job waits for before it waits for room: `held`, `after 17, 18`, `begins in 2h`.
fn shown(waits_for: &WaitsFor, now_ms: u64) -> String {
    let mut parts = Vec::new();
    if waits_for.hold == Some(true) {
        parts.push("held".to_owned());
    }
    if let Some(after) = waits_for.after.as_ref().filter(|after| !after.is_empty()) {
        let named: Vec<String> = after.iter().take(AFTER_SHOWN_MAX).map(u64::to_string).collect();
        let more = after.len().saturating_sub(AFTER_SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        parts.push(format!("after {}{more}", named.join(", ")));
    }
    if waits_for.last_try == Some(true) && waits_for.begin_ms.is_none() {
        parts.push("waits for what is left of its last try to go".to_owned());
    }
    if let Some(begin_ms) = waits_for.begin_ms {
        let left = Duration::from_millis(begin_ms.saturating_sub(now_ms));
        parts.push(format!("begins in {}", render::span(left)));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_waits_for_is_said_in_one_line() {
        let waits_for = WaitsFor {
            after: Some(vec![17, 18]),
            begin_ms: Some(7_201_000),
            hold: Some(true),
            ..WaitsFor::default()
        };
        assert_eq!(shown(&waits_for, 1000), "held; after 17, 18; begins in 2h");
        assert_eq!(shown(&WaitsFor { begin_ms: Some(1), ..WaitsFor::default() }, 1000), "begins in 0s");
        let many = WaitsFor { after: Some((1..=32).collect()), ..WaitsFor::default() };
        assert_eq!(shown(&many, 0), "after 1, 2, 3, 4 and 28 more");
    }

    #[test]
    fn a_job_that_is_tried_again_says_which_try_it_is_and_how_the_last_ended() {
        let said = |keys: &str| {
            let job =
                format!(r#"{{"job_id":18,"uid":1,"kind":"submit","state":"queued","created_ms":0{keys}}}"#);
            place(&serde_json::from_str(&job).unwrap(), 1000)
        };
        let again = |keys: &str| format!(r#","again":{{"requeue":true,{keys}}}"#);
        let twice = again(r#""retry":3,"failed":1,"tries":2,"last":"was interrupted""#);
        for (keys, text) in [
            (
                format!(r#"{twice},"waits_for":{{"begin_ms":5000,"last_try":true}}"#),
                "try 3 of 5: begins in 4s; the last was interrupted",
            ),
            (
                format!(r#"{twice},"waits_for":{{"last_try":true}}"#),
                "try 3 of 5: waits for what is left of its last try to go; the last was interrupted",
            ),
            (format!(r#"{twice},"place":2"#), "try 3 of 5: place 2; the last was interrupted"),
            (again(r#""retry":0,"failed":0,"tries":1"#) + r#","place":1"#, "try 2: place 1"),
            (again(r#""retry":3,"failed":0,"tries":0"#) + r#","place":1"#, "place 1"),
        ] {
            assert_eq!(said(&keys), text);
        }
    }

    #[test]
    fn where_a_job_stands_is_said_with_what_it_waits_for() {
        let said = |keys: &str, own| {
            let job = format!(
                r#"{{"job_id":18,"uid":1,"kind":"submit","state":"queued","created_ms":0,"place":2{keys}}}"#
            );
            place_for(&serde_json::from_str(&job).unwrap(), own, 1000)
        };
        let (max, running) = (r#","waits_for":{"max":true}"#, r#","waits_for":{"running":true}"#);
        for (keys, text) in [
            ("", "place 2"),
            (r#","starts_ms":6481000,"waits_for":{"room":true}"#, "place 2, starts in 1h 48m"),
            (
                r#","starts_ms":6481000,"about":true,"starts_after":17"#,
                "place 2, starts in about 1h 48m, when job 17 ends",
            ),
            (r#","waits_for":{"room":true}"#, "place 2, waits for room"),
            (max, "place 2, waits for your own work to end: with it you would hold more than you may"),
            (
                running,
                "place 2, waits for your own work to end: as many commands are at work as you may have",
            ),
        ] {
            assert_eq!(said(keys, true), text);
        }
        assert_eq!(
            said(r#","waits_for":{"max":true,"running":true}"#, false),
            "place 2, waits for its member's own work to end: with it they would hold more than they may, \
             and as many commands are at work as they may have"
        );
    }
}
