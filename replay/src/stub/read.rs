//! What a simulated bidder wants to know of a bid request.
//!
//! Owns: one forward pass over the JSON that keeps the few fields and skips the rest, since the
//! simulated bidders share the machine with what is measured. Never: validation (gavel did that),
//! un-escaping (ids go back as they came). Invariant: total; bytes that are not a request are
//! `None`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// A bid request, as far as it is read. Strings are as on the wire, without their quotes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted<'a> {
    pub id: &'a [u8],
    pub imps: Vec<Imp<'a>>,
    /// `cur` as it stands, brackets included; empty where it is absent.
    pub currencies: &'a [u8],
}

impl<'a> Wanted<'a> {
    /// The bidder's own currency where the request allows it, else the first that it names.
    pub fn currency<'b>(&self, own: &'b str) -> &'b str
    where
        'a: 'b,
    {
        let mut named = self.currencies.split(|byte| *byte == b'"').skip(1).step_by(2);
        if named.clone().any(|one| one == own.as_bytes()) {
            return own;
        }
        named.next().and_then(|first| std::str::from_utf8(first).ok()).unwrap_or(own)
    }
}

/// One impression.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Imp<'a> {
    pub id: &'a [u8],
    pub floor: f64,
    pub offer: Offer,
    pub deal: Option<Deal<'a>>,
}

/// What may be shown: the first media object of the imp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Offer {
    /// Width and height; 0 where the imp names none.
    Banner(u32, u32),
    Video,
    Audio,
    Native,
    #[default]
    Nothing,
}

/// The first deal of an imp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Deal<'a> {
    pub id: &'a [u8],
    pub floor: f64,
    /// The first seat that it names.
    pub seat: Option<&'a [u8]>,
}

/// Reads a request.
pub(super) fn read(bytes: &[u8]) -> Option<Wanted<'_>> {
    let mut wanted = Wanted::default();
    let mut cursor = Cursor::new(bytes);
    cursor.object(|cursor, key| {
        match key {
            b"id" => wanted.id = cursor.scalar()?,
            b"cur" => {
                let start = cursor.position()?;
                cursor.skip()?;
                wanted.currencies = cursor.bytes.get(start..cursor.at)?;
            }
            b"imp" => cursor.array(|cursor| {
                wanted.imps.push(read_imp(cursor)?);
                Some(())
            })?,
            _ => cursor.skip()?,
        }
        Some(())
    })?;
    Some(wanted)
}

fn read_imp<'a>(cursor: &mut Cursor<'a>) -> Option<Imp<'a>> {
    let mut imp = Imp::default();
    cursor.object(|cursor, key| {
        let offer = match key {
            b"id" => return cursor.scalar().map(|id| imp.id = id),
            b"bidfloor" => return cursor.number().map(|floor| imp.floor = floor),
            b"pmp" => return read_pmp(cursor, &mut imp.deal),
            b"banner" => {
                let (w, h) = read_banner(cursor)?;
                Offer::Banner(w, h)
            }
            b"video" => cursor.skip().map(|()| Offer::Video)?,
            b"audio" => cursor.skip().map(|()| Offer::Audio)?,
            b"native" => cursor.skip().map(|()| Offer::Native)?,
            _ => return cursor.skip(),
        };
        if imp.offer == Offer::Nothing {
            imp.offer = offer;
        }
        Some(())
    })?;
    Some(imp)
}

fn read_banner(cursor: &mut Cursor<'_>) -> Option<(u32, u32)> {
    let (mut own, mut first) = ((0, 0), None);
    cursor.object(|cursor, key| match key {
        b"w" => cursor.whole().map(|w| own.0 = w),
        b"h" => cursor.whole().map(|h| own.1 = h),
        b"format" => cursor.array(|cursor| {
            let mut size = (0, 0);
            cursor.object(|cursor, key| match key {
                b"w" => cursor.whole().map(|w| size.0 = w),
                b"h" => cursor.whole().map(|h| size.1 = h),
                _ => cursor.skip(),
            })?;
            first.get_or_insert(size);
            Some(())
        }),
        _ => cursor.skip(),
    })?;
    Some(first.unwrap_or(own))
}

fn read_pmp<'a>(cursor: &mut Cursor<'a>, first: &mut Option<Deal<'a>>) -> Option<()> {
    cursor.object(|cursor, key| match key {
        b"deals" => cursor.array(|cursor| {
            let mut deal = Deal::default();
            cursor.object(|cursor, key| match key {
                b"id" => cursor.scalar().map(|id| deal.id = id),
                b"bidfloor" => cursor.number().map(|floor| deal.floor = floor),
                b"wseat" => cursor.array(|cursor| {
                    let seat = cursor.scalar()?;
                    deal.seat.get_or_insert(seat);
                    Some(())
                }),
                _ => cursor.skip(),
            })?;
            first.get_or_insert(deal);
            Some(())
        }),
        _ => cursor.skip(),
    })
}

/// A place in the text.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a text.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that are behind it; white space is passed first.
    pub fn position(&mut self) -> Option<usize> {
        self.peek().map(|_| self.at)
    }

    /// Whether a string starts at a place.
    pub fn is_quote(&self, at: usize) -> bool {
        self.bytes.get(at) == Some(&b'"')
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.step();
        }
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.step())
    }

    /// Calls `each` at each value with its key; `each` must move past the value.
    pub fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.peek()?;
            let key = self.string()?;
            self.take(b':')?;
            self.peek()?;
            each(self, key)?;
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    /// Calls `each` at each element; `each` must move past it.
    pub fn array(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.peek()?;
            each(self)?;
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    /// A string without its quotes, still escaped.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.step(),
                _ => {}
            }
            self.step();
        }
        let text = self.bytes.get(start..self.at)?;
        self.step();
        Some(text)
    }

    /// A string, or the letters of a number or word.
    pub fn scalar(&mut self) -> Option<&'a [u8]> {
        if self.peek()? == b'"' {
            return self.string();
        }
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| !b",]} \t\r\n{[\":".contains(byte)) {
            self.step();
        }
        self.bytes.get(start..self.at).filter(|text| !text.is_empty())
    }

    /// A number; 0 for anything else that is a scalar.
    fn number(&mut self) -> Option<f64> {
        let text = self.scalar()?;
        Some(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0))
    }

    fn whole(&mut self) -> Option<u32> {
        let text = self.scalar()?;
        Some(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Moves past a value of any kind.
    pub fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => self.string().map(drop)?,
                b'{' | b'[' => {
                    depth = depth.saturating_add(1);
                    self.step();
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.step();
                }
                b',' | b':' if depth > 0 => {
                    self.step();
                    continue;
                }
                _ => self.scalar().map(drop)?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_wanted_fields_are_found_wherever_they_stand() {
        let text = br#" {"site":{"id":"no","imp":[{"id":"no"}]}, "imp" : [
            {"id":"1","bidfloor":0.75,"banner":{"w":320,"h":50},"ext":{"a":["]","}",{}]}},
            {"video":{"mimes":["video/mp4"],"w":640},"id":"a\"b","pmp":{"private_auction":1,
             "deals":[{"id":"d1","bidfloor":2,"wseat":["s1","s2"]},{"id":"d2"}]}},
            {"id":7,"banner":{"format":[{"w":300,"h":250},{"w":1,"h":1}],"w":9,"h":9},"native":{}}
            ],"cur":[],"id":"r-1"}"#;
        let wanted = read(text).unwrap();
        assert_eq!(wanted.id, b"r-1");
        let [first, second, third] = wanted.imps.as_slice() else { panic!("three imps") };
        assert_eq!((first.id, first.offer), (&b"1"[..], Offer::Banner(320, 50)));
        assert!((first.floor - 0.75).abs() < 1e-9);
        assert_eq!((second.id, second.offer), (&br#"a\"b"#[..], Offer::Video));
        let deal = second.deal.unwrap();
        assert_eq!((deal.id, deal.seat), (&b"d1"[..], Some(&b"s1"[..])));
        assert_eq!((third.id, third.offer), (&b"7"[..], Offer::Banner(300, 250)));
    }

    #[test]
    fn a_bidder_bids_in_a_currency_that_the_request_allows() {
        for (cur, own, expected) in [
            ("", "EUR", "EUR"),
            (r#","cur":[]"#, "EUR", "EUR"),
            (r#","cur": ["USD" , "EUR"]"#, "EUR", "EUR"),
            (r#","cur":["USD","GBP"]"#, "EUR", "USD"),
        ] {
            let text = format!(r#"{{"id":"1"{cur}}}"#);
            assert_eq!(read(text.as_bytes()).unwrap().currency(own), expected, "{cur}");
        }
    }

    #[test]
    fn what_is_no_request_is_none() {
        for text in ["", "{", "[]", "{\"id\":}", "{\"id\":\"x", "{\"imp\":{}}", "{\"a\":]}", "nul"]
        {
            assert_eq!(read(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_cut_of_a_request_is_survived(end in 0usize..70) {
            let text = br#"{"id":"x","imp":[{"id":"1","banner":{"w":1,"h":"2"},"pmp":{"deals":[]}}]}"#;
            let _ = read(text.get(..end).unwrap_or_default());
        }
    }
}
