//! One thing that was found.

use std::fmt::Display;

/// Whether it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is well.
    Ok,
    /// It will do for now.
    Warn,
    /// It is not well.
    Fail,
}

impl Verdict {
    /// `ok`, `warn` or `fail`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// Of what: a path, an address, a node.
    pub subject: String,
    /// Whether it is well.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do next; empty when all is well.
    pub next: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, subject: impl Into<String>, found: impl Display) -> Self {
        Self::new(Verdict::Ok, check, subject, found, "")
    }

    /// It will do for now.
    pub fn warn(
        check: &'static str,
        subject: impl Into<String>,
        found: impl Display,
        next: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Warn, check, subject, found, next)
    }

    /// It is not well.
    pub fn fail(
        check: &'static str,
        subject: impl Into<String>,
        found: impl Display,
        next: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Fail, check, subject, found, next)
    }

    /// With this verdict; `next` counts only when it is not well.
    pub fn new(
        verdict: Verdict,
        check: &'static str,
        subject: impl Into<String>,
        found: impl Display,
        next: impl Into<String>,
    ) -> Self {
        let next = if verdict == Verdict::Ok { String::new() } else { next.into() };
        Self { check, subject: subject.into(), verdict, found: found.to_string(), next }
    }
}
