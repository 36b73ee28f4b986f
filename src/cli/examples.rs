//! What `--help` and fairshare(1) show by example.

pub const EXAMPLES: &str = "\
Examples:
  fairshare run --cpu 2 --mem 8G -- make -j4   work, in a share of its own
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

Memory never goes under what is in use: no program dies of this.";

pub const RENEW_EXAMPLES: &str = "\
Examples:
  fairshare renew --for 8h              held for eight more hours, counted from now";

pub const RELEASE_EXAMPLES: &str = "\
Examples:
  fairshare release                     refused while processes are inside
  fairshare release --stop              ends them: SIGTERM, ten seconds, SIGKILL";

pub const SUBMIT_EXAMPLES: &str = "\
Examples:
  fairshare submit -- make -j4                  output in fairshare-ID.out, in this folder
  fairshare submit --mem 4G --for 2h -- ./train  at most 4 GiB of the share, for two hours at most
  fairshare wait $(fairshare submit -- make)     ends as the command does

Where no share is held one is taken for the command, as soon as there is room, and given back at its end.
The command goes on after logout; `fairshare jobs` says how it ended, `fairshare cancel ID` ends it.";

pub const RUN_EXAMPLES: &str = "\
Examples:
  fairshare run -- make -j4
  fairshare run --cpu 2 --mem 8G -- ./simulate --steps 1000

Terminal, signals, environment and exit status are those of CMD, as if it had been started directly;
126 where it cannot be executed and 127 where it is not found, as a shell has it.
The share stays when CMD ends: `fairshare release` gives it back.";

pub const SHELL_EXAMPLES: &str = "\
Examples:
  fairshare shell                       everything started in it counts in the share
  echo make | fairshare shell           a script from standard input";

pub const ATTACH_EXAMPLES: &str = "\
Examples:
  fairshare attach 4711
  fairshare attach $(pgrep -u $USER python3)";

pub const POLICY_CHECK_EXAMPLES: &str = "\
Examples:
  fairshare policy check                the policy that is in force after the next reload
  fairshare policy check ./policy.d     one that is being written";

pub const ADMIN_EXAMPLES: &str = "\
Examples:
  fairshare admin resize --user alice --cpu 8
  fairshare admin release --user 1003 --stop
  fairshare admin reload
  fairshare admin drain                 before the machine goes down";

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

Endpoints and bodies are those of fairshare-protocol(7). After subscribe there are only events.";

pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  fairshare completions bash > ~/.local/share/bash-completion/completions/fairshare
  fairshare completions fish > ~/.config/fish/completions/fairshare.fish";
