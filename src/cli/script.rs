//! A script whose submission is described in the script itself, by lines as batch systems have them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::{Args as _, FromArgMatches as _};

use super::args::Submit;
use super::exit::{Exit, Failure};
use super::usage;

/// What begins a line with options of the submission; a space, and options as they are typed, follow.
const MARK: &[u8] = b"#fairshare";

/// A script has at most so many bytes: it goes in one message with the environment, which has 1 MiB.
const SCRIPT_BYTES_MAX: usize = 512 << 10;

/// In place of a file's name: standard input.
const STANDARD_INPUT: &str = "-";

/// A script, and what it says of its submission.
pub struct Script {
    /// All of it, without a NUL.
    pub text: Vec<u8>,
    /// The options of its lines.
    pub options: Submit,
}

/// Reads a script, and the options in the comments before its first command (sbatch(1) has it so).
///
/// # Errors
/// It cannot be read, is none, or has an option that `submit` does not have: its line is named.
pub fn read(path: &Path) -> Result<Script, Failure> {
    let unread = |why: &str| Failure::new(Exit::REFUSED, format!("{}: {why}", path.display()));
    let opened: io::Result<Box<dyn Read>> = match path.to_str() {
        Some(STANDARD_INPUT) => Ok(Box::new(io::stdin())),
        _ => File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let mut text = Vec::new();
    // One byte more than allowed, so that what is too large is seen to be.
    let most = u64::try_from(SCRIPT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    opened
        .and_then(|from| from.take(most).read_to_end(&mut text))
        .map_err(|error| unread(&format!("cannot be read: {error}")))?;
    if text.len() > SCRIPT_BYTES_MAX {
        let message = format!("has more than {} KiB, which no script may have", SCRIPT_BYTES_MAX >> 10);
        return Err(unread(&message).hint("have it start a file that has the rest"));
    }
    if text.is_empty() {
        return Err(unread("has nothing in it").hint("`--script FILE` names a script"));
    }
    if text.contains(&0) {
        return Err(unread("is no script: it has a NUL in it")
            .hint(format!("`fairshare submit -- {}` runs a program", path.display())));
    }
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.starts_with(b"#!") && first.ends_with(b"\r") {
        let hint = format!("`sed -i 's/\\r$//' {}` makes them lines of this system", path.display());
        return Err(unread("has the lines of another system, that end with a carriage return").hint(hint));
    }
    let options = options(&text, path)?;
    Ok(Script { text, options })
}

/// What runs a script, with its own first line's argument where it has one, as the kernel reads that line (execve(2)). A script
/// that names nothing is run by a shell, as one's own shell does it.
pub fn interpreter(text: &[u8]) -> Vec<&[u8]> {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let named = first.strip_prefix(b"#!").unwrap_or_default().trim_ascii();
    let end = named.iter().position(u8::is_ascii_whitespace).unwrap_or(named.len());
    let (program, argument) = named.split_at(end);
    let words = [program, argument.trim_ascii()].into_iter().filter(|word| !word.is_empty());
    let words: Vec<&[u8]> = words.collect();
    if words.is_empty() { vec![b"/bin/sh"] } else { words }
}

/// The options of all lines that have some.
fn options(text: &[u8], path: &Path) -> Result<Submit, Failure> {
    let wrong = |line: usize, failure: Failure| {
        let message = format!("{}:{line}: {}", path.display(), failure.message);
        Failure { message, exit: Exit::USAGE, ..failure }
    };
    let mut all = Vec::new();
    let mut last = 1;
    for (number, words) in marked(text) {
        let words = words.map_err(|why| wrong(number, Failure::new(Exit::USAGE, why)))?;
        // Each line first by itself, so that the wrong one is named.
        parsed(&words).map_err(|failure| wrong(number, failure))?;
        all.extend(words);
        last = number;
    }
    parsed(&all).map_err(|failure| wrong(last, failure))
}

/// Options as they are typed, and nothing else.
fn parsed(words: &[String]) -> Result<Submit, Failure> {
    let described = Submit::augment_args(clap::Command::new("fairshare submit")).disable_help_flag(true);
    // A script is what a submission has in place of a command, and has one only.
    let line =
        ["fairshare submit", "--script", STANDARD_INPUT].into_iter().chain(words.iter().map(String::as_str));
    let mut matches = described
        .try_get_matches_from(line)
        .map_err(|error| usage::failure(&error.render().to_string(), "fairshare submit"))?;
    let options = Submit::from_arg_matches_mut(&mut matches)
        .map_err(|error| usage::failure(&error.render().to_string(), "fairshare submit"))?;
    let Some(word) = options.command.first() else { return Ok(options) };
    Err(Failure::new(Exit::USAGE, format!("{} is no option", word.display()))
        .hint("a line has options of `fairshare submit`; what comes after # on it is a comment"))
}

/// The lines that have options, by their numbers, as a shell would part them into words; up to the first line of the script that is
/// no comment.
fn marked(text: &[u8]) -> impl Iterator<Item = (usize, Result<Vec<String>, String>)> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let comments = lines.take_while(|(line, _)| line.is_empty() || line.starts_with(b"#"));
    comments.filter_map(|(line, number)| {
        let rest = line.strip_prefix(MARK)?;
        // Another word that begins so is a comment.
        if !rest.first().is_none_or(u8::is_ascii_whitespace) {
            return None;
        }
        let words = str::from_utf8(rest).ok().map(|text| shlex::split(text).ok_or("a quote has no end"));
        Some((number, words.unwrap_or(Err("it is not UTF-8")).map_err(str::to_owned)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(usize, Vec<String>)> {
        marked(text.as_bytes()).map(|(line, words)| (line, words.unwrap())).collect()
    }

    #[test]
    fn options_stand_in_comments_before_the_first_command() {
        let script = "#!/bin/bash\n# words\n\n  #fairshare --cpu 2 # two\n#fairshares --cpu 9\n#fairshare\t--name 'a b'\r\n\
                      echo\n#fairshare --cpu 3\n";
        let found = words(script);
        assert_eq!(found, [(4, vec!["--cpu".into(), "2".into()]), (6, vec!["--name".into(), "a b".into()])]);
        let quote = marked(b"#fairshare --name 'a").next().unwrap();
        assert_eq!(quote, (1, Err("a quote has no end".to_owned())));
        assert!(marked(b"#fairshare --name \xff").next().unwrap().1.is_err());
    }

    #[test]
    fn a_wrong_option_is_told_with_its_line() {
        let of = |text: &str| options(text.as_bytes(), Path::new("job.sh"));
        assert_eq!(of("#!/bin/sh\n#fairshare --cpu 2\n").unwrap().figures.cpu.unwrap().0, 2000);
        for (text, says) in [
            (
                "#!/bin/sh\n#fairshare --cpu 2\n#fairshare --cup 2",
                "job.sh:3: unexpected argument '--cup' found",
            ),
            (
                "#fairshare --cpu 2\n#fairshare --cpu 3",
                "job.sh:2: the argument '--cpu <N>' cannot be used multiple times",
            ),
            ("#fairshare 4", "job.sh:1: 4 is no option"),
            (
                "#fairshare --script x",
                "job.sh:1: the argument '--script <FILE>' cannot be used multiple times",
            ),
            ("#fairshare --help", "job.sh:1: unexpected argument '--help' found"),
        ] {
            let failure = of(text).err().unwrap();
            assert_eq!((failure.message.as_str(), failure.exit), (says, Exit::USAGE), "{text}");
        }
    }

    #[test]
    fn the_first_line_says_what_runs_it_as_the_kernel_has_it() {
        for (text, words) in [
            ("#!/bin/bash\nx", vec!["/bin/bash"]),
            ("#! /usr/bin/env  python3 -u \nx", vec!["/usr/bin/env", "python3 -u"]),
            ("echo", vec!["/bin/sh"]),
            ("#!\necho", vec!["/bin/sh"]),
            ("", vec!["/bin/sh"]),
        ] {
            let words: Vec<&[u8]> = words.into_iter().map(str::as_bytes).collect();
            assert_eq!(interpreter(text.as_bytes()), words, "{text}");
        }
    }
}
