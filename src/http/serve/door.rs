//! Whether a request is let in, by its head alone, and what is answered to who is not.
//!
//! Owns: [`Asked`], the order in which a head is looked at, the count of who is turned away. Never:
//! a byte of the body, a wait.
//! Invariant: a request is in a count, or its count is owed, from the moment at which hyper hands it
//! over: where its client has closed already, what would answer it is dropped before it is polled.

use crate::arrival::{Arrival, BrowserSignals};
use crate::correlation::Correlation;
use crate::http::connection::Line;
use crate::http::events::EventDesk;
use crate::http::gates::Owed;
use crate::http::head::{self, Content};
use crate::http::reply::{self, Reply, Styles};
use crate::http::serve::Front;
use crate::http::{Denial, Road};
use crate::limits::admission::Permit;
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::PartnerId;
use crate::snapshot::Held;
use crate::telemetry::slots::UNKNOWN;
use http::header::{HeaderValue, ORIGIN};
use http::request::Parts;
use std::net::IpAddr;
use std::time::Instant;

/// Where a buyer finds the document that says whose inventory we sell (sellers.json 1.0).
const SELLERS: &str = "/sellers.json";

/// A request whose head has been looked at.
pub struct Asked {
    /// The origin of the web page that calls, where it may.
    pub page: Option<HeaderValue>,
    pub correlation: Correlation,
    /// Whose it is, where that is known.
    pub known: Option<(Held, PartnerId)>,
    pub judged: Judged,
}

/// What becomes of it.
pub enum Judged {
    Admitted(Admitted),
    Turned(Turned),
}

/// A request that may have its body read.
pub struct Admitted {
    pub snapshot: Held,
    pub arrival: Arrival,
    pub styles: Styles,
    pub owed: Owed,
    pub permit: Permit,
    pub content: Content,
}

/// A request that is answered without its body.
pub struct Turned {
    pub denial: Denial,
    pub reply: Reply,
    /// Its answer is to be kept back for a moment.
    pub is_to_wait: bool,
}

/// When a request came, its number, and what it is called.
type Came = (Instant, u64, Correlation);

impl<R: Road> Front<R> {
    /// Looks at the head of a request that is no event; counts who is turned away.
    pub(super) fn ask(&self, parts: &Parts, at: Instant, line: &Line) -> Asked {
        let page = self.page(parts);
        let serial = self.next_serial();
        let correlation = self.correlator.of(&parts.headers, (serial, at), self.gates.cells());
        let came = (at, serial, correlation.clone());
        let (known, admitted) = match self.identify(parts, line) {
            Ok((snapshot, partner, client)) => {
                let known = (snapshot, partner);
                let admitted = self.admit(parts, (&known, client), page.is_some(), came);
                (Some(known), admitted)
            }
            Err(denial) => (None, Err(denial)),
        };
        let judged = match admitted {
            Ok(admitted) => Judged::Admitted(admitted),
            Err(denial) => {
                let reply = self.reply_to(denial, parts, page.is_some(), line);
                let is_to_wait = self.gates.is_to_wait(denial, at);
                Judged::Turned(Turned { denial, reply, is_to_wait })
            }
        };
        Asked { page, correlation, known, judged }
    }

    /// The origin of the web page that calls, where it may; a server names none.
    fn page(&self, parts: &Parts) -> Option<HeaderValue> {
        if !parts.headers.contains_key(ORIGIN) {
            return None;
        }
        head::page_of(parts, &*self.latest.take()?).cloned()
    }

    /// Framing, route, snapshot, partner, key, source range; in this order. With the address of who
    /// sends it.
    fn identify(&self, parts: &Parts, line: &Line) -> Result<(Held, PartnerId, IpAddr), Denial> {
        if let Some(ambiguity) = line.watch.lines.ambiguity() {
            return Err(Denial::Ambiguous(ambiguity));
        }
        let head = head::read(parts, &self.settings)?;
        let snapshot = self.latest.take().ok_or_else(|| self.stranger(Refusal::NotReady))?;
        self.tap.follow(&snapshot);
        let client = head::client_of(parts, line.peer, &self.settings);
        let partner = head::identify(&head, &snapshot, client).map_err(|why| self.stranger(why))?;
        line.watch.was_authorised();
        Ok((snapshot, partner, client))
    }

    /// QPS, permit, then what the head says of the body, and room for that; in this order.
    fn admit(
        &self,
        parts: &Parts,
        (known, client): (&(Held, PartnerId), IpAddr),
        is_page: bool,
        (at, serial, correlation): Came,
    ) -> Result<Admitted, Denial> {
        let (snapshot, partner) = known;
        let agreed = snapshot.partner(*partner);
        let styles = agreed.map_or(Styles::default(), |agreed| Styles {
            no_bid: agreed.no_bid,
            shed: agreed.shed,
        });
        let refused = |refusal| Denial::Refused(refusal, styles.shed);
        let slot = self.gates.slot(snapshot, *partner);
        let may_bill = self.events.as_ref().is_none_or(EventDesk::may_bill);
        let entered = if may_bill {
            self.gates.enter(snapshot, *partner, at)
        } else {
            Err(Refusal::NowhereToBill)
        };
        let mut permit = entered.map_err(|refusal| {
            self.gates.count_refusal(slot, refusal);
            refused(refusal)
        })?;
        let owed = self.gates.owe(slot);
        let content = head::content(parts, &self.settings, is_page).and_then(|content| {
            // one that does not say how long it is may be as long as any
            let on_wire = content.declared.unwrap_or(self.bounds().bytes_max);
            if permit.takes(on_wire) { Ok(content) } else { Err(Refusal::Overload) }
        });
        let content = content.map_err(|refusal| {
            owed.refused(refusal);
            refused(refusal)
        })?;
        // of a partner's server the headers say nothing of the user
        let is_direct = agreed.is_some_and(|agreed| agreed.is_direct);
        let arrival = Arrival {
            at,
            wall: self.gates.wall_at(at),
            client,
            partner: *partner,
            serial,
            is_trial: false,
            is_replay: agreed.is_some_and(|agreed| agreed.honours_replay) && head::is_replay(parts),
            browser: if is_direct { head::browser(parts) } else { BrowserSignals::default() },
            correlation,
        };
        Ok(Admitted { snapshot: snapshot.clone(), arrival, styles, owed, permit, content })
    }

    /// Counts a refusal of somebody whom we do not know.
    fn stranger(&self, refusal: Refusal) -> Denial {
        self.gates.count_refusal(UNKNOWN, refusal);
        refusal.into()
    }

    /// What is answered to one who is not let in; counts what is no bid request.
    fn reply_to(&self, denial: Denial, parts: &Parts, is_page: bool, line: &Line) -> Reply {
        self.other(denial, parts, is_page).unwrap_or_else(|| {
            if denial == Denial::NoRoute || denial == Denial::from(Refusal::Unauthorised) {
                line.watch.turned_away();
            }
            self.gates.count_denial(denial);
            self.replier.denial(denial)
        })
    }

    /// What is answered beside bid requests.
    fn other(&self, denial: Denial, parts: &Parts, is_page: bool) -> Option<Reply> {
        match denial {
            Denial::NoRoute => self.sellers(parts),
            Denial::Method if is_page && head::is_preflight(parts) => Some(reply::preflight()),
            _ => None,
        }
    }

    /// `/sellers.json`, where there is one.
    fn sellers(&self, parts: &Parts) -> Option<Reply> {
        if parts.uri.path() != SELLERS {
            return None;
        }
        Some(reply::sellers(&parts.method, self.latest.take()?.sellers.clone()?))
    }
}
