//! fairshare.
