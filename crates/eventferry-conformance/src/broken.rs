//! A clause that was not kept, and why.

use std::fmt;

use eventferry_core::{EnqueueFault, StoreFault};

use crate::subject::Trouble;

/// What was expected, what came instead, and at which point of the clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

impl Broken {
    /// A clause broken in this way.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// A call that failed although nothing was wrong.
    pub(crate) fn call(name: &str, fault: &StoreFault) -> Self {
        Self(format!("{name} failed with {:?}: {}", fault.kind(), with_causes(fault)))
    }

    /// An enqueue that failed although nothing was wrong.
    pub(crate) fn enqueue(fault: &EnqueueFault) -> Self {
        Self(format!("enqueue failed with {:?}: {}", fault.kind(), with_causes(fault)))
    }

    /// The back end's test code failed.
    pub(crate) fn trouble(what: &str, trouble: &Trouble) -> Self {
        Self(format!("could not {what}: {}", with_causes(trouble.as_ref())))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// An error's words with those of what lies below.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Leaves the clause as broken unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::broken::Broken::new(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;
