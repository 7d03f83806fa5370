//! What is wrong with a link specification, and where.
//!
//! Owns the public error and the one the readers use among themselves. What would have been right is said by them.

use std::error::Error;
use std::fmt;
use std::ops::Range;

/// A link specification that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// What was expected.
    pub message: String,
    /// The bytes of the input this is about.
    pub span: Range<usize>,
    input: String,
}

impl SpecError {
    /// What was expected and, where the input has more parts than the wrong one, at which: the error for a place that
    /// shows the input itself.
    pub fn about_part(&self) -> String {
        match self.input.get(self.span.clone()) {
            Some(part) if !part.is_empty() && part != self.input.trim() => {
                format!("{} at {part:?}", self.message)
            }
            _ => self.message.clone(),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.input, self.about_part())
    }
}

impl Error for SpecError {}

/// What is wrong with `part`, which is a piece of the text being read itself, so that its place is where it points to.
#[derive(Debug)]
pub(super) struct Wrong<'a> {
    part: &'a str,
    message: String,
}

impl<'a> Wrong<'a> {
    pub(super) fn new(part: &'a str, message: impl Into<String>) -> Self {
        Self { part: part.trim(), message: message.into() }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The same about `part` if what is wrong is that there is nothing: an empty place shows nobody where to look.
    pub(super) fn or_at(self, part: &'a str) -> Self {
        if self.part.is_empty() { Self::new(part, self.message) } else { self }
    }

    /// The error about `input`, of which the part is a piece.
    pub(super) fn about(self, input: &str) -> SpecError {
        let start = (self.part.as_ptr() as usize).saturating_sub(input.as_ptr() as usize);
        SpecError { message: self.message, span: start..start + self.part.len(), input: input.to_owned() }
    }
}
