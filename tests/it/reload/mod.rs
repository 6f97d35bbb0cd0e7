//! Files that change under a running process.

mod kubelet;
mod styles;
mod watch;
