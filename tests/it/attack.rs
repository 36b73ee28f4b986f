//! The daemon and its worst clients: while each of them does what it can, another member is served, and when it is
//! over the daemon is as it was. The daemon is the real one, as a process, against the stand-in of systemd.
//!
//! `FAIRSHARE_CONNECTIONS=1000000` and `FAIRSHARE_SENDS=100000` make more of two of them.

mod daemon;
mod hoard;
mod peer;
mod storm;
mod text;
