//! Files that change under a running process.

mod kubelet;
mod served;
mod styles;
mod watch;
