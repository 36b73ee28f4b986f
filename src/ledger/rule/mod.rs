//! What members may do, one file a rule: what becomes of the command, and what it is refused for.

mod alter;
mod cancel;
mod enter;
mod lease;
mod pause;
mod release;
mod renew;
mod request;
mod resize;
mod run;
mod submit;
