//! What `--help` and fairshare(1) show by example.

pub const EXAMPLES: &str = "\
Examples:
  fairshare run --cpu 2 --mem 8G -- make -j4   take a share, and work in it
  fairshare status                             what is mine, and what is free
  fairshare request --cpu 4 --mem 16G          take a share now
  fairshare shell                              a shell inside it
  fairshare release                            give it back";

pub const REQUEST_EXAMPLES: &str = "\
Examples:
  fairshare request                     as much as the policy gives by default
  fairshare request --cpu 0.5 --mem 2G  half a CPU and 2 GiB
  fairshare request --cpu 8 --wait=1h   wait for room, for an hour at most
  fairshare request --for 90m           gone after 90 minutes, if nothing runs in it then

`fairshare policy show` says what the defaults are and what you may have at most.";

pub const RESIZE_EXAMPLES: &str = "\
Examples:
  fairshare resize --mem 12G            CPU and tasks stay as they are
  fairshare resize --job 17 --mem 12G   of a job that brought room of its own

Memory never goes under what is in use: no program dies of this. Page cache, which the kernel
takes back, is not in use.";

pub const RENEW_EXAMPLES: &str = "\
Examples:
  fairshare renew --for 8h              held for eight more hours, counted from now";

pub const RELEASE_EXAMPLES: &str = "\
Examples:
  fairshare release                     refused while processes are inside
  fairshare release --stop              ends them: SIGTERM, ten seconds, SIGKILL
  fairshare release --stop --job 17     the same for a job that brought room of its own";

pub const SUBMIT_EXAMPLES: &str = "\
Examples:
  fairshare submit -- make -j4                    output in fairshare-ID.out, in this folder
  fairshare submit --for 8h --mem 4G -- make -j4  for eight hours and with 4 GiB of memory at most
  fairshare submit --in-share -- ./step2          in the standing allocation, with what else is there
  fairshare submit --output log/%j.txt -- ./sweep.sh
  id=$(fairshare submit -- make) && fairshare wait $id
  fairshare submit --after $id -- make check      when that has ended with exit 0, and never where it has not
  fairshare submit --begin 2h --priority 90 -- ./nightly
  fairshare submit --for 8h --signal USR1@5m -- ./train   has five minutes to save what it has
  fairshare submit --array 1-100%4 -- ./sweep.sh  a hundred times, FAIRSHARE_TASK says which; four at a time
  fairshare submit --retry 3 -- ./fetch           again where it fails: after 1, 2 and 4 s; FAIRSHARE_TRY says which
  fairshare submit --notify 'mail -s \"job $FAIRSHARE_JOB_ID $FAIRSHARE_JOB_STATE\" $USER </dev/null' -- make
  fairshare submit --script sweep.sh 3            a script that says itself what it needs:

      #!/bin/bash
      #fairshare --cpu 4 --mem 8G --for 2h
      #fairshare --output log/%j.txt
      ./simulate --seed $1

What a script's comments say before its first command, the command line overrules. It is run as it
was when it was submitted, whatever becomes of the file, and $0 is no path in your folder.

With --cpu, --mem or --tasks it has room of its own, beside all else that you hold: taken as soon
as there is room, and given back at its end. Without them it runs in the standing allocation, and
where you hold none in room of its own by the policy's defaults; --own and --in-share say which.
All of yours together may have the policy's max: what is more than that waits until some of it is
over. Of commands and requests 1000 of yours can wait. In the standing allocation 256 commands can
be under way, and beside it 256 too.

The command goes on after logout, and when the daemon ends or is upgraded; a reboot interrupts
it, unless it was submitted with --requeue. Until it has begun, nothing of that takes its place from it; only where --input,
--output or --errors is a pipe or a terminal, or names a file in a user namespace, does it end
with the daemon. `fairshare jobs` says how it ended, `fairshare cancel ID` ends it.

With --after, --after-any, --begin or --hold it waits for that first, among the 1000 and out of the
queue, which it then joins as if it were submitted at that moment; it has room of its own. Where a
job of --after does not end with exit 0, it is cancelled, and so is what was to run after it.
--begin counts how long it is until then: setting the clock later does not move it. --priority and
`fairshare jobs --first` order your own only.

--signal is sent once, to the command itself and not to what it has started: to a script that is the
shell, whose trap runs when what it waits for has ended. One without a time limit is refused; who
has less time than that has it at the start; a paused command has it when it goes on. When the
kernel ends a process for want of memory it ends all of the job; with --oom continue that process
only, and `fairshare jobs`, `wait` and `history` say how many it was.

With --array it is one job that waits as one, with a task for each index (10,000 at most): each has
room of its own when there is some, FAIRSHARE_TASK, and an output of its own, fairshare-ID_N.out, %j
being ID_N. It is over when the last of them is, with the largest exit code; ID_N names one task.

With --retry it is run again where it ends with anything but 0, for want of memory, at its time limit,
or cannot be started, and not where somebody stops it; with --requeue where a reboot or a crash of
the machine interrupts it. It stays one job, and waits in its place for room; what it has left in
files is there, and its output goes at the end of what is there.

--notify has sh -c run a command of yours when all of the job has ended, before the job is over: in its
room, with its environment and in its folder, its output at the end of the job's, and told how it ended
(ENVIRONMENT). It has ten seconds, then SIGTERM, and SIGKILL ten seconds later; what it ends with changes
nothing, and `wait` and what comes --after wait for it. It is run once: after the last try with --retry
and --requeue, for each task of an array by itself, after a cancel too; not for a job that never ran, that
is cancelled while it waits for another try, or that goes down with the machine. A job with it has room of
its own, and no pipe or terminal; after the time limit that is what the job used then, and 16 MiB. Where the
daemon does not answer within five seconds it is not run, and the journal of the job's unit says so.

What it leaves behind in the background is a part of it: the job is over when all of that has
ended, and --for holds for that too. What it starts with su, `sudo -i` or `runuser -l` leaves the
job and the share; with `setpriv` and `runuser -u` it stays.

Arguments and environment go to the command only, and take 1 MiB together at most; no unit shows
them. It has the umask and the limits (`ulimit`) of this shell. XDG_RUNTIME_DIR is what it is now, and that folder goes with your last session unless
`loginctl enable-linger` keeps it.";

pub const JOBS_EXAMPLES: &str = "\
Examples:
  fairshare jobs                        places in the queue, what runs, and how the rest ended
  fairshare jobs --state queued,running what is not over
  fairshare jobs --json                 the same for programs, with all that is known
  fairshare jobs --hold 17,18           let these wait, whatever room there is; --release ends it
  fairshare jobs --first 19             before all others of mine that wait

What waits or runs is always there. Of the jobs that are over the last 1000 of each member are
kept; of all members together 4000: where there are more, the oldest of whoever has the most is
forgotten.

An expected start rests on leases and time limits; \"about\" says that it rests on how long commands
without one are likely to run, too. What waits for your own work to end has none: it is passed over
until you hold less, or have fewer commands at work.

--hold, --release and --first are about your own: what is held keeps no place in the queue, and has
that of what is submitted when it is released. What runs or is over cannot be changed.";

pub const OUTPUT_EXAMPLES: &str = "\
Examples:
  fairshare output 7           what job 7 has written so far
  fairshare output 19_3        what the task for index 3 of array 19 has
  fairshare output -f 7        the same, and what it writes until it has ended
  fairshare output 7 | tail    the end of it

It is the file that --output named, or fairshare-ID.out, as you may read it: with what others wrote
into it. What went to a pipe or a terminal is nowhere to be read again.";

pub const WAIT_EXAMPLES: &str = "\
Examples:
  fairshare wait 7
  id=$(fairshare submit -- make) && fairshare wait $id
  fairshare wait 7 8 9                  all of them, over one connection
  fairshare wait 19_3                   one task of an array, also where it is still to begin

It ends with the exit code of the job's command, of several with the largest, or with 128 and
the number of the signal that ended it. Where there is neither: 0 where the job was done, 75
where it was interrupted, could not be started or was out of time, 1 where it was cancelled or
stopped. What ends the waiting does not end the job. An index that the array does not have is
refused with 1, and so is a task that will not begin any more.";

pub const CANCEL_EXAMPLES: &str = "\
Examples:
  fairshare cancel 7                    SIGTERM, and SIGKILL after ten seconds
  fairshare cancel 7 8 9

Of a submitted command everything is ended, also what it left behind in the background. A
request gives up its place in the queue. It can be repeated: a job that is over stays as it is,
and how it ended is said. What waits for a file system that does not answer cannot be killed:
then that is said, and the job runs until it has ended.";

pub const PAUSE_EXAMPLES: &str = "\
Examples:
  fairshare pause 7                     nothing of job 7 runs until it is resumed
  fairshare pause 7 8 9
  fairshare pause 19_3 19_4             tasks of an array; `fairshare jobs --hold 19` for those to come

Submitted commands, and `fairshare run` and `shell` with room of their own, of yours. What they hold
stays theirs, memory too; while they stand still they use no CPU. Time goes on: --for of a command
and the lease of a share end when they would have ended, and `fairshare cancel` and `release --stop`
end what is paused as what runs. A restart of the daemon leaves it paused. It can be repeated.
Ctrl-C reaches a paused `run` when it is resumed, from another terminal. What waits is held with
`fairshare jobs --hold`.";

pub const RESUME_EXAMPLES: &str = "\
Examples:
  fairshare resume 7                    it goes on where it stood
  fairshare resume 7 8 9
  fairshare resume 19_3                 a task of an array

It can be repeated: what is not paused goes on as it does.";

pub const HISTORY_EXAMPLES: &str = "\
Examples:
  fairshare history --since 7d          what ended in the last week
  fairshare history --csv > mine.csv    all that is remembered, for a spreadsheet
  sudo fairshare history --all --json   everybody's, for programs

A request that waited and the allocation that it got are two lines. How long it is remembered is
the policy's: 400 days where it does not say (`history` in fairshare-policy(5)).";

pub const USAGE_EXAMPLES: &str = "\
Examples:
  fairshare usage                       mine, of the last 30 days
  fairshare usage --by day --since 7d   day by day (UTC)
  sudo fairshare usage --all --by group --csv

What ended in that time counts whole, on the day of its end; what is still held does not count
yet. Held is what was kept for its member, used is CPU time: where it is not known it counts
nothing. Who is in several groups counts in each of them.";

pub const EVENTS_EXAMPLES: &str = "\
Examples:
  fairshare events                      until it is ended, as with Ctrl-C
  fairshare events --json | grep --line-buffered '\"kind\":\"oom\"'

It follows again when the daemon was restarted, and says that something may be missing.";

pub const RUN_EXAMPLES: &str = "\
Examples:
  fairshare run -- make -j4
  fairshare run --cpu 2 --mem 8G -- ./simulate --steps 1000

Terminal, signals, environment and exit status are those of CMD, as if it had been started directly;
126 where it cannot be executed and 127 where it is not found, as a shell has it.
With --cpu, --mem or --tasks it has room of its own, beside all else that you hold, which goes with
the last process in it: nothing has to be given back. Without them it runs in the standing
allocation where you hold one, and else in room of its own as large as the policy's defaults.
Within a job or a `run` that has room of its own it stays in that.

su, `sudo -i` and `runuser -l` open a login, and what they start leaves the share; with `setpriv`
and `runuser -u` it stays. fairshare(1) has more under WHAT LEAVES THE SHARE.";

pub const SHELL_EXAMPLES: &str = "\
Examples:
  fairshare shell                       everything started in it counts in the share
  echo make | fairshare shell           a script from standard input";

pub const ATTACH_EXAMPLES: &str = "\
Examples:
  fairshare attach 4711
  fairshare attach $(pgrep -u $USER python3)
  fairshare attach --all                all of mine that `fairshare doctor` finds outside";

pub const DOCTOR_EXAMPLES: &str = "\
Examples:
  fairshare doctor                      my share, my logins, and what runs beside them
  sudo fairshare doctor                 everybody's

OUTSIDE is what neither a share nor a login of its member's holds, as cron's jobs are. `left` is in
the login of a member who has a share: held, but not by the share.";

pub const POLICY_CHECK_EXAMPLES: &str = "\
Examples:
  fairshare policy check                the policy that is in force after the next reload
  fairshare policy check ./policy.d     one that is being written";

pub const ADMIN_EXAMPLES: &str = "\
Examples:
  fairshare admin resize --user alice --cpu 8
  fairshare admin release --user 1003 --stop
  fairshare admin reload
  fairshare admin drain                 before the machine goes down
  fairshare admin dump | jq .past_use   whose turn is next, and why
  fairshare admin log debug             each question in the journal too";

pub const JSON_EXAMPLES: &str = "\
Examples, a line in and the line out:
  {\"type\":\"request_resources\",\"cpu\":4,\"mem\":\"16G\"}
  {\"type\":\"success\",\"message\":\"Resources allocated: 4 CPUs, 16G memory\"}
  {\"type\":\"status\"}
  {\"type\":\"status_info\",\"allocated_cpu\":4,\"allocated_mem\":\"16G\"}
  {\"type\":\"release\"}
  {\"type\":\"error\",\"error\":\"1 process is inside the share\",\"code\":6}
  {\"endpoint\":\"renew\",\"body\":{\"lease_ms\":3600000}}
  {\"ok\":{\"share\":{...}}}, or {\"err\":{\"code\":...,\"message\":...}}

Endpoints and bodies are those of fairshare-protocol(7). After subscribe there are only events.
A command that is submitted here reads and writes /dev/null: `fairshare submit` gives it files.";

pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  fairshare completions bash > ~/.local/share/bash-completion/completions/fairshare
  fairshare completions fish > ~/.config/fish/completions/fairshare.fish";
