//! Files that change under a running process.

mod kept;
mod kubelet;
mod served;
mod styles;
mod watch;
