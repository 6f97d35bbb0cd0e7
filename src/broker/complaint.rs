//! A fault that lasts, in the log.
//!
//! Owns: [`Complaint`]. Never: a line of the log.

use crate::clock;
use std::fmt::Display;
use std::time::Duration;
use tokio::time::Instant;

/// It is logged this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// What was logged last, and when.
#[derive(Debug, Default)]
pub struct Complaint(Option<(String, Instant)>);

impl Complaint {
    /// Whether this fault is to be logged: it is another one, or as old as that.
    pub fn is_due(&mut self, fault: &impl Display) -> bool {
        let (now, text) = (clock::timer(), fault.to_string());
        let is_known = self.0.as_ref().is_some_and(|(known, at)| {
            *known == text && now.saturating_duration_since(*at) < COMPLAIN_EVERY
        });
        if !is_known {
            self.0 = Some((text, now));
        }
        !is_known
    }

    /// It is over: the same fault is a new one.
    pub fn ends(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerFault;

    #[tokio::test(start_paused = true)]
    async fn the_same_fault_is_said_once_in_a_while_and_another_at_once() {
        let mut complaint = Complaint::default();
        assert!(complaint.is_due(&BrokerFault::Late) && !complaint.is_due(&BrokerFault::Late));
        assert!(complaint.is_due(&BrokerFault::Full) && complaint.is_due(&BrokerFault::Late));
        tokio::time::advance(COMPLAIN_EVERY).await;
        assert!(complaint.is_due(&BrokerFault::Late) && !complaint.is_due(&BrokerFault::Late));
        complaint.ends();
        assert!(complaint.is_due(&BrokerFault::Late));
    }
}
