//! Writes JSON straight into bytes.
//!
//! Owns: commas. Never: escaping; what the generator writes has nothing to escape (checked in
//! debug builds), but for `quoted`, which puts JSON into a string.

use std::fmt::Display;
use std::io::Write;

/// A growing document.
pub(super) struct Json<'a>(pub &'a mut Vec<u8>);

impl Json<'_> {
    /// A document of its own, whatever stands before it.
    pub fn document(&mut self, write: impl FnOnce(&mut Self)) {
        self.0.push(b'{');
        write(self);
        self.0.push(b'}');
    }

    /// An element that is an object.
    pub fn braced(&mut self, write: impl FnOnce(&mut Self)) {
        self.comma();
        self.0.push(b'{');
        write(self);
        self.0.push(b'}');
    }

    /// A member that is an object.
    pub fn object(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        self.key(key);
        self.braced(write);
    }

    /// A member that is an array.
    pub fn array(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        self.key(key);
        self.0.push(b'[');
        write(self);
        self.0.push(b']');
    }

    /// A member that is a string.
    pub fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.element(text);
    }

    /// A member that is a string made of parts.
    pub fn format(&mut self, key: &str, text: std::fmt::Arguments) {
        self.key(key);
        self.element_format(text);
    }

    /// A member that is a number.
    pub fn number(&mut self, key: &str, number: impl Display) {
        self.key(key);
        // writing to a Vec cannot fail, here and below
        let _ = write!(self.0, "{number}");
    }

    /// A member that is a number made of parts, such as one with two decimals.
    pub fn format_number(&mut self, key: &str, number: std::fmt::Arguments) {
        self.key(key);
        let _ = self.0.write_fmt(number);
    }

    /// A member that is 0 or 1.
    pub fn flag(&mut self, key: &str, flag: bool) {
        self.number(key, u8::from(flag));
    }

    /// An array of strings.
    pub fn texts<T: AsRef<str>>(&mut self, key: &str, texts: impl IntoIterator<Item = T>) {
        self.array(key, |json| texts.into_iter().for_each(|text| json.element(text.as_ref())));
    }

    /// An array of numbers.
    pub fn numbers(&mut self, key: &str, numbers: &[u32]) {
        self.array(key, |json| {
            for number in numbers {
                json.comma();
                let _ = write!(json.0, "{number}");
            }
        });
    }

    /// An element that is a string.
    pub fn element(&mut self, text: &str) {
        debug_assert!(!text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\'));
        self.comma();
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    /// An element that is a string made of parts.
    pub fn element_format(&mut self, text: std::fmt::Arguments) {
        self.comma();
        self.0.push(b'"');
        let _ = self.0.write_fmt(text);
        self.0.push(b'"');
    }

    /// A member that is a string with a JSON document in it.
    pub fn quoted(&mut self, key: &str, document: &[u8]) {
        self.key(key);
        self.0.push(b'"');
        for byte in document {
            if matches!(byte, b'"' | b'\\') {
                self.0.push(b'\\');
            }
            self.0.push(*byte);
        }
        self.0.push(b'"');
    }

    fn key(&mut self, key: &str) {
        self.element(key);
        self.0.push(b':');
    }

    fn comma(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[' | b':')) {
            self.0.push(b',');
        }
    }
}
