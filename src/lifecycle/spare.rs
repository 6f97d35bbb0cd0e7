//! Work in the time that nobody else wants.
//!
//! Owns: [`Spare`], which runs one job at a time on a thread that the kernel lets run where a core
//! would be idle otherwise (SCHED_IDLE, sched(7)), while whoever asked waits. Never: what a job is.
//!
//! Invariant: [`Spare::run`] ends as soon as the job would have ended with the asking thread's
//! priority, but for a factor: a job that since its start had less of a core than it is owed is
//! given up, and done once more by who asked. It is not raised instead, since without privileges no
//! thread leaves SCHED_IDLE. What was given up ends when it gets the time, and what comes of it is
//! dropped; until then every job is done by who asks, and the next one in any case, for it is as
//! urgent and would fare no better.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// When a job is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpareSettings {
    /// How often the asking thread looks how its job gets on.
    pub look_every: Duration,
    /// Looks before one may end it: a thread that has just begun has had nothing.
    pub looks_min: u32,
    /// What a job is owed of a core since its start, in percent.
    pub owed_percent: u32,
}

/// See the module. One a thread that asks.
#[derive(Debug, Default)]
pub struct Spare {
    settings: SpareSettings,
    /// The job that was given up, as long as it goes on.
    straggler: Mutex<Option<JoinHandle<()>>>,
}

/// Tells a job that nobody waits for it any more.
#[derive(Debug, Default)]
pub struct GivenUp(AtomicBool);

/// How a job gets on.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    looks: u32,
}

// === impl SpareSettings ===

impl Default for SpareSettings {
    /// Less than half a core is less than a thread that is a little nicer than the workers gets of
    /// a busy machine, and what takes 1.5 s of a core would take more than 3 s.
    fn default() -> Self {
        Self { look_every: Duration::from_millis(100), looks_min: 3, owed_percent: 50 }
    }
}

// === impl GivenUp ===

impl GivenUp {
    /// Whether what the job makes is dropped: it may end with anything.
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Progress ===

impl Progress {
    /// One more look: whether a job that had so much CPU time is given up.
    fn is_starved(&mut self, cpu: Duration, settings: &SpareSettings) -> bool {
        self.looks = self.looks.saturating_add(1);
        let passed = settings.look_every.saturating_mul(self.looks);
        let owed = passed.saturating_mul(settings.owed_percent).checked_div(100);
        self.looks >= settings.looks_min && cpu < owed.unwrap_or_default()
    }
}

// === impl Spare ===

impl Spare {
    pub fn new(settings: SpareSettings) -> Self {
        Self { settings, straggler: Mutex::default() }
    }

    /// What the job gives. It may be called once more while the first call goes on.
    pub fn run<T, F>(&self, job: F) -> T
    where
        T: Send + 'static,
        F: Fn(&GivenUp) -> T + Send + Sync + 'static,
    {
        let job = Arc::new(job);
        self.aside(&job).unwrap_or_else(|| job(&GivenUp::default()))
    }

    /// `None`: it is to be done by who asks.
    fn aside<T, F>(&self, job: &Arc<F>) -> Option<T>
    where
        T: Send + 'static,
        F: Fn(&GivenUp) -> T + Send + Sync + 'static,
    {
        let mut straggler = self.straggler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = straggler.take() {
            if !thread.is_finished() {
                *straggler = Some(thread);
            }
            return None;
        }
        let given_up = Arc::new(GivenUp::default());
        let id = Arc::new(AtomicI32::new(0));
        let (done, result) = sync_channel(1);
        let thread = start(Arc::clone(job), Arc::clone(&given_up), Arc::clone(&id), done)?;
        let mut progress = Progress::default();
        loop {
            match result.recv_timeout(self.settings.look_every) {
                Ok(made) => return Some(made),
                // it panicked, as it will again where somebody sees it
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let id = id.load(Ordering::Acquire);
            if !waits_for_disk(id) && progress.is_starved(cpu_time(id), &self.settings) {
                given_up.0.store(true, Ordering::Relaxed);
                *straggler = Some(thread);
                return None;
            }
        }
    }
}

/// By `spare`, where there is one; else here.
pub fn run<T, F>(spare: Option<&Spare>, job: F) -> T
where
    T: Send + 'static,
    F: Fn(&GivenUp) -> T + Send + Sync + 'static,
{
    match spare {
        Some(spare) => spare.run(job),
        None => job(&GivenUp::default()),
    }
}

/// `None`: there is no thread to be had.
fn start<T, F>(
    job: Arc<F>,
    given_up: Arc<GivenUp>,
    id: Arc<AtomicI32>,
    done: SyncSender<T>,
) -> Option<JoinHandle<()>>
where
    T: Send + 'static,
    F: Fn(&GivenUp) -> T + Send + Sync + 'static,
{
    let body = move || {
        id.store(nix::unistd::gettid().as_raw(), Ordering::Release);
        yield_to_all();
        let made = job(&given_up);
        drop(job);
        // who asked may have done it meanwhile
        let _ = done.send(made);
    };
    Builder::new().name("gavel-spare".to_owned()).spawn(body).ok()
}

/// Lets this thread run where a core would be idle. Where that is not to be had it goes on as it
/// is: at the priority of who asked.
fn yield_to_all() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // It fails where it may not set the niceness, which is of no account then: the policy is set.
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
}

/// Whether a thread of this process waits for a disk: it wants no core then.
fn waits_for_disk(id: i32) -> bool {
    let told = fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
    is_in_disk_sleep(&told)
}

/// By the line of `/proc/[pid]/stat`: the state stands behind the name, which may have anything in it
/// (proc_pid_stat(5)).
fn is_in_disk_sleep(line: &str) -> bool {
    line.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('D'))
}

/// CPU time of a thread of this process, by the scheduler's account; none where it does not say.
fn cpu_time(id: i32) -> Duration {
    let told = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).unwrap_or_default();
    let ns = told.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    Duration::from_nanos(ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thread_priority::thread_schedule_policy;

    fn is_aside() -> bool {
        std::thread::current().name() == Some("gavel-spare")
    }

    #[test]
    fn a_job_runs_where_a_core_would_be_idle_and_leaves_the_asking_thread_as_it_is() {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        // however busy the machine is, it is not given up
        let patient = SpareSettings { owed_percent: 0, ..SpareSettings::default() };
        let policy = Spare::new(patient).run(|_| thread_schedule_policy().unwrap());
        assert_eq!(policy, idle);
        assert_ne!(thread_schedule_policy().unwrap(), idle);
    }

    #[test]
    fn a_job_that_gets_nothing_is_done_by_who_asked_and_so_are_others_until_it_ends() {
        let spare = Spare::default();
        let (ended, wait) = sync_channel::<()>(0);
        let wait = Mutex::new(wait);
        let gave_up = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&gave_up);
        // aside it only waits, so that it has no CPU time, until this test lets it end
        let place = spare.run(move |given_up| {
            if is_aside() {
                let _ = wait.lock().unwrap().recv();
                told.store(given_up.is_so(), Ordering::Release);
            }
            is_aside()
        });
        assert!(!place, "who asked did it");
        assert!(!spare.run(|_| is_aside()), "no second one is started beside it");
        drop(ended);
        let has_ended =
            || spare.straggler.lock().unwrap().as_ref().is_none_or(JoinHandle::is_finished);
        while !has_ended() {
            std::thread::yield_now();
        }
        assert!(gave_up.load(Ordering::Acquire), "it was told");
        assert!(!spare.run(|_| is_aside()), "nor is the next one");
        let patient = SpareSettings { owed_percent: 0, ..SpareSettings::default() };
        assert!(Spare { settings: patient, ..spare }.run(|_| is_aside()));
    }

    #[test]
    fn a_job_is_given_up_once_it_had_less_than_it_is_owed() {
        let settings = SpareSettings::default();
        let ms = Duration::from_millis;
        // CPU time at each look, and at which look it is given up
        for (cpu, given_up) in [
            (&[0, 0, 0][..], Some(3)),
            // the first looks alone say nothing
            (&[0, 0, 150, 199], Some(4)),
            (&[100, 200, 200, 200, 200], Some(5)),
            (&[50, 100, 150, 200], None),
            (&[100, 200, 300, 400, 500], None),
        ] {
            let mut progress = Progress::default();
            let at = cpu.iter().position(|cpu| progress.is_starved(ms(*cpu), &settings));
            assert_eq!(at.map(|at| at + 1), given_up, "{cpu:?}");
        }
    }

    #[test]
    fn a_job_that_waits_for_a_disk_is_told_from_one_that_waits_for_a_core() {
        for (line, waits) in [
            ("7 (gavel-spare) D 1 7 7 0 -1", true),
            ("7 (gavel-spare) R 1 7 7 0 -1", false),
            ("7 (a) D) S 1 7 7 0 -1", false),
            ("", false),
        ] {
            assert_eq!(is_in_disk_sleep(line), waits, "{line}");
        }
    }

    #[test]
    fn a_job_that_panics_aside_is_done_by_who_asked() {
        let made = Spare::default().run(|_| {
            assert!(!is_aside(), "as a damaged file might");
            7
        });
        assert_eq!(made, 7);
    }
}
